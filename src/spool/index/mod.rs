//! The index: for every waiting message, where its octets are, in which lane it waits and when it is due. A message takes about 90 octets
//! of memory. All counts are kept up to date, so that reading them costs O(lanes).
//!
//! The index does no I/O. A backend's committer, its recovery and the port's calls ([`calls`]) change it under one lock, in the order in
//! which the log records the changes.

pub(super) mod calls;
mod entry;
mod lanes;
mod reasons;
mod select;
mod sorted;
mod to_read;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::lanes::LaneState;
use self::reasons::{ReasonNo, Reasons};
use self::sorted::Sorted;
use super::codec::{State, Status};
use super::next_try::NextTry;
use crate::message::{Lane, QueueId};
use crate::spool::LaneStats;
use crate::time::Timestamp;

pub(super) use self::calls::{Fact, LogEntry};
pub(super) use self::entry::{Entry, LaneNo, Place};
pub(super) use self::select::{bits, enough};
pub(super) use self::to_read::MessageToRead;

/// The number of entries that are examined while the index is locked.
pub(super) const LOOK: usize = 20_000;

/// All that the index keeps of a message, besides its place.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    pub id: QueueId,
    pub lane: Lane,
    /// The recipients' domains, as bits ([`bits`]).
    pub domains: u32,
    pub status: Status,
    /// The octets of the message on disk.
    pub disk_len: u32,
}

/// How much waiting mail a segment holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Use {
    pub live: u64,
    pub live_bytes: u64,
}

