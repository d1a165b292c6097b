//! Decides what happens next to a record's recipients: after an attempt, while they wait behind a route in trouble, and when an operator
//! gives them up. These functions have no side effects. [`apply`](super::apply) carries the decisions out.

use std::sync::Arc;
use std::time::Duration;

use crate::bounce::{Attempt, Report};
use crate::delivery::{Class, Outcome, RecipientOutcome, Scope, Trouble, Verdict};
use crate::events::{EventKind, Told, Tried};
use crate::message::{FailureClass, Heard, Recipient, TestOutcome};
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
    pub events: Vec<Told>,
    /// Recipients that will never be tried again, as reported to the sender.
    pub failures: Vec<Report>,
    /// Relayed recipients to report to a sender that asked for it, because the next server does not report itself (RFC 3461 §5.2.2).
    pub relayed: Vec<Report>,
    /// The delay notice to send to the sender.
    pub delayed: Option<Delay>,
}

/// The content of a delay notice.
#[derive(Debug)]
pub struct Delay {
    /// When the waiting recipients will be given up.
    pub until: Timestamp,
    /// The waiting recipients, each with the last reply.
    pub waiting: Vec<Report>,
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
    let of_message = |class: &Class| class.scope != Scope::Route || in_doubt;
    let mut classes = outcome.recipients.iter().map(|heard| &heard.class);
    let deferred = classes.clone().any(|class| of_message(class) && class.verdict == Verdict::Deferred);
    let counts = classes.any(|class| of_message(class) || class.verdict != Verdict::Deferred);
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
        decision.take_in(&tried, route, heard, now);
        let asked = record.envelope.recipients.get(heard.index).and_then(|r| r.notify).is_some_and(|n| n.success);
        if asked && heard.class.verdict == Verdict::Relayed && !outcome.reported.contains(&heard.index) {
            decision.relayed.push(report_of(heard, route, now));
        }
    }
    if let Some(why) = &outcome.hold {
        decision.tell_of_hold(record, route, why, now);
    } else if clock_trusted && now >= expires_at {
        decision.expire(record, route, now);
    } else {
        decision.owe_delay_notice(record, route, None, patience, moment);
    }
    decision
}

/// Decides about a record that waits without an attempt because `route` is in trouble (`why`). At its maximum age the record is given up.
/// If it is late, the sender is told once. Otherwise nothing happens. The record keeps its place in line.
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
    decision.owe_delay_notice(record, route, Some(why), patience, moment);
    decision.delayed.is_some().then_some(decision)
}

