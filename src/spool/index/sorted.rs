//! A sorted sequence of index entries, stored as blocks of up to [`BLOCK`] entries in the order of their ids.
//!
//! Ids arrive almost in order, so blocks fill up, and an entry costs hardly more than its own size. That matters with a million waiting
//! messages. With such arrivals, a B-tree would leave its nodes half empty, and a hash map its buckets.

use super::entry::Entry;
use crate::message::QueueId;

const BLOCK: usize = 256;

/// The entries, oldest first.
#[derive(Default)]
pub(super) struct Sorted {
    blocks: Vec<Vec<Entry>>,
    len: usize,
}

impl Sorted {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, id: QueueId) -> Option<&Entry> {
        let (block, at) = self.find(id).ok()?;
        Some(&self.blocks[block][at])
    }

    pub fn get_mut(&mut self, id: QueueId) -> Option<&mut Entry> {
        let (block, at) = self.find(id).ok()?;
        Some(&mut self.blocks[block][at])
    }

    /// Adds an entry. Its id must be new.
    pub fn insert(&mut self, entry: Entry) {
        self.len += 1;
        let (block, at) = self.find(entry.id).unwrap_or_else(|place| place);
        let Some(entries) = self.blocks.get_mut(block) else {
            let mut entries = Vec::with_capacity(BLOCK);
            entries.push(entry);
            self.blocks.push(entries);
            return;
        };
        if entries.len() < BLOCK {
            entries.insert(at, entry);
            return;
        }
        // A full block is split in two halves. At the end of the last block, a new one begins instead.
        let mut second = Vec::with_capacity(BLOCK);
        if at == BLOCK {
            second.push(entry);
        } else {
            second.extend(entries.drain(BLOCK / 2..));
            if at <= BLOCK / 2 { entries.insert(at, entry) } else { second.insert(at - BLOCK / 2, entry) }
        }
        self.blocks.insert(block + 1, second);
    }

    pub fn remove(&mut self, id: QueueId) -> Option<Entry> {
        let (block, at) = self.find(id).ok()?;
        self.len -= 1;
        let entry = self.blocks[block].remove(at);
        let left = self.blocks[block].len();
        if left == 0 {
            self.blocks.remove(block);
        } else if left < BLOCK / 4 {
            self.merge(block);
        }
        Some(entry)
    }

    /// Returns the entries from this id on, oldest first.
    pub fn from(&self, id: QueueId) -> impl Iterator<Item = &Entry> {
        let (block, at) = self.find(id).unwrap_or_else(|place| place);
        let first = self.blocks.get(block).map_or(&[][..], |entries| entries.get(at..).unwrap_or(&[]));
        first.iter().chain(self.blocks.get(block + 1..).unwrap_or(&[]).iter().flatten())
    }

    /// Returns the block and place of an id, or, as an error, where it would be inserted. The greatest id belongs behind the last entry.
    fn find(&self, id: QueueId) -> Result<(usize, usize), (usize, usize)> {
        let block = self.blocks.partition_point(|entries| entries.last().is_some_and(|last| last.id < id));
        let Some(entries) = self.blocks.get(block) else {
            return match self.blocks.last() {
                Some(last) => Err((block - 1, last.len())),
                None => Err((0, 0)),
            };
        };
        match entries.binary_search_by_key(&id, |entry| entry.id) {
            Ok(at) => Ok((block, at)),
            Err(at) => Err((block, at)),
        }
    }

    fn merge(&mut self, block: usize) {
        let Some(next) = self.blocks.get(block + 1) else { return };
        if self.blocks[block].len() + next.len() <= BLOCK * 3 / 4 {
            let next = self.blocks.remove(block + 1);
            self.blocks[block].extend(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::entry::Place;
    use super::*;

    fn entry(id: QueueId) -> Entry {
        Entry::new(id, Place { segment: 1, at: 64 }, 100, 0, 0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn it_holds_what_a_tree_would(steps in proptest::collection::vec((any::<bool>(), 0u64..600), 0..1500)) {
            let (mut sorted, mut tree) = (Sorted::default(), BTreeMap::new());
            for (put, raw) in steps {
                let id = QueueId::from_u64(raw);
                if put && !tree.contains_key(&id) {
                    sorted.insert(entry(id));
                    tree.insert(id, ());
                } else if !put {
                    prop_assert_eq!(sorted.remove(id).is_some(), tree.remove(&id).is_some());
                }
                prop_assert_eq!(sorted.get(id).is_some(), tree.contains_key(&id));
            }
            prop_assert_eq!(sorted.len(), tree.len());
            for start in [0, 100, 599, 700] {
                let start = QueueId::from_u64(start);
                let found: Vec<_> = sorted.from(start).map(|e| e.id).collect();
                let expected: Vec<_> = tree.range(start..).map(|(id, ())| *id).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn arrivals_in_order_fill_their_blocks() {
        let mut sorted = Sorted::default();
        (0..10_000).for_each(|raw| sorted.insert(entry(QueueId::from_u64(raw))));
        assert_eq!(sorted.blocks.len(), 10_000usize.div_ceil(BLOCK));
    }
}
