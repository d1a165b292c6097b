//! The committer: one thread that takes all waiting items, writes them, syncs once and answers all callers.
//!
//! While one batch syncs, the next one gathers, under load for a little longer ([`gather`](super::gather)). A batch of changes only is
//! written at once and synced later: with the next batch, or on its own after `settle_delay`.
//!
//! If a write or a sync fails, nothing written since the last sync counts: drafts are refused, and changes are written again first.
//! The segment is abandoned and never written or synced again, because after a failed fsync the kernel treats the lost pages as clean. The
//! next segment begins by declaring the failed part void, so that a restart does not bring back refused mail. Only a crash before that can
//! bring it back.

mod failure;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::time::Instant;

use super::active::{Filling, Unsynced, again};
use super::frame::SEGMENT_HEAD;
use super::gather::Served;
use super::inbox::{Item, TakenItems};
use super::keeper::Chore;
use super::segments::SegmentStage;
use super::shared::Shared;
use super::writing::Writing;
use crate::machine::{disk, threads};
use crate::spool::Error;
use crate::spool::index::Place;
use crate::spool::item::Summarized;
use crate::time::Timestamp;

/// After this many failures in a row, the spool stops.
const FAILURES: u32 = 3;
/// The pause before changes that could not be written are tried again.
const RETRY: Duration = Duration::from_millis(500);
/// The pause before a test write, if a failure left nothing to write. Delivery waits for a successful write, and new mail is accepted only
/// while the spool can be written.
const PROBE: Duration = Duration::from_secs(5);
/// The room that a test write must find: enough for a message of usual size.
const USUAL: u64 = 64 << 10;
/// The most octets that are written before a sync.
const BATCH: u64 = 16 << 20;

/// The state of the committer's thread.
pub(super) struct Committer {
    shared: Arc<Shared>,
    keeper: Sender<Chore>,
    /// Failed parts of segments that are not declared void on disk yet.
    voids: Vec<Place>,
    /// The offset up to which the active segment is synced.
    synced: u64,
    /// The items to be written, in order.
    unwritten: VecDeque<Item>,
    failures: u32,
}

/// An item of a written batch, with the offset of its frames.
type Placed = (Item, u32);

/// Why the active segment has no room.
enum NoSegment {
    /// The segment is full, and cannot be synced.
    NotSynced(io::Error),
    /// There is no other segment, or it cannot be made long enough.
    NoOther(io::Error),
}

impl Committer {
    pub fn new(shared: Arc<Shared>, keeper: Sender<Chore>) -> Self {
        let synced = SEGMENT_HEAD as u64;
        Committer { shared, keeper, voids: Vec::new(), synced, unwritten: VecDeque::new(), failures: 0 }
    }

    /// Runs until the spool is stopped.
    pub fn run(mut self) {
        let _answers = AnswersAll(Arc::clone(&self.shared));
        loop {
            let retry = match self.unwritten.is_empty() {
                true => self.is_to_probe().then_some(PROBE),
                false => Some(RETRY),
            };
            let TakenItems { items, sync_due, stopping } =
                self.shared.inbox.take(self.shared.settings.settle_delay, retry);
            self.unwritten.extend(items);
            if self.unwritten.is_empty() && !stopping && self.is_to_probe() {
                self.probe();
            }
            let served = self.write_all();
            if sync_due && served.count() == 0 {
                self.sync_results();
            }
            if stopping {
                break self.finish();
            }
            let pause = served.pause(Timestamp::now());
            if !pause.is_zero() {
                threads::sleep(pause);
            }
        }
    }

    fn is_to_probe(&self) -> bool {
        self.shared.is_troubled() && self.shared.stopped().is_none()
    }

    /// Writes an empty batch, to find out whether writing works again.
    fn probe(&mut self) {
        let room = USUAL.min(self.shared.smallest() / 4);
        let made = self.make_room(&mut Arc::clone(&self.shared.active).lock(), room, true);
        match made {
            Err(NoSegment::NotSynced(error)) => self.failed([], &error),
            Err(NoSegment::NoOther(error)) => self.no_segment(&error),
            Ok(()) => drop(self.commit(Vec::new(), &mut Served::default())),
        }
    }

