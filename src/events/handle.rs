//! The producers' end: counts an event, hands it to whoever listens, and puts its line into the log's buffer.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::broadcast;

use super::alerts::{AlertLists, Board, Noted};
use super::share::{News, Shares};
use super::{Event, EventKind, Mail, Told};
use crate::message::CustomerId;
use crate::record::Subject;
use crate::record::journal::Journal;
use crate::record::journal::buffer::Buffer;
use crate::time::Timestamp;

/// Events that a slow subscriber may be behind before it misses the oldest.
const SUBSCRIBER_BACKLOG: usize = 1024;

/// The producers' handle. Cheap to clone. [`Events::default`] keeps no log: for tests, and where nothing was configured.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    buffer: Option<Arc<Buffer>>,
    journal: Option<Arc<Journal>>,
    /// `None` where no log is kept.
    shares: Option<Shares>,
    subscribers: broadcast::Sender<Arc<Event<'static>>>,
    /// The ids of events that stood in the journal at the start, behind the place that it had saved, and that others than the spool may
    /// tell again.
    told_before: HashSet<String>,
    board: Mutex<Board>,
    /// An alert is open. Asked before the lock is taken.
    any_open: AtomicBool,
    counters: Counters,
}

impl Default for Events {
    fn default() -> Self {
        Events::new(None, None, None, HashSet::new())
    }
}

impl Events {
    pub(super) fn new(
        buffer: Option<Arc<Buffer>>,
        journal: Option<Arc<Journal>>,
        shares: Option<Shares>,
        told_before: HashSet<String>,
    ) -> Self {
        let (subscribers, _) = broadcast::channel(SUBSCRIBER_BACKLOG);
        Events(Arc::new(Shared {
            buffer,
            journal,
            shares,
            subscribers,
            told_before,
            board: Mutex::default(),
            any_open: AtomicBool::new(false),
            counters: Counters::default(),
        }))
    }

    /// Hands an event over. Never blocks on the disk, the network or a subscriber.
    pub fn emit(&self, event: Event<'_>) {
        let shared = &*self.0;
        shared.counters.count(event.event);
        if event.event == EventKind::Alert && !event.cured {
            self.note_alert(&event);
        }
        if shared.buffer.is_some() {
            LINE.with_borrow_mut(|line| {
                line.clear();
                event.write_line(line);
                self.put(event.event, event.customer.as_deref(), line);
            });
        }
        self.publish(|| event.into_owned());
    }

    /// Hands events over, all or none, and answers once they are on disk. False where they may be lost: the log has no room or stops.
    /// Whoever keeps what they tell of must then keep it on, and tell it again: what the log has already, from before a crash, is
    /// left out by its id.
    pub async fn emit_synced(&self, events: impl IntoIterator<Item = Event<'_>>) -> bool {
        let shared = &*self.0;
        let (mut lines, mut told) = (Vec::new(), Vec::new());
        for event in events {
            if !shared.told_before.is_empty() && shared.told_before.contains(&event.event_id.to_string()) {
                continue;
            }
            let before = lines.len();
            if shared.buffer.is_some() {
                event.write_line(&mut lines);
            }
            if !self.is_within_share(event.event, event.customer.as_deref(), lines.len() - before) {
                lines.truncate(before);
                shared.counters.omitted.inc();
            }
            told.push(event);
        }
        if let Some(buffer) = shared.buffer.as_ref().filter(|_| !lines.is_empty()) {
            let Some(synced) = buffer.push_whole(&lines) else { return false };
            if synced.await.is_err() {
                return false;
            }
        }
        for event in told {
            shared.counters.count(event.event);
            self.publish(|| event.into_owned());
        }
        true
    }

    /// Writes down what is told of a mail: lines for the spool, which keeps them with the fact they tell of. What is beyond the customer's
    /// share of the log is left out of them. No text is copied that nobody reads.
    pub fn write(&self, mail: &Mail<'_>, told: &[Told]) -> Telling {
        let is_heard = self.is_heard();
        let mut telling = Telling { lines: Vec::new(), kinds: Vec::with_capacity(told.len()), events: Vec::new() };
        for told in told {
            let event = mail.event(told);
            telling.kinds.push(event.event);
            if self.0.buffer.is_some() {
                let before = telling.lines.len();
                event.write_line(&mut telling.lines);
                let octets = telling.lines.len() - before;
                if !self.is_within_share(event.event, Some(mail.customer().as_str()), octets) {
                    telling.lines.truncate(before);
                    self.0.counters.omitted.inc();
                }
            }
            if is_heard {
                telling.events.push(event.into_owned());
            }
        }
        telling
    }

    /// Tells subscribers and the metrics what was written down, once it is true. Never blocks.
    pub fn tell(&self, telling: Telling) {
        telling.kinds.into_iter().for_each(|kind| self.0.counters.count(kind));
        telling.events.into_iter().for_each(|event| self.publish(|| event));
    }

