//! The spare segment is made in advance. So changing to the next segment costs nothing, and when the disk is full there is still room for
//! results.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::dir::Dir;
use super::pool::PoolFile;
use super::writing::Writing;

/// The spare segment, and the numbers of later ones. Segments must be filled in the order of their numbers, because a start reads them in
/// that order. So numbers are assigned under the lock of the spare segment.
pub(super) struct Spare {
    is_made: AtomicBool,
    segment: Mutex<Option<Writing>>,
    next_number: AtomicU32,
}

impl Spare {
    /// Starts without a spare segment.
    pub fn new(next_number: u32) -> Spare {
        Spare { is_made: AtomicBool::new(false), segment: Mutex::new(None), next_number: AtomicU32::new(next_number) }
    }

    /// Returns true if the spare segment is available.
    pub fn is_made(&self) -> bool {
        self.is_made.load(Ordering::Relaxed)
    }

    /// Returns the next segment: the spare one, or a new one of `short` octets, because mail waits for it. No segment is longer than
    /// `limit`.
    pub fn take_or_make(&self, dir: &Dir, short: u64, limit: u64) -> io::Result<Writing> {
        let mut spare = self.lock();
        self.is_made.store(false, Ordering::Relaxed);
        if let Some(spare) = spare.take() {
            return Ok(spare);
        }
        let mut file = PoolFile::new(dir)?;
        file.fill(short)?;
        file.into_segment(dir, self.number(), limit)
    }

    /// Makes the spare segment from a file, and passes it to `known` before anybody can take it.
    pub fn make(&self, dir: &Dir, file: PoolFile, limit: u64, known: impl FnOnce(&Writing)) -> io::Result<()> {
        let mut spare = self.lock();
        let made = file.into_segment(dir, self.number(), limit)?;
        known(&made);
        self.is_made.store(true, Ordering::Relaxed);
        *spare = Some(made);
        Ok(())
    }

    /// Removes the spare segment at the end. Returns its number.
    pub fn drop(&self) -> Option<u32> {
        self.is_made.store(false, Ordering::Relaxed);
        self.lock().take().map(|spare| spare.number)
    }

    fn number(&self) -> u32 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writing>> {
        self.segment.lock().expect("nothing panics while it holds the spare segment")
    }
}