/// Decides about a record that an operator gives up, either for all waiting recipients or for those in one domain. Returns `None` if no
/// recipient matches. `route` is the record's current route.
pub fn given_up(record: &Record, route: Option<&RouteId>, how: &GiveUp, now: Timestamp) -> Option<Decision> {
    // The other recipients stay as they were, also on hold.
    let mut decision = Decision::new(Settlement { hold: record.held.clone(), ..untried(record) });
    let kind = if how.tells_sender { EventKind::Bounced } else { EventKind::Removed };
    // The reason is the relay's own text, even if it looks like a server's reply.
    let reason: Arc<str> = how.reason.as_str().into();
    let class = how.tells_sender.then_some(FailureClass::Policy);
    let meant = |to: &Recipient| how.only_in.is_none() || to.address.domain() == how.only_in.as_ref();
    for (index, _) in record.waiting().filter(|(_, to)| meant(to)) {
        let reply = Heard::new(Arc::clone(&reason), class);
        decision.settlement.results.push((index, RecipientState::Failed { reply: reply.clone() }));
        if how.tells_sender {
            decision.failures.push(Report { index, reply, advice: None, attempt: None, expired: false });
        }
        let told = Told::new(kind, index, now).on(route).because(Arc::clone(&reason)).by(&how.actor);
        decision.events.push(Told { class, ..told });
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
    pub fn make_up_reports(&mut self, record: &Record, now: Timestamp) {
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
                reports.push(Told { class, ..Told::new(*kind, index, now).because("test mode: nobody reported it") });
            }
        }
        self.events.extend(reports);
    }

    /// Adds a delay notice for the recipients that still wait, unless the sender has had one.
    fn owe_delay_notice(
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
            let told = Told::new(EventKind::Delayed, report.index, now).on(Some(&route.id));
            self.events.push(Told { heard: Some(report.reply.clone()), ..told.because(Arc::clone(&detail)) });
        }
        self.settlement.delay_notified = true;
        self.delayed = Some(Delay { until, waiting });
    }

    /// Returns the recipients for a delay notice: those that will be tried again, with their last reply.
    fn still_waiting(&self, record: &Record, route: &Route, now: Timestamp) -> Vec<Report> {
        let report = |(index, _): (usize, &Recipient)| {
            let result = self.settlement.results.iter().find(|(i, _)| *i == index).map(|(_, state)| state);
            let RecipientState::Waiting { last_reply } = result.unwrap_or(&record.recipients[index]) else {
                return None;
            };
            let reply = last_reply.clone().unwrap_or_else(|| Heard::new("not tried yet", None));
            let attempt = result.map(|_| attempt(route, now));
            Some(Report { index, reply, advice: None, attempt, expired: false })
        };
        record.waiting().filter_map(report).collect()
    }

    /// Adds the outcome of one recipient.
    fn take_in(&mut self, tried: &Tried, route: &Route, heard: &RecipientOutcome, now: Timestamp) {
        let RecipientOutcome { index, class } = heard;
        let reply = class.reply.clone();
        let (state, kind) = match class.verdict {
            Verdict::Relayed => (RecipientState::Relayed { reply }, EventKind::Relayed),
            Verdict::Deferred => (RecipientState::Waiting { last_reply: Some(reply) }, EventKind::Deferred),
            Verdict::Failed => (RecipientState::Failed { reply }, EventKind::Bounced),
        };
        if class.verdict == Verdict::Failed {
            self.failures.push(report_of(heard, route, now));
        }
        let mut told = Told::of_attempt(kind, *index, now, tried, class.reply.clone());
        told.detail = class.advice.as_deref().map(Arc::from).or_else(|| {
            class
                .unknown
                .then(|| "the connection broke after the whole message was sent: the server may have taken it".into())
        });
        self.settlement.results.push((*index, state));
        self.events.push(told);
    }

    /// Adds an event that the record is held, for each recipient that still waits.
    fn tell_of_hold(&mut self, record: &Record, route: &Route, why: &str, now: Timestamp) {
        let why: Arc<str> = why.into();
        for (index, _) in record.waiting() {
            if self.leaves_waiting(index) {
                self.events.push(Told::new(EventKind::Held, index, now).on(Some(&route.id)).because(Arc::clone(&why)));
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
            let unheard = || Heard::new("the route carried no mail in all this time", Some(FailureClass::RelayLimit));
            let reply = last.unwrap_or_else(unheard);
            let told = Told::new(EventKind::Expired, index, now).on(Some(&route.id));
            self.events.push(Told { heard: Some(reply.clone()), ..told });
            self.settlement.results.push((index, RecipientState::Failed { reply: reply.clone() }));
            self.failures.push(Report { index, reply, advice: None, attempt, expired: true });
        }
    }

    /// Returns true if the recipient will be tried again after the results so far.
    fn leaves_waiting(&self, index: usize) -> bool {
        self.settlement.results.iter().find(|(i, _)| *i == index).is_none_or(|(_, state)| state.is_waiting())
    }
}

/// Makes the sender's report about a recipient of this attempt.
fn report_of(heard: &RecipientOutcome, route: &Route, now: Timestamp) -> Report {
    let (reply, advice) = (heard.class.reply.clone(), heard.class.advice.clone());
    Report { index: heard.index, reply, advice, attempt: Some(attempt(route, now)), expired: false }
}

/// Describes the attempt that ends now for a notification.
fn attempt(route: &Route, now: Timestamp) -> Attempt {
    Attempt { at: now, server: route.host.clone() }
}