    /// Puts a line into the log's buffer, where it is within its customer's share.
    fn put(&self, kind: EventKind, customer: Option<&str>, line: &[u8]) {
        let Some(buffer) = &self.0.buffer else { return };
        if !self.is_within_share(kind, customer, line.len()) {
            self.0.counters.omitted.inc();
        } else if !buffer.push(line) {
            self.0.counters.lost.inc();
        }
    }

    fn is_heard(&self) -> bool {
        self.0.subscribers.receiver_count() > 0
    }

    fn publish(&self, event: impl FnOnce() -> Event<'static>) {
        if self.is_heard() {
            // An error means that the last subscriber left in between.
            let _ = self.0.subscribers.send(Arc::new(event()));
        }
    }

    /// Something that happened and that a person must look at, and what to do about it.
    pub fn alert(&self, detail: impl Into<String>) {
        self.emit(Event::alert(detail.into()));
    }

    /// Trouble that lasts: the alert stays open until [`resolve`](Self::resolve).
    pub fn raise(&self, subject: Subject, detail: impl Into<String>) {
        self.emit(Event::alert(detail.into()).with_subject(subject));
    }

    /// Whether an alert about it is open.
    pub fn is_open(&self, subject: &Subject) -> bool {
        self.has_open_alerts() && self.board().is_open(subject)
    }

    /// Whether any alert is open. Costs as good as nothing.
    pub fn has_open_alerts(&self) -> bool {
        self.0.any_open.load(Ordering::Relaxed)
    }

    /// The trouble is over. Does nothing where no alert about it is open.
    pub fn resolve(&self, subject: &Subject, detail: impl Into<String>) {
        if !self.has_open_alerts() {
            return;
        }
        let ended = {
            let mut board = self.board();
            let ended = board.end(subject, detail.into(), Timestamp::now());
            self.0.any_open.store(board.has_open(), Ordering::Relaxed);
            ended
        };
        if let Some(end) = ended {
            self.0.counters.open(subject).dec();
            let detail = end.detail.as_deref().unwrap_or_default();
            tracing::info!(%subject, customer = end.customer.as_deref(), route = end.route.as_deref(), "over: {detail}");
            self.emit(end);
        }
    }

    /// Ends each open alert whose trouble is over: `over` gives why it is, and `None` where it lasts or is not known.
    pub fn resolve_where(&self, over: impl Fn(&Subject) -> Option<String>) {
        if !self.has_open_alerts() {
            return;
        }
        let open = self.board().subjects();
        for subject in open {
            if let Some(detail) = over(&subject) {
                self.resolve(&subject, detail);
            }
        }
    }

    /// Every event from now on. A subscriber that falls 1,024 behind hears `Lagged` and goes on with what is left.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event<'static>>> {
        self.0.subscribers.subscribe()
    }

    /// What the alerts of this process are at this moment.
    pub fn alerts(&self) -> AlertLists {
        self.board().shown(Timestamp::now())
    }

    /// Where the log is, for the history of a message.
    pub fn log(&self) -> Option<&Path> {
        self.0.journal.as_deref().map(Journal::path)
    }

    /// The journal, for readers with a cursor.
    pub fn journal(&self) -> Option<&Arc<Journal>> {
        self.0.journal.as_ref()
    }

    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    fn is_within_share(&self, kind: EventKind, customer: Option<&str>, octets: usize) -> bool {
        let (Some(customer), Some(shares)) = (customer, &self.0.shares) else { return true };
        shares.admits(customer, kind, octets, Instant::now())
    }

    /// Tells of events that were left out, and of customers whose events are not any more.
    pub(super) fn tell_of_shares(&self) {
        let Some(shares) = &self.0.shares else { return };
        for (customer, told) in shares.news(Instant::now()) {
            let subject = Subject::EventShare(customer.clone());
            let News::LeftOut(count) = told else {
                self.resolve(&subject, "its events are in the log again");
                continue;
            };
            let share = shares.share();
            if !self.is_open(&subject) {
                let detail = format!(
                    "the events of customer {customer} take more than the {share} octets of the log that one customer has a day: \
                     see what its server says (`postbud queue list --customer {customer}`), or raise [events] keep_size or \
                     customer_share. Others' events are not affected"
                );
                let owner = CustomerId::new(&customer);
                self.emit(Event::alert(detail).with_subject(subject).about_customer(&owner));
            }
            self.emit(Event::omitted(customer, count));
        }
    }

    fn note_alert(&self, event: &Event<'_>) {
        let detail = event.detail.as_deref().unwrap_or_default();
        let (customer, route) = (event.customer.as_deref(), event.route.as_deref());
        let noted = {
            let mut board = self.board();
            let noted = board.note(event);
            self.0.any_open.store(board.has_open(), Ordering::Relaxed);
            noted
        };
        if let (Noted::Opened, Some(subject)) = (noted, &event.subject) {
            self.0.counters.open(subject).inc();
        }
        match noted {
            Noted::Repeated => tracing::debug!(customer, route, "still so: {detail}"),
            Noted::Opened | Noted::Told => {
                let id = event.queue_id.map(tracing::field::display);
                tracing::warn!(customer, route, id, "alert: {detail}");
            }
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().expect("no holder of this lock can panic")
    }
}

