//! Lanes in the index: their claimable messages, which lanes have due mail, and their counts.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::entry::{Entry, LaneNo};
use super::{Index, LOOK};
use crate::message::{Lane, QueueId};
use crate::spool::{DueLane, DuePage, LaneStats};
use crate::time::Timestamp;

/// The index's state of a lane.
#[derive(Default)]
pub(super) struct LaneState {
    pub stats: LaneStats,
    /// The claimable messages, by [`Entry::rank`].
    pub due: BTreeSet<(Timestamp, QueueId)>,
    /// The first rank in `due`.
    pub head: Option<Timestamp>,
    /// No record of this lane is older than this one.
    pub oldest_from: Option<QueueId>,
}

impl LaneState {
    pub fn stats(&self) -> LaneStats {
        let last_due = self.due.last().map(|(due, _)| *due);
        LaneStats { last_due, oldest: self.oldest_from, ..self.stats }
    }
}

impl Index {
    /// Returns up to `limit` records of a lane that can be claimed at `now`: expedited ones first, then by due time.
    pub fn claimable(&self, lane: &Lane, now: Timestamp, limit: usize) -> Vec<Entry> {
        let Some(number) = self.numbers.get(lane) else { return Vec::new() };
        let due = self.lanes[*number as usize].due.iter();
        let ids = due.take_while(|(rank, _)| *rank <= now).take(limit);
        ids.filter_map(|(_, id)| self.entries.get(*id).copied()).collect()
    }

    /// Returns up to `limit` lanes with claimable mail at `now`, starting after `after`.
    pub fn due(&self, now: Timestamp, after: Option<&DueLane>, limit: usize) -> DuePage {
        self.due_from(now, after.map_or(Bound::Unbounded, |after| self.behind(after)), limit)
    }

    /// Returns the bound behind which the lanes after `after` begin.
    pub fn behind(&self, after: &DueLane) -> Bound<(Timestamp, LaneNo)> {
        Bound::Excluded((after.since, self.numbers.get(&after.lane).copied().unwrap_or(LaneNo::MAX)))
    }

    /// Returns up to `limit` lanes with claimable mail at `now`, from `start` on.
    pub fn due_from(&self, now: Timestamp, start: Bound<(Timestamp, LaneNo)>, limit: usize) -> DuePage {
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

    /// Returns the counts of up to `limit` lanes that hold records, starting after `after`. Returns `None` if that would take too long
    /// while the index is locked. The caller then unlocks the index and asks again.
    pub fn lanes(&mut self, after: Option<&Lane>, limit: usize) -> Option<Vec<(Lane, LaneStats)>> {
        let start = after.map_or(0, |after| self.in_order.partition_point(|lane| self.names[*lane as usize] <= *after));
        let has_records = |lane: &LaneNo| self.lanes[*lane as usize].stats.records > 0;
        let all = self.in_order[start..].iter().copied().filter(has_records);
        // A caller that reads the first page usually reads all pages, so one pass finds the oldest records for all of them.
        let wanted = if after.is_none() { usize::MAX } else { limit };
        let mut lanes: Vec<LaneNo> = all.take(wanted).collect();
        if !self.find_oldest(&lanes, LOOK) {
            return None;
        }
        lanes.truncate(limit);
        let lanes = lanes.into_iter().map(|lane| lane as usize);
        Some(lanes.map(|lane| (self.names[lane].clone(), self.lanes[lane].stats())).collect())
    }

    /// Finds the oldest record of each of these lanes whose oldest record has gone, in one pass over the entries. Returns false if it has
    /// examined `most` entries and is not done. The next call continues there.
    fn find_oldest(&mut self, lanes: &[LaneNo], most: usize) -> bool {
        let mut open = BTreeSet::new();
        for number in lanes {
            let from = self.lanes[*number as usize].oldest_from.unwrap_or(QueueId::from_u64(0));
            let known = self.entries.get(from).is_some_and(|entry| entry.lane == *number);
            if !known {
                open.insert((from, *number));
            }
        }
        let Some((start, _)) = open.first() else { return true };
        let mut open_lanes: BTreeSet<LaneNo> = open.iter().map(|(_, lane)| *lane).collect();
        let (mut found, mut examined, mut seen_to) = (Vec::new(), 0, None);
        for entry in self.entries.from(*start) {
            if examined == most {
                seen_to = Some(entry.id);
                break;
            }
            examined += 1;
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
        for lane in open_lanes {
            let from = &mut self.lanes[lane as usize].oldest_from;
            *from = (*from).max(seen_to);
        }
        seen_to.is_none()
    }

    /// Updates the first rank of a lane after a change.
    pub(super) fn keep_head(&mut self, number: LaneNo) {
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
}

#[cfg(test)]
mod tests {
    use super::super::NextTry;
    use super::super::tests::{at, lane, put};
    use super::*;
    use crate::spool::Expedited;

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
        let first = index.lanes(None, 2).unwrap();
        assert_eq!(names(&first), ["a", "b"]);
        assert_eq!(names(&index.lanes(Some(&first[1].0), 2).unwrap()), ["m"]);
    }

    #[test]
    fn the_search_for_the_oldest_record_gives_the_lock_back_and_goes_on_where_it_was() {
        let mut index = Index::default();
        let first = put(&mut index, 1, "rare");
        for raw in 2..=50 {
            put(&mut index, raw, "often");
        }
        put(&mut index, 51, "rare");
        index.remove(first);
        let rare = index.numbers[&lane("rare")];
        let mut parts = 1;
        while !index.find_oldest(&[rare], 10) {
            parts += 1;
            // Meanwhile the index changes.
            index.remove(QueueId::from_u64(parts));
            put(&mut index, 100 + parts, "often");
            if parts == 3 {
                put(&mut index, 52, "rare");
                index.remove(QueueId::from_u64(51));
            }
            assert!(parts < 10);
        }
        assert!(parts > 3, "{parts}");
        let found = index.lanes(Some(&lane("often")), 9).unwrap();
        assert_eq!(found[0].1.oldest, Some(QueueId::from_u64(52)));
        put(&mut index, 30, "rare");
        assert_eq!(index.lanes(None, 9).unwrap()[1].1.oldest, Some(QueueId::from_u64(30)));
    }
}
