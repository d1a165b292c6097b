//! Finds the entries that a filter selects, as far as the index can tell without the disk. Only a limited number of entries is examined at
//! a time, because the index is locked meanwhile.

use super::{Entry, Index};
use crate::message::{Lane, QueueId};
use crate::spool::Filter;
use crate::spool::codec::domain_bit;

impl Index {
    /// Examines up to `look` entries from the id `from` on. Returns up to `most` that may match, and the id at which to continue. The
    /// caller still checks conditions that need the disk (a recipient in a domain).
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
        // Compare names once for each lane, not for each message.
        let lanes: Vec<bool> = self.names.iter().map(|lane| in_lane(filter, lane)).collect();
        for (looked, entry) in self.entries.from(from).enumerate() {
            if looked == look || found.len() == most {
                return (found, Some(entry.id));
            }
            // Ids grow with time, so no later entry arrived before it.
            if filter.arrived_before.is_some_and(|before| entry.id.arrived() >= before) {
                return (found, None);
            }
            if lanes[entry.lane as usize] && fits(entry, filter, domain) {
                found.push(*entry);
            }
        }
        (found, None)
    }

    /// Returns true if an entry matches a filter, as far as the index can tell.
    pub fn matches(&self, entry: &Entry, filter: &Filter, domain: u32) -> bool {
        fits(entry, filter, domain) && in_lane(filter, self.lane(entry.lane))
    }

    /// Returns the messages in a segment. Examines up to `look` entries from the id `from` on, and returns the id at which to continue.
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

/// Returns true if the conditions about lanes match.
fn in_lane(filter: &Filter, lane: &Lane) -> bool {
    filter.customer.as_ref().is_none_or(|customer| lane.customer == *customer)
        && filter.lanes.as_ref().is_none_or(|lanes| lanes.contains(lane))
}

/// Returns true if all other conditions match.
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

/// Returns the bits that an entry must have to match the filter's domain.
pub(in crate::spool) fn bits(filter: &Filter) -> u32 {
    filter.recipient_domain.as_ref().map_or(0, domain_bit)
}

/// Returns how many entries to select for `most` records. With a recipient domain these are all, because the index cannot tell which
/// entries match.
pub(in crate::spool) fn enough(filter: &Filter, most: usize) -> usize {
    if filter.recipient_domain.is_some() { usize::MAX } else { most }
}
