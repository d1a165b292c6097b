//! The committer's actions after a failed write or sync, and when there is no room.

use std::collections::VecDeque;
use std::io;

use super::super::active::again;
use super::super::inbox::Item;
use super::{Committer, FAILURES};
use crate::spool::Error;
use crate::spool::index::Place;

impl Committer {
    /// Handles a failed write or sync: nothing written since the last sync counts. `batch` holds the items that were being written.
    pub(super) fn failed(&mut self, batch: impl IntoIterator<Item = Item>, error: &io::Error) {
        let (segment, unsynced) = {
            let mut filling = self.shared.active.lock();
            // No written result waits for a sync any more. Otherwise the committer would be due at once, again and again, until there is
            // another segment.
            self.shared.inbox.sync_begins();
            filling.failed = None;
            (filling.segment.take(), std::mem::take(&mut filling.unsynced))
        };
        let why = match segment {
            Some(segment) => {
                self.voids.push(Place { segment: segment.number, at: self.synced as u32 });
                self.shared.segments.abandon(segment.number, self.synced);
                format!("segment {:08x}, offset {}: {error}", segment.number, self.synced)
            }
            None => error.to_string(),
        };
        self.trouble(why, error);
        let unsynced = unsynced.into_iter().map(|unsynced| Item::Change(unsynced.change, None));
        let mut first = VecDeque::from_iter(unsynced);
        first.extend(self.refuse_but_changes(batch, error));
        first.append(&mut self.unwritten);
        self.unwritten = first;
        self.shared.inbox.wrote(&self.unwritten);
    }

    /// Handles that there is no segment for the first unwritten item. If the disk is full and the item is a message, only this message is
    /// refused, because shorter ones behind it may fit. Otherwise all messages are refused, and changes wait. Returns true if the rest of
    /// the items may be tried.
    pub(super) fn no_segment_for_first(&mut self, error: &io::Error) -> bool {
        if is_full(error)
            && let Some(message) = self.unwritten.pop_front_if(|item| matches!(item, Item::Draft(..) | Item::Copy(..)))
        {
            // The disk works, and results can still be recorded, so the spool is full but not in trouble. If even a message of usual size
            // does not fit, the spool is full for everybody.
            if message.frames_len() < self.shared.smallest() {
                self.shared.space.set_spare(if self.shared.spare.is_made() { Ok(()) } else { Err(error) });
                self.shared.look_at_space();
            }
            self.refuse_for(message, error);
            return true;
        }
        self.no_segment(error);
        let items = std::mem::take(&mut self.unwritten);
        self.unwritten = self.refuse_but_changes(items, error);
        self.shared.inbox.wrote(&self.unwritten);
        false
    }

    pub(super) fn no_segment(&mut self, error: &io::Error) {
        self.trouble(format!("no segment can be made in {}: {error}", self.shared.dir.path.display()), error);
    }

    /// Counts and reports a failure. This comes before the refusals, so that a refused caller finds the state that explains the refusal.
    fn trouble(&mut self, why: String, error: &io::Error) {
        self.shared.settings.counters.failures.inc();
        if !is_full(error) && error.kind() != io::ErrorKind::ReadOnlyFilesystem {
            self.failures += 1;
        }
        if self.failures >= FAILURES {
            self.shared.stop_with(why);
        } else {
            self.shared.set_troubled(why);
        }
    }

    /// Refuses the items that a caller waits for. Returns the changes in order, to be written later.
    fn refuse_but_changes(&self, items: impl IntoIterator<Item = Item>, error: &io::Error) -> VecDeque<Item> {
        let mut changes = VecDeque::new();
        for item in items {
            match item {
                Item::Change(change, reply) => {
                    reply.into_iter().for_each(|reply| drop(reply.send(Err(self.refusal(error)))));
                    changes.push_back(Item::Change(change, None));
                }
                other => self.refuse_for(other, error),
            }
        }
        changes
    }

    fn refuse_for(&self, item: Item, error: &io::Error) {
        item.refuse(|| self.refusal(error));
    }

    fn refusal(&self, error: &io::Error) -> Error {
        match is_full(error) {
            true => self.shared.space.error(&self.shared.settings),
            false => Error::Io { what: "writing the spool".into(), source: again(error) },
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
