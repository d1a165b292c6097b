//! The active segment, which the committer fills. Results of attempts are written to it directly by the caller of `settle`, without waiting
//! for a batch.
//!
//! A result has a few dozen octets and goes to the page cache, so writing it takes microseconds and makes it survive the death of the
//! process. It is synced with the next batch, or on its own after `settle_delay`. Until then it is also kept here, because it must be
//! written again if that sync fails.
//!
//! A caller of `settle` never waits for the lock on the active segment. While the committer holds the lock, or while older changes wait in
//! the inbox, the result goes through the inbox, and its caller waits until the committer has written it.

use std::io;
use std::sync::{Mutex, MutexGuard, TryLockError};

use super::note::Change;
use super::writing::Writing;
use crate::spool::index::Place;

/// The number of unsynced results above which callers of `settle` must wait for a sync.
const MOST_UNSYNCED: usize = 16_384;

/// A change that is written but not synced.
pub(super) struct Unsynced {
    pub change: Change,
    /// The place of its frame.
    pub place: Place,
}

/// The state under the lock on the active segment.
#[derive(Default)]
pub(super) struct Filling {
    /// The segment. It is `None` before the first batch, after a failed write, and at the end.
    pub segment: Option<Writing>,
    /// Written changes that no sync covers yet, in the order of writing.
    pub unsynced: Vec<Unsynced>,
    /// The error of the last change in `unsynced`, if writing it failed. The committer then abandons the segment and writes all of them
    /// again.
    pub failed: Option<io::Error>,
}

impl Filling {
    /// Returns true if a change can be written at once.
    pub fn takes(&self, change: &Change) -> bool {
        // A new segment must first declare parts of earlier segments void, so only the committer may begin it.
        let has_room = |segment: &Writing| !segment.is_new() && segment.has_room(change.frame_len());
        self.failed.is_none() && self.segment.as_ref().is_some_and(has_room)
    }

    /// Writes a change for which [`takes`](Self::takes) has returned true. If the write fails, the change is kept and written later.
    pub fn write(&mut self, change: Change) -> io::Result<()> {
        let Some(segment) = &mut self.segment else { return Err(io::ErrorKind::NotFound.into()) };
        let place = Place { segment: segment.number, at: segment.end as u32 };
        let written = segment.write_change(&change);
        self.unsynced.push(Unsynced { change, place });
        written.inspect_err(|error| self.failed = Some(again(error)))
    }

    /// Returns true if so many changes wait for a sync that their callers must wait, too.
    pub fn is_far_behind(&self) -> bool {
        self.unsynced.len() >= MOST_UNSYNCED
    }
}

/// The active segment and its lock. Lock order: the active segment before the index, the index before the inbox.
#[derive(Default)]
pub(super) struct Active(Mutex<Filling>);

impl Active {
    /// Waits for the lock. Only the committer does that.
    pub fn lock(&self) -> MutexGuard<'_, Filling> {
        self.0.lock().expect("nothing panics while it holds the active segment")
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, Filling>> {
        match self.0.try_lock() {
            Ok(filling) => Some(filling),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => panic!("nothing panics while it holds the active segment"),
        }
    }
}

/// Copies an error, because `io::Error` cannot be cloned.
pub(super) fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
