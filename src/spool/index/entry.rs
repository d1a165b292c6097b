//! The index entry of one waiting message: at most 64 octets, because a million of them are in memory.

use super::super::next_try::{NextTry, Packed};
use super::reasons::ReasonNo;
use crate::message::QueueId;
use crate::time::Timestamp;

/// The number of a lane within this process.
pub(in crate::spool) type LaneNo = u32;

/// A place in the log: a segment, and an offset or number in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::spool) struct Place {
    pub segment: u32,
    pub at: u32,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::spool) struct Entry {
    pub id: QueueId,
    pub due: Timestamp,
    /// The place of the message.
    pub place: Place,
    /// The place of its last state, unless that is the state with which the message was written.
    pub state: Option<Place>,
    /// The octets of the message in the log.
    pub disk_len: u32,
    pub lane: LaneNo,
    /// One bit for each domain of its recipients, see `codec::domain_bits`.
    pub domains: u32,
    /// Set if it was made due ahead of its schedule.
    pub expedited: Packed,
    pub attempts: u16,
    /// The reason for which it is held, if it is held.
    pub hold: Option<ReasonNo>,
    pub leased: bool,
    pub delay_notified: bool,
    /// True if no state was recorded since the commit, so that `due` on disk is the time of the second attempt.
    pub untried: bool,
    /// True if this process committed it, so that its first attempt needs no write.
    pub fresh: bool,
}

impl Entry {
    /// Makes an entry for a message that is neither leased nor held.
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

    /// Returns true if nothing happened to the message since `before`.
    pub fn is_as(&self, before: &Entry) -> bool {
        self.place == before.place
            && self.state == before.state
            && self.next_try() == before.next_try()
            && self.attempts == before.attempts
            && self.held() == before.held()
            && self.leased == before.leased
    }

    /// Returns when it is tried next.
    pub fn next_try(&self) -> NextTry {
        NextTry { due: self.due, expedited: self.expedited.unpack() }
    }

    /// Sets when it is tried next.
    pub fn set_next_try(&mut self, next: NextTry) {
        self.due = next.due;
        self.expedited = Packed::new(next.expedited);
    }

    /// Returns the time that orders it among the messages of its lane. Expedited messages come first.
    pub fn rank(&self) -> Timestamp {
        if self.expedited == Packed::default() { self.due } else { Timestamp::EPOCH }
    }
}
