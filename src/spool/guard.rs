//! The guard: watches free space and inodes. Below the floor new mail is refused, queued mail still goes out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::segment::Dir;
use super::{Error, Notice, Settings};

/// What was seen last. Reading it costs an atomic load.
#[derive(Default)]
pub(super) struct Guard {
    full: AtomicBool,
    /// There is no spare segment and none can be made.
    no_spare: AtomicBool,
    free: AtomicU64,
    inodes: AtomicU64,
}

impl Guard {
    /// Refuses while there is too little room.
    pub fn admit(&self, settings: &Settings) -> Result<(), Error> {
        if self.full.load(Ordering::Relaxed) { Err(self.error(settings)) } else { Ok(()) }
    }

    /// What the client's 452 is made of.
    pub fn error(&self, settings: &Settings) -> Error {
        Error::Full {
            free: self.free.load(Ordering::Relaxed),
            inodes: self.inodes.load(Ordering::Relaxed),
            min_free: settings.min_free,
        }
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Whether a spare segment could be made, as far as known.
    pub fn set_spare(&self, there: bool) {
        self.no_spare.store(!there, Ordering::Relaxed);
    }

    /// Looks. Returns what an operator must hear if the answer changed.
    pub fn look(&self, dir: &Dir, settings: &Settings) -> Option<Notice> {
        let (free, inodes) = match rustix::fs::fstatvfs(dir.handle()) {
            // File systems without a fixed number of inodes say 0 of 0.
            Ok(seen) => {
                (seen.f_bavail.saturating_mul(seen.f_frsize), if seen.f_files == 0 { u64::MAX } else { seen.f_favail })
            }
            Err(error) => {
                tracing::warn!(%error, "free space cannot be read");
                return None;
            }
        };
        self.free.store(free, Ordering::Relaxed);
        self.inodes.store(inodes, Ordering::Relaxed);
        let full =
            free < settings.min_free || inodes < settings.min_free_inodes || self.no_spare.load(Ordering::Relaxed);
        let was = self.full.swap(full, Ordering::Relaxed);
        settings.counters.full.set(full.into());
        match (was, full) {
            (false, true) => Some(Notice::Full { free, inodes }),
            (true, false) => Some(Notice::Roomy),
            _ => None,
        }
    }
}
