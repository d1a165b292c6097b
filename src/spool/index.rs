//! The index: for every waiting message where its bytes are, in which lane it waits and when it is due. About 90 octets a
//! message in memory; all counts are kept up to date, so that reading them costs O(lanes).
//!
//! It is pure: the committer, recovery and the port's calls change it under one lock, in the order in which their frames
//! are written.

mod reasons;
mod select;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::reasons::Reasons;
use super::LaneStats;
use super::record::{State, Status};
use super::sorted::Sorted;
use crate::message::{Lane, QueueId};
use crate::time::Timestamp;

/// A lane's number within this process.
pub(super) type LaneNo = u32;

/// Where a frame is: segment and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub segment: u32,
    pub at: u32,
}

/// One waiting message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub id: QueueId,
    pub due: Timestamp,
    /// Its message frame.
    pub place: Place,
    /// Its last state frame, if that is not within the message frame.
    pub state: Option<Place>,
    /// Octets of its frames.
    pub disk_len: u32,
    pub lane: LaneNo,
    /// Of its recipients' domains.
    pub domains: u32,
    pub attempts: u16,
    /// 0, or the number of the reason.
    pub hold: u16,
    pub leased: bool,
    pub delay_notified: bool,
    /// Nothing was recorded since the commit.
    pub untried: bool,
    /// Committed by this process: its first attempt needs no write.
    pub fresh: bool,
}

impl Entry {
    /// Whether it is held.
    pub fn held(&self) -> bool {
        self.hold != 0
    }

    #[cfg(test)]
    pub fn for_test(id: QueueId) -> Entry {
        let place = Place { segment: 1, at: 64 };
        Entry {
            id,
            due: Timestamp::EPOCH,
            place,
            state: None,
            disk_len: 100,
            lane: 0,
            domains: 0,
            attempts: 0,
            hold: 0,
            leased: false,
            delay_notified: false,
            untried: true,
            fresh: true,
        }
    }
}

/// A message as its frame in a segment describes it.
#[derive(Clone, Debug)]
pub(super) struct Put {
    pub id: QueueId,
    pub place: Place,
    pub disk_len: u32,
    pub lane: LaneNo,
    pub domains: u32,
    pub status: Status,
}

/// What the index knows of a message that is to be read.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub entry: Entry,
    /// A state that may not be on disk yet.
    pub unwritten: Option<Arc<State>>,
    pub hold: Option<Arc<str>>,
}

#[derive(Default)]
struct LaneState {
    stats: LaneStats,
    /// What can be claimed, soonest due first.
    due: BTreeSet<(Timestamp, QueueId)>,
    head: Option<Timestamp>,
    /// No record of this lane is older than this one.
    oldest_from: Option<QueueId>,
}

impl LaneState {
    fn stats(&self) -> LaneStats {
        let last_due = self.due.last().map(|(due, _)| *due);
        LaneStats { next_due: self.head, last_due, oldest: self.oldest_from, ..self.stats }
    }
}

/// What lives in one segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Use {
    pub live: u64,
    pub live_bytes: u64,
}

/// The index.
#[derive(Default)]
pub(super) struct Index {
    entries: Sorted,
    lanes: Vec<LaneState>,
    names: Vec<Lane>,
    numbers: HashMap<Lane, LaneNo>,
    /// The lanes with claimable records by their first due time.
    heads: BTreeSet<(Timestamp, LaneNo)>,
    reasons: Reasons,
    /// States that are on their way to the disk.
    unwritten: HashMap<QueueId, Arc<State>>,
    segments: BTreeMap<u32, Use>,
    live_bytes: u64,
}

impl Index {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub fn segment_use(&self, segment: u32) -> Use {
        self.segments.get(&segment).copied().unwrap_or_default()
    }

