//! The handle for code that emits events: counts an event, passes it to subscribers, and puts its line into the log's buffer.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::alerts::{AlertLists, Board, EndedAlert, Noted, OpenAlert};
use super::share::{News, Shares};
use super::{Event, EventKind, Mail, RecipientEvent};
use crate::message::CustomerId;
use crate::record::Subject;
use crate::record::journal::Journal;
use crate::record::journal::buffer::Buffer;
use crate::spool::Spool;
use crate::time::Timestamp;

/// A subscriber that falls this many events behind misses the oldest ones.
const SUBSCRIBER_BACKLOG: usize = 1024;
/// How long the journal may take to get what the spool has for it.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Emits events. Cheap to clone. [`Events::default`] keeps no log: for tests, and if neither a log nor a webhook is configured.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    buffer: Option<Arc<Buffer>>,
    journal: Option<Arc<Journal>>,
    /// `None` if no log is kept.
    shares: Option<Shares>,
    subscribers: broadcast::Sender<Arc<Event<'static>>>,
    /// Ids of events that were in the journal at the start, behind the saved position of their source. The source may emit them again; they
    /// are then skipped.
    told_before: HashSet<String>,
    /// When a read of the spool's outbox began that brought all there was into the journal.
    caught_up: watch::Sender<Option<tokio::time::Instant>>,
    /// Held by whoever emits what recipients answered, from the look at what the journal has until its own events are there.
    answers: tokio::sync::Mutex<()>,
    board: Mutex<Board>,
    /// True if an alert is open. Read before the lock is taken, because usually none is.
    any_open: AtomicBool,
    counters: Counters,
}

impl Default for Events {
    fn default() -> Self {
        Events::new(None, None, None, HashSet::new(), watch::Sender::default())
    }
}

impl Events {
    pub(super) fn new(
        buffer: Option<Arc<Buffer>>,
        journal: Option<Arc<Journal>>,
        shares: Option<Shares>,
        told_before: HashSet<String>,
        caught_up: watch::Sender<Option<tokio::time::Instant>>,
    ) -> Self {
        let (subscribers, _) = broadcast::channel(SUBSCRIBER_BACKLOG);
        Events(Arc::new(Shared {
            buffer,
            journal,
            shares,
            subscribers,
            told_before,
            caught_up,
            answers: tokio::sync::Mutex::default(),
            board: Mutex::default(),
            any_open: AtomicBool::new(false),
            counters: Counters::default(),
        }))
    }

    /// Emits an event. Never waits for the disk, the network or a subscriber.
    pub fn emit(&self, event: Event<'_>) {
        let comes_again = event.event.comes_again();
        self.emit_as(event, comes_again);
    }

    /// Emits the event of a recipient that submission refused. A client can cause any number of them, whatever their kind.
    pub fn emit_of_refused(&self, event: Event<'_>) {
        self.emit_as(event, true);
    }

    fn emit_as(&self, event: Event<'_>, comes_again: bool) {
        let shared = &*self.0;
        shared.counters.count(event.event);
        if event.event == EventKind::Alert && !event.cured {
            self.note_alert(&event);
        }
        if shared.buffer.is_some() {
            LINE.with_borrow_mut(|line| {
                line.clear();
                event.write_line(line);
                self.put(event.event, comes_again, event.customer.as_deref(), line);
            });
        }
        self.publish(|| event.into_owned());
    }

