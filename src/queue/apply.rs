//! Applies decisions about records. Every decision goes through here: a worker's after an attempt, queue ageing's about mail behind a route
//! in trouble, and an operator's decision to give mail up.
//!
//! The order is a promise: first the sender's notification is made durable, then the spool records the decision together with its event
//! lines, then counters and subscribers learn of it. After a crash in between, a notification may be sent twice, but is never lost.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use crate::bounce::{Action, Content, Postmaster};
use crate::customers::suppression::Suppression;
use crate::customers::{Customer, Pause, PauseCause, Reaction};
use crate::events::{Event, EventKind, Events, Mail, RecipientEvent, Subject};
use crate::message::{CustomerId, FailureClass, Lane, MailKind, QueueId, Urgency};
use crate::queue::by_customer::CountedOutcome;
use crate::queue::counters::{CauseLabel, Counters};
use crate::queue::decide::{Decision, Delay};
use crate::queue::holds::{FurtherHolds, Holds};
use crate::queue::volume::{Capped, Results, Trip, Volumes};
use crate::smtp::Mailbox;
use crate::spool::{self, Lease, Record, Settled, Settlement, Spool};
use crate::time::Timestamp;

/// The parts that a decision changes: spool, notifications, events, counters, suppression. Cheap to clone; all clones share the counters.
#[derive(Clone)]
pub struct Outcomes {
    spool: Arc<dyn Spool>,
    postmaster: Postmaster,
    events: Events,
    suppression: Suppression,
    counters: Counters,
    volumes: Volumes,
    holds: Arc<Mutex<Holds>>,
    started: Instant,
}

/// A recipient that a server refused for good.
struct Gone {
    customer: Arc<Customer>,
    address: Mailbox,
    said: String,
    at: Timestamp,
}

impl Outcomes {
    /// `postmaster` writes the notifications to senders, `events` tells programs, and `suppression` learns of recipients that are gone for
    /// good.
    pub fn new(spool: Arc<dyn Spool>, postmaster: Postmaster, events: Events, suppression: Suppression) -> Self {
        let started = Instant::now();
        Outcomes {
            spool,
            postmaster,
            events,
            suppression,
            counters: Counters::default(),
            volumes: Volumes::default(),
            holds: Arc::default(),
            started,
        }
    }

    /// Returns the metrics of outcomes.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the part that writes and signs the relay's own mail.
    pub(crate) fn postmaster(&self) -> &Postmaster {
        &self.postmaster
    }

    /// Returns the counts of what each customer has sent.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Applies a decision about a leased record. After an error nothing is recorded and no event is emitted, although the notification may
    /// have been sent. The lease is given back.
    pub(crate) async fn apply(&self, lease: Lease, decision: Decision) -> Result<Settled, spool::Error> {
        if !decision.failures.is_empty() || !decision.relayed.is_empty() || decision.delayed.is_some() {
            self.notify(&lease, &decision).await;
        }
        let mut pending = self.events.write(&Mail::of(&lease.record), &decision.events);
        let settlement = Settlement { lines: pending.take_lines(), ..decision.settlement };
        let held = decision.events.iter().find(|told| told.event == EventKind::Held);
        let held = held.map(|told| (lease.record.id, told.clone()));
        let (customer, accepted) = (lease.record.lane.customer.clone(), lease.record.id.arrived());
        let gone = self.gone_for_good(&lease.record, &decision.events);
        let lane = lease.record.lane.clone();
        let settled = self.spool.settle(lease, settlement).await?;
        if lane.kind != MailKind::Test {
            decision.events.iter().for_each(|told| self.count(&customer, accepted, told));
        }
        let relayed = pending.kinds().filter(|kind| *kind == EventKind::Relayed).count();
        self.events.announce(pending);
        self.count_results(&lane, relayed, gone.len());
        for Gone { customer, address, said, at } in gone {
            self.suppression.hard_bounce(&customer, &address, &said, at);
        }
        if let Some((id, told)) = held {
            self.tell_of_hold(&customer, id, &told);
        }
        Ok(settled)
    }

    /// Adds the results of a customer's mail to its counts, and reacts if they are unusual.
    fn count_results(&self, lane: &Lane, relayed: usize, hard: usize) {
        if lane.kind != MailKind::Mail || relayed + hard == 0 {
            return;
        }
        let Some(customer) = self.postmaster.routing.customer(&lane.customer) else { return };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let results = Results { relayed: number(relayed), hard: number(hard), complaints: 0 };
        self.react_to(&customer, results);
    }

    /// Counts results that another system reported after the next server had taken the mail. The caller updates the suppression list.
    pub(crate) fn count_later_results(&self, customer: &Customer, hard: u32, complaints: u32) {
        self.react_to(customer, Results { hard, complaints, ..Results::default() });
    }

    /// Counts results. If they are unusual, raises an alert or pauses the customer, as its limits say.
    fn react_to(&self, customer: &Customer, results: Results) {
        let now = Timestamp::now();
        let Some(Trip { cause, detail }) = self.volumes.add_results(&customer.id, results, &customer.limits, now)
        else {
            return;
        };
        let subject = Subject::Volume(customer.id.to_string());
        let raise = |detail: String| {
            self.events.emit(Event::alert(detail).with_subject(subject.clone()).about_customer(&customer.id));
        };
        match cause.reaction(&customer.limits) {
            Reaction::Off => {}
            Reaction::Alert if self.events.is_open(&subject) => {}
            Reaction::Alert => raise(detail),
            Reaction::Pause => {
                let pause = Pause::new(cause, &*detail, now).sparing_single(customer.limits.spare_single);
                if self.pause(&customer.id, &pause) {
                    raise(format!(
                        "its mail is paused: {detail}. Look into it, then `postbud customer unpause {}`",
                        customer.id
                    ));
                }
            }
        }
    }

