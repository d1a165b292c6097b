//! What the index knows of a message that is to be read, joined with what the log says of it.

use std::sync::Arc;

use super::Entry;
use crate::spool::Record;
use crate::spool::codec::{Damaged, Meta, State, Status};
use crate::spool::next_try::NextTry;

/// What the index knows of a message that is to be read.
#[derive(Clone, Debug)]
pub(in crate::spool) struct Wanted {
    pub entry: Entry,
    /// The present state, if it may not be on disk yet.
    pub unwritten: Option<Arc<State>>,
    pub hold: Option<Arc<str>>,
}

impl Wanted {
    /// The present state. `last` is the last one in the log, and `retry_at` is when the commit said that the second attempt is due.
    pub fn state(&self, last: State, retry_at: NextTry) -> State {
        let entry = &self.entry;
        // The index knows best. But a message that was never tried keeps its committed due time in the log.
        let status = Status {
            attempts: entry.attempts.into(),
            next: if entry.untried { retry_at } else { entry.next_try() },
            delay_notified: entry.delay_notified,
            untried: entry.untried,
            hold: self.hold.clone(),
        };
        State { status, ..last }
    }

    /// The record, of what the log says of the message.
    pub fn record(&self, meta: Meta, state: State) -> Result<Record, Damaged> {
        let entry = &self.entry;
        let waited_for_caps = state.waited_for_caps;
        let recipients = state.expand(meta.envelope.recipients.len())?;
        Ok(Record {
            id: entry.id,
            recipients,
            size: meta.prefix.len() as u64 + meta.content_len,
            lane: meta.lane,
            envelope: meta.envelope,
            message_id: meta.message_id,
            attempts: entry.attempts.into(),
            due: entry.due,
            expedited: entry.next_try().expedited,
            waited_for_caps,
            delay_notified: entry.delay_notified,
            held: self.hold.as_deref().map(str::to_owned),
            leased: entry.leased,
        })
    }
}
