//! The counts of the spool.

use crate::message::{Lane, QueueId};
use crate::time::Timestamp;

/// The counts of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// All records of the lane: waiting, leased and held.
    pub records: u64,
    /// The number of held records.
    pub held: u64,
    /// The number of records that were tried before.
    pub deferred: u64,
    /// The number of leased records.
    pub leased: u64,
    /// The latest due time among records that are neither held nor leased.
    pub last_due: Option<Timestamp>,
    /// The octets of the lane's messages on disk.
    pub bytes: u64,
    /// The record that arrived first.
    pub oldest: Option<QueueId>,
}

/// The counts of the whole spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records in all lanes.
    pub records: u64,
    /// The octets on disk, including settled records whose space is not reclaimed yet.
    pub disk_bytes: u64,
    /// The number of records set aside as unreadable since the spool was created. A spool in a database sets none aside.
    pub quarantined: u64,
}

/// A lane with mail that can be claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueLane {
    /// When its first record became due; [`Timestamp::EPOCH`] if that record was expedited.
    pub since: Timestamp,
    /// The lane that the numbers are about.
    pub lane: Lane,
}

/// A page of the lanes with due mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DuePage {
    /// Lanes with a record that can be claimed, the one that has waited longest first.
    pub lanes: Vec<DueLane>,
    /// True if there are more lanes. Ask again with the last of these.
    pub more: bool,
    /// When the next other lane becomes due. Known on the last page only.
    pub next_due: Option<Timestamp>,
}