    /// Writes the items batch by batch, until none is left or writing fails.
    fn write_all(&mut self) -> Served {
        let mut served = Served::default();
        while !self.unwritten.is_empty() {
            if let Some(why) = self.shared.stopped() {
                self.unwritten.drain(..).for_each(|item| item.refuse(|| Error::Stopped(why.clone())));
                break;
            }
            if self.has_only_barriers() && self.shared.active.lock().segment.is_none() {
                if self.sync_for_barriers().is_err() {
                    break;
                }
                continue;
            }
            match self.next_batch() {
                Ok(batch) => {
                    if self.commit(batch, &mut served).is_err() {
                        break;
                    }
                }
                Err(NoSegment::NotSynced(error)) => {
                    self.failed([], &error);
                    break;
                }
                Err(NoSegment::NoOther(_)) if self.has_only_barriers() => {
                    if self.sync_for_barriers().is_err() {
                        break;
                    }
                }
                Err(NoSegment::NoOther(error)) => {
                    if !self.no_segment_for_first(&error) {
                        break;
                    }
                }
            }
        }
        served
    }

    /// Returns true if there is nothing to write. In trouble, something must be written for barriers, too, to find out whether that
    /// works.
    fn has_only_barriers(&self) -> bool {
        self.unwritten.iter().all(|item| matches!(item, Item::Barrier(_))) && !self.shared.is_troubled()
    }

    /// Answers the barriers after a sync that writes nothing, because no segment has room. Where there is room, an empty batch is written
    /// first. The next start then does not take damage of what is before it for a write that a crash interrupted.
    fn sync_for_barriers(&mut self) -> Result<(), ()> {
        let barriers = std::mem::take(&mut self.unwritten);
        match self.sync(Instant::now(), &[]) {
            Ok(()) => {
                barriers.into_iter().for_each(Item::answer);
                Ok(())
            }
            Err(error) => {
                self.failed(barriers, &error);
                Err(())
            }
        }
    }

    /// Takes as many items as fit into the segment.
    fn next_batch(&mut self) -> Result<Vec<Item>, NoSegment> {
        let active = Arc::clone(&self.shared.active);
        let mut filling = active.lock();
        let (first_len, is_draft) = match self.unwritten.front() {
            Some(first) => (first.frames_len(), matches!(first, Item::Draft(..))),
            None => (0, false),
        };
        self.make_room(&mut filling, first_len, is_draft)?;
        let segment = filling.segment.as_ref().expect("make_room() left one");
        let mut len = segment.opening_len(&self.voids);
        let reserve = self.reserve(segment);
        let mut batch = Vec::with_capacity(self.unwritten.len());
        while let Some(item) = self.unwritten.front() {
            let item_len = item.frames_len();
            let kept = if matches!(item, Item::Draft(..)) { reserve } else { 0 };
            let fits = segment.has_room(len + item_len + kept) && len + item_len <= BATCH;
            if !fits && !batch.is_empty() {
                break;
            }
            len += item_len;
            batch.extend(self.unwritten.pop_front());
        }
        Ok(batch)
    }

    /// Ensures that the active segment has room for `len` octets. If necessary, takes the next segment, and makes it longer for an item
    /// that is longer than a segment.
    fn make_room(&mut self, filling: &mut Filling, len: u64, is_draft: bool) -> Result<(), NoSegment> {
        let end = |this: &Self, segment: &Writing| {
            let reserve = if is_draft { this.reserve(segment) } else { 0 };
            segment.end + segment.opening_len(&this.voids) + len + reserve
        };
        let has_room = |segment: &Writing| segment.is_new() || end(self, segment) <= segment.limit;
        if !filling.segment.as_ref().is_some_and(has_room) {
            self.turn_over(filling)?;
        }
        let segment = filling.segment.as_mut().expect("there was one, or it was just taken");
        let limit = end(self, segment);
        if limit > segment.limit { segment.grow(limit).map_err(NoSegment::NoOther) } else { Ok(()) }
    }

