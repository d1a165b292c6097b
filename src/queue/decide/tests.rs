//! The decisions about one record, one after the other.

use super::*;
use crate::message::{Notify, QueueId};
use crate::spool::Expedited;
use crate::{test_customers, test_records};

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn arrived() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}

pub(super) fn record() -> Record {
    let record = test_records::record("a@test.dk", &["x@example.com", "y@example.com", "z@example.com"]);
    Record { id: QueueId::first_at(arrived()), due: arrived(), ..record }
}

pub(super) fn route(id: &str) -> Route {
    test_customers::route(id, "mail.example.com")
}

pub(super) fn heard(index: usize, verdict: Verdict, scope: Scope, reply: &str) -> RecipientOutcome {
    let why = (verdict != Verdict::Relayed).then_some(FailureClass::Unknown);
    Meaning::new(verdict, scope, reply, why).of(index)
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
    let decision = after(DAY / 24, &record(), vec![heard(0, Verdict::Deferred, Scope::Route, "connection refused")]);
    assert!(!decision.settlement.counts);
    assert_eq!(decision.settlement.due, Some(arrived() + DAY / 24));
}

#[test]
fn a_failure_that_may_be_the_messages_own_lets_others_go_first() {
    let refused = heard(0, Verdict::Deferred, Scope::Route, "554 5.7.1 Relay access denied");
    let reason = refused.meaning.reply.clone();
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

#[test]
fn who_gives_up_a_part_of_a_held_record_does_not_undo_another_operators_release() {
    let held = Record { held: Some("looks odd".into()), ..record() };
    let only_in = Some(Domain::parse("example.com").unwrap());
    let how = GiveUp { tells_sender: false, reason: "enough".into(), actor: "anna".into(), only_in };
    let decision = given_up(&held, None, &how, arrived()).unwrap();
    assert_eq!(decision.settlement.hold, None, "the spool knows whether it is still held");
}
