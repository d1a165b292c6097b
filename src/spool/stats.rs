//! What the spool holds, in numbers.

use crate::message::{Lane, QueueId};
use crate::time::Timestamp;

/// The counts of one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// All records of the lane: waiting, leased and held.
    pub records: u64,
    /// How many of them are held.
    pub held: u64,
    /// How many of them were tried before.
    pub deferred: u64,
    /// How many of them are leased at this moment.
    pub leased: u64,
    /// When the last record that is neither held nor leased is due.
    pub last_due: Option<Timestamp>,
    /// How many octets the lane's messages take on disk.
    pub bytes: u64,
    /// The record that arrived first.
    pub oldest: Option<QueueId>,
}

/// The counts of the whole spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records in all lanes.
    pub records: u64,
    /// Octets that the spool takes on disk, including settled records whose space is not yet reclaimed.
    pub disk_bytes: u64,
    /// Records set aside as unreadable since the spool was made.
    pub quarantined: u64,
}

/// A lane with mail that can be claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueLane {
    /// When its first record became due. [`Timestamp::EPOCH`] if that record was expedited.
    pub since: Timestamp,
    /// The lane that the numbers are about.
    pub lane: Lane,
}

/// A part of the answer to "what is due?".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DuePage {
    /// Lanes with a record that can be claimed, the one that has waited longest first.
    pub lanes: Vec<DueLane>,
    /// True if there are more lanes: ask again with the last of these.
    pub more: bool,
    /// When the next of the other lanes becomes due. Known on the last page only.
    pub next_due: Option<Timestamp>,
}