    /// Takes the next segment. If results wait for a sync of the full one, syncs that first.
    fn turn_over(&mut self, filling: &mut Filling) -> Result<(), NoSegment> {
        // The last of the results is not in the segment, whatever a sync of it says.
        if let Some(error) = &filling.failed {
            return Err(NoSegment::NotSynced(again(error)));
        }
        if let Some(full) = &filling.segment
            && !filling.unsynced.is_empty()
        {
            disk::sync_data(&full.file).map_err(NoSegment::NotSynced)?;
            let (covered, end) = (std::mem::take(&mut filling.unsynced), full.end);
            // There may be no next segment. If a write to this one then fails, only what follows is void.
            self.synced = end;
            self.hand_out(&covered, &[], full.number, full.mark, end);
            self.synced(covered);
        }
        let next = self.shared.next_segment().map_err(NoSegment::NoOther)?;
        self.shared.segments.add(&next, SegmentStage::Active);
        self.synced = next.end;
        if let Some(full) = filling.segment.replace(next) {
            self.shared.segments.filled(full.number, full.end);
            // The keeper outlives the committer. If it did not, the next start would scan the segment.
            let _ = self.keeper.send(Chore::Seal(Box::new(full)));
        }
        let _ = self.keeper.send(Chore::MakeSpare);
        Ok(())
    }

    /// Returns the room that drafts leave for results in the last available segment.
    fn reserve(&self, segment: &Writing) -> u64 {
        if self.shared.spare.is_made() { 0 } else { segment.limit / 8 }
    }

    /// Writes a batch, and syncs it unless it has only changes. Returns an error if any of that failed.
    fn commit(&mut self, batch: Vec<Item>, served: &mut Served) -> Result<(), ()> {
        let began = Instant::now();
        let has_others = || batch.iter().any(|item| !matches!(item, Item::Change(..)));
        // After trouble, only a sync shows that writing works again.
        let wants_sync = batch.is_empty() || self.shared.is_troubled() || has_others();
        let mut waiting = Vec::with_capacity(batch.len());
        let (number, written) = {
            let active = Arc::clone(&self.shared.active);
            let mut filling = active.lock();
            if let Some(error) = filling.failed.take() {
                drop(filling);
                self.failed(batch, &error);
                return Err(());
            }
            let Some(segment) = &mut filling.segment else { return Err(()) };
            let (number, before) = (segment.number, segment.end);
            let places = match segment.write_batch(self.synced, &self.voids, &batch) {
                Ok(places) => places,
                Err(error) => {
                    drop(filling);
                    self.failed(batch, &error);
                    return Err(());
                }
            };
            let written = segment.end - before;
            for (item, at) in batch.into_iter().zip(places) {
                match item {
                    Item::Change(change, reply) => {
                        filling.unsynced.push(Unsynced { change, place: Place { segment: number, at } });
                        // The caller may have gone; the change is written in any case.
                        reply.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
                    }
                    other => waiting.push((other, at)),
                }
            }
            (number, written)
        };
        self.shared.inbox.wrote(&self.unwritten);
        self.shared.settings.counters.written.inc_by(written);
        if !wants_sync {
            self.shared.inbox.wants_sync();
            return Ok(());
        }
        match self.sync(began, &waiting) {
            Ok(()) => {
                self.answer(waiting, number, served);
                Ok(())
            }
            Err(error) => {
                self.failed(waiting.into_iter().map(|(item, _)| item), &error);
                Err(())
            }
        }
    }

    /// Syncs results that have waited for `settle_delay`.
    fn sync_results(&mut self) {
        if let Err(error) = self.sync(Instant::now(), &[]) {
            self.failed([], &error);
        }
    }

    /// Syncs the active segment and finishes the changes that the sync covers. `began` is the time at which the batch was started, and
    /// `batch` holds its items that wait for the sync.
    fn sync(&mut self, began: Instant, batch: &[Placed]) -> io::Result<()> {
        let (file, number, mark, end, is_new, covered) = {
            let mut filling = self.shared.active.lock();
            if let Some(error) = filling.failed.take() {
                return Err(error);
            }
            let Some(segment) = &filling.segment else { return Ok(()) };
            let (file, number, mark, end) = (Arc::clone(&segment.file), segment.number, segment.mark, segment.end);
            let is_new = segment.is_new();
            self.shared.inbox.sync_begins();
            (file, number, mark, end, is_new, std::mem::take(&mut filling.unsynced))
        };
        if let Err(error) = disk::sync_data(&file) {
            // These changes are written again, before those that were written meanwhile.
            let mut filling = self.shared.active.lock();
            let later = std::mem::replace(&mut filling.unsynced, covered);
            filling.unsynced.extend(later);
            return Err(error);
        }
        self.synced = end;
        self.hand_out(&covered, batch, number, mark, end);
        self.synced(covered);
        let counters = &self.shared.settings.counters;
        counters.sync_seconds.observe(began.elapsed().as_secs_f64());
        counters.syncs.inc();
        // A segment begins by declaring them, so they are on disk unless the segment is still empty.
        if !is_new {
            self.voids.clear();
        }
        self.failures = 0;
        self.shared.set_recovered();
        Ok(())
    }

