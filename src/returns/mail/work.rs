//! Processes the inbox: reads each message, finds the mail that it is about in the event log, and emits events.
//!
//! A message leaves the inbox only after its events are synced to the log and forwarded mail is in the spool. A crash in between causes a
//! repetition: the events have the same ids, and the log shows what was already reported.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::addresses::{Addresses, For};
use super::counters::Counters;
use super::dmarc::DmarcReports;
use super::forward::{Forwarder, NotForwarded};
use super::inbox::{Arrival, Inbox, Name};
use super::read::{Action, Complaint, Reading};
use super::settings::Forward;
use super::told::{Consequence, Effect, Moment, PATIENCE, Tell, complained_of, of_complaint, of_returned};
use super::unmatched::Unmatched;
use crate::customers::suppression::{self, Reason, Suppression};
use crate::customers::{Customer, Routing};
use crate::database;
use crate::events::{Event, EventKind, Events, Subject};
use crate::message::{QueueId, Returned};
use crate::queue::Outcomes;
use crate::record::event::{Known, KnownRecipient};
use crate::record::trace;
use crate::smtp::Mailbox;
use crate::spool;
use crate::time::Timestamp;

/// The number of messages that are read together, because the log is searched once for all of them.
const BATCH: usize = 64;
/// The most octets of messages in memory at once.
const OCTETS: u64 = 16 << 20;
/// The shortest pause before a message whose mail is unknown is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The pause after an error of the disk, the log or the spool.
const RETRY: Duration = Duration::from_secs(10);

/// The state of the worker.
pub(super) struct Desk {
    pub inbox: Arc<Inbox>,
    pub addresses: Arc<Addresses>,
    pub forward: Forward,
    pub forwarder: Forwarder,
    pub dmarc: Option<Arc<dyn DmarcReports>>,
    pub events: Events,
    pub suppression: Suppression,
    pub outcomes: Outcomes,
    pub routing: Routing,
    pub egress: IpAddr,
    pub counters: Counters,
    pub unmatched: Unmatched,
}

