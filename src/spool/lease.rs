//! A record that is leased for one attempt, its bytes, and the result of the attempt.

use std::sync::Arc;
use std::time::Duration;

use super::{Error, Pending, RecipientState, Record, ready};
use crate::time::Timestamp;

/// A record that is leased for one attempt. It is ended by [`Work::settle`](super::Work::settle). Dropping a lease gives the record back as
/// if nothing had been tried.
pub struct Lease {
    /// The record as it was when it was leased.
    pub record: Record,
    /// The bytes to send.
    pub bytes: Bytes,
    guard: Box<dyn LeaseGuard>,
}

impl Lease {
    /// Makes a lease. Dropping `guard` must give the record back, unless [`LeaseGuard::settled`] was called before.
    pub fn new(record: Record, bytes: Bytes, guard: Box<dyn LeaseGuard>) -> Self {
        Lease { record, bytes, guard }
    }

    /// Returns true if an attempt may begin. An old lease may have ended, and another node may then have the record.
    pub fn stands(&self) -> bool {
        self.guard.stands()
    }

    /// Takes the lease apart for its backend, which records the result.
    pub(super) fn into_parts(self) -> (Record, Box<dyn LeaseGuard>) {
        (self.record, self.guard)
    }
}

/// The backend's part of a lease. Dropping it gives the record back as if nothing had been tried.
pub trait LeaseGuard: Send + Sync {
    /// Records that the result is written, so that dropping the guard gives nothing back.
    fn settled(&mut self);

    /// Returns true if an attempt may begin.
    fn stands(&self) -> bool {
        true
    }
}

/// The bytes of a leased message. The prefix is in memory; the content is read in chunks.
pub struct Bytes {
    /// Header lines that go before the content.
    pub prefix: Vec<u8>,
    /// The offset in the content at which the blank line begins.
    pub header_len: u32,
    /// The octets of the content, without the prefix.
    pub content_len: u64,
    source: Arc<dyn ReadChunk>,
}

impl Bytes {
    /// Makes the bytes from what a backend has read, and a source for the rest.
    pub fn new(prefix: Vec<u8>, header_len: u32, content_len: u64, source: Arc<dyn ReadChunk>) -> Self {
        Bytes { prefix, header_len, content_len, source }
    }

    /// Returns the number of chunks of the content.
    pub fn chunks(&self) -> usize {
        self.source.chunks()
    }

    /// Reads chunk number `index`. A chunk has at most 256 KiB, except for the first if the header block is larger: the whole header block
    /// is always in the first chunk. The content of a small message is already in memory. Other content is read without blocking the
    /// caller's thread.
    pub async fn chunk(&self, index: usize) -> Result<Vec<u8>, Error> {
        Arc::clone(&self.source).read(index).await
    }

    /// Returns true if another node may take the record over while it is sent.
    pub fn is_shared(&self) -> bool {
        self.source.is_shared()
    }

    /// Returns an error if another node may have the record by now. Nothing more of it may be sent then, and least of all its end.
    pub fn may_be_sent(&self) -> Result<(), Error> {
        self.source.may_be_sent()
    }
}

/// Reads content in chunks. A backend implements it.
pub trait ReadChunk: Send + Sync {
    /// Returns the number of chunks.
    fn chunks(&self) -> usize;
    /// Reads the chunk with this number.
    fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>>;
    /// Returns true if another node may take the record over while it is sent.
    fn is_shared(&self) -> bool {
        false
    }
    /// Returns an error if another node may have the record by now.
    fn may_be_sent(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Content that was read together with its record.
pub(super) struct InMemory(pub Vec<u8>);

impl ReadChunk for InMemory {
    fn chunks(&self) -> usize {
        1
    }

    fn read(self: Arc<Self>, _index: usize) -> Pending<Result<Vec<u8>, Error>> {
        ready(Ok(self.0.clone()))
    }
}

/// The queue's decision after an attempt. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// New states by index in the envelope. Other recipients keep their states.
    pub results: Vec<(usize, RecipientState)>,
    /// When the next attempt is due, if recipients still wait. `None` keeps the record's place in line, with its due time and its mark
    /// [`Record::expedited`].
    pub due: Option<Timestamp>,
    /// True if this attempt counts for the schedule. An attempt that failed because of the route does not.
    pub counts: bool,
    /// Time to add to [`Record::waited_for_caps`].
    pub waited_for_caps: Duration,
    /// True once a delay notice was sent.
    pub delay_notified: bool,
    /// Holds the record for this reason. `None` leaves it held or not held, as it is when the result is recorded.
    pub hold: Option<String>,
    /// Lines for the [`Outbox`](super::Outbox): the events about this attempt.
    pub lines: Vec<u8>,
}

/// How a settlement was recorded. It is valid in both cases, and its events may be announced.
#[derive(Debug)]
pub enum Settled {
    /// It is written, and survives the death of the process. The next sync makes it survive a power cut.
    Written,
    /// The spool cannot write at the moment. It will write the result as soon as it can; after a crash before that, the attempt is made
    /// again. The caller must stop delivering, because further attempts would only make duplicates.
    InTrouble(Error),
}