    /// Gives the lines of these synced changes and batch items to the outbox, in the order of the log.
    fn hand_out(&self, changes: &[Unsynced], batch: &[Placed], segment: u32, mark: u64, end: u64) {
        let mut changes = changes.iter().map(|unsynced| (unsynced.place.at, unsynced.change.lines())).peekable();
        let mut batch = batch.iter().filter_map(|(item, at)| Some((*at, item.lines()?))).peekable();
        let in_order = std::iter::from_fn(|| match (changes.peek(), batch.peek()) {
            (Some((change, _)), Some((item, _))) if change < item => changes.next(),
            (_, Some(_)) => batch.next(),
            _ => changes.next(),
        });
        let end = Place { segment, at: end as u32 };
        self.shared.outbox.synced(in_order.map(|(_, lines)| lines), end, mark);
    }

    /// Marks these changes as synced, so that the index can drop their states.
    fn synced(&self, changes: Vec<Unsynced>) {
        let mut states = changes.iter().filter(|unsynced| unsynced.change.state.is_some()).peekable();
        if states.peek().is_some() {
            let mut index = self.shared.index();
            for Unsynced { change, place } in states {
                if let (Some(state), Some(id)) = (&change.state, change.note.id()) {
                    index.state_synced(id, state, *place);
                }
            }
        }
    }

    /// Finishes a synced batch: adds its messages to the index, and answers all callers.
    fn answer(&self, batch: Vec<Placed>, segment: u32, served: &mut Served) {
        let before = served.count();
        let now = Timestamp::now();
        {
            let mut index = self.shared.index();
            for (item, at) in &batch {
                if let Item::Draft(message, _) = item {
                    served.add(message.summary().id);
                }
                item.enter(&mut index, Place { segment, at: *at }, now);
            }
            self.shared.settings.counters.records.set(index.len() as i64);
        }
        batch.into_iter().for_each(|(item, _)| item.answer());
        let drafts = served.count() - before;
        if drafts > 0 {
            self.shared.settings.counters.commits.inc_by(drafts);
            self.shared.changed.notify_one();
        }
    }

    /// Ends the log after the last item. Then the segment is sealed.
    fn finish(mut self) {
        if !self.unwritten.is_empty() {
            self.write_all();
        }
        self.sync_results();
        let results = self.unwritten.len();
        if results > 0 {
            tracing::error!(
                results,
                "results could not be recorded before the stop: these attempts will be made again"
            );
        }
        if !self.voids.is_empty() {
            let made = self.make_room(&mut Arc::clone(&self.shared.active).lock(), 0, false);
            if made.is_err() || self.commit(Vec::new(), &mut Served::default()).is_err() {
                tracing::warn!("mail that was refused after a failed write may come back: that could not be recorded");
            }
        }
        let in_order = results == 0 && self.shared.nothing_leased() && self.shared.stopped().is_none();
        let Some(mut segment) = self.shared.active.lock().segment.take() else { return };
        if in_order {
            let written = segment.write_clean().and_then(|()| disk::sync_data(&segment.file));
            if let Err(error) = written {
                tracing::warn!(%error, "the clean stop could not be recorded; the next start reads more");
                return;
            }
        }
        self.shared.segments.filled(segment.number, segment.end);
        let _ = self.keeper.send(Chore::Seal(Box::new(segment)));
    }
}

/// Answers all waiting callers when the thread ends, for whatever reason.
struct AnswersAll(Arc<Shared>);

impl Drop for AnswersAll {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_with("the committer panicked".into());
        }
        self.0.inbox.abandon();
    }
}

#[cfg(test)]
mod tests;
