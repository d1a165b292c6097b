//! Decides what happens next to a record's recipients: after an attempt, while they wait behind a route in trouble, and when an operator
//! gives them up. These functions have no side effects. [`apply`](super::apply) carries the decisions out.

use std::sync::Arc;
use std::time::Duration;

use crate::bounce::{Attempt, RecipientReport};
use crate::delivery::{Meaning, Outcome, RecipientOutcome, Scope, Trouble, Verdict};
use crate::events::{EventKind, RecipientEvent, Tried};
use crate::message::{FailureClass, Recipient, ReplyText, TestOutcome};
use crate::queue::retry::Schedule;
use crate::route::{Route, RouteId};
use crate::smtp::Domain;
use crate::spool::{RecipientState, Record, Settlement};
use crate::time::Timestamp;

/// How long the queue keeps trying.
#[derive(Clone, Debug)]
pub struct Patience {
    /// When to try again, and when to give up.
    pub retry: Schedule,
    /// A sender gets one delay notice when its message is this old and still waits.
    pub delay_notice: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { retry: Schedule::default(), delay_notice: Duration::from_secs(4 * 3600) }
    }
}

/// What happens next to a record.
#[derive(Debug)]
pub struct Decision {
    /// What the spool records.
    pub settlement: Settlement,
    /// The results for programs, in the order of the recipients.
    pub events: Vec<RecipientEvent>,
    /// Recipients that will never be tried again, as reported to the sender.
    pub failures: Vec<RecipientReport>,
    /// Relayed recipients to report to a sender that asked for it, because the next server does not report itself (RFC 3461 §5.2.2).
    pub relayed: Vec<RecipientReport>,
    /// The delay notice to send to the sender.
    pub delayed: Option<Delay>,
}

/// The content of a delay notice.
#[derive(Debug)]
pub struct Delay {
    /// When the waiting recipients will be given up.
    pub until: Timestamp,
    /// The waiting recipients, each with the last reply.
    pub waiting: Vec<RecipientReport>,
}

/// The time of a decision, with everything that the message's age depends on.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of the decision.
    pub now: Timestamp,
    /// How long the message has waited for our own caps since it was due. That time does not make it older.
    pub own_waiting: Duration,
    /// True if ages computed from the clock can be believed. Right after the clock jumped ahead, no mail is late or too old.
    pub clock_trusted: bool,
}

/// How an operator gives up a message.
#[derive(Clone, Debug)]
pub struct GiveUp {
    /// True if the sender gets a bounce, as if the receiving server had refused the recipients.
    pub tells_sender: bool,
    /// The reason, which becomes the recipients' last reply.
    pub reason: String,
    pub actor: Arc<str>,
    /// If set, only recipients in this domain are given up.
    pub only_in: Option<Domain>,
}

/// Decides what an attempt over `route` means for `record`. `jitter` is in 0..1.
///
/// If the route failed, the attempt does not count, because no server has judged the message. The message stays due at once, and the
/// route's throttle delays it. If the failure may be the message's own, the message waits by the schedule, so that other messages are tried
/// in between.
pub fn after_attempt(
    record: &Record,
    route: &Route,
    outcome: &Outcome,
    patience: &Patience,
    moment: Moment,
    jitter: f64,
) -> Decision {
    let Moment { now, own_waiting, clock_trusted } = moment;
    let expires_at = expires_at(record, &patience.retry) + own_waiting;
    let in_doubt = matches!(outcome.trouble, Some(Trouble::Doubt { .. }));
    let of_message = |meaning: &Meaning| meaning.scope != Scope::Route || in_doubt;
    let mut meanings = outcome.recipients.iter().map(|heard| &heard.meaning);
    let deferred = meanings.clone().any(|meaning| of_message(meaning) && meaning.verdict == Verdict::Deferred);
    let counts = meanings.any(|meaning| of_message(meaning) || meaning.verdict != Verdict::Deferred);
    let next = if deferred { patience.retry.backoff.next_attempt(record.attempts + 1, now, jitter) } else { now };
    let due = if clock_trusted { next.min(expires_at).max(now) } else { next };

    let mut decision = Decision::new(Settlement {
        results: Vec::new(),
        due: Some(due),
        counts,
        waited_for_caps: own_waiting,
        delay_notified: record.delay_notified,
        hold: outcome.hold.clone(),
        lines: Vec::new(),
    });
    let tried = Tried::new(record, route);
    for heard in &outcome.recipients {
        decision.add_outcome(&tried, route, heard, now);
        let asked = record.envelope.recipients.get(heard.index).and_then(|r| r.notify).is_some_and(|n| n.success);
        if asked && heard.meaning.verdict == Verdict::Relayed && !outcome.reported.contains(&heard.index) {
            decision.relayed.push(report_of(heard, route, now));
        }
    }
    if let Some(why) = &outcome.hold {
        decision.add_hold_events(record, route, why, now);
    } else if clock_trusted && now >= expires_at {
        decision.expire(record, route, now);
    } else {
        decision.add_delay_notice(record, route, None, patience, moment);
    }
    decision
}