/// The index, see the module's comment.
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

    /// Returns how many messages are leased.
    pub fn leased(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.stats.leased).sum()
    }

    /// Returns the number of a lane, and assigns one if the lane is new.
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

    /// Returns all that is needed to read a message.
    pub fn wanted(&self, id: QueueId) -> Option<MessageToRead> {
        let entry = *self.entries.get(id)?;
        Some(MessageToRead { entry, unwritten: self.unwritten.get(&id).cloned(), hold: self.hold_reason(&entry) })
    }

    /// Returns the reason for which a message is held.
    pub fn hold_reason(&self, entry: &Entry) -> Option<Arc<str>> {
        entry.hold.map(|number| self.reasons.words(number))
    }

    /// Adds a message that is on disk at `place`. If the id is already there, this is a copy, and it replaces the earlier one. `taken` is
    /// the time at which this process accepted the message, or `None` if recovery found it.
    pub fn put(&mut self, message: &Summary, place: Place, taken: Option<Timestamp>) {
        let Summary { id, lane, domains, status, disk_len } = message;
        let lane = self.intern(lane);
        if let Some(old) = self.entries.remove(*id) {
            self.leave(&old);
        }
        let mut entry = Entry {
            attempts: short(status.attempts),
            hold: self.reason(status.hold.as_ref()),
            delay_notified: status.delay_notified,
            untried: status.untried,
            fresh: taken.is_some(),
            ..Entry::new(*id, place, *disk_len, lane, *domains)
        };
        entry.set_next_try(status.next);
        if let Some(now) = taken.filter(|_| status.untried) {
            // Nobody can have tried a message that this process has just accepted. If the clock was set back, the id is ahead of it.
            entry.due = id.arrived().min(now);
        }
        self.enter(&entry);
        self.entries.insert(entry);
    }

    /// Updates the place of a message that was copied forward. If a later state was synced together with the copy, that state stays the
    /// last one.
    pub fn moved(&mut self, id: QueueId, place: Place, disk_len: u32) {
        self.change(id, |entry| {
            entry.place = place;
            entry.disk_len = disk_len;
            entry.state = entry.state.filter(|state| *state > place);
        });
    }

    /// Sets a new state that is not synced yet. This ends a lease.
    pub fn set_state(&mut self, id: QueueId, state: &Arc<State>) {
        self.unwritten.insert(id, Arc::clone(state));
        self.apply_status(id, &state.status);
    }

    /// Records that a state is synced, in a frame at `place`.
    pub fn state_synced(&mut self, id: QueueId, state: &Arc<State>, place: Place) {
        if self.unwritten.get(&id).is_some_and(|latest| Arc::ptr_eq(latest, state)) {
            self.unwritten.remove(&id);
        }
        if let Some(entry) = self.entries.get_mut(id) {
            entry.state = Some(place);
        }
    }

    /// Applies a state that recovery found on disk.
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

    /// Holds a message. A leased message stays held when its lease ends.
    pub fn hold(&mut self, id: QueueId, reason: &Arc<str>) {
        let hold = self.reason(Some(reason));
        self.change(id, |entry| entry.hold = hold);
    }

    pub fn release(&mut self, id: QueueId, next: NextTry) {
        self.change(id, |entry| {
            entry.hold = None;
            entry.set_next_try(next);
            entry.untried = false;
        });
    }

    pub fn lease(&mut self, id: QueueId) {
        self.change(id, |entry| entry.leased = true);
    }

    /// Ends a lease without an attempt. The message keeps its former place in line.
    pub fn give_back(&mut self, id: QueueId, next: NextTry) {
        self.change(id, |entry| {
            if entry.leased {
                entry.leased = false;
                entry.set_next_try(next);
            }
        });
    }

    /// Removes a message that is settled or was set aside.
    pub fn remove(&mut self, id: QueueId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.unwritten.remove(&id);
        self.leave(&entry);
        Some(entry)
    }

    /// After a clean stop no attempt was in progress, so messages that were never tried are due at once.
    pub fn nothing_was_in_flight(&mut self, now: Timestamp) {
        let untried: Vec<_> =
            self.entries.from(QueueId::from_u64(0)).filter(|entry| entry.untried).map(|entry| entry.id).collect();
        for id in untried {
            self.change(id, |entry| entry.due = id.arrived().min(now));
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
        entry.hold.into_iter().for_each(|number| self.reasons.enter(number));
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
        entry.hold.into_iter().for_each(|number| self.reasons.leave(number));
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

    fn reason(&mut self, reason: Option<&Arc<str>>) -> Option<ReasonNo> {
        reason.map(|words| self.reasons.number(words))
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
pub(super) mod tests {
    use super::*;
    use crate::message::{CustomerId, MailKind, Urgency};
    use crate::smtp::Domain;
    use crate::spool::{Expedited, RecipientState, Record, Settlement};
    use crate::test_records;

    pub fn lane(customer: &str) -> Lane {
        let domain = Domain::parse("test.dk").unwrap();
        Lane { customer: CustomerId::new(customer), domain, urgency: Urgency::Single, kind: MailKind::Mail }
    }

    const TAKEN: Timestamp = Timestamp::from_millis(1 << 40);

    pub fn at(millis: u64) -> NextTry {
        NextTry::at(Timestamp::from_millis(millis))
    }

    pub fn put(index: &mut Index, raw: u64, customer: &str) -> QueueId {
        let (id, lane) = (QueueId::from_u64(raw), lane(customer));
        let status = Status { attempts: 0, next: at(60_000), delay_notified: false, untried: true, hold: None };
        let place = Place { segment: 1, at: raw as u32 };
        index.put(&Summary { id, lane, domains: 0, status, disk_len: 10 }, place, Some(TAKEN));
        id
    }

    #[test]
    fn an_entry_weighs_at_most_64_octets() {
        assert!(size_of::<Entry>() <= 64, "{}", size_of::<Entry>());
    }

    #[test]
    fn a_state_behind_a_copy_outlives_it_and_one_before_it_does_not() {
        let mut index = Index::default();
        let id = put(&mut index, 1, "x");
        let status = Status { attempts: 1, next: at(70_000), delay_notified: false, untried: false, hold: None };
        let state = Arc::new(State { status, waited_for_caps: std::time::Duration::ZERO, recipients: Vec::new() });
        let (before, copy, behind) =
            (Place { segment: 1, at: 900 }, Place { segment: 2, at: 64 }, Place { segment: 2, at: 300 });
        index.set_state(id, &state);
        index.state_synced(id, &state, before);
        index.moved(id, copy, 10);
        assert_eq!(index.get(id).unwrap().state, None, "it is part of the copy");
        // The committer marks results as synced before it enters the copies of the same sync.
        index.set_state(id, &state);
        index.state_synced(id, &state, behind);
        index.moved(id, copy, 10);
        assert_eq!(index.get(id).unwrap().state, Some(behind));
    }

    #[test]
    fn a_message_that_was_released_while_a_part_of_it_was_given_up_gets_its_attempt() {
        let mut index = Index::default();
        let id = put(&mut index, 1, "x");
        index.hold(id, &"odd".into());
        index.lease(id);
        let record = test_records::record("a@test.dk", &["x@example.com", "y@example.org"]);
        let record = Record { id, held: Some("odd".into()), ..record };
        let entry = *index.get(id).unwrap();
        calls::release(&mut index, &entry, TAKEN).unwrap();
        let given_up = RecipientState::Failed { reply: "enough".into() };
        calls::settle(&mut index, record, Settlement { results: vec![(0, given_up)], ..Settlement::default() })
            .unwrap();
        let entry = index.get(id).unwrap();
        assert!(!entry.held() && !entry.leased);
        assert!(matches!(entry.next_try().expedited, Some(Expedited::Released { .. })));
    }

    #[test]
    fn counts_follow_every_change() {
        let mut index = Index::default();
        let (a, b, c) = (put(&mut index, 1, "x"), put(&mut index, 2, "y"), put(&mut index, 3, "x"));
        index.hold(b, &"why".into());
        index.lease(c);
        let stats: BTreeMap<_, _> = index.lanes(None, 9).unwrap().into_iter().collect();
        assert_eq!(stats[&lane("x")].leased, 1);
        assert_eq!(stats[&lane("x")].oldest, Some(a));
        assert_eq!(stats[&lane("y")].held, 1);
        index.remove(a);
        assert_eq!(index.lanes(None, 1).unwrap()[0].1.oldest, Some(c));
        index.remove(b);
        assert_eq!(index.lanes(None, 9).unwrap().len(), 1);
        index.remove(c);
        assert_eq!((index.len(), index.live_bytes(), index.segment_use(1).live), (0, 0, 0));
    }
}