    /// How many records are being attempted.
    pub fn leased(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.stats.leased).sum()
    }

    /// The number of a lane.
    pub fn intern(&mut self, lane: &Lane) -> LaneNo {
        if let Some(number) = self.numbers.get(lane) {
            return *number;
        }
        let number = self.names.len() as LaneNo;
        self.names.push(lane.clone());
        self.lanes.push(LaneState::default());
        self.numbers.insert(lane.clone(), number);
        number
    }

    pub fn lane(&self, number: LaneNo) -> &Lane {
        &self.names[number as usize]
    }

    pub fn get(&self, id: QueueId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Whether a state is on its way to the disk.
    pub fn is_unwritten(&self, id: QueueId) -> bool {
        self.unwritten.contains_key(&id)
    }

    /// What is needed to read a message.
    pub fn wanted(&self, id: QueueId) -> Option<Wanted> {
        let entry = *self.entries.get(id)?;
        Some(Wanted { entry, unwritten: self.unwritten.get(&id).cloned(), hold: self.hold_reason(&entry) })
    }

    /// Why an entry is held.
    pub fn hold_reason(&self, entry: &Entry) -> Option<Arc<str>> {
        self.reasons.words(entry.hold)
    }

    /// A message that is on disk. One with the same id is replaced: it was copied forward. `taken` is when this process took it;
    /// `None` for one found at the start.
    pub fn put(&mut self, put: Put, taken: Option<Timestamp>) {
        if let Some(old) = self.entries.remove(put.id) {
            self.leave(&old);
        }
        let Status { attempts, due, delay_notified, untried, hold } = put.status;
        let entry = Entry {
            id: put.id,
            // Nobody can have tried a message that this process just took. Its id lies ahead of a clock that was set back.
            due: taken.filter(|_| untried).map_or(due, |now| put.id.arrived().min(now)),
            place: put.place,
            state: None,
            disk_len: put.disk_len,
            lane: put.lane,
            domains: put.domains,
            attempts: short(attempts),
            hold: self.reason(hold.as_ref()),
            leased: false,
            delay_notified,
            untried,
            fresh: taken.is_some(),
        };
        self.enter(&entry);
        self.entries.insert(entry);
    }

    /// A message was copied forward; what is known of it stays.
    pub fn moved(&mut self, id: QueueId, place: Place, disk_len: u32) {
        self.change(id, |entry| {
            entry.place = place;
            entry.disk_len = disk_len;
            entry.state = None;
        });
    }

    /// A new state, known before it is on disk. A message that is being attempted comes back with it.
    pub fn set_state(&mut self, id: QueueId, state: &Arc<State>) {
        self.unwritten.insert(id, Arc::clone(state));
        self.apply_status(id, &state.status);
    }

    /// That state is on disk now.
    pub fn state_written(&mut self, id: QueueId, state: &Arc<State>, place: Place) {
        if self.unwritten.get(&id).is_some_and(|latest| Arc::ptr_eq(latest, state)) {
            self.unwritten.remove(&id);
        }
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state = Some(place);
        }
    }

    /// A state found on disk.
    pub fn recover_state(&mut self, id: QueueId, status: &Status, place: Place) {
        self.apply_status(id, status);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state = Some(place);
        }
    }

    fn apply_status(&mut self, id: QueueId, status: &Status) {
        let hold = self.reason(status.hold.as_ref());
        self.change(id, |entry| {
            entry.attempts = short(status.attempts);
            entry.due = status.due;
            entry.delay_notified = status.delay_notified;
            entry.untried = status.untried;
            entry.hold = hold;
            entry.leased = false;
        });
    }

    /// A new due time.
    pub fn set_due(&mut self, id: QueueId, due: Timestamp) {
        self.change(id, |entry| {
            entry.due = due;
            entry.untried = false;
        });
    }

    /// Holds. A message that is being attempted is held when it comes back.
    pub fn hold(&mut self, id: QueueId, reason: &Arc<str>) {
        let hold = self.reason(Some(reason));
        self.change(id, |entry| entry.hold = hold);
    }

    /// Lets go; due at `due`.
    pub fn release(&mut self, id: QueueId, due: Timestamp) {
        self.change(id, |entry| {
            entry.hold = 0;
            entry.due = due;
            entry.untried = false;
        });
    }

    /// Hands out for an attempt.
    pub fn lease(&mut self, id: QueueId) {
        self.change(id, |entry| entry.leased = true);
    }

    /// Takes back what was not attempted; due when it was due before.
    pub fn give_back(&mut self, id: QueueId, due: Timestamp) {
        self.change(id, |entry| {
            if entry.leased {
                entry.leased = false;
                entry.due = due;
            }
        });
    }

    /// Settled or set aside.
    pub fn remove(&mut self, id: QueueId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.unwritten.remove(&id);
        self.leave(&entry);
        Some(entry)
    }

    /// After a stop in good order nothing was in flight: what was never tried is due at once.
    pub fn nothing_was_in_flight(&mut self, now: Timestamp) {
        let untried: Vec<_> =
            self.entries.from(QueueId::from_u64(0)).filter(|entry| entry.untried).map(|entry| entry.id).collect();
        for id in untried {
            self.change(id, |entry| entry.due = id.arrived().min(now));
        }
    }

    /// Up to `max` records of a lane that can be claimed at `now`, soonest due first.
    pub fn claimable(&self, lane: &Lane, now: Timestamp, max: usize) -> Vec<Entry> {
        let Some(number) = self.numbers.get(lane) else { return Vec::new() };
        let due = self.lanes[*number as usize].due.iter();
        let ids = due.take_while(|(due, _)| *due <= now).take(max);
        ids.filter_map(|(_, id)| self.entries.get(*id).copied()).collect()
    }

    /// The lanes with something to claim at `now`, and when the next of the others is due.
    pub fn due(&self, now: Timestamp) -> (Vec<Lane>, Option<Timestamp>) {
        let mut heads = self.heads.iter();
        let mut lanes = Vec::new();
        for (due, lane) in heads.by_ref() {
            if *due > now {
                return (lanes, Some(*due));
            }
            lanes.push(self.names[*lane as usize].clone());
        }
        (lanes, None)
    }

    /// Counts by lane.
    pub fn stats(&mut self) -> BTreeMap<Lane, LaneStats> {
        self.find_oldest();
        let lanes = self.names.iter().zip(&self.lanes).filter(|(_, lane)| lane.stats.records > 0);
        lanes.map(|(name, lane)| (name.clone(), lane.stats())).collect()
    }

    /// One pass over the entries from the oldest that has gone settles the question for all lanes.
    fn find_oldest(&mut self) {
        let mut open = BTreeSet::new();
        for (number, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| lane.stats.records > 0) {
            let from = lane.oldest_from.unwrap_or(QueueId::from_u64(0));
            let known = self.entries.get(from).is_some_and(|entry| entry.lane as usize == number);
            if !known {
                open.insert((from, number as LaneNo));
            }
        }
        let Some((start, _)) = open.first() else { return };
        let mut open_lanes: BTreeSet<LaneNo> = open.iter().map(|(_, lane)| *lane).collect();
        let mut found = Vec::new();
        for entry in self.entries.from(*start) {
            if open_lanes.remove(&entry.lane) {
                found.push((entry.lane, entry.id));
                if open_lanes.is_empty() {
                    break;
                }
            }
        }
        for (lane, id) in found {
            self.lanes[lane as usize].oldest_from = Some(id);
        }
    }

    fn change(&mut self, id: QueueId, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let before = *entry;
        change(entry);
        let after = *entry;
        self.leave(&before);
        self.enter(&after);
    }

    fn enter(&mut self, entry: &Entry) {
        let lane = &mut self.lanes[entry.lane as usize];
        count(&mut lane.stats, entry, u64::wrapping_add);
        self.reasons.enter(entry.hold);
        lane.oldest_from = Some(lane.oldest_from.map_or(entry.id, |oldest| oldest.min(entry.id)));
        if !entry.leased && !entry.held() {
            lane.due.insert((entry.due, entry.id));
            self.keep_head(entry.lane);
        }
        let used = self.segments.entry(entry.place.segment).or_default();
        used.live += 1;
        used.live_bytes += u64::from(entry.disk_len);
        self.live_bytes += u64::from(entry.disk_len);
    }

    fn leave(&mut self, entry: &Entry) {
        let lane = &mut self.lanes[entry.lane as usize];
        count(&mut lane.stats, entry, u64::wrapping_sub);
        self.reasons.leave(entry.hold);
        if lane.stats.records == 0 {
            lane.oldest_from = None;
        }
        if !entry.leased && !entry.held() {
            lane.due.remove(&(entry.due, entry.id));
            self.keep_head(entry.lane);
        }
        if let Some(used) = self.segments.get_mut(&entry.place.segment) {
            used.live -= 1;
            used.live_bytes -= u64::from(entry.disk_len);
            if used.live == 0 {
                self.segments.remove(&entry.place.segment);
            }
        }
        self.live_bytes -= u64::from(entry.disk_len);
    }

    fn keep_head(&mut self, number: LaneNo) {
        let lane = &mut self.lanes[number as usize];
        let head = lane.due.first().map(|(due, _)| *due);
        if head == lane.head {
            return;
        }
        if let Some(old) = lane.head {
            self.heads.remove(&(old, number));
        }
        if let Some(new) = head {
            self.heads.insert((new, number));
        }
        lane.head = head;
    }

    fn reason(&mut self, reason: Option<&Arc<str>>) -> u16 {
        reason.map_or(0, |words| self.reasons.number(words))
    }
}