/// Decides about a record that waits without an attempt because `route` is in trouble (`why`). At its maximum age the record is given up.
/// If it is late, its sender gets one delay notice. Otherwise nothing happens. The record keeps its due time.
pub fn while_waiting(
    record: &Record,
    route: &Route,
    why: &str,
    patience: &Patience,
    moment: Moment,
) -> Option<Decision> {
    let mut decision = Decision::new(untried(record));
    if is_given_up(record, patience, moment) {
        decision.expire(record, route, moment.now);
        return Some(decision);
    }
    decision.add_delay_notice(record, route, Some(why), patience, moment);
    decision.delayed.is_some().then_some(decision)
}

/// Decides about a record that an operator gives up, either for all waiting recipients or for those in one domain. Returns `None` if no
/// recipient matches. `route` is the record's current route.
pub fn given_up(record: &Record, route: Option<&RouteId>, how: &GiveUp, now: Timestamp) -> Option<Decision> {
    // The other recipients stay as they are. Another operator may hold or release the record at this moment.
    let mut decision = Decision::new(untried(record));
    let kind = if how.tells_sender { EventKind::Bounced } else { EventKind::Removed };
    // The reason is the relay's own text, even if it looks like a server's reply.
    let reason: Arc<str> = how.reason.as_str().into();
    let class = how.tells_sender.then_some(FailureClass::Policy);
    let meant = |to: &Recipient| how.only_in.is_none() || to.address.domain() == how.only_in.as_ref();
    for (index, _) in record.waiting().filter(|(_, to)| meant(to)) {
        let reply = ReplyText::new(Arc::clone(&reason), class);
        decision.settlement.results.push((index, RecipientState::Failed { reply: reply.clone() }));
        if how.tells_sender {
            decision.failures.push(RecipientReport { index, reply, advice: None, attempt: None, expired: false });
        }
        let told = RecipientEvent::new(kind, index, now).on(route).because(Arc::clone(&reason)).by(&how.actor);
        decision.events.push(RecipientEvent { class, ..told });
    }
    (!decision.events.is_empty()).then_some(decision)
}

/// The settlement of a record that was not tried. It keeps its due time, so that the waiting time since then still counts at the next
/// attempt.
fn untried(record: &Record) -> Settlement {
    Settlement { delay_notified: record.delay_notified, ..Settlement::default() }
}

/// Returns true if a record is given up for its age without another attempt. A record that an operator released always gets an attempt.
pub fn is_given_up(record: &Record, patience: &Patience, moment: Moment) -> bool {
    let Moment { now, own_waiting, clock_trusted } = moment;
    let is_too_old = clock_trusted && now >= expires_at(record, &patience.retry) + own_waiting;
    is_too_old && !record.is_released()
}

/// The time at which a record is given up, unless it waits for our own caps from now on.
fn expires_at(record: &Record, retry: &Schedule) -> Timestamp {
    record.id.arrived() + retry.give_up + record.waited_for_caps
}

