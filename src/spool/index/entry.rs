//! What the index keeps of one waiting message: at most 64 octets, since a million of them are held in memory.

use super::super::next_try::{NextTry, Packed};
use super::reasons::ReasonNo;
use crate::message::QueueId;
use crate::time::Timestamp;

/// The number of a lane within this process.
pub(in crate::spool) type LaneNo = u32;

/// Where something stands in the log: its segment, and its offset or number there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::spool) struct Place {
    pub segment: u32,
    pub at: u32,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::spool) struct Entry {
    pub id: QueueId,
    pub due: Timestamp,
    /// Where the message itself stands.
    pub place: Place,
    /// Where its last state stands, unless that is the one it was written with.
    pub state: Option<Place>,
    /// Octets of the message in the log.
    pub disk_len: u32,
    pub lane: LaneNo,
    /// One bit for each domain among its recipients, see `codec::domain_bits`.
    pub domains: u32,
    /// Set if it was made due ahead of its schedule.
    pub expedited: Packed,
    pub attempts: u16,
    /// The reason it is held for, if it is held.
    pub hold: Option<ReasonNo>,
    pub leased: bool,
    pub delay_notified: bool,
    /// No state was recorded since the commit, so `due` on disk is the time of the second attempt.
    pub untried: bool,
    /// This process committed it, so its first attempt needs no write.
    pub fresh: bool,
}

impl Entry {
    /// An entry for a message that is neither leased nor held.
    pub fn new(id: QueueId, place: Place, disk_len: u32, lane: LaneNo, domains: u32) -> Entry {
        Entry {
            id,
            due: Timestamp::EPOCH,
            place,
            state: None,
            disk_len,
            lane,
            domains,
            expedited: Packed::default(),
            attempts: 0,
            hold: None,
            leased: false,
            delay_notified: false,
            untried: true,
            fresh: false,
        }
    }

    /// Returns true if the message is held.
    pub fn held(&self) -> bool {
        self.hold.is_some()
    }

    /// Returns true if nothing happened to the message between the two.
    pub fn is_as(&self, before: &Entry) -> bool {
        self.place == before.place
            && self.state == before.state
            && self.next_try() == before.next_try()
            && self.attempts == before.attempts
            && self.held() == before.held()
            && self.leased == before.leased
    }

    /// When it is tried next.
    pub fn next_try(&self) -> NextTry {
        NextTry { due: self.due, expedited: self.expedited.unpack() }
    }

    /// Sets when it is tried next.
    pub fn set_next_try(&mut self, next: NextTry) {
        self.due = next.due;
        self.expedited = Packed::new(next.expedited);
    }

    /// The time that orders it among the messages of its lane: those that were expedited come first.
    pub fn rank(&self) -> Timestamp {
        if self.expedited == Packed::default() { self.due } else { Timestamp::EPOCH }
    }
}
