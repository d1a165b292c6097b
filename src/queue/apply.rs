//! Applies decisions: the one place where what was decided about a record comes true. Workers come here after an attempt, queue
//! ageing with mail behind a route in trouble, and operators with what they give up.
//!
//! The order is the promise. First the sender's notification is made durable, then the spool records the decision, then it is
//! counted and told as events. A crash in between sends a notification twice, never not at all.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::bounce::{Action, Content, Postmaster};
use crate::events::{Event, EventKind, Events, Subject};
use crate::message::CustomerId;
use crate::queue::counters::Counters;
use crate::queue::decide::{Decision, Delay};
use crate::queue::holds::{Holds, More};
use crate::spool::{self, Lease, Record, Settled, Spool};
use crate::time::Timestamp;

/// What decisions are applied with. Cheap to clone; all clones share the counters.
#[derive(Clone)]
pub struct Outcomes {
    spool: Arc<dyn Spool>,
    postmaster: Postmaster,
    events: Events,
    counters: Counters,
    holds: Arc<Mutex<Holds>>,
    started: Instant,
}

impl Outcomes {
    /// Decisions about records of `spool`, told by `postmaster` to senders and by `events` to machines.
    pub fn new(spool: Arc<dyn Spool>, postmaster: Postmaster, events: Events) -> Self {
        let started = Instant::now();
        Outcomes { spool, postmaster, events, counters: Counters::default(), holds: Arc::default(), started }
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
        let customer = lease.record.lane.customer.clone();
        let settled = self.spool.settle(lease, decision.settlement).await?;
        for event in decision.events {
            self.count(event.event);
            if event.event == EventKind::Held {
                self.tell_of_hold(&customer, &event);
            }
            self.events.emit(event);
        }
        Ok(settled)
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
        self.events.emit(Event {
            customer: Some(record.lane.customer.to_string()),
            id: Some(record.id.to_string()),
            ..Event::alert(format!("the sender of {} is not told by mail what became of it: {why}", record.id))
        });
    }

    fn count(&self, kind: EventKind) {
        let counter = match kind {
            EventKind::Delivered => &self.counters.delivered,
            EventKind::Deferred => &self.counters.deferred,
            EventKind::Bounced => &self.counters.bounced,
            EventKind::Expired => &self.counters.expired,
            _ => return,
        };
        counter.inc();
    }

    /// Raises an alert about a held message; of many with one reason, about the first.
    fn tell_of_hold(&self, customer: &CustomerId, event: &Event) {
        let (id, why) = (event.id.as_deref().unwrap_or_default(), event.detail.as_deref().unwrap_or_default());
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
        let subject = Some(Subject::Held(customer.to_string()));
        self.events.emit(Event { customer: Some(customer.to_string()), subject, ..Event::alert(detail) });
    }

    fn holds(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().expect("no panic while the holds are locked")
    }
}