impl Decision {
    fn new(settlement: Settlement) -> Self {
        Decision { settlement, events: Vec::new(), failures: Vec::new(), relayed: Vec::new(), delayed: None }
    }

    /// Adds to the events of deferred recipients when the next attempt is: when they are due and the route carries mail. `carries_from` is
    /// called only if a recipient was deferred. Nothing is added if it returns `None`, which means that only a person can help.
    pub fn announce_next_attempt(&mut self, carries_from: impl FnOnce() -> Option<Timestamp>) {
        let deferred = || self.events.iter().any(|event| event.event == EventKind::Deferred);
        let Some(from) = deferred().then(carries_from).flatten() else { return };
        let next = self.settlement.due.unwrap_or(from).max(from);
        for event in self.events.iter_mut().filter(|event| event.event == EventKind::Deferred) {
            event.next_attempt = Some(next);
        }
    }

    /// Adds the reports that Mailjet would send for relayed test mail, since no service sends them.
    pub fn add_test_reports(&mut self, record: &Record, now: Timestamp) {
        let relayed = self.events.iter().filter(|told| told.event == EventKind::Relayed).map(|told| told.index);
        let mut reports = Vec::new();
        for index in relayed {
            let Some(to) = record.envelope.recipients.get(index) else { continue };
            let kinds: &[EventKind] = match TestOutcome::of(&to.address) {
                TestOutcome::Relayed => &[],
                TestOutcome::BouncedLater => &[EventKind::Bounced],
                TestOutcome::Complained => &[EventKind::Delivered, EventKind::Complained],
                TestOutcome::Unsubscribed => &[EventKind::Delivered, EventKind::Unsubscribed],
                TestOutcome::Opened => &[EventKind::Delivered, EventKind::Opened],
                _ => &[EventKind::Delivered],
            };
            for kind in kinds {
                let class = (*kind == EventKind::Bounced).then_some(FailureClass::Hard);
                let report = RecipientEvent::new(*kind, index, now).because("test mode: nobody reported it");
                // A consumer tells late reports by their reason, and tries that out in test mode.
                reports.push(RecipientEvent { class, reason: Some("test_mode"), ..report });
            }
        }
        self.events.extend(reports);
    }

    /// Adds a delay notice for the recipients that still wait, unless the sender has had one.
    fn add_delay_notice(
        &mut self,
        record: &Record,
        route: &Route,
        why: Option<&str>,
        patience: &Patience,
        Moment { now, own_waiting, clock_trusted }: Moment,
    ) {
        let age = now.since(record.id.arrived()).saturating_sub(record.waited_for_caps + own_waiting);
        if record.delay_notified || !clock_trusted || age < patience.delay_notice {
            return;
        }
        let waiting = self.still_waiting(record, route, now);
        if waiting.is_empty() {
            return;
        }
        let until = expires_at(record, &patience.retry) + own_waiting;
        let why = why.map(|why| format!("{why}; ")).unwrap_or_default();
        let detail: Arc<str> = format!("{why}tried until {until}").into();
        for report in &waiting {
            let told = RecipientEvent::new(EventKind::Delayed, report.index, now).on(Some(&route.id));
            self.events.push(RecipientEvent { heard: Some(report.reply.clone()), ..told.because(Arc::clone(&detail)) });
        }
        self.settlement.delay_notified = true;
        self.delayed = Some(Delay { until, waiting });
    }

    /// Returns the recipients for a delay notice: those that will be tried again, with their last reply.
    fn still_waiting(&self, record: &Record, route: &Route, now: Timestamp) -> Vec<RecipientReport> {
        let report = |(index, _): (usize, &Recipient)| {
            let result = self.settlement.results.iter().find(|(i, _)| *i == index).map(|(_, state)| state);
            let RecipientState::Waiting { last_reply } = result.unwrap_or(&record.recipients[index]) else {
                return None;
            };
            let reply = last_reply.clone().unwrap_or_else(|| ReplyText::new("not tried yet", None));
            let attempt = result.map(|_| attempt(route, now));
            Some(RecipientReport { index, reply, advice: None, attempt, expired: false })
        };
        record.waiting().filter_map(report).collect()
    }

