//! The index: for every waiting message where its bytes are, in which lane it waits and when it is due. A message takes about 90
//! octets of memory. All counts are kept up to date, so that reading them costs O(lanes).
//!
//! The index does no I/O. The committer, recovery and the port's calls change it under one lock, in the order in which their frames
//! are written.

mod entry;
mod reasons;
mod select;
mod sorted;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use self::reasons::Reasons;
use self::sorted::Sorted;
use super::codec::{State, Status};
use super::next_try::NextTry;
use crate::message::{Lane, QueueId};
use crate::spool::{DueLane, DuePage, LaneStats};
use crate::time::Timestamp;

pub(super) use self::entry::{Entry, LaneNo, Place};

/// How many entries to look at while the index is locked.
pub(super) const LOOK: usize = 20_000;

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
    /// The present state, if it may not be on disk yet.
    pub unwritten: Option<Arc<State>>,
    pub hold: Option<Arc<str>>,
}

#[derive(Default)]
struct LaneState {
    stats: LaneStats,
    /// What can be claimed, by [`Entry::rank`].
    due: BTreeSet<(Timestamp, QueueId)>,
    /// The first rank in `due`.
    head: Option<Timestamp>,
    /// No record of this lane is older than this one.
    oldest_from: Option<QueueId>,
}

impl LaneState {
    fn stats(&self) -> LaneStats {
        let last_due = self.due.last().map(|(due, _)| *due);
        LaneStats { last_due, oldest: self.oldest_from, ..self.stats }
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
    /// All lanes in the order of their names.
    in_order: Vec<LaneNo>,
    /// The lanes with claimable records, by their first rank.
    heads: BTreeSet<(Timestamp, LaneNo)>,
    reasons: Reasons,
    /// States that no sync has made durable yet.
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
        let place = self.in_order.partition_point(|other| self.names[*other as usize] < *lane);
        self.in_order.insert(place, number);
        number
    }

    pub fn lane(&self, number: LaneNo) -> &Lane {
        &self.names[number as usize]
    }

