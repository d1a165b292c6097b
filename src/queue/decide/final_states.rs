//! Property test: every accepted recipient ends with a final event, whatever happens to its mail.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{arrived, heard, record, route};
use super::*;
use crate::events::Mail;
use crate::record::unread::{End, Life};

/// Something that happens to a message.
#[derive(Clone, Debug)]
enum Step {
    /// An attempt. The numbers choose the outcome of each recipient.
    Attempt([u8; 3]),
    /// An attempt that finds that the content cannot be read.
    Unreadable,
    /// Queue ageing looks at the message behind a route in trouble.
    Wait,
    /// An operator gives the message up, for all recipients or for one domain.
    GiveUp { tells_sender: bool, only_one_domain: bool },
    /// An operator releases the message.
    Release,
    /// The disk damages the message, and the spool sets it aside.
    Damage,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<[u8; 3]>().prop_map(Step::Attempt),
        1 => Just(Step::Unreadable),
        2 => Just(Step::Wait),
        1 => any::<(bool, bool)>()
            .prop_map(|(tells_sender, only_one_domain)| Step::GiveUp { tells_sender, only_one_domain }),
        1 => Just(Step::Release),
        1 => Just(Step::Damage),
    ]
}

fn attempt_of(record: &Record, said: [u8; 3]) -> Outcome {
    let recipients = record.waiting().filter_map(|(index, _)| match said[index] % 6 {
        // The recipient was not reached.
        0 => None,
        1 => Some(heard(index, Verdict::Relayed, Scope::Recipient, "250 2.0.0 ok")),
        2 => Some(heard(index, Verdict::Failed, Scope::Recipient, "550 5.1.1 unknown")),
        3 => Some(heard(index, Verdict::Deferred, Scope::Route, "connection refused")),
        4 => Some(heard(index, Verdict::Failed, Scope::Message, "554 5.6.0 no")),
        _ => Some(heard(index, Verdict::Deferred, Scope::Recipient, "451 4.7.1 later")),
    });
    Outcome { recipients: recipients.collect(), ..Outcome::default() }
}

/// Applies a settlement as the spool does.
fn apply(record: &mut Record, settlement: &Settlement) {
    for (index, state) in &settlement.results {
        record.recipients[*index] = state.clone();
    }
    record.attempts += u32::from(settlement.counts);
    record.delay_notified = settlement.delay_notified;
    record.held = settlement.hold.clone().or_else(|| record.held.take());
}

fn decided(record: &Record, step: &Step, now: Timestamp) -> Option<Decision> {
    let patience = Patience::default();
    let (route, moment) = (route("r"), Moment { now, own_waiting: Duration::ZERO, clock_trusted: true });
    let after = |outcome: &Outcome| Some(after_attempt(record, &route, outcome, &patience, moment, 0.5));
    match step {
        // Held messages are not tried.
        Step::Attempt(_) | Step::Unreadable | Step::Wait if record.held.is_some() => None,
        Step::Attempt(said) => after(&attempt_of(record, *said)),
        Step::Unreadable => after(&Outcome { hold: Some("unreadable".into()), ..Outcome::default() }),
        Step::Wait => while_waiting(record, &route, "in trouble", &patience, moment),
        Step::GiveUp { tells_sender, only_one_domain } => {
            let only_in = only_one_domain.then(|| Domain::parse("elsewhere.dk").unwrap());
            let how = GiveUp { tells_sender: *tells_sender, reason: "enough".into(), actor: "anna".into(), only_in };
            given_up(record, Some(&route.id), &how, now)
        }
        Step::Release | Step::Damage => None,
    }
}

/// The events of a damaged message, as the record gives them from those before: it was accepted for each recipient, and the spool no longer
/// says for whom.
fn lost(record: &Record, told: &[serde_json::Value], now: Timestamp) -> Vec<serde_json::Value> {
    let life = Life::of(told);
    let end = End { event: EventKind::Lost, at: now, detail: "the disk damaged the mail", actor: None };
    life.ends(record.id, &end).into_iter().map(|event| serde_json::to_value(event).unwrap()).collect()
}

proptest! {
    #[test]
    fn every_recipient_has_one_final_event_and_it_is_the_last(steps in proptest::collection::vec((step(), 0u64..40), 0..30)) {
        let mut record = record();
        let mut now = arrived();
        let mut ids = HashSet::new();
        let mut is_lost = false;
        let accepted = |index| RecipientEvent::new(EventKind::Accepted, index, arrived());
        let as_json = |record: &Record, told: &RecipientEvent| serde_json::to_value(Mail::of(record).event(told)).unwrap();
        let mut events: Vec<serde_json::Value> =
            (0..record.recipients.len()).map(|index| as_json(&record, &accepted(index))).collect();
        let give_up = Step::GiveUp { tells_sender: false, only_one_domain: false };
        // At the end an operator gives up held messages, and the others grow too old.
        let end = [(Step::Wait, 24 * 30), (give_up, 1)];
        for (step, hours) in steps.into_iter().chain(end) {
            now = now + Duration::from_secs(hours * 3600) + Duration::from_millis(1);
            if matches!(step, Step::Release) {
                record.held = None;
            }
            if is_lost || !record.recipients.iter().any(RecipientState::is_waiting) {
                break;
            }
            let new: Vec<serde_json::Value> = if matches!(step, Step::Damage) {
                is_lost = true;
                lost(&record, &events, now)
            } else {
                let Some(decision) = decided(&record, &step, now) else { continue };
                let new = decision.events.iter().map(|told| as_json(&record, told)).collect();
                apply(&mut record, &decision.settlement);
                new
            };
            for event in new {
                prop_assert!(ids.insert(event["event_id"].to_string()), "{event} is told twice");
                let ended = events.iter().any(|told| told["recipient"] == event["recipient"] && is_final(told));
                prop_assert!(!ended, "{event} comes after the end");
                events.push(event);
            }
        }
        for (index, to) in record.envelope.recipients.iter().enumerate() {
            let address = to.address.to_string();
            let of_it: Vec<&serde_json::Value> = events.iter().filter(|told| told["recipient"] == address).collect();
            let ends = of_it.iter().filter(|told| is_final(told)).count();
            prop_assert_eq!(ends, 1, "{}: {:?}", address, &of_it);
            let last = of_it.last().expect("it was accepted")["event"].clone();
            let right = match &record.recipients[index] {
                RecipientState::Relayed { .. } => last == "relayed",
                RecipientState::Failed { .. } => last != "relayed",
                RecipientState::Waiting { .. } => is_lost && last == "lost",
            };
            prop_assert!(right, "{address} ends as {:?}: {last}", record.recipients[index]);
        }
    }
}

fn is_final(event: &serde_json::Value) -> bool {
    EventKind::ALL.iter().any(|kind| event["event"] == kind.as_str() && kind.is_final())
}