    /// Emits events, all or none, and waits until they are on disk. Returns false if they may be lost, because the log is full or stops.
    /// The caller must then keep its source and emit them again later. Events that the log already has from before a crash are skipped by
    /// their id.
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
            let (kind, octets) = (event.event, lines.len() - before);
            if !self.is_within_share(kind, kind.comes_again(), event.customer.as_deref(), octets) {
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

    /// Writes the event lines about a mail. The spool stores the lines together with the fact that they report. Lines beyond the customer's
    /// share of the log are left out. Text is copied only if a log or subscriber needs it.
    pub fn write(&self, mail: &Mail<'_>, told: &[RecipientEvent]) -> PendingEvents {
        let mut pending =
            PendingEvents { lines: Vec::new(), kinds: Vec::with_capacity(told.len()), events: Vec::new() };
        for told in told {
            self.write_one(&mut pending, mail.event(told));
        }
        pending
    }

    /// Adds the line of one more event about the same mail.
    pub fn write_one(&self, pending: &mut PendingEvents, event: Event<'_>) {
        pending.kinds.push(event.event);
        if self.0.buffer.is_some() {
            let before = pending.lines.len();
            event.write_line(&mut pending.lines);
            let (kind, octets) = (event.event, pending.lines.len() - before);
            if !self.is_within_share(kind, kind.comes_again(), event.customer.as_deref(), octets) {
                pending.lines.truncate(before);
                self.0.counters.omitted.inc();
            }
        }
        if self.is_heard() {
            pending.events.push(event.into_owned());
        }
    }

    /// Passes events to subscribers and counters, once the fact that they report is durable. Never waits.
    pub fn announce(&self, pending: PendingEvents) {
        pending.kinds.into_iter().for_each(|kind| self.0.counters.count(kind));
        pending.events.into_iter().for_each(|event| self.publish(|| event));
    }

    /// Puts a line into the log's buffer, unless its customer's share is used up.
    fn put(&self, kind: EventKind, comes_again: bool, customer: Option<&str>, line: &[u8]) {
        let Some(buffer) = &self.0.buffer else { return };
        if !self.is_within_share(kind, comes_again, customer, line.len()) {
            self.0.counters.omitted.inc();
        } else if !buffer.push(line) {
            self.0.counters.lost.inc();
        }
    }

    /// Waits until the journal has all that the spool told before the call. Returns false if it does not get there within some seconds.
    pub(crate) async fn catch_up(&self, spool: &dyn Spool) -> bool {
        if spool.sync().await.is_err() {
            return false;
        }
        let mut caught_up = self.0.caught_up.subscribe();
        let asked = tokio::time::Instant::now();
        spool.filled().notify_one();
        let reached = caught_up.wait_for(|began| began.is_some_and(|began| began >= asked));
        tokio::time::timeout(CATCH_UP, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    /// Waits until no other task is about to emit a complaint or an unsubscription. Two services may report the same one, and each looks in
    /// the journal for what the other has reported.
    pub(crate) async fn only_reporter_of_answers(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.answers.lock().await
    }

    fn is_heard(&self) -> bool {
        self.0.subscribers.receiver_count() > 0
    }

    fn publish(&self, event: impl FnOnce() -> Event<'static>) {
        if self.is_heard() {
            // An error only means that the last subscriber has left.
            let _ = self.0.subscribers.send(Arc::new(event()));
        }
    }

    /// Raises a notice: something happened that an operator must look at. The text says what to do.
    pub fn alert(&self, detail: impl Into<String>) {
        self.emit(Event::alert(detail.into()));
    }

    /// Raises an alert about lasting trouble. It stays open until [`resolve`](Self::resolve).
    pub fn raise(&self, subject: Subject, detail: impl Into<String>) {
        self.emit(Event::alert(detail.into()).with_subject(subject));
    }

    /// Returns true if an alert about the subject is open.
    pub fn is_open(&self, subject: &Subject) -> bool {
        self.has_open_alerts() && self.board().is_open(subject)
    }

    /// Returns true if any alert is open. Costs almost nothing.
    pub fn has_open_alerts(&self) -> bool {
        self.0.any_open.load(Ordering::Relaxed)
    }

    /// Ends the alert about a subject, because the trouble is over. Does nothing if none is open.
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

    /// Ends each open alert for which `over` returns a reason. `over` returns `None` if the trouble lasts or is unknown to the caller.
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

    /// Returns a receiver of all events from now on. A subscriber that falls 1,024 events behind gets `Lagged`, and continues with the
    /// events that are left.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event<'static>>> {
        self.0.subscribers.subscribe()
    }

    /// Returns the alerts of this process.
    pub fn alerts(&self) -> AlertLists {
        self.board().shown(Timestamp::now())
    }

    /// Returns what `open` and `notice` make of the open alerts and the notices of this process, the newest first. Cheaper than
    /// [`alerts`](Self::alerts), because there may be thousands, and few of their fields are needed.
    pub fn alerts_as<O, N>(
        &self,
        open: impl FnMut(&OpenAlert) -> O,
        notice: impl FnMut(&Event<'static>) -> N,
    ) -> (Vec<O>, Vec<N>) {
        let board = self.board();
        (board.open_as(open), board.notices_as(Timestamp::now(), notice))
    }

    /// Returns the alerts of this process that ended recently.
    pub fn ended_alerts(&self) -> Vec<EndedAlert> {
        self.board().ended()
    }

    /// Returns the path of the log, for the history of a message.
    pub fn log(&self) -> Option<&Path> {
        self.0.journal.as_deref().map(Journal::path)
    }

    /// Returns the journal, for readers with a cursor.
    pub fn journal(&self) -> Option<&Arc<Journal>> {
        self.0.journal.as_ref()
    }

    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    fn is_within_share(&self, kind: EventKind, comes_again: bool, customer: Option<&str>, octets: usize) -> bool {
        let (Some(customer), Some(shares)) = (customer, &self.0.shares) else { return true };
        shares.admits(customer, kind, comes_again, octets, Instant::now())
    }

    /// Emits `omitted` events for customers whose share is used up, and reports when a share is free again.
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
    /// One buffer per thread, so that writing an event allocates no memory here.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The events about one mail, written before the fact that they report is durable. [`Events::announce`] follows once it is.
#[derive(Debug)]
#[must_use = "it is not announced yet"]
pub struct PendingEvents {
    /// The lines with their line ends; empty if no log is kept.
    lines: Vec<u8>,
    /// The kind of each event.
    kinds: Vec<EventKind>,
    /// The events for subscribers, if there are any.
    events: Vec<Event<'static>>,
}

impl PendingEvents {
    /// Takes the lines out, for the spool to store.
    pub fn take_lines(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }

    /// Returns the kind of each event.
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

/// The counters of the events' stage.
#[derive(Clone, Debug)]
pub struct Counters {
    events: Family<KindLabel, Counter>,
    /// The same counters by kind, because a lookup in the family takes a lock.
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

/// The counters of one webhook.
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
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("events", "Events by kind", self.events.clone());
        registry.register("alerts", "Alerts: things a person must look at", self.alerts.clone());
        // All labels exist from the start, so that an alerting rule sees the first alert as a change.
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

    /// Returns the counters of a webhook, which exist from the start.
    pub(super) fn webhook(&self, name: &str) -> WebhookCounters {
        let label = WebhookLabel { webhook: name.to_owned() };
        WebhookCounters {
            sent: self.webhook_sent.get_or_create_owned(&label),
            failures: self.webhook_failures.get_or_create_owned(&label),
            gaps: self.webhook_gaps.get_or_create_owned(&label),
            behind_bytes: self.webhook_behind_bytes.get_or_create_owned(&label),
        }
    }

    /// Returns the gauge of open alerts about such subjects. The gauge counts up and down instead of being set, because two threads may
    /// reach it in another order than the board.
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