fn count(stats: &mut LaneStats, entry: &Entry, step: fn(u64, u64) -> u64) {
    stats.records = step(stats.records, 1);
    stats.held = step(stats.held, entry.held().into());
    stats.deferred = step(stats.deferred, (entry.attempts > 0).into());
    stats.leased = step(stats.leased, entry.leased.into());
    stats.bytes = step(stats.bytes, entry.disk_len.into());
}

fn short(attempts: u32) -> u16 {
    u16::try_from(attempts).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{CustomerId, MailKind, Urgency};
    use crate::smtp::Domain;

    fn lane(customer: &str) -> Lane {
        let domain = Domain::parse("test.dk").unwrap();
        Lane { customer: CustomerId::new(customer), domain, urgency: Urgency::Single, kind: MailKind::Mail }
    }

    const TAKEN: Timestamp = Timestamp::from_millis(1 << 40);

    fn put(index: &mut Index, raw: u64, customer: &str) -> QueueId {
        let id = QueueId::from_u64(raw);
        let lane = index.intern(&lane(customer));
        let status = Status {
            attempts: 0,
            due: Timestamp::from_millis(60_000),
            delay_notified: false,
            untried: true,
            hold: None,
        };
        let place = Place { segment: 1, at: raw as u32 };
        index.put(Put { id, place, disk_len: 10, lane, domains: 0, status }, Some(TAKEN));
        id
    }

    #[test]
    fn an_entry_weighs_at_most_64_octets() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }

    #[test]
    fn claims_come_soonest_due_first_and_not_twice() {
        let mut index = Index::default();
        let (a, b) = (put(&mut index, 1_000, "x"), put(&mut index, 2_000, "x"));
        index.set_due(a, Timestamp::from_millis(9));
        let now = Timestamp::from_millis(10);
        let ids = |index: &Index| index.claimable(&lane("x"), now, 5).iter().map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(ids(&index), [b, a]);
        index.lease(b);
        assert_eq!(ids(&index), [a]);
        index.hold(a, &"why".into());
        assert_eq!(ids(&index), []);
        assert_eq!(index.due(now), (vec![], None));
        index.release(a, now);
        assert_eq!(index.due(now), (vec![lane("x")], None));
        index.give_back(b, Timestamp::from_millis(11));
        assert_eq!(ids(&index), [a]);
        index.remove(a);
        assert_eq!(index.due(now), (vec![], Some(Timestamp::from_millis(11))));
    }

    #[test]
    fn counts_follow_every_change() {
        let mut index = Index::default();
        let (a, b, c) = (put(&mut index, 1, "x"), put(&mut index, 2, "y"), put(&mut index, 3, "x"));
        index.hold(b, &"why".into());
        index.lease(c);
        let stats = index.stats();
        assert_eq!(stats[&lane("x")].leased, 1);
        assert_eq!(stats[&lane("x")].oldest, Some(a));
        assert_eq!(stats[&lane("y")].held, 1);
        index.remove(a);
        assert_eq!(index.stats()[&lane("x")].oldest, Some(c));
        index.remove(b);
        assert!(!index.stats().contains_key(&lane("y")));
        index.remove(c);
        assert_eq!((index.len(), index.live_bytes(), index.segment_use(1).live), (0, 0, 0));
    }
}
