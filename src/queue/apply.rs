//! Applies decisions: the one place where what was decided about a record comes true. Workers come here after an attempt, queue
//! ageing with mail behind a route in trouble, and operators with what they give up.
//!
//! The order is the promise. First the sender's notification is made durable, then the spool records the decision, then it is
//! counted and told as events. A crash in between sends a notification twice, never not at all.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::bounce::{Action, Content, Postmaster};
use crate::customers::Customer;
use crate::customers::suppression::Suppression;
use crate::events::{Event, EventKind, Events, Mail, Subject, Told};
use crate::message::{CustomerId, FailureClass, MailKind, QueueId};
use crate::queue::by_customer::Counted;
use crate::queue::counters::Counters;
use crate::queue::decide::{Decision, Delay};
use crate::queue::holds::{Holds, More};
use crate::smtp::Mailbox;
use crate::spool::{self, Lease, Record, Settled, Settlement, Spool};
use crate::time::Timestamp;

/// What decisions are applied with. Cheap to clone; all clones share the counters.
#[derive(Clone)]
pub struct Outcomes {
    spool: Arc<dyn Spool>,
    postmaster: Postmaster,
    events: Events,
    suppression: Suppression,
    counters: Counters,
    holds: Arc<Mutex<Holds>>,
    started: Instant,
}

impl Outcomes {
    /// Decisions about records of `spool`, told by `postmaster` to senders and by `events` to machines.
    /// Recipients that are gone for good are told to `suppression`.
    pub fn new(spool: Arc<dyn Spool>, postmaster: Postmaster, events: Events, suppression: Suppression) -> Self {
        let started = Instant::now();
        Outcomes {
            spool,
            postmaster,
            events,
            suppression,
            counters: Counters::default(),
            holds: Arc::default(),
            started,
        }
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Applies a decision about a leased record. After an error nothing is recorded or told but the notification, and the lease
    /// is given back.
    pub(crate) async fn apply(&self, lease: Lease, decision: Decision) -> Result<Settled, spool::Error> {
        if !decision.failures.is_empty() || !decision.relayed.is_empty() || decision.delayed.is_some() {
            self.notify(&lease, &decision).await;
        }
        let mut telling = self.events.write(&Mail::of(&lease.record), &decision.events);
        let settlement = Settlement { lines: telling.take_lines(), ..decision.settlement };
        let held = decision.events.iter().find(|told| told.event == EventKind::Held);
        let held = held.map(|told| (lease.record.id, told.clone()));
        let (customer, accepted) = (lease.record.lane.customer.clone(), lease.record.id.arrived());
        let gone = self.gone_for_good(&lease.record, &decision.events);
        let settled = self.spool.settle(lease, settlement).await?;
        telling.kinds().for_each(|kind| self.count(&customer, accepted, kind));
        self.events.tell(telling);
        for (customer, address, said) in gone {
            self.suppression.hard_bounce(&customer, &address, &said);
        }
        if let Some((id, told)) = held {
            self.tell_of_hold(&customer, id, &told);
        }
        Ok(settled)
    }

    /// The recipients whose server refused them as unknown or closed for good, with what it said. Not those of our own notifications.
    fn gone_for_good(&self, record: &Record, told: &[Told]) -> Vec<(Arc<Customer>, Mailbox, String)> {
        let is_gone = |told: &&Told| {
            told.event == EventKind::Bounced
                && told.heard.as_ref().is_some_and(|heard| heard.class == Some(FailureClass::Hard))
        };
        let mut gone = told.iter().filter(is_gone).peekable();
        if gone.peek().is_none() || record.lane.kind != MailKind::Mail {
            return Vec::new();
        }
        let Some(customer) = self.postmaster.routing.customer(&record.lane.customer) else { return Vec::new() };
        let of = |told: &Told| {
            let address = record.envelope.recipients.get(told.index)?.address.clone();
            let said = told.heard.as_ref().map(ToString::to_string).unwrap_or_default();
            Some((Arc::clone(&customer), address, said))
        };
        gone.filter_map(of).collect()
    }

    /// Tells the sender by mail, where the customer wants that. What cannot be told is in the events all the same.
    async fn notify(&self, lease: &Lease, decision: &Decision) {
        let record = &lease.record;
        if !self.postmaster.writes_about(record) {
            return;
        }
        let content = match Content::read(&lease.bytes).await {
            Ok(content) => content,
            Err(why) => return self.alert_not_told(record, &why),
        };
        let delayed =
            decision.delayed.as_ref().map(|Delay { until, waiting }| (Action::Delayed { until: *until }, waiting));
        let notices = [(Action::Failed, &decision.failures), (Action::Relayed, &decision.relayed)];
        let now = Timestamp::now();
        for (action, reports) in notices.into_iter().chain(delayed).filter(|(_, reports)| !reports.is_empty()) {
            if let Err(why) = self.postmaster.notify(record, content.original(), action, reports, now).await {
                self.alert_not_told(record, &why);
            }
        }
    }

    fn alert_not_told(&self, record: &Record, why: &dyn std::error::Error) {
        let detail = format!("the sender of {} is not told by mail what became of it: {why}", record.id);
        self.events.emit(Event::alert(detail).about_customer(&record.lane.customer).about_message(record.id));
    }

    fn count(&self, customer: &CustomerId, accepted: Timestamp, kind: EventKind) {
        let outcome = match kind {
            EventKind::Relayed => Counted::Relayed,
            EventKind::Deferred => Counted::Deferred,
            EventKind::Bounced => Counted::Bounced,
            EventKind::Expired => Counted::Expired,
            _ => return,
        };
        self.counters.count(customer, outcome, Timestamp::now().since(accepted));
    }

    /// Raises an alert about a held message; of many with one reason, about the first.
    fn tell_of_hold(&self, customer: &CustomerId, id: QueueId, told: &Told) {
        let why = told.detail.as_deref().unwrap_or_default();
        if self.holds().is_news(customer, why, self.started.elapsed()) {
            self.alert_of_holds(customer, format!("message {id} is held: {why}"));
        }
    }

    /// Tells how many more messages were held since the alert about the first, once its hour is over.
    pub(super) fn tell_of_more_holds(&self) {
        let over = self.holds().over(self.started.elapsed());
        for More { customer, reason, count } in over {
            self.alert_of_holds(&customer, format!("{count} more messages were held within an hour: {reason}"));
        }
    }

    fn alert_of_holds(&self, customer: &CustomerId, detail: String) {
        let subject = Subject::Held(customer.to_string());
        self.events.emit(Event::alert(detail).with_subject(subject).about_customer(customer));
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().expect("no panic while the holds are locked")
    }
}
