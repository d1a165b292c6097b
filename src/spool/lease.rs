//! A record that was handed out for one attempt, its bytes, and what became of the attempt.

use std::sync::Arc;
use std::time::Duration;

use super::{Error, Pending, RecipientState, Record};
use crate::time::Timestamp;

/// A record that is handed out for one attempt. It comes back through [`Work::settle`](super::Work::settle). A lease that is dropped
/// is given back as if nothing had been tried.
pub struct Lease {
    /// The record as it was when it was handed out.
    pub record: Record,
    /// The bytes to send.
    pub bytes: Bytes,
    guard: Box<dyn LeaseGuard>,
}

impl Lease {
    /// Puts together a lease. Dropping `guard` must give the record back, unless [`LeaseGuard::settled`] was called before.
    pub fn new(record: Record, bytes: Bytes, guard: Box<dyn LeaseGuard>) -> Self {
        Lease { record, bytes, guard }
    }

    /// Returns true if an attempt may begin. A lease that lay for a while may have ended: another node has the record then.
    pub fn stands(&self) -> bool {
        self.guard.stands()
    }

    /// Takes the lease apart for its backend, which records its result.
    pub(super) fn into_parts(self) -> (Record, Box<dyn LeaseGuard>) {
        (self.record, self.guard)
    }
}

/// The backend's part of a lease. Dropping it gives the record back as if nothing had been tried.
pub trait LeaseGuard: Send + Sync {
    /// The result is recorded: dropping the guard gives nothing back any more.
    fn settled(&mut self);

    /// Returns true if an attempt may begin.
    fn stands(&self) -> bool {
        true
    }
}

/// The bytes of a leased message. The prefix is in memory; the content is read in chunks.
pub struct Bytes {
    /// Header lines that go first.
    pub prefix: Vec<u8>,
    /// The octet of the content at which the blank line begins.
    pub header_len: u32,
    /// Octets of the content, without the prefix.
    pub content_len: u64,
    source: Arc<dyn ReadChunk>,
}

impl Bytes {
    /// Puts together what a backend has read and what it will read later.
    pub fn new(prefix: Vec<u8>, header_len: u32, content_len: u64, source: Arc<dyn ReadChunk>) -> Self {
        Bytes { prefix, header_len, content_len, source }
    }

    /// How many chunks the content has.
    pub fn chunks(&self) -> usize {
        self.source.chunks()
    }

    /// Reads chunk number `index`. A chunk has at most 256 KiB, except for the first if the header block is larger: the header
    /// block always lies wholly in the first chunk. The content of a small message is in memory already; other content is read on a
    /// blocking thread.
    pub async fn chunk(&self, index: usize) -> Result<Vec<u8>, Error> {
        Arc::clone(&self.source).read(index).await
    }
}

/// How a backend hands out content.
pub trait ReadChunk: Send + Sync {
    /// How many chunks there are.
    fn chunks(&self) -> usize;
    /// Reads the chunk with this number.
    fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>>;
}

/// What the queue decided after an attempt. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// New states by index in the envelope. Recipients that are not named stay as they are.
    pub results: Vec<(usize, RecipientState)>,
    /// When the next attempt is due, if recipients are still waiting. `None` leaves the record its place in line, with its due time
    /// and its mark [`Record::expedited`].
    pub due: Option<Timestamp>,
    /// True if this attempt counts toward the schedule. A failure of the route does not.
    pub counts: bool,
    /// Time to add to [`Record::waited_for_caps`].
    pub waited_for_caps: Duration,
    /// True once a delay notice was sent.
    pub delay_notified: bool,
    /// Holds the record for this reason.
    pub hold: Option<String>,
    /// Lines for the [`Outbox`](super::Outbox): what the journal is to tell of this attempt.
    pub lines: Vec<u8>,
}

/// How a settlement was taken. It stands in both cases, and may be told.
#[derive(Debug)]
pub enum Settled {
    /// It is written, and survives the death of the process. The next sync makes it survive a power cut.
    Written,
    /// The spool cannot write at the moment. It will write the result as soon as it can; a crash before that has the attempt made
    /// again. The caller must stop delivering, since sending on would only make duplicates.
    InTrouble(Error),
}