    /// Adds the outcome of one recipient.
    fn add_outcome(&mut self, tried: &Tried, route: &Route, heard: &RecipientOutcome, now: Timestamp) {
        let RecipientOutcome { index, meaning } = heard;
        let reply = meaning.reply.clone();
        let (state, kind) = match meaning.verdict {
            Verdict::Relayed => (RecipientState::Relayed { reply }, EventKind::Relayed),
            Verdict::Deferred => (RecipientState::Waiting { last_reply: Some(reply) }, EventKind::Deferred),
            Verdict::Failed => (RecipientState::Failed { reply }, EventKind::Bounced),
        };
        if meaning.verdict == Verdict::Failed {
            self.failures.push(report_of(heard, route, now));
        }
        let mut told = RecipientEvent::of_attempt(kind, *index, now, tried, meaning.reply.clone());
        told.detail = meaning.advice.as_deref().map(Arc::from).or_else(|| {
            meaning
                .unknown
                .then(|| "the connection broke after the whole message was sent: the server may have taken it".into())
        });
        self.settlement.results.push((*index, state));
        self.events.push(told);
    }

    /// Adds an event that the record is held, for each recipient that still waits.
    fn add_hold_events(&mut self, record: &Record, route: &Route, why: &str, now: Timestamp) {
        let why: Arc<str> = why.into();
        for (index, _) in record.waiting() {
            if self.leaves_waiting(index) {
                self.events.push(
                    RecipientEvent::new(EventKind::Held, index, now).on(Some(&route.id)).because(Arc::clone(&why)),
                );
            }
        }
    }

    /// Gives up every recipient that still waits, because the record is too old.
    fn expire(&mut self, record: &Record, route: &Route, now: Timestamp) {
        let given_up: Vec<usize> =
            record.waiting().map(|(index, _)| index).filter(|index| self.leaves_waiting(*index)).collect();
        for index in given_up {
            let result = self.settlement.results.iter().position(|(i, _)| *i == index);
            let attempt = result.map(|_| attempt(route, now));
            let last = match result.map(|at| self.settlement.results.remove(at).1) {
                Some(RecipientState::Waiting { last_reply }) => last_reply,
                _ => match &record.recipients[index] {
                    RecipientState::Waiting { last_reply } => last_reply.clone(),
                    _ => None,
                },
            };
            let unheard =
                || ReplyText::new("the route carried no mail in all this time", Some(FailureClass::RelayLimit));
            let reply = last.unwrap_or_else(unheard);
            let told = RecipientEvent::new(EventKind::Expired, index, now).on(Some(&route.id));
            self.events.push(RecipientEvent { heard: Some(reply.clone()), ..told });
            self.settlement.results.push((index, RecipientState::Failed { reply: reply.clone() }));
            self.failures.push(RecipientReport { index, reply, advice: None, attempt, expired: true });
        }
    }

    /// Returns true if the recipient will be tried again after the results so far.
    fn leaves_waiting(&self, index: usize) -> bool {
        self.settlement.results.iter().find(|(i, _)| *i == index).is_none_or(|(_, state)| state.is_waiting())
    }
}

/// Makes the sender's report about a recipient of this attempt.
fn report_of(heard: &RecipientOutcome, route: &Route, now: Timestamp) -> RecipientReport {
    let (reply, advice) = (heard.meaning.reply.clone(), heard.meaning.advice.clone());
    RecipientReport { index: heard.index, reply, advice, attempt: Some(attempt(route, now)), expired: false }
}

/// Describes the attempt that ends now for a notification.
fn attempt(route: &Route, now: Timestamp) -> Attempt {
    Attempt { at: now, server: route.host.clone() }
}

#[cfg(test)]
mod final_states;

#[cfg(test)]
mod tests;
