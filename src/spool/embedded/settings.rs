//! How the embedded spool is set up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Notice;
use crate::spool::Counters;

/// Settings of the embedded spool.
#[derive(Clone)]
pub struct Settings {
    /// The folder in which it lives. It is made if it is absent.
    pub dir: PathBuf,
    /// Octets that stay free. Below this new mail is refused, and queued mail still goes out.
    pub min_free: u64,
    /// Inodes that stay free. The spool needs one for each `segment_size`, and under sudden load one for each MiB.
    pub min_free_inodes: u64,
    /// The size in octets at which a segment is closed, once the spool holds as much; smaller before. Room for the next one is
    /// written beforehand, and up to two settled ones are kept to be used again. At most 1 GiB.
    pub segment_size: u64,
    /// How long a result waits for a batch whose sync it can ride, before it gets a sync of its own.
    pub settle_delay: Duration,
    /// How often free space is looked at.
    pub guard_interval: Duration,
    /// True if a journal reads the [`Outbox`](crate::spool::Outbox). Then no segment is given back before the journal has confirmed what
    /// stands in it.
    pub has_journal: bool,
    /// Hears what an operator must know; `None`: it goes to the log. It is called from the spool's threads, so it must not block.
    pub notices: Option<Arc<dyn Fn(Notice) + Send + Sync>>,
    /// Shared with the metrics registry.
    pub counters: Arc<Counters>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            dir: PathBuf::from("spool"),
            min_free: 1 << 30,
            min_free_inodes: 64,
            segment_size: 64 << 20,
            settle_delay: Duration::from_millis(50),
            guard_interval: Duration::from_secs(2),
            has_journal: false,
            notices: None,
            counters: Arc::default(),
        }
    }
}

impl Settings {
    /// Tells whoever listens; the log only where nobody does, so that it says a thing once.
    pub(super) fn tell(&self, notice: Notice) {
        match &self.notices {
            Some(hear) => hear(notice),
            None => tracing::warn!("{notice}"),
        }
    }
}
