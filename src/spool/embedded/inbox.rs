//! The queue to the committer: items in the order in which they will be written.
//!
//! It has no limit in octets, because the caller of a commit holds the draft's memory anyway and has a budget for it. Results bypass the
//! inbox if they can be written at once ([`Active`](super::active::Active)).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::encoded::Encoded;
use super::note::Change;
use crate::machine::threads::Bell;
use crate::spool::item;

/// An item for the committer to write.
pub(super) type Item = item::Item<Encoded, Change>;

impl Item {
    /// Returns true if later changes of the same message must be written after this item.
    pub fn is_ordered(&self) -> bool {
        matches!(self, Item::Copy(..) | Item::Change(..))
    }

    /// Returns the lines of a message for the outbox.
    pub fn lines(&self) -> Option<&[u8]> {
        match self {
            Item::Draft(message, _) => Some(message.lines()),
            Item::Copy(..) | Item::Change(..) | Item::Barrier(_) => None,
        }
    }

    /// Returns the octets of the item's frames.
    pub fn frames_len(&self) -> u64 {
        match self {
            Item::Draft(message, _) | Item::Copy(message, _) => message.disk_len().into(),
            Item::Change(change, _) => change.frame_len(),
            Item::Barrier(_) => 0,
        }
    }
}

/// The work that the committer finds.
pub(super) struct TakenItems {
    pub items: Vec<Item>,
    /// True if unsynced results are old enough to be synced now.
    pub sync_due: bool,
    pub stopping: bool,
}

#[derive(Default)]
struct Queue {
    items: Vec<Item>,
    /// When the oldest unsynced result was written.
    unsynced_since: Option<Instant>,
    stopping: bool,
    committer_waits: bool,
}

/// The queue to the committer.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    ready: Bell,
    /// True while ordered items wait or are being written by the committer.
    ordered: AtomicBool,
}

impl Inbox {
    /// Adds items in order. Gives them back if the spool is stopping.
    pub fn push(&self, items: impl IntoIterator<Item = Item>) -> Result<(), Vec<Item>> {
        let mut queue = self.queue();
        if queue.stopping {
            return Err(items.into_iter().collect());
        }
        for item in items {
            if item.is_ordered() {
                self.ordered.store(true, Ordering::Release);
            }
            queue.items.push(item);
        }
        self.wake(&queue);
        Ok(())
    }

    /// Returns true while changes wait, so that a later one must wait behind them. The answer is exact for a caller that holds the index's
    /// lock, because changes are added under it.
    pub fn has_ordered(&self) -> bool {
        self.ordered.load(Ordering::Acquire)
    }

    /// Records that the committer has written its items, except for `in_hand`.
    pub fn wrote<'a>(&self, in_hand: impl IntoIterator<Item = &'a Item>) {
        let in_hand = in_hand.into_iter().any(Item::is_ordered);
        let queue = self.queue();
        self.ordered.store(in_hand || queue.items.iter().any(Item::is_ordered), Ordering::Release);
    }

    /// Records that a result was written that no sync covers yet.
    pub fn wants_sync(&self) {
        let mut queue = self.queue();
        if queue.unsynced_since.is_none() {
            queue.unsynced_since = Some(Instant::now());
            self.wake(&queue);
        }
    }

    /// Records that a sync begins that covers all results written so far.
    pub fn sync_begins(&self) {
        self.queue().unsynced_since = None;
    }

    /// Waits until there is work, and returns all of it: items, or a due sync of results that were written `delay` ago. With `retry`,
    /// returns after that time even without work.
    pub fn take(&self, delay: Duration, retry: Option<Duration>) -> TakenItems {
        let mut queue = self.queue();
        let retry_at = retry.map(|after| Instant::now() + after);
        loop {
            let now = Instant::now();
            let sync_at = queue.unsynced_since.map(|since| since + delay);
            let wake_at = [sync_at, retry_at].into_iter().flatten().min();
            if queue.stopping || !queue.items.is_empty() || wake_at.is_some_and(|at| at <= now) {
                let sync_due = sync_at.is_some_and(|at| at <= now);
                return TakenItems { items: std::mem::take(&mut queue.items), sync_due, stopping: queue.stopping };
            }
            queue.committer_waits = true;
            queue = self.ready.wait(&self.queue, queue, wake_at.map(|at| at - now));
            queue.committer_waits = false;
        }
    }

    /// Drops all items when the committer is gone, so that waiting callers get an error.
    pub fn abandon(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        queue.stopping = true;
        queue.items.clear();
    }

    /// Accepts no more items. Those inside are still written.
    pub fn stop(&self) {
        self.queue().stopping = true;
        self.ready.ring();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the inbox")
    }

    /// Waking costs a system call, so it is skipped unless the committer waits.
    fn wake(&self, queue: &Queue) {
        if queue.committer_waits {
            self.ready.ring();
        }
    }
}