/// Why work stopped. The messages return to the inbox and are tried again.
#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error("the record cannot be read: {0}")]
    Record(#[source] io::Error),
    #[error("the record takes no events now")]
    Events,
    #[error("the suppression lists cannot be written: {0}")]
    Suppression(#[source] database::Error),
    #[error("the spool takes no mail: {0}")]
    Spool(#[source] spool::Error),
    #[error("a message cannot be removed: {0}")]
    Remove(#[source] io::Error),
    #[error("a task ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A message, and its meaning for each of its recipients.
struct Item {
    name: Name,
    arrival: Arrival,
    message: Vec<u8>,
    parts: Vec<Part>,
}

/// The meaning of a message for one of its recipients.
enum Part {
    /// It was sent to a return path.
    Returned(Returned, Reading),
    /// It was sent to the address for complaints.
    Complaint(Reading),
    /// It is a DMARC report.
    Dmarc,
}

impl Part {
    /// Returns true if it may say that a recipient complained or unsubscribed.
    fn may_be_an_answer(&self) -> bool {
        matches!(self, Part::Returned(_, Reading::Complaint(_)) | Part::Complaint(_))
    }
}

/// The mails that a batch is about.
#[derive(Default)]
struct LogFindings {
    mails: BTreeMap<QueueId, Known>,
    /// The queue id of the mail with each Message-ID.
    by_message_id: BTreeMap<String, QueueId>,
}

/// The kinds of events about each recipient in a batch whose events the log does not have yet.
type ToldInBatch = HashMap<(QueueId, usize), Vec<EventKind>>;

/// The effects of a message.
#[derive(Default)]
struct Plan<'r> {
    events: Vec<Event<'r>>,
    /// The effects on suppression lists and the customers' rates.
    effects: Vec<(Arc<Customer>, &'r Mailbox, Effect)>,
    /// The mails whose senders get the message.
    forwards: Vec<&'r Known>,
    /// The result for each recipient of the message, for the metrics.
    counted: Vec<&'static str>,
    /// True if the message goes to the reader of DMARC reports.
    is_dmarc: bool,
    /// When the message is tried again. It then has no other effect now.
    due: Option<Timestamp>,
}

/// The record does not have the returned mail yet. It may follow.
struct NotYetKnown;

/// What a complaint is about.
struct About<'r> {
    known: &'r Known,
    to: &'r KnownRecipient,
    /// True if it names a return path of ours, which nobody else can make: whoever wrote it has seen the copy of this recipient. A Message-ID or a
    /// queue id is no proof, because other recipients know them too.
    is_proven: bool,
}

impl Plan<'_> {
    /// Returns the reports for the suppression lists.
    fn reports(&self, at: Timestamp) -> impl Iterator<Item = suppression::SuppressionReport> {
        self.effects.iter().filter_map(move |(customer, address, effect)| {
            let (reason, said) = match effect {
                Effect::None => return None,
                Effect::HardBounce(said) => (Reason::HardBounce, said),
                Effect::Complaint(said) => (Reason::Complaint, said),
                Effect::Unsubscription(said) => (Reason::Unsubscribe, said),
            };
            suppression::SuppressionReport::new(customer, address, reason, said, at)
        })
    }

    /// Makes the plan for a message whose mail the log does not know yet. The log is asked again at growing intervals.
    fn again(now: Timestamp, age: Duration) -> Self {
        Plan { due: Some(now + AGAIN.max(age / 2)), ..Plan::default() }
    }
}

impl Desk {
    /// Works until `stopping`. Messages in hand are then finished; others wait for the next start.
    pub async fn run(mut self, stopping: CancellationToken) {
        let subject = Subject::ReturnedMail;
        let mut most = BATCH;
        while stopping.run_until_cancelled(self.inbox.has_some()).await.is_some() {
            let mut names = self.inbox.take(most, OCTETS, Timestamp::now());
            match self.work(&mut names).await {
                Ok(()) => {
                    most = (2 * most).min(BATCH);
                    self.events.resolve(&subject, "returned mail is read again");
                }
                Err(stuck) => {
                    let dir = self.inbox.dir().display();
                    if !self.events.is_open(&subject) {
                        let detail =
                            format!("returned mail waits in {dir} and is tried again every {RETRY:?}: {stuck}");
                        self.events.raise(subject.clone(), detail);
                    }
                    let due = Timestamp::now() + RETRY;
                    names.into_iter().for_each(|name| self.inbox.put_back(name, due));
                    // Process messages one by one, so that a message that fails does not block the others.
                    most = 1;
                    if !matches!(stuck, Stuck::Task(_)) {
                        let _ = stopping.run_until_cancelled(tokio::time::sleep(RETRY)).await;
                    }
                }
            }
            self.unmatched.tell_left_out(&self.events, Timestamp::now());
            self.counters.waiting_bytes.set(i64::try_from(self.inbox.octets_kept()).unwrap_or(i64::MAX));
        }
    }

    /// Processes some messages. After an error, `names` has the messages that are left.
    ///
    /// First the suppression lists get their reports: a report that comes again after a crash counts once there, while a report that the
    /// log already has is a duplicate without effect. Then all events are emitted, with one sync of the log. Then the other effects follow
    /// message by message. If that fails, the log already has the events when the message comes again.
    async fn work(&mut self, names: &mut Vec<Name>) -> Result<(), Stuck> {
        let items = self.read(names).await?;
        let events = self.events.clone();
        let has_answers = items.iter().flat_map(|item| &item.parts).any(Part::may_be_an_answer);
        let alone = match has_answers {
            true => Some(events.only_reporter_of_answers().await),
            false => None,
        };
        let record = self.look_up(&items).await?;
        // The log does not show the first of two reports about a recipient in the same batch.
        let mut told = ToldInBatch::new();
        let mut plans: Vec<Plan<'_>> = items.iter().map(|item| self.plan(item, &record, &mut told)).collect();
        let reports = items.iter().zip(&plans).flat_map(|(item, plan)| plan.reports(item.arrival.at)).collect();
        self.suppression.take(reports).await.map_err(Stuck::Suppression)?;
        let events: Vec<_> = plans.iter_mut().flat_map(|plan| std::mem::take(&mut plan.events)).collect();
        if !self.events.emit_synced(events).await {
            return Err(Stuck::Events);
        }
        drop(alone);
        for (item, plan) in items.iter().zip(plans) {
            let due = self.carry_out(item, plan).await?;
            names.retain(|name| *name != item.name);
            match due {
                None => {
                    let (inbox, name) = (Arc::clone(&self.inbox), item.name.clone());
                    tokio::task::spawn_blocking(move || inbox.remove(&name)).await?.map_err(Stuck::Remove)?;
                }
                Some(due) => self.inbox.put_back(item.name.clone(), due),
            }
        }
        Ok(())
    }

    /// Reads messages on a blocking thread. An unreadable message stays in its place until the next start, with an alert.
    async fn read(&self, names: &mut Vec<Name>) -> Result<Vec<Item>, Stuck> {
        let all = names.clone();
        let (inbox, addresses) = (Arc::clone(&self.inbox), Arc::clone(&self.addresses));
        let read = move || {
            let read = |name: Name| match inbox.read(&name) {
                Ok((arrival, message)) => {
                    let parts = arrival.recipients.iter().filter_map(|to| part(&addresses, to, &message)).collect();
                    Ok(Item { name, arrival, message, parts })
                }
                Err(error) => Err((format!("{}: {error}", inbox.path(&name).display()), name)),
            };
            all.into_iter().map(read).collect::<Vec<_>>()
        };
        let mut items = Vec::new();
        for read in tokio::task::spawn_blocking(read).await? {
            match read {
                Ok(item) => items.push(item),
                Err((why, unreadable)) => {
                    names.retain(|name| *name != unreadable);
                    self.events.alert(format!("returned mail cannot be read and stays where it is: {why}"));
                }
            }
        }
        Ok(items)
    }

    /// Looks up all mails that these messages are about.
    async fn look_up(&self, items: &[Item]) -> Result<LogFindings, Stuck> {
        let Some(log) = self.events.log().map(ToOwned::to_owned) else { return Ok(LogFindings::default()) };
        let (mut ids, mut message_ids) = (HashSet::new(), HashSet::new());
        for part in items.iter().flat_map(|item| &item.parts) {
            match part {
                Part::Returned(returned, _) => drop(ids.insert(returned.queue_id)),
                Part::Complaint(Reading::Complaint(complaint)) => {
                    let named = self.named_by(complaint);
                    if named.is_empty() {
                        message_ids.extend(complaint.about.message_id.clone());
                    }
                    ids.extend(named.into_iter().map(|(id, _)| id));
                }
                Part::Complaint(_) | Part::Dmarc => {}
            }
        }
        if ids.is_empty() && message_ids.is_empty() {
            return Ok(LogFindings::default());
        }
        let search = move || {
            let mut record = LogFindings::default();
            for message_id in message_ids {
                let query = trace::Query { message_id: Some(message_id.clone()), ..trace::Query::default() };
                let found = trace::find(&log, &query, 1)?.traces.into_iter().next();
                if let Some(known) = found.and_then(|trace| Known::of(&trace.events)) {
                    record.by_message_id.insert(message_id, known.queue_id);
                    record.mails.insert(known.queue_id, known);
                }
            }
            for (id, events) in trace::lives(&log, ids)? {
                record.mails.extend(Known::of(&events).map(|known| (id, known)));
            }
            Ok(record)
        };
        tokio::task::spawn_blocking(search).await?.map_err(Stuck::Record)
    }

    /// Returns the mails that a complaint names by our own ids, with the recipient if it names one.
    fn named_by(&self, complaint: &Complaint) -> Vec<(QueueId, Option<usize>)> {
        let paths = complaint.about.return_paths.iter().filter_map(|path| match self.addresses.purpose(path) {
            Some(For::Returned(Returned { queue_id, index })) => Some((queue_id, Some(index))),
            _ => None,
        });
        paths.chain(complaint.about.queue_ids.iter().map(|id| (*id, None))).collect()
    }

    /// Decides on the effects of a message.
    fn plan<'r>(&mut self, item: &'r Item, record: &'r LogFindings, told: &mut ToldInBatch) -> Plan<'r> {
        let now = Timestamp::now();
        let moment = Moment { at: item.arrival.at, now, egress: self.egress };
        let age = now.since(item.arrival.at);
        let mut plan = Plan::default();
        for part in &item.parts {
            let found = match self.consequence(part, item, record, told, moment, &mut plan) {
                Ok(found) => found,
                Err(NotYetKnown) => return Plan::again(now, age),
            };
            let Some((known, consequence)) = found else { continue };
            match consequence {
                Consequence::Wait => return Plan::again(now, age),
                Consequence::Nothing(what) => plan.counted.push(what),
                Consequence::Tell(tell) => {
                    told.entry((known.queue_id, tell.to.index)).or_default().push(tell.event.event);
                    let Tell { event, to, effect } = *tell;
                    plan.counted.push(event.event.as_str());
                    plan.events.push(event);
                    let customer = self.routing.customer(&known.customer).filter(|_| known.counts());
                    plan.effects.extend(customer.map(|customer| (customer, &to.address, effect)));
                }
            }
        }
        plan
    }

    /// Decides what one part of a message means for the mail that it is about, and returns that mail. Returns `None` if the part is about no
    /// known mail, or goes to another reader; `plan` says so then.
    fn consequence<'r>(
        &mut self,
        part: &'r Part,
        item: &Item,
        record: &'r LogFindings,
        told: &ToldInBatch,
        moment: Moment,
        plan: &mut Plan<'r>,
    ) -> Result<Option<(&'r Known, Consequence<'r>)>, NotYetKnown> {
        let Moment { at, now, .. } = moment;
        let earlier = |known: &Known, index| told.get(&(known.queue_id, index)).map(Vec::as_slice).unwrap_or_default();
        match part {
            Part::Dmarc => plan.is_dmarc = true,
            Part::Returned(returned, reading) => {
                let known = record.mails.get(&returned.queue_id);
                match known.and_then(|known| Some((known, known.recipient(returned.index)?))) {
                    Some((known, to)) => {
                        if self.is_forwarded(reading) {
                            plan.forwards.push(known);
                        }
                        let earlier = earlier(known, to.index);
                        return Ok(Some((known, of_returned(known, to, reading, moment, earlier))));
                    }
                    None if now.since(at) < PATIENCE => return Err(NotYetKnown),
                    None => {
                        let what = format!("mail returned for {}, which the record does not know", returned.queue_id);
                        plan.events.extend(self.unmatched.event(what, now));
                        plan.counted.push("unmatched");
                    }
                }
            }
            Part::Complaint(Reading::Complaint(complaint)) => match self.complained(complaint, record) {
                Some(about) if about.is_proven || self.addresses.believes(item.arrival.peer) => {
                    let About { known, to, .. } = about;
                    let earlier = earlier(known, to.index);
                    return Ok(Some((known, of_complaint(known, to, complaint, moment, earlier))));
                }
                Some(about) => {
                    let what = not_proven(complaint, about.known.queue_id, item.arrival.peer);
                    plan.events.extend(self.unmatched.event(what, now));
                    plan.counted.push("unproven");
                }
                None => {
                    plan.events.extend(self.unmatched.event(not_matched(complaint), now));
                    plan.counted.push("unmatched");
                }
            },
            Part::Complaint(_) => plan.counted.push("other"),
        }
        Ok(None)
    }

    /// Carries out the effects other than events. Returns when the message must be tried again, if so.
    async fn carry_out(&self, item: &Item, plan: Plan<'_>) -> Result<Option<Timestamp>, Stuck> {
        if plan.due.is_some() {
            return Ok(plan.due);
        }
        if plan.is_dmarc && !self.take_dmarc(item).await? {
            return Ok(Some(Timestamp::now() + RETRY));
        }
        for known in plan.forwards {
            let forwarded = self.forwarder.forward(known, &item.arrival, &item.message).await.map_err(Stuck::Spool)?;
            self.counters.forwarded(forwarded.map_or_else(NotForwarded::as_str, |_| "queued"));
        }
        for (customer, _, effect) in &plan.effects {
            match effect {
                Effect::HardBounce(_) => self.outcomes.count_later_results(customer, 1, 0),
                Effect::Complaint(_) => self.outcomes.count_later_results(customer, 0, 1),
                Effect::None | Effect::Unsubscription(_) => {}
            }
        }
        plan.counted.into_iter().for_each(|what| self.counters.read(what));
        Ok(None)
    }

    /// Returns the mail and the recipient that a complaint is about.
    fn complained<'r>(&self, complaint: &Complaint, record: &'r LogFindings) -> Option<About<'r>> {
        let by_message_id = || {
            let id = record.by_message_id.get(complaint.about.message_id.as_ref()?)?;
            Some((*id, None))
        };
        let mut named = self.named_by(complaint);
        named.extend(by_message_id());
        named.into_iter().find_map(|(id, index)| {
            let known = record.mails.get(&id)?;
            let to = index.map_or_else(|| complained_of(known, complaint), |index| known.recipient(index))?;
            Some(About { known, to, is_proven: index.is_some() })
        })
    }

    fn is_forwarded(&self, reading: &Reading) -> bool {
        match (self.forward, reading) {
            (Forward::Nothing, _) | (_, Reading::Complaint(_)) => false,
            (Forward::Everything, _) => true,
            // Only a sender that asked for reports of success gets them (RFC 3461 §4.1).
            (Forward::Failures, Reading::Statuses(fates)) => fates.iter().any(|fate| fate.action != Action::Delayed),
            (Forward::Failures, _) => false,
        }
    }

    /// Passes a message to the reader of DMARC reports. Returns false if it cannot be processed now.
    async fn take_dmarc(&self, item: &Item) -> Result<bool, Stuck> {
        let Some(reports) = self.dmarc.clone() else { return Ok(true) };
        let (message, at) = (item.message.clone(), item.arrival.at);
        let taken = tokio::task::spawn_blocking(move || reports.take(&message, at)).await?;
        match &taken {
            Ok(()) => self.counters.read("dmarc"),
            Err(why) => tracing::warn!("a DMARC report waits in {}: {why}", self.inbox.dir().display()),
        }
        Ok(taken.is_ok())
    }
}

/// Returns the meaning of a message for one of its recipients, or `None` if the address is no longer one of ours.
fn part(addresses: &Addresses, to: &Mailbox, message: &[u8]) -> Option<Part> {
    Some(match addresses.purpose(to)? {
        For::Returned(returned) => Part::Returned(returned, Reading::of(message)),
        For::Complaints => Part::Complaint(Reading::of_complaint(message)),
        For::Dmarc => Part::Dmarc,
    })
}

fn not_proven(complaint: &Complaint, id: QueueId, peer: IpAddr) -> String {
    format!(
        "a complaint of type {} about {id} has no effect: it names no return path of this relay, which only that mail's recipient knows, \
         and complaints_from in [returns] does not name {peer}, which brought it",
        complaint.kind
    )
}

fn not_matched(complaint: &Complaint) -> String {
    let by = complaint.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let about = complaint.about.message_id.as_deref().map(|id| format!(", Message-ID {id}")).unwrap_or_default();
    format!("a complaint of type {}{by} about mail or a recipient that the record does not know{about}", complaint.kind)
}
