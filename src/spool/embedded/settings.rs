//! What the embedded spool is told at the start, what it tells back, and what it counts.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::message::QueueId;

/// Settings of the embedded spool.
#[derive(Clone)]
pub struct Settings {
    /// Where it lives; made if absent.
    pub dir: PathBuf,
    /// Octets that stay free: below this new mail is refused, queued mail still goes out.
    pub min_free: u64,
    /// Inodes that stay free. The spool needs one for each `segment_size`, under sudden load one for each MiB.
    pub min_free_inodes: u64,
    /// The size at which a segment is closed, in octets, once the spool holds as much; smaller before. Room for the next one is
    /// written beforehand, and up to two settled ones are kept to be used again. At most 1 GiB.
    pub segment_size: u64,
    /// How long a settlement waits for a commit whose sync it can ride before it gets its own.
    pub settle_delay: Duration,
    /// How often free space is looked at.
    pub guard_interval: Duration,
    /// Hears what an operator must know, besides the log. Called from the spool's threads: it must not block.
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
            notices: None,
            counters: Arc::default(),
        }
    }
}

/// What an operator must hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something could not be read. It was copied to `file` and is not delivered.
    Quarantined {
        /// Whose record it was, where that can still be read.
        id: Option<QueueId>,
        /// The copy.
        file: PathBuf,
        /// What does not match.
        why: String,
    },
    /// The last write before a crash is incomplete. Nobody was told that it was accepted; `file` has what there is of it.
    Torn {
        /// The copy.
        file: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A record of results was damaged: some of this message's recipients may have been served. It is held.
    Doubtful {
        /// The message.
        id: QueueId,
    },
    /// Something in a segment cannot be read, set aside or closed, and nothing says that it is lost.
    Unreadable {
        /// What, where, the errno, and what becomes of it.
        why: String,
    },
    /// New mail is refused: too little space or too few inodes.
    Full {
        /// What there is too little of, and what to do about it.
        lack: String,
    },
    /// New mail is taken again.
    Roomy,
    /// A write or a sync failed. Its drafts were refused; the segment will not be written to again.
    Failed {
        /// What, where and the errno.
        why: String,
    },
    /// Writing works again.
    Recovered,
    /// Syncing failed time after time: no more work is taken until the program is restarted on a sound disk.
    Stopped {
        /// The last error.
        why: String,
    },
}

/// For people.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Quarantined { id: Some(id), file, why } => {
                write!(f, "message {id} cannot be read ({why}); it is set aside in {}", file.display())
            }
            Notice::Quarantined { id: None, file, why } => {
                write!(f, "part of the spool cannot be read ({why}); it is set aside in {}", file.display())
            }
            Notice::Torn { file, why } => write!(
                f,
                "the last write before the crash is incomplete ({why}) and was never acknowledged; what there is of it is in {}",
                file.display()
            ),
            Notice::Doubtful { id } => write!(
                f,
                "a result of message {id} cannot be read: some recipients may have it already, so it is held; release or remove it"
            ),
            Notice::Unreadable { why } => write!(f, "{why}"),
            Notice::Full { lack } => {
                write!(f, "new mail is refused, because the spool has no room for it: {lack}")
            }
            Notice::Roomy => write!(f, "the spool's disk has room again: new mail is taken"),
            Notice::Failed { why } => write!(f, "the spool could not be written: {why}"),
            Notice::Recovered => write!(f, "the spool can be written again"),
            Notice::Stopped { why } => {
                write!(f, "the spool takes no more work after repeated failures ({why}): check the disk and restart")
            }
        }
    }
}

/// What the spool counts.
#[derive(Debug)]
pub struct Counters {
    /// Messages made durable.
    pub commits: Counter,
    /// Syncs of segment files on the write path.
    pub syncs: Counter,
    /// Syncs and writes that failed.
    pub failures: Counter,
    /// How long writing and syncing a batch took.
    pub sync_seconds: Histogram,
    /// Octets written.
    pub written: Counter,
    /// Records held.
    pub records: Gauge,
    /// Octets on disk.
    pub disk_bytes: Gauge,
    /// Records set aside as unreadable since the start.
    pub quarantined: Counter,
    /// Records copied forward so that their segment could be given back.
    pub copied: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        let buckets = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
        Counters {
            commits: Counter::default(),
            syncs: Counter::default(),
            failures: Counter::default(),
            sync_seconds: Histogram::new(buckets),
            written: Counter::default(),
            records: Gauge::default(),
            disk_bytes: Gauge::default(),
            quarantined: Counter::default(),
            copied: Counter::default(),
        }
    }
}

impl Counters {
    /// Makes the counters visible as `spool_…`.
    pub fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("spool");
        all.register("commits", "Messages made durable", self.commits.clone());
        all.register("syncs", "Syncs on the write path", self.syncs.clone());
        all.register("failures", "Writes and syncs that failed", self.failures.clone());
        all.register_with_unit("sync", "Writing and syncing a batch", Unit::Seconds, self.sync_seconds.clone());
        all.register_with_unit("written", "Octets written", Unit::Bytes, self.written.clone());
        all.register("records", "Messages held", self.records.clone());
        all.register_with_unit("disk", "Octets on disk", Unit::Bytes, self.disk_bytes.clone());
        all.register("quarantined", "Records set aside as unreadable", self.quarantined.clone());
        all.register("copied", "Records copied forward to give their segment back", self.copied.clone());
    }
}
