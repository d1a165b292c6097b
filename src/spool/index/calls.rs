//! How the port's calls change the index, and the facts that record these changes. Every backend writes these facts to its log in its own
//! form.

use std::sync::Arc;

use super::{Entry, Index, MessageToRead};
use crate::machine;
use crate::message::{Lane, QueueId};
use crate::spool::codec::{State, Status};
use crate::spool::next_try::NextTry;
use crate::spool::{Backoff, Expedited, Record, Settlement};
use crate::time::Timestamp;

/// A change of a message in the log.
#[derive(Clone, Debug)]
pub(in crate::spool) enum Fact {
    /// An attempt ended, and some recipients still wait.
    State(Arc<State>),
    /// The time of the message's next attempt.
    Due(NextTry),
    /// The message is held.
    Hold(Arc<str>),
    /// The message is released.
    Release(NextTry),
    /// The message is settled or was set aside.
    Done,
}

/// A fact about a message, to be written to the log.
#[derive(Clone, Debug)]
pub(in crate::spool) struct LogEntry {
    pub id: QueueId,
    pub fact: Fact,
    /// The lines for the outbox.
    pub lines: Vec<u8>,
}

impl LogEntry {
    /// Makes an entry without lines for the outbox.
    pub fn silent(id: QueueId, fact: Fact) -> Self {
        LogEntry { id, fact, lines: Vec::new() }
    }
}

/// The result of a claim.
#[derive(Default)]
pub(in crate::spool) struct Claim {
    /// Each message as the caller reads it, with its index entry from before the claim.
    pub leased: Vec<(MessageToRead, Entry)>,
    /// The facts that must be durable before a lease is returned.
    pub facts: Vec<LogEntry>,
}

/// Leases up to `limit` messages of a lane that are due at `now`.
pub(in crate::spool) fn claim(
    index: &mut Index,
    lane: &Lane,
    now: Timestamp,
    limit: usize,
    backoff: &Backoff,
) -> Claim {
    let mut claim = Claim::default();
    for entry in index.claimable(lane, now, limit) {
        // The first attempt after a commit needs no write, because the commit recorded when the second is due.
        if !(entry.fresh && entry.untried) {
            let due = backoff.next_attempt(u32::from(entry.attempts) + 1, now, machine::random());
            let next = NextTry::at(due);
            claim.facts.push(LogEntry::silent(entry.id, Fact::Due(next)));
            index.set_next_try(entry.id, next);
        }
        index.lease(entry.id);
        let Some(mut wanted) = index.wanted(entry.id) else { continue };
        // The caller needs the time at which the record was due.
        wanted.entry.set_next_try(entry.next_try());
        claim.leased.push((wanted, entry));
    }
    claim
}

/// Ends an attempt. Returns `None` if the message is no longer in the index.
pub(in crate::spool) fn settle(index: &mut Index, mut record: Record, settlement: Settlement) -> Option<LogEntry> {
    let (id, lines) = (record.id, settlement.lines);
    let entry = *index.get(id)?;
    for (number, state) in settlement.results {
        if let Some(recipient) = record.recipients.get_mut(number) {
            *recipient = state;
        }
    }
    if !record.recipients.iter().any(|state| state.is_waiting()) {
        index.remove(id);
        return Some(LogEntry { id, fact: Fact::Done, lines });
    }
    let unchanged = match record.held.is_some() && !entry.held() {
        // An operator has released it meanwhile, and it gets its attempt.
        true => entry.next_try(),
        false => NextTry { due: record.due, expedited: record.expedited },
    };
    let status = Status {
        attempts: record.attempts + u32::from(settlement.counts),
        next: settlement.due.map_or(unchanged, NextTry::at),
        delay_notified: record.delay_notified || settlement.delay_notified,
        untried: false,
        hold: settlement.hold.map(Arc::from).or_else(|| index.hold_reason(&entry)),
    };
    let state = Arc::new(State {
        status,
        waited_for_caps: record.waited_for_caps + settlement.waited_for_caps,
        recipients: State::compact(&record.recipients),
    });
    index.set_state(id, &state);
    Some(LogEntry { id, fact: Fact::State(state), lines })
}

/// Holds a message, unless it is held already.
pub(in crate::spool) fn hold(index: &mut Index, entry: &Entry, reason: &Arc<str>) -> Option<Fact> {
    if entry.held() {
        return None;
    }
    index.hold(entry.id, reason);
    Some(Fact::Hold(Arc::clone(reason)))
}

/// Releases a held message. It is due at once.
pub(in crate::spool) fn release(index: &mut Index, entry: &Entry, now: Timestamp) -> Option<Fact> {
    if !entry.held() {
        return None;
    }
    let before = entry.next_try();
    let kept_back = before.expedited.map(Expedited::kept_back).unwrap_or_default() + now.since(before.due);
    let next = NextTry { due: now, expedited: Some(Expedited::Released { kept_back }) };
    index.release(entry.id, next);
    Some(Fact::Release(next))
}

/// Makes a message due at once, unless it is held or leased.
pub(in crate::spool) fn expedite(index: &mut Index, entry: &Entry, now: Timestamp) -> Option<Fact> {
    if entry.held() || entry.leased {
        return None;
    }
    // A message that is already due has waited since then, for our own caps or for a server in trouble. The queue needs the due time to
    // tell these apart, so the due time stays.
    let expedited = NextTry { due: now, expedited: Some(Expedited::Requested) };
    let next = if entry.due <= now { entry.next_try() } else { expedited };
    index.set_next_try(entry.id, next);
    Some(Fact::Due(next))
}
