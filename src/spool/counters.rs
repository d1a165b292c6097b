//! The spool's metrics, common to all backends.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The spool's metrics.
#[derive(Debug)]
pub struct Counters {
    /// Messages that were made durable.
    pub commits: Counter,
    /// Syncs of segment files, or transactions, on the write path.
    pub syncs: Counter,
    /// Writes and syncs that failed.
    pub failures: Counter,
    /// The time to write and sync a batch.
    pub sync_seconds: Histogram,
    /// Octets written to the log.
    pub written: Counter,
    /// Records in the spool.
    pub records: Gauge,
    /// Octets of disk space that the spool uses.
    pub disk_bytes: Gauge,
    /// Records found unreadable since the start. The embedded spool sets them aside, a spool in a database holds them.
    pub quarantined: Counter,
    /// Records copied forward so that their segment could be reclaimed.
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
    /// Registers the metrics as `spool_…`.
    pub fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("spool");
        all.register("commits", "Messages made durable", self.commits.clone());
        all.register("syncs", "Syncs on the write path", self.syncs.clone());
        all.register("failures", "Writes and syncs that failed", self.failures.clone());
        all.register_with_unit("sync", "Writing and syncing a batch", Unit::Seconds, self.sync_seconds.clone());
        all.register_with_unit("written", "Octets written", Unit::Bytes, self.written.clone());
        all.register("records", "Messages in the spool", self.records.clone());
        all.register_with_unit("disk", "Octets on disk", Unit::Bytes, self.disk_bytes.clone());
        all.register("quarantined", "Records set aside as unreadable", self.quarantined.clone());
        all.register("copied", "Records copied forward to give their segment back", self.copied.clone());
    }
}
