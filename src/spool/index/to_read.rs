//! The index's knowledge of a message that is being read, to be combined with what the log says.

use std::sync::Arc;

use super::Entry;
use crate::spool::Record;
use crate::spool::codec::{Damaged, Meta, State, Status};
use crate::spool::next_try::NextTry;

/// The index's knowledge of a message to read.
#[derive(Clone, Debug)]
pub(in crate::spool) struct MessageToRead {
    pub entry: Entry,
    /// The present state, if it may not be on disk yet.
    pub unwritten: Option<Arc<State>>,
    pub hold: Option<Arc<str>>,
}

impl MessageToRead {
    /// Returns the present state. `last` is the last state in the log, and `retry_at` is the time of the second attempt from the commit.
    pub fn state(&self, last: State, retry_at: NextTry) -> State {
        let entry = &self.entry;
        // The index is authoritative. But for a message that was never tried, the log keeps the committed due time.
        let status = Status {
            attempts: entry.attempts.into(),
            next: if entry.untried { retry_at } else { entry.next_try() },
            delay_notified: entry.delay_notified,
            untried: entry.untried,
            hold: self.hold.clone(),
        };
        State { status, ..last }
    }

    /// Makes the record from the log's description of the message.
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