thread_local! {
    /// One buffer a thread, so that an event costs no allocation here.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is told of one mail at one moment, written down before it is true.
#[derive(Debug)]
#[must_use = "it is not told yet"]
pub struct Telling {
    /// Each with its line end; empty where no log is kept.
    lines: Vec<u8>,
    /// What each event is.
    kinds: Vec<EventKind>,
    /// For subscribers, where there are any.
    events: Vec<Event<'static>>,
}

impl Telling {
    /// Takes the lines out, for the spool's outbox.
    pub fn take_lines(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    /// What each of its events is.
    pub fn kinds(&self) -> impl Iterator<Item = EventKind> {
        self.kinds.iter().copied()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AboutLabel {
    about: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabel {
    webhook: String,
}

/// What the events' stage counts.
#[derive(Clone, Debug)]
pub struct Counters {
    events: Family<KindLabel, Counter>,
    /// The same counters, by kind: a look into the family costs a lock.
    by_kind: Vec<Counter>,
    alerts: Counter,
    alerts_open: Family<AboutLabel, Gauge>,
    lost: Counter,
    omitted: Counter,
    webhook_sent: Family<WebhookLabel, Counter>,
    webhook_failures: Family<WebhookLabel, Counter>,
    webhook_gaps: Family<WebhookLabel, Counter>,
    webhook_behind_bytes: Family<WebhookLabel, Gauge>,
}

/// What is counted of one webhook.
#[derive(Clone, Debug)]
pub(super) struct WebhookCounters {
    pub sent: Counter,
    pub failures: Counter,
    pub gaps: Counter,
    pub behind_bytes: Gauge,
}

impl Default for Counters {
    fn default() -> Self {
        let events = Family::<KindLabel, Counter>::default();
        let counter = |kind: &EventKind| events.get_or_create_owned(&KindLabel { event: kind.as_str() });
        let by_kind = EventKind::ALL.iter().map(counter).collect();
        Counters {
            events,
            by_kind,
            alerts: Counter::default(),
            alerts_open: Family::default(),
            lost: Counter::default(),
            omitted: Counter::default(),
            webhook_sent: Family::default(),
            webhook_failures: Family::default(),
            webhook_gaps: Family::default(),
            webhook_behind_bytes: Family::default(),
        }
    }
}

impl Counters {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("events", "Events by kind", self.events.clone());
        registry.register("alerts", "Alerts: things a person must look at", self.alerts.clone());
        // All are there from the start: a rule sees the first one as a change.
        for about in Subject::KINDS {
            drop(self.alerts_open.get_or_create(&AboutLabel { about }));
        }
        let open = "Trouble that lasts: alerts that are open, by what they are about";
        registry.register("alerts_open", open, self.alerts_open.clone());
        registry.register("events_lost", "Events that the log could not take", self.lost.clone());
        let omitted = "Events left out of the log because their customer's share of it was used up";
        registry.register("events_omitted", omitted, self.omitted.clone());
        registry.register("webhook_events", "Events that a webhook answered with 2xx", self.webhook_sent.clone());
        registry.register("webhook_failures", "Calls of a webhook that failed", self.webhook_failures.clone());
        let gaps = self.webhook_gaps.clone();
        registry.register("webhook_gaps", "Times that lines rotated away before a webhook took them", gaps);
        let behind = self.webhook_behind_bytes.clone();
        registry.register("webhook_behind_bytes", "Octets of the log that a webhook has not looked at yet", behind);
    }

    /// Those of a webhook, which are there from the start.
    pub(super) fn webhook(&self, name: &str) -> WebhookCounters {
        let label = WebhookLabel { webhook: name.to_owned() };
        WebhookCounters {
            sent: self.webhook_sent.get_or_create_owned(&label),
            failures: self.webhook_failures.get_or_create_owned(&label),
            gaps: self.webhook_gaps.get_or_create_owned(&label),
            behind_bytes: self.webhook_behind_bytes.get_or_create_owned(&label),
        }
    }

    /// How many alerts about such a subject are open. Two threads may come here in the other order than to the board, so the gauge
    /// counts up and down and is not set.
    fn open(&self, subject: &Subject) -> impl std::ops::Deref<Target = Gauge> + '_ {
        self.alerts_open.get_or_create(&AboutLabel { about: subject.kind() })
    }

    fn count(&self, kind: EventKind) {
        self.by_kind[kind as usize].inc();
        if kind == EventKind::Alert {
            self.alerts.inc();
        }
    }
}