    /// Pauses a customer's mail. Returns false if a pause for the same or a more serious cause is already in force.
    pub(super) fn pause(&self, customer: &CustomerId, pause: &Pause) -> bool {
        let has_begun = self.postmaster.routing.pause(customer, pause);
        if has_begun {
            self.counters.pauses.get_or_create(&CauseLabel { cause: pause.cause.as_str() }).inc();
            let event = Event::of_customer(EventKind::Paused, customer, pause.reason.as_str());
            self.events.emit(Event { reason: Some(pause.cause.as_str()), ..event });
        }
        has_begun
    }

    /// Ends a customer's pause. Returns false if the customer was not paused.
    pub(super) fn resume(&self, customer: &CustomerId, why: &str) -> bool {
        let Some(pause) = self.postmaster.routing.resume(customer) else { return false };
        let now = Timestamp::now();
        if !pause.is_over(now) {
            self.volumes.forgive(customer, pause.ends(), now);
        }
        let event = Event::of_customer(EventKind::Resumed, customer, why);
        self.events.emit(Event { reason: Some(pause.cause.as_str()), ..event });
        self.events.resolve(&Subject::Volume(customer.to_string()), why);
        true
    }

    /// Ends the pauses whose time is over. Returns true if there were any.
    pub(super) fn end_pauses(&self) -> bool {
        let now = Timestamp::now();
        let pauses = self.postmaster.routing.pauses();
        let over = pauses.iter().filter(|(_, pause)| pause.is_over(now));
        over.filter(|(customer, _)| self.resume(customer, "there is room under its cap again")).count() > 0
    }

    /// Counts a message that is about to leave at `now`. If the customer's cap is used up, pauses the customer until the cap has room again,
    /// and returns false.
    pub(super) fn count_leaving(&self, lane: &Lane, now: Timestamp) -> bool {
        let Some(customer) = self.capped(lane) else { return true };
        match self.volumes.take(&customer.id, &customer.limits, now) {
            Ok(()) => true,
            Err(Capped { until, detail }) => {
                let pause = Pause::new(PauseCause::Cap, detail, now).until(until);
                self.pause(&customer.id, &pause.sparing_single(customer.limits.spare_single));
                false
            }
        }
    }

    /// Undoes the count of a message that was counted at `counted` and did not leave.
    pub(super) fn uncount_leaving(&self, lane: &Lane, counted: Timestamp) {
        if let Some(customer) = self.capped(lane) {
            self.volumes.give_back(&customer.id, counted);
        }
    }

    /// Returns the customer whose cap counts this lane's mail, or `None` if no cap does.
    fn capped(&self, lane: &Lane) -> Option<Arc<Customer>> {
        let customer = self.postmaster.routing.customer(&lane.customer)?;
        let is_spared = customer.limits.spare_single && lane.urgency == Urgency::Single;
        (lane.kind.is_traffic() && !is_spared).then_some(customer)
    }

    /// Returns the recipients whose server refused them as unknown or closed for good, each with the reply. Leaves out the relay's own
    /// notifications and test mail.
    fn gone_for_good(&self, record: &Record, told: &[RecipientEvent]) -> Vec<Gone> {
        let is_gone = |told: &&RecipientEvent| {
            told.event == EventKind::Bounced
                && told.heard.as_ref().is_some_and(|heard| heard.class == Some(FailureClass::Hard))
        };
        let mut gone = told.iter().filter(is_gone).peekable();
        if gone.peek().is_none() || record.lane.kind != MailKind::Mail {
            return Vec::new();
        }
        let Some(customer) = self.postmaster.routing.customer(&record.lane.customer) else { return Vec::new() };
        let of = |told: &RecipientEvent| {
            let address = record.envelope.recipients.get(told.index)?.address.clone();
            let said = told.heard.as_ref().map(ToString::to_string).unwrap_or_default();
            Some(Gone { customer: Arc::clone(&customer), address, said, at: told.at })
        };
        gone.filter_map(of).collect()
    }

    /// Tells the sender by mail, if the customer wants that. The events report the same in any case.
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
        let detail = format!("the sender of {} could not be notified: {why}", record.id);
        self.events.emit(Event::alert(detail).about_customer(&record.lane.customer).about_message(record.id));
    }

    fn count(&self, customer: &CustomerId, accepted: Timestamp, told: &RecipientEvent) {
        let class = told.class.or(told.heard.as_ref().and_then(|heard| heard.class)).unwrap_or(FailureClass::Unknown);
        let outcome = match told.event {
            EventKind::Relayed => CountedOutcome::Relayed,
            EventKind::Deferred => CountedOutcome::Deferred,
            EventKind::Bounced => CountedOutcome::Bounced(class),
            EventKind::Expired => CountedOutcome::Expired(class),
            _ => return,
        };
        self.counters.count(customer, outcome, Timestamp::now().since(accepted));
    }

    /// Raises an alert about a held message. If many messages are held for one reason, only the first raises one.
    fn tell_of_hold(&self, customer: &CustomerId, id: QueueId, told: &RecipientEvent) {
        let why = told.detail.as_deref().unwrap_or_default();
        if self.holds().needs_alert(customer, why, self.started.elapsed()) {
            self.alert_of_holds(customer, format!("message {id} is held: {why}"));
        }
    }

    /// Reports how many more messages were held for the same reason within an hour after the alert.
    pub(super) fn alert_of_further_holds(&self) {
        let over = self.holds().take_ended(self.started.elapsed());
        for FurtherHolds { customer, reason, count } in over {
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