#[cfg(test)]
mod final_states;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{BodyKind, CustomerId, Envelope, Lane, MailKind, Notify, QueueId, Urgency};
    use crate::smtp::{Domain, Mailbox, ReversePath};
    use crate::spool::Expedited;
    use crate::test_customers;

    const DAY: Duration = Duration::from_secs(86_400);

    pub(super) fn arrived() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    pub(super) fn record() -> Record {
        let to = |name| Recipient::new(Mailbox::parse(name).unwrap());
        Record {
            id: QueueId::first_at(arrived()),
            lane: Lane {
                customer: CustomerId::new("test-as"),
                domain: Domain::parse("test.dk").unwrap(),
                urgency: Urgency::Single,
                kind: MailKind::Mail,
            },
            envelope: Envelope {
                reverse_path: ReversePath::Mailbox(Mailbox::parse("a@test.dk").unwrap()),
                recipients: vec![to("x@example.com"), to("y@example.com"), to("z@example.com")],
                body: BodyKind::SevenBit,
                smtputf8: false,
                ret: None,
                envid: None,
                references: Default::default(),
            },
            recipients: vec![RecipientState::Waiting { last_reply: None }; 3],
            message_id: "1@test.dk".into(),
            size: 1000,
            attempts: 0,
            due: arrived(),
            expedited: None,
            waited_for_caps: Duration::ZERO,
            delay_notified: false,
            held: None,
            leased: true,
        }
    }

    pub(super) fn route(id: &str) -> Route {
        test_customers::route(id, "mail.example.com")
    }

    pub(super) fn heard(index: usize, verdict: Verdict, scope: Scope, reply: &str) -> RecipientOutcome {
        let why = (verdict != Verdict::Relayed).then_some(FailureClass::Unknown);
        Class::new(verdict, scope, reply, why).of(index)
    }

    fn at(age: Duration, own_waiting: Duration) -> Moment {
        Moment { now: arrived() + age, own_waiting, clock_trusted: true }
    }

    fn after(age: Duration, record: &Record, recipients: Vec<RecipientOutcome>) -> Decision {
        let outcome = Outcome { recipients, ..Outcome::default() };
        let route = route("mailjet.starter");
        after_attempt(record, &route, &outcome, &Patience::default(), at(age, Duration::ZERO), 0.5)
    }

    fn kinds(decision: &Decision) -> Vec<EventKind> {
        decision.events.iter().map(|e| e.event).collect()
    }

    #[test]
    fn each_recipient_gets_its_own_verdict() {
        let decision = after(
            Duration::from_secs(1),
            &record(),
            vec![
                heard(0, Verdict::Relayed, Scope::Recipient, "250 ok"),
                heard(1, Verdict::Failed, Scope::Recipient, "550 5.1.1 unknown"),
                heard(2, Verdict::Deferred, Scope::Recipient, "451 4.7.1 greylisted"),
            ],
        );
        assert_eq!(kinds(&decision), [EventKind::Relayed, EventKind::Bounced, EventKind::Deferred]);
        assert_eq!(decision.failures.iter().map(|f| f.index).collect::<Vec<_>>(), [1]);
        assert!(decision.settlement.counts);
        assert_eq!(decision.settlement.due, Some(arrived() + Duration::from_secs(61)));
        assert!(decision.delayed.is_none());
    }

    #[test]
    fn a_success_is_reported_where_it_was_asked_for_and_the_server_does_not_report() {
        let mut record = record();
        for recipient in &mut record.envelope.recipients[..2] {
            recipient.notify = Some(Notify { success: true, ..Notify::NEVER });
        }
        let delivered = |i| heard(i, Verdict::Relayed, Scope::Recipient, "250 ok");
        let mut outcome = Outcome { recipients: vec![delivered(0), delivered(1), delivered(2)], ..Outcome::default() };
        let decided = |outcome: &Outcome| {
            after_attempt(&record, &route("r"), outcome, &Patience::default(), at(Duration::ZERO, Duration::ZERO), 0.5)
                .relayed
        };
        let told = |index| report_of(&delivered(index), &route("r"), arrived());
        assert_eq!(decided(&outcome), [told(0), told(1)]);
        // DSN support is recorded per recipient, because each transaction may have reached another server.
        outcome.reported = vec![0];
        assert_eq!(decided(&outcome), [told(1)]);
        outcome.reported.push(1);
        assert!(decided(&outcome).is_empty());
    }

    #[test]
    fn a_failure_of_the_route_leaves_the_attempts_alone() {
        let decision =
            after(DAY / 24, &record(), vec![heard(0, Verdict::Deferred, Scope::Route, "connection refused")]);
        assert!(!decision.settlement.counts);
        assert_eq!(decision.settlement.due, Some(arrived() + DAY / 24));
    }

    #[test]
    fn a_failure_that_may_be_the_messages_own_lets_others_go_first() {
        let refused = heard(0, Verdict::Deferred, Scope::Route, "554 5.7.1 Relay access denied");
        let reason = refused.class.reply.clone();
        let trouble = Some(Trouble::Doubt { reason: reason.to_string(), at_least: None, advice: None });
        let outcome = Outcome { recipients: vec![refused], trouble, ..Outcome::default() };
        let route = route("own-server.a");
        let decision =
            after_attempt(&record(), &route, &outcome, &Patience::default(), at(Duration::ZERO, Duration::ZERO), 0.5);
        assert!(decision.settlement.counts);
        assert_eq!(decision.settlement.due, Some(arrived() + Duration::from_secs(60)));
    }

    #[test]
    fn the_next_attempt_is_announced_for_when_both_the_message_and_the_route_are_due() {
        let minute = Duration::from_secs(60);
        let announced = |scope, from: Option<Timestamp>| {
            let heard =
                vec![heard(0, Verdict::Deferred, scope, "451"), heard(1, Verdict::Relayed, Scope::Recipient, "250")];
            let mut decision = after(minute, &record(), heard);
            decision.announce_next_attempt(|| from);
            assert_eq!(decision.events[1].next_attempt, None);
            decision.events[0].next_attempt
        };
        let from = |minutes: u32| Some(arrived() + minutes * minute);
        // The schedule says a minute after the attempt.
        assert_eq!(announced(Scope::Recipient, from(1)), from(2), "the route is ready");
        assert_eq!(announced(Scope::Recipient, from(9)), from(9), "the route pauses for longer");
        assert_eq!(announced(Scope::Route, from(9)), from(9), "due at once, and not tried at once");
        assert_eq!(announced(Scope::Route, None), None, "suspended: nobody knows");
        let mut all_done = after(minute, &record(), vec![heard(0, Verdict::Failed, Scope::Recipient, "550")]);
        all_done.announce_next_attempt(|| panic!("nothing is deferred"));
    }

    #[test]
    fn recipients_that_were_not_reached_stay_due_at_once() {
        let decision = after(Duration::ZERO, &record(), vec![heard(0, Verdict::Relayed, Scope::Recipient, "250 ok")]);
        assert_eq!(decision.settlement.due, Some(arrived()));
        assert_eq!(decision.settlement.results.len(), 1);
    }

    #[test]
    fn the_last_attempt_is_at_the_end_of_the_maximum_age_and_then_all_expire() {
        let mut record = record();
        record.attempts = 40;
        let deferred = |i| heard(i, Verdict::Deferred, Scope::Recipient, "451 try later");
        let decision = after(5 * DAY - Duration::from_secs(60), &record, vec![deferred(0)]);
        assert_eq!(decision.settlement.due, Some(arrived() + 5 * DAY));
        let decision = after(5 * DAY, &record, vec![deferred(0), heard(1, Verdict::Relayed, Scope::Recipient, "250")]);
        assert_eq!(kinds(&decision), [EventKind::Deferred, EventKind::Relayed, EventKind::Expired, EventKind::Expired]);
        assert_eq!(decision.failures.iter().map(|f| (f.index, f.expired)).collect::<Vec<_>>(), [(0, true), (2, true)]);
        assert_eq!(decision.failures[0].reply, "451 try later");
        let heard_now: Vec<bool> = decision.failures.iter().map(|f| f.attempt.is_some()).collect();
        assert_eq!(heard_now, [true, false], "the other one was not reached");
        assert_eq!(decision.settlement.results.len(), 3);
        assert!(decision.settlement.results.iter().all(|(_, state)| !state.is_waiting()));
    }

    #[test]
    fn time_spent_waiting_for_our_own_caps_does_not_age_a_message() {
        let mut record = record();
        record.waited_for_caps = 3 * DAY;
        record.delay_notified = true;
        let decision = after(6 * DAY, &record, vec![heard(0, Verdict::Deferred, Scope::Recipient, "451")]);
        assert_eq!(kinds(&decision), [EventKind::Deferred]);
        let outcome =
            Outcome { recipients: vec![heard(0, Verdict::Deferred, Scope::Recipient, "451")], ..Outcome::default() };
        let route = route("r");
        let decision = after_attempt(&record, &route, &outcome, &Patience::default(), at(8 * DAY + DAY / 2, DAY), 0.5);
        assert_eq!(kinds(&decision), [EventKind::Deferred]);
    }

    #[test]
    fn while_the_clock_has_just_jumped_ahead_an_attempt_makes_no_mail_late_or_too_old() {
        let refused = heard(0, Verdict::Deferred, Scope::Recipient, "451");
        let outcome = Outcome { recipients: vec![refused], ..Outcome::default() };
        let jumped = Moment { clock_trusted: false, ..at(30 * DAY, Duration::ZERO) };
        let decision = after_attempt(&record(), &route("r"), &outcome, &Patience::default(), jumped, 0.5);
        assert_eq!(kinds(&decision), [EventKind::Deferred]);
        assert_eq!(decision.settlement.due, Some(jumped.now + Duration::from_secs(60)), "and not at once again");
        let why = "route r is suspended: 535";
        assert!(while_waiting(&record(), &route("r"), why, &Patience::default(), jumped).is_none());
    }

    #[test]
    fn a_message_whose_bytes_cannot_be_read_is_held_and_never_expires() {
        let outcome = Outcome { hold: Some("checksum".into()), ..Outcome::default() };
        let route = route("r");
        let decision = after_attempt(&record(), &route, &outcome, &Patience::default(), at(9 * DAY, DAY), 0.5);
        assert_eq!(kinds(&decision), [EventKind::Held; 3]);
        assert_eq!(decision.settlement.hold.as_deref(), Some("checksum"));
    }

    fn behind_trouble(age: Duration, record: &Record, own_waiting: Duration) -> Option<Decision> {
        let why = "route r is suspended: 535";
        while_waiting(record, &route("r"), why, &Patience::default(), at(age, own_waiting))
    }

    #[test]
    fn a_record_behind_a_route_in_trouble_is_announced_once_and_given_up_in_time() {
        assert!(behind_trouble(DAY / 7, &record(), Duration::ZERO).is_none());
        assert!(behind_trouble(DAY / 6, &record(), DAY / 7).is_none(), "it waited for our own caps");
        let decision = behind_trouble(DAY / 6, &record(), Duration::ZERO).unwrap();
        assert_eq!(kinds(&decision), [EventKind::Delayed; 3]);
        assert!(decision.events[0].detail.as_ref().unwrap().contains("suspended: 535"));
        assert!(decision.delayed.is_some() && decision.settlement.delay_notified && !decision.settlement.counts);
        assert_eq!((decision.settlement.due, decision.settlement.results.len()), (None, 0), "its place in line");
        let told = Record { delay_notified: true, ..record() };
        assert!(behind_trouble(2 * DAY, &told, Duration::ZERO).is_none());
        let decision = behind_trouble(5 * DAY, &told, Duration::ZERO).unwrap();
        assert_eq!(kinds(&decision), [EventKind::Expired; 3]);
        assert_eq!(decision.failures.len(), 3);
        assert!(decision.failures.iter().all(|f| f.attempt.is_none()), "no attempt was made");
    }

    #[test]
    fn what_an_operator_released_is_not_given_up_before_it_was_tried() {
        let expedited = Some(Expedited::Released { kept_back: Duration::ZERO });
        let released = Record { expedited, delay_notified: true, ..record() };
        assert!(behind_trouble(9 * DAY, &released, Duration::ZERO).is_none());
        let tried = after(9 * DAY, &released, vec![heard(0, Verdict::Deferred, Scope::Recipient, "451")]);
        assert!(kinds(&tried).contains(&EventKind::Expired), "and after that attempt it is");
    }

    #[test]
    fn what_an_operator_made_due_at_once_grows_old_behind_a_route_in_trouble() {
        let retried = Record { expedited: Some(Expedited::Requested), ..record() };
        let told = behind_trouble(DAY / 6, &retried, Duration::ZERO).unwrap();
        assert_eq!(kinds(&told), [EventKind::Delayed; 3]);
        let given_up = behind_trouble(5 * DAY, &retried, Duration::ZERO).unwrap();
        assert_eq!(kinds(&given_up), [EventKind::Expired; 3]);
    }

    #[test]
    fn a_delay_notice_is_owed_once() {
        let deferred = || vec![heard(0, Verdict::Deferred, Scope::Recipient, "451")];
        let decision = after(DAY / 6, &record(), deferred());
        assert!(decision.delayed.is_some() && decision.settlement.delay_notified);
        let told = [EventKind::Deferred, EventKind::Delayed, EventKind::Delayed, EventKind::Delayed];
        assert_eq!(kinds(&decision), told, "each that waits");
        let mut told = record();
        told.delay_notified = true;
        assert!(after(DAY / 6, &told, deferred()).delayed.is_none());
        let all_done = (0..3).map(|i| heard(i, Verdict::Relayed, Scope::Recipient, "250")).collect();
        assert!(after(DAY / 6, &record(), all_done).delayed.is_none());
    }
}
