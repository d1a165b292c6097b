//! Which entries are meant: what of a filter can be told without the disk, a bounded number of entries at a time, since the
//! index is locked meanwhile.

use super::{Entry, Index};
use crate::message::{Lane, QueueId};
use crate::spool::Filter;

impl Index {
    /// Looks at up to `look` entries from an id on, and returns up to `most` that may match, and where to go on. What stands only
    /// on disk (a recipient in a domain) is still to be checked.
    pub fn select(
        &self,
        filter: &Filter,
        domain: u32,
        from: QueueId,
        look: usize,
        most: usize,
    ) -> (Vec<Entry>, Option<QueueId>) {
        let mut found = Vec::new();
        if let Some(ids) = &filter.ids {
            let mut ids = ids.range(from..);
            let entries = ids.by_ref().take(look.min(most)).filter_map(|id| self.entries.get(*id));
            found.extend(entries.filter(|entry| self.matches(entry, filter, domain)));
            return (found, ids.next().copied());
        }
        // Names are compared once a lane, not once a message.
        let lanes: Vec<bool> = self.names.iter().map(|lane| in_lane(filter, lane)).collect();
        for (looked, entry) in self.entries.from(from).enumerate() {
            if looked == look || found.len() == most {
                return (found, Some(entry.id));
            }
            // Ids go up with time: nothing after this one arrived before it.
            if filter.arrived_before.is_some_and(|before| entry.id.arrived() >= before) {
                return (found, None);
            }
            if lanes[entry.lane as usize] && fits(entry, filter, domain) {
                found.push(*entry);
            }
        }
        (found, None)
    }

    /// What of a filter can be told from the index.
    pub fn matches(&self, entry: &Entry, filter: &Filter, domain: u32) -> bool {
        fits(entry, filter, domain) && in_lane(filter, self.lane(entry.lane))
    }

    /// The messages in a segment, from an id on; looks at up to `look` entries.
    pub fn in_segment(&self, segment: u32, from: QueueId, look: usize) -> (Vec<QueueId>, Option<QueueId>) {
        let mut found = Vec::new();
        for (looked, entry) in self.entries.from(from).enumerate() {
            if looked == look {
                return (found, Some(entry.id));
            }
            if entry.place.segment == segment {
                found.push(entry.id);
            }
        }
        (found, None)
    }
}

/// What of a filter a lane decides.
fn in_lane(filter: &Filter, lane: &Lane) -> bool {
    filter.customer.as_ref().is_none_or(|customer| lane.customer == *customer)
        && filter.lanes.as_ref().is_none_or(|lanes| lanes.contains(lane))
}

/// What of a filter the entry decides by itself.
fn fits(entry: &Entry, filter: &Filter, domain: u32) -> bool {
    filter.held.is_none_or(|held| entry.held() == held)
        && filter.deferred.is_none_or(|deferred| (entry.attempts > 0) == deferred)
        && filter.delay_notified.is_none_or(|notified| entry.delay_notified == notified)
        && filter.due_after.is_none_or(|after| entry.due > after)
        && entry.domains & domain == domain
        && filter.after.is_none_or(|after| entry.id > after)
        && filter.arrived_before.is_none_or(|before| entry.id.arrived() < before)
        && filter.ids.as_ref().is_none_or(|ids| ids.contains(&entry.id))
}
