//! Finds the entries that a filter selects, as far as that can be told without the disk. Only a bounded number of entries is looked at in
//! one go, because the index is locked meanwhile.

use super::{Entry, Index};
use crate::message::{Lane, QueueId};
use crate::spool::Filter;
use crate::spool::codec::domain_bit;

impl Index {
    /// Looks at up to `look` entries from the id `from` on. Returns up to `most` that may match, and the id to go on from. The caller still
    /// checks what stands only on disk (a recipient in a domain).
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
            // Ids go up with time, so nothing after this one arrived before it.
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

    /// The messages in a segment. Looks at up to `look` entries from the id `from` on, and returns the id to go on from.
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

/// Returns true if the parts of a filter that are about lanes match.
fn in_lane(filter: &Filter, lane: &Lane) -> bool {
    filter.customer.as_ref().is_none_or(|customer| lane.customer == *customer)
        && filter.lanes.as_ref().is_none_or(|lanes| lanes.contains(lane))
}

/// Returns true if all other parts of a filter match.
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

/// The bits that an entry must have to match the filter's domain.
pub(in crate::spool) fn bits(filter: &Filter) -> u32 {
    filter.recipient_domain.as_ref().map_or(0, domain_bit)
}

/// How many entries to select for `most` records. The index cannot tell which of them have a recipient in a domain, so then all.
pub(in crate::spool) fn enough(filter: &Filter, most: usize) -> usize {
    if filter.recipient_domain.is_some() { usize::MAX } else { most }
}
