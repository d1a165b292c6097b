//! Watches free space and inodes on the spool's disk. Below the floor new mail is refused, and queued mail still goes out.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Settings;
use super::dir::Dir;
use crate::spool::Error;

/// The last state of the disk. Reading it costs an atomic load.
#[derive(Default)]
pub(super) struct Space {
    full: AtomicBool,
    /// Why there is no spare segment and none can be made.
    no_spare: Mutex<Option<String>>,
    free: AtomicU64,
    inodes: AtomicU64,
}

impl Space {
    /// Returns an error while there is too little room.
    pub fn admit(&self, settings: &Settings) -> Result<(), Error> {
        if self.is_full() { Err(self.error(settings)) } else { Ok(()) }
    }

    /// Returns the error for a message that does not fit.
    pub fn error(&self, settings: &Settings) -> Error {
        Error::Full { lack: self.lack(settings) }
    }

    /// Says which resource is short, and what to do about it. Reports a resource below its floor first, then one below its recovery
    /// threshold.
    fn lack(&self, settings: &Settings) -> String {
        let (free, inodes) = (self.free.load(Ordering::Relaxed), self.inodes.load(Ordering::Relaxed));
        let Settings { min_free, min_free_inodes, .. } = settings;
        if free < *min_free {
            return format!(
                "{free} bytes are free on its disk, of which [spool] min_free keeps {min_free} free; make room there, mail is taken \
                 again from {} on",
                again(*min_free)
            );
        }
        if inodes < *min_free_inodes {
            return format!(
                "{inodes} inodes are free on its disk, of which [spool] min_free_inodes keeps {min_free_inodes} free; delete \
                 files there, mail is taken again from {} on",
                again(*min_free_inodes)
            );
        }
        if let Some(why) = &*self.no_spare() {
            return format!(
                "its next file cannot be made: {why}; make room for {} bytes on its disk, or mend what stands there (a quota, the \
                 folder's rights)",
                settings.segment_size
            );
        }
        let was_full = self.is_full();
        if was_full && free < again(*min_free) {
            return format!(
                "it was full, and {free} bytes are free on its disk: mail is taken again from {} on (an eighth more than \
                 [spool] min_free)",
                again(*min_free)
            );
        }
        if was_full && inodes < again(*min_free_inodes) {
            return format!(
                "it was full, and {inodes} inodes are free on its disk: mail is taken again from {} on (an eighth more than \
                 [spool] min_free_inodes)",
                again(*min_free_inodes)
            );
        }
        "its disk has no room for a message of this size; make room there".to_owned()
    }

    fn no_spare(&self) -> MutexGuard<'_, Option<String>> {
        self.no_spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Returns how much must be free to accept mail, if `least` must stay free.
    fn floor(&self, least: u64) -> u64 {
        if self.is_full() { again(least) } else { least }
    }

    /// Records that there is a spare segment or that one is being made, or why none can be made.
    pub fn set_spare(&self, made: Result<(), &io::Error>) {
        *self.no_spare() = made.err().map(ToString::to_string);
    }

    /// Checks the disk. Returns which resource is short, if any.
    pub fn look(&self, dir: &Dir, settings: &Settings) -> io::Result<Option<String>> {
        let seen = rustix::fs::fstatvfs(dir.handle())?;
        let free = seen.f_bavail.saturating_mul(seen.f_frsize);
        // File systems without a fixed number of inodes report 0 of 0.
        let inodes = if seen.f_files == 0 { u64::MAX } else { seen.f_favail };
        self.free.store(free, Ordering::Relaxed);
        self.inodes.store(inodes, Ordering::Relaxed);
        let full = free < self.floor(settings.min_free)
            || inodes < self.floor(settings.min_free_inodes)
            || self.no_spare().is_some();
        self.full.store(full, Ordering::Relaxed);
        Ok(full.then(|| self.lack(settings)))
    }
}

/// Returns how much must be free before a full spool accepts mail again. If this were the floor itself, each message that leaves would let
/// another one in, with an alert each time.
fn again(least: u64) -> u64 {
    least.saturating_add(least / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_spool_takes_mail_again_a_little_above_the_floor() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        let space = Space::default();
        let with = |min_free| Settings { min_free, min_free_inodes: 0, ..Settings::default() };
        assert_eq!(space.look(&dir, &with(0)).unwrap(), None);
        let free = space.free.load(Ordering::Relaxed);
        assert!(space.look(&dir, &with(u64::MAX / 2)).unwrap().is_some());
        // More is free than the floor, but not an eighth more.
        let just_above = with(free - free / 32);
        assert!(space.look(&dir, &just_above).unwrap().unwrap().contains("mail is taken again from"));
        assert_eq!(space.look(&dir, &with(free / 2)).unwrap(), None);
    }

    #[test]
    fn what_lacks_now_is_named_before_what_has_not_come_back_far_enough() {
        let space = Space { full: AtomicBool::new(true), ..Space::default() };
        let settings = Settings { min_free: 1000, min_free_inodes: 10, ..Settings::default() };
        let said = || space.error(&settings).to_string();
        space.free.store(1050, Ordering::Relaxed);
        assert!(said().contains("0 inodes are free"), "{}", said());
        space.inodes.store(50, Ordering::Relaxed);
        space.set_spare(Err(&io::Error::from_raw_os_error(122)));
        assert!(said().contains("Disk quota exceeded"), "{}", said());
        space.set_spare(Ok(()));
        assert!(said().contains("it was full, and 1050 bytes") && said().contains("from 1125 on"), "{}", said());
        space.free.store(2000, Ordering::Relaxed);
        space.inodes.store(10, Ordering::Relaxed);
        assert!(said().contains("it was full, and 10 inodes") && said().contains("from 11 on"), "{}", said());
    }

    #[test]
    fn what_is_lacking_is_named_with_its_remedy() {
        let space = Space::default();
        let settings = Settings { min_free: 1000, min_free_inodes: 10, segment_size: 4096, ..Settings::default() };
        let said = || space.error(&settings).to_string();
        assert!(said().contains("0 bytes are free") && said().contains("min_free keeps 1000"), "{}", said());
        space.free.store(5000, Ordering::Relaxed);
        assert!(said().contains("0 inodes are free") && said().contains("min_free_inodes"), "{}", said());
        space.inodes.store(50, Ordering::Relaxed);
        space.set_spare(Err(&io::Error::from_raw_os_error(122)));
        assert!(said().contains("next file cannot be made: Disk quota exceeded"), "{}", said());
        assert!(said().contains("4096 bytes") && !said().contains("min_free"), "{}", said());
        space.set_spare(Ok(()));
        assert!(said().contains("no room for a message of this size"), "{}", said());
    }
}
