//! The active segment: the one that the committer fills. Results are written to it by whoever settles, without waiting for a batch.
//!
//! A result is a few dozen octets that go to the page cache, so its write takes microseconds, and with it the result survives the
//! death of the process. Its sync comes later: it rides the sync of the next batch, or gets one of its own after `settle_delay`. Until
//! then the result is kept here too, because it must be written again if that sync fails.
//!
//! Whoever settles never waits for the active segment. While the committer has it, or while older changes wait in the inbox, a result
//! goes through the inbox and its caller waits for the committer to write it.

use std::io;
use std::sync::{Mutex, MutexGuard, TryLockError};

use super::note::Change;
use super::writing::Writing;
use crate::spool::index::Place;

/// Results that may wait for a sync before those who settle wait for it too.
const MOST_UNSYNCED: usize = 16_384;

/// A change that is written and not synced.
pub(super) struct Unsynced {
    pub change: Change,
    /// Where its frame stands.
    pub place: Place,
}

/// What the lock on the active segment protects.
#[derive(Default)]
pub(super) struct Filling {
    /// The segment. None before the first batch, after a failed write, and at the end.
    pub segment: Option<Writing>,
    /// Changes that no sync covers yet, in the order in which they were written.
    pub unsynced: Vec<Unsynced>,
    /// Why the last change of `unsynced` could not be written. The committer abandons the segment, and writes all of them again.
    pub failed: Option<io::Error>,
}

impl Filling {
    /// Returns true if a change can be written at once.
    pub fn takes(&self, change: &Change) -> bool {
        // The first octets of a new segment may have to say what failed before it.
        let has_room = |segment: &Writing| !segment.is_new() && segment.has_room(change.frame_len());
        self.failed.is_none() && self.segment.as_ref().is_some_and(has_room)
    }

    /// Writes a change that it [takes](Self::takes). If that fails, the change is kept all the same and written once that works again.
    pub fn write(&mut self, change: Change) -> io::Result<()> {
        let Some(segment) = &mut self.segment else { return Err(io::ErrorKind::NotFound.into()) };
        let place = Place { segment: segment.number, at: segment.end as u32 };
        let written = segment.write_change(&change);
        self.unsynced.push(Unsynced { change, place });
        written.inspect_err(|error| self.failed = Some(again(error)))
    }

    /// Returns true if so many changes wait for a sync that their callers should wait too.
    pub fn is_far_behind(&self) -> bool {
        self.unsynced.len() >= MOST_UNSYNCED
    }
}

/// The active segment and its lock. It is locked before the index, and the index before the inbox.
#[derive(Default)]
pub(super) struct Active(Mutex<Filling>);

impl Active {
    /// Waits for it. Only the committer does.
    pub fn lock(&self) -> MutexGuard<'_, Filling> {
        self.0.lock().expect("nothing panics while it holds the active segment")
    }

    /// Takes it if nobody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, Filling>> {
        match self.0.try_lock() {
            Ok(filling) => Some(filling),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => panic!("nothing panics while it holds the active segment"),
        }
    }
}

/// The same error once more; `io::Error` cannot be cloned.
pub(super) fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
