//! The settings of the embedded spool.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::spool::{Counters, Notices};

/// Settings of the embedded spool.
#[derive(Clone)]
pub struct Settings {
    /// The spool's folder. It is created if it is missing.
    pub dir: PathBuf,
    /// Free octets on the disk. Below this, new mail is refused, and queued mail still goes out.
    pub min_free: u64,
    /// Free inodes on the disk. The spool needs one for each `segment_size`, and under sudden load one for each MiB.
    pub min_free_inodes: u64,
    /// The size in octets at which a segment is closed, once the spool holds that much; smaller before. Room for the next segment is
    /// written in advance, and up to two settled ones are kept for reuse. At most 1 GiB.
    pub segment_size: u64,
    /// How long a result waits for the sync of a batch, before it gets a sync of its own.
    pub settle_delay: Duration,
    /// How often the free space is checked.
    pub guard_interval: Duration,
    /// True if a journal reads the [`Outbox`](crate::spool::Outbox). Then no segment is deleted before the journal has confirmed its lines.
    pub has_journal: bool,
    /// True if the spool is opened to move mail from or to another spool. A relay does not start with a spool that takes part in a move.
    pub for_move: bool,
    /// The receiver of messages to the operator.
    pub notices: Notices,
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
            for_move: false,
            notices: Notices::default(),
            counters: Arc::default(),
        }
    }
}
