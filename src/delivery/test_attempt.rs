//! The attempt for test mail: no connection is made, and each recipient gets its fixed outcome.

use std::time::Duration;

use super::outcome::{Meaning, Outcome, Scope, Verdict};
use crate::message::{FailureClass, TestOutcome};
use crate::spool::Record;

/// How long a slow server takes.
const SLOW: Duration = Duration::from_secs(10);

/// Returns the outcomes for the recipients at these indices. Nothing is sent.
pub(super) async fn run(record: &Record, recipients: &[usize]) -> Outcome {
    let outcome_of = |index: usize| record.envelope.recipients.get(index).map(|to| TestOutcome::of(&to.address));
    if recipients.iter().any(|index| outcome_of(*index) == Some(TestOutcome::Slow)) {
        tokio::time::sleep(SLOW).await;
    }
    let is_first = record.attempts == 0;
    let heard = recipients.iter().filter_map(|index| Some(meaning(outcome_of(*index)?, is_first).of(*index)));
    Outcome { recipients: heard.collect(), ..Outcome::default() }
}

fn meaning(outcome: TestOutcome, is_first: bool) -> Meaning {
    let (verdict, reply, why) = match outcome {
        TestOutcome::Bounced => {
            (Verdict::Failed, "550 5.1.1 test mode: no such address", Some(FailureClass::Hard))
        }
        TestOutcome::MailboxFull => {
            (Verdict::Failed, "552 5.2.2 test mode: the mailbox is full", Some(FailureClass::MailboxFull))
        }
        TestOutcome::Spam => (Verdict::Failed, "554 5.7.1 test mode: this is spam", Some(FailureClass::Content)),
        TestOutcome::Deferred if is_first => {
            (Verdict::Deferred, "451 4.7.1 test mode: try again later", Some(FailureClass::Rate))
        }
        TestOutcome::Delivered
        | TestOutcome::Relayed
        | TestOutcome::BouncedLater
        | TestOutcome::Deferred
        | TestOutcome::Slow
        | TestOutcome::Complained
        | TestOutcome::Unsubscribed
        | TestOutcome::Opened
        // Submission has already left out suppressed recipients. Mail accepted before the list of names changed may still hold one.
        | TestOutcome::Suppressed => (Verdict::Relayed, "250 2.0.0 test mode: taken, and sent to nobody", None),
    };
    Meaning::new(verdict, Scope::Recipient, reply, why)
}
