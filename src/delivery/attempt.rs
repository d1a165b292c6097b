//! One attempt at the given recipients: a transaction over a kept connection or a new one. The table lists what is tried again before a
//! recipient is refused or deferred.
//!
//! | what happened | what is tried again, once |
//! |---|---|
//! | a kept connection was dead | the same transaction over a new connection |
//! | a kept connection refused the sender, all recipients, DATA, or the content for now | the same transaction over a new connection: some servers take only so many messages over one connection, and then refuse without closing it |
//! | the server refused parameters that it offers | the same transaction without parameters, for the recipients concerned |
//!
//! A connection is closed after trouble, because the connection itself may be the cause.

use std::borrow::Cow;

use super::Shared;
use super::connection::{Broken, Connection};
use super::dial::Failure;
use super::job::Job;
use super::outcome::{Meaning, Outcome, Scope, Verdict};
use super::pool::{Pool, retire};
use super::step::StepLog;
use super::transaction::{self, After, Ending};

/// Makes the attempt that `job` describes, over a connection of `pool`. Never fails: errors are part of the outcome.
pub async fn run(shared: &Shared, pool: &Pool, job: &Job<'_>) -> Outcome {
    let Shared { settings, counters, .. } = shared;
    let id = &job.route.id;
    let (mut one_by_one, mut parameters) = (job.one_by_one, job.parameters);
    let mut recipients = Cow::Borrowed(job.recipients);
    let mut outcome = Outcome::default();
    let mut kept = pool.take(settings.timeouts.quit).await;
    let mut from_pool = kept.is_some();
    loop {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match pool.dial(settings, counters, &mut StepLog::default()).await {
                Ok(connection) => {
                    from_pool = false;
                    connection
                }
                Err(failure) => {
                    outcome.add(not_connected(&recipients, failure));
                    return outcome;
                }
            },
        };
        let fallback = connection.fallback.clone();
        let job = Job { recipients: &recipients, one_by_one, parameters, fallback, ..*job };
        let reused = connection.served > 0;
        let done = match transaction::run(&mut connection, &job, &settings.timeouts, reused).await {
            // The loop ends, because only a connection that served before can be stale, and the next one is new.
            Ending::Stale(why) => {
                if matches!(why, Broken::OutOfStep(_)) {
                    pool.note_out_of_step();
                    one_by_one = true;
                }
                tracing::debug!(route = %id, peer = connection.peer, %why, "a kept connection was dead");
                continue;
            }
            Ending::OutOfStep(part) => {
                pool.note_out_of_step();
                outcome.add(part);
                return outcome;
            }
            Ending::Done(done) => done,
        };
        connection.served += 1;
        if reused {
            counters.reused.inc();
        }
        if from_pool && done.may_be_about_connection {
            tracing::debug!(route = %id, peer = connection.peer, "refused on a kept connection: trying a new one");
            connection.quit(settings.timeouts.quit).await;
            continue;
        }
        let in_trouble = done.outcome.trouble.is_some();
        let closes = in_trouble || done.refused_content;
        outcome.add(done.outcome);
        let goes_on = !in_trouble && !done.without_parameters.is_empty();
        if done.connection == After::Usable {
            kept = give_back(connection, pool, shared, closes, goes_on);
        }
        if !goes_on {
            return outcome;
        }
        tracing::debug!(route = %id, "the server refuses parameters that it offers: leaving them out");
        (parameters, recipients) = (false, Cow::Owned(done.without_parameters));
    }
}

/// Decides where a usable connection goes after a transaction. It is returned if this attempt still needs it, and goes
/// to the pool otherwise. After trouble it is closed (`closes`).
fn give_back(connection: Connection, pool: &Pool, shared: &Shared, closes: bool, goes_on: bool) -> Option<Connection> {
    let quit_within = shared.settings.timeouts.quit;
    if closes {
        retire(connection, quit_within);
        return None;
    }
    if goes_on && connection.served < pool.route.caps.messages_per_connection {
        return Some(connection);
    }
    pool.put(connection, quit_within);
    None
}

/// The outcome without a connection: every recipient is deferred, and the route has trouble.
fn not_connected(recipients: &[usize], failure: Failure) -> Outcome {
    let advice = failure.advice().map(str::to_owned);
    let meaning =
        Meaning { advice, ..Meaning::new(Verdict::Deferred, Scope::Route, failure.reason, Some(failure.class)) };
    let recipients = recipients.iter().map(|index| meaning.clone().of(*index)).collect();
    Outcome { recipients, trouble: Some(failure.trouble), ..Outcome::default() }
}