    pub fn get(&self, id: QueueId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Returns true if the present state of a message may not be on disk yet.
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
        let Status { attempts, next, delay_notified, untried, hold } = put.status;
        let mut entry = Entry {
            attempts: short(attempts),
            hold: self.reason(hold.as_ref()),
            delay_notified,
            untried,
            fresh: taken.is_some(),
            ..Entry::new(put.id, put.place, put.disk_len, put.lane, put.domains)
        };
        entry.set_next_try(next);
        if let Some(now) = taken.filter(|_| untried) {
            // Nobody can have tried a message that this process just took. Its id lies ahead of a clock that was set back.
            entry.due = put.id.arrived().min(now);
        }
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

    /// A new state, which is not synced yet. It ends a lease.
    pub fn set_state(&mut self, id: QueueId, state: &Arc<State>) {
        self.unwritten.insert(id, Arc::clone(state));
        self.apply_status(id, &state.status);
    }

    /// That state is synced now, in a frame at `place`.
    pub fn state_synced(&mut self, id: QueueId, state: &Arc<State>, place: Place) {
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
            entry.set_next_try(status.next);
            entry.delay_notified = status.delay_notified;
            entry.untried = status.untried;
            entry.hold = hold;
            entry.leased = false;
        });
    }

    /// Sets when a message is tried next.
    pub fn set_next_try(&mut self, id: QueueId, next: NextTry) {
        self.change(id, |entry| {
            entry.set_next_try(next);
            entry.untried = false;
        });
    }

    /// Holds. A message that is being attempted is held when it comes back.
    pub fn hold(&mut self, id: QueueId, reason: &Arc<str>) {
        let hold = self.reason(Some(reason));
        self.change(id, |entry| entry.hold = hold);
    }

    /// Ends a hold.
    pub fn release(&mut self, id: QueueId, next: NextTry) {
        self.change(id, |entry| {
            entry.hold = 0;
            entry.set_next_try(next);
            entry.untried = false;
        });
    }

    /// Hands out for an attempt.
    pub fn lease(&mut self, id: QueueId) {
        self.change(id, |entry| entry.leased = true);
    }

    /// Takes back what was not attempted. It keeps the place in line that it had before.
    pub fn give_back(&mut self, id: QueueId, next: NextTry) {
        self.change(id, |entry| {
            if entry.leased {
                entry.leased = false;
                entry.set_next_try(next);
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

    /// Up to `limit` records of a lane that can be claimed at `now`: expedited ones first, then by their due times.
    pub fn claimable(&self, lane: &Lane, now: Timestamp, limit: usize) -> Vec<Entry> {
        let Some(number) = self.numbers.get(lane) else { return Vec::new() };
        let due = self.lanes[*number as usize].due.iter();
        let ids = due.take_while(|(rank, _)| *rank <= now).take(limit);
        ids.filter_map(|(_, id)| self.entries.get(*id).copied()).collect()
    }

    /// Up to `limit` lanes with something to claim at `now`, from the one after `after` on.
    pub fn due(&self, now: Timestamp, after: Option<&DueLane>, limit: usize) -> DuePage {
        let start = after.map_or(Bound::Unbounded, |after| {
            Bound::Excluded((after.since, self.numbers.get(&after.lane).copied().unwrap_or(LaneNo::MAX)))
        });
        let mut page = DuePage::default();
        for (since, lane) in self.heads.range((start, Bound::Unbounded)) {
            if *since > now {
                page.next_due = Some(*since);
                break;
            }
            if page.lanes.len() == limit {
                page.more = true;
                break;
            }
            page.lanes.push(DueLane { since: *since, lane: self.names[*lane as usize].clone() });
        }
        page
    }

    /// The counts of up to `limit` lanes that hold records, from the one after `after` on.
    pub fn lanes(&mut self, after: Option<&Lane>, limit: usize) -> Vec<(Lane, LaneStats)> {
        self.find_oldest();
        let start = after.map_or(0, |after| self.in_order.partition_point(|lane| self.names[*lane as usize] <= *after));
        let lanes = self.in_order[start..].iter().map(|lane| *lane as usize);
        let lanes = lanes.filter(|lane| self.lanes[*lane].stats.records > 0).take(limit);
        lanes.map(|lane| (self.names[lane].clone(), self.lanes[lane].stats())).collect()
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
            lane.due.insert((entry.rank(), entry.id));
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
            lane.due.remove(&(entry.rank(), entry.id));
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
    use crate::spool::Expedited;

    fn lane(customer: &str) -> Lane {
        let domain = Domain::parse("test.dk").unwrap();
        Lane { customer: CustomerId::new(customer), domain, urgency: Urgency::Single, kind: MailKind::Mail }
    }

    const TAKEN: Timestamp = Timestamp::from_millis(1 << 40);

    fn at(millis: u64) -> NextTry {
        NextTry::at(Timestamp::from_millis(millis))
    }

    fn put(index: &mut Index, raw: u64, customer: &str) -> QueueId {
        let id = QueueId::from_u64(raw);
        let lane = index.intern(&lane(customer));
        let status = Status { attempts: 0, next: at(60_000), delay_notified: false, untried: true, hold: None };
        let place = Place { segment: 1, at: raw as u32 };
        index.put(Put { id, place, disk_len: 10, lane, domains: 0, status }, Some(TAKEN));
        id
    }

    #[test]
    fn an_entry_weighs_at_most_64_octets() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }

    fn due(index: &Index, now: Timestamp) -> (Vec<Lane>, Option<Timestamp>) {
        let page = index.due(now, None, 100);
        (page.lanes.into_iter().map(|due| due.lane).collect(), page.next_due)
    }

    #[test]
    fn claims_come_soonest_due_first_and_not_twice() {
        let mut index = Index::default();
        let (a, b) = (put(&mut index, 1_000, "x"), put(&mut index, 2_000, "x"));
        let now = Timestamp::from_millis(10);
        index.set_next_try(a, at(9));
        index.set_next_try(b, at(8));
        let ids = |index: &Index| index.claimable(&lane("x"), now, 5).iter().map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(ids(&index), [b, a]);
        index.lease(b);
        assert_eq!(ids(&index), [a]);
        index.hold(a, &"why".into());
        assert_eq!(ids(&index), []);
        assert_eq!(due(&index, now), (vec![], None));
        index.release(a, NextTry { due: now, expedited: Some(Expedited::Requested) });
        assert_eq!(due(&index, now), (vec![lane("x")], None));
        index.give_back(b, at(11));
        assert_eq!(ids(&index), [a]);
        index.remove(a);
        assert_eq!(due(&index, now), (vec![], Some(Timestamp::from_millis(11))));
    }

    #[test]
    fn what_was_expedited_comes_before_what_is_due_longest_and_goes_back_there() {
        let mut index = Index::default();
        let (a, b) = (put(&mut index, 1_000, "x"), put(&mut index, 2_000, "x"));
        let now = Timestamp::from_millis(1_000);
        let hurried = NextTry { due: now, expedited: Some(Expedited::Requested) };
        index.set_next_try(a, at(5));
        index.set_next_try(b, hurried);
        let ids = |index: &Index| index.claimable(&lane("x"), now, 5).iter().map(|e| e.id).collect::<Vec<_>>();
        assert_eq!(ids(&index), [b, a]);
        index.lease(b);
        index.set_next_try(b, at(2_000));
        index.give_back(b, hurried);
        assert_eq!(ids(&index), [b, a]);
        assert_eq!(index.get(b).unwrap().next_try(), hurried);
    }

    #[test]
    fn pages_of_due_lanes_name_each_once_and_the_last_says_when_the_next_is_due() {
        let mut index = Index::default();
        for raw in 1..=7 {
            let id = put(&mut index, raw, &format!("c{raw}"));
            index.set_next_try(id, at(if raw == 7 { 99 } else { raw % 3 }));
        }
        let (now, mut after, mut found) = (Timestamp::from_millis(10), None, Vec::new());
        loop {
            let page = index.due(now, after.as_ref(), 2);
            found.extend(page.lanes.iter().map(|due| due.lane.customer.as_str().to_owned()));
            after = page.lanes.last().cloned();
            if !page.more {
                assert_eq!(page.next_due, Some(Timestamp::from_millis(99)));
                break;
            }
            assert_eq!((page.lanes.len(), page.next_due), (2, None));
        }
        assert_eq!(found, ["c3", "c6", "c1", "c4", "c2", "c5"]);
    }

    #[test]
    fn pages_of_lanes_come_in_the_order_of_their_names() {
        let mut index = Index::default();
        for (raw, customer) in ["m", "b", "z", "a"].into_iter().enumerate() {
            put(&mut index, raw as u64 + 1, customer);
        }
        index.remove(QueueId::from_u64(3));
        let names = |page: &[(Lane, LaneStats)]| -> Vec<String> {
            page.iter().map(|(lane, _)| lane.customer.to_string()).collect()
        };
        let first = index.lanes(None, 2);
        assert_eq!(names(&first), ["a", "b"]);
        assert_eq!(names(&index.lanes(Some(&first[1].0), 2)), ["m"]);
    }

    #[test]
    fn counts_follow_every_change() {
        let mut index = Index::default();
        let (a, b, c) = (put(&mut index, 1, "x"), put(&mut index, 2, "y"), put(&mut index, 3, "x"));
        index.hold(b, &"why".into());
        index.lease(c);
        let stats: BTreeMap<_, _> = index.lanes(None, 9).into_iter().collect();
        assert_eq!(stats[&lane("x")].leased, 1);
        assert_eq!(stats[&lane("x")].oldest, Some(a));
        assert_eq!(stats[&lane("y")].held, 1);
        index.remove(a);
        assert_eq!(index.lanes(None, 1)[0].1.oldest, Some(c));
        index.remove(b);
        assert_eq!(index.lanes(None, 9).len(), 1);
        index.remove(c);
        assert_eq!((index.len(), index.live_bytes(), index.segment_use(1).live), (0, 0, 0));
    }
}
