//! The keeper, the spool's second thread. It seals full segments, makes the spare segment, deletes settled segments and watches the free
//! space, so that the committer only writes.
//!
//! Segments are deleted oldest first, and each deletion is synced before the next one. Otherwise a result could vanish before the message
//! that it settles, and that message would be sent again. A segment is deleted only after the results of its mail are synced. Deletion
//! stops at a segment in which a read error was found, because the next start may find mail in it, and at a segment with lines that the
//! journal does not have yet. So that one held message does not keep all later segments, waiting messages are copied forward
//! ([`compaction`](super::compaction)).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::compaction::Compaction;
use super::inbox::Item;
use super::pool::{PIECE_PAUSE, Pool, PoolFile};
use super::quarantine;
use super::segments::{Reclaim, SegmentStage};
use super::shared::Shared;
use super::writing::Writing;
use crate::machine::threads;
use crate::spool::Notice;

/// How often settled segments are deleted.
const TICK: Duration = Duration::from_millis(250);

/// An order from the committer to the keeper.
pub(super) enum Chore {
    Seal(Box<Writing>),
    /// Make a spare segment, because the last one was taken.
    MakeSpare,
}

/// The state of the keeper's thread.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    chores: Receiver<Chore>,
    pool: Pool,
    compaction: Compaction,
    /// The segment whose deletion failed last, so that the problem is logged once.
    complained: Option<u32>,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>, chores: Receiver<Chore>) -> Self {
        let compaction = Compaction::new(Arc::clone(&shared));
        Keeper { shared, chores, pool: Pool::default(), compaction, complained: None }
    }

    /// Runs until the committer is gone.
    pub fn run(mut self) {
        let tick = TICK.min(self.shared.settings.guard_interval);
        let (mut looked, mut reclaimed) = (Instant::now(), Instant::now());
        self.order_spare();
        loop {
            let pause = if self.pool.is_busy() { PIECE_PAUSE.min(tick) } else { tick };
            match threads::receive(&self.chores, pause) {
                Ok(Chore::Seal(segment)) => self.seal(&segment),
                Ok(Chore::MakeSpare) => self.order_spare(),
                Err(RecvTimeoutError::Timeout) => {
                    self.fill_spare();
                    self.pool.free_piece();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if reclaimed.elapsed() >= tick {
                reclaimed = Instant::now();
                self.reclaim();
            }
            if looked.elapsed() >= self.shared.settings.guard_interval {
                looked = Instant::now();
                self.order_spare();
                self.shared.look_at_space();
                if self.shared.space.is_full() {
                    self.pool.free_kept();
                }
                self.shared.pool_bytes.store(self.pool.bytes(), Ordering::Relaxed);
                let disk_bytes = self.shared.disk_bytes();
                self.shared.settings.counters.disk_bytes.set(i64::try_from(disk_bytes).unwrap_or(i64::MAX));
            }
        }
        // The committer is gone. If it has left results unwritten, the next start must find their messages.
        if self.shared.stopped().is_none() && !self.shared.inbox.has_ordered() {
            self.delete_settled(|_| true);
        }
        if let Some(spare) = self.shared.spare.drop() {
            self.delete(spare);
        }
        self.pool.clear();
        self.shared.closed();
    }

    fn seal(&self, segment: &Writing) {
        let len = segment.seal();
        if let Err(error) = &len {
            // Nothing is lost, because every message in it was synced before it was acknowledged. The next start scans the segment.
            let why =
                format!("segment {:08x} could not be closed: {error}. The next start reads it whole", segment.number);
            self.shared.tell(Notice::Unreadable { why });
        }
        self.shared.segments.close(segment.number, len.ok());
    }

    /// Ensures that a spare segment is available or being made.
    fn order_spare(&mut self) {
        if self.shared.spare.is_made() {
            self.shared.space.set_spare(Ok(()));
            return;
        }
        let mut ordered = self.pool.order(&self.shared.dir, self.shared.spare_size());
        // The pool may hold space that can be freed, or there may be room for a short segment.
        if ordered.is_err() && self.pool.clear() {
            ordered = self.pool.order(&self.shared.dir, self.shared.spare_size());
        }
        if ordered.is_err() {
            ordered = self.pool.order(&self.shared.dir, self.shared.smallest());
        }
        match ordered {
            Ok(()) => self.fill_spare(),
            Err(error) => self.no_spare(&error),
        }
    }

    /// Continues to make the spare segment, if one is being made.
    fn fill_spare(&mut self) {
        let made = self.pool.fill_piece().and_then(|whole| whole.map(|file| self.shared.make_spare(file)).transpose());
        match made {
            Ok(Some(())) => self.shared.space.set_spare(Ok(())),
            Ok(None) => {}
            Err(error) => self.no_spare(&error),
        }
    }

    fn no_spare(&self, error: &io::Error) {
        tracing::warn!(%error, "the next segment cannot be made yet");
        self.shared.space.set_spare(Err(error));
        self.shared.look_at_space();
    }

    fn reclaim(&mut self) {
        self.delete_settled(results_are_durable);
        if self.shared.stopped().is_some() {
            return;
        }
        self.compaction.run();
    }

    /// Deletes segments without waiting mail, starting with the oldest. `are_durable` says whether every result recorded so far is durable.
    fn delete_settled(&mut self, are_durable: fn(&Shared) -> bool) {
        while let Some((oldest, SegmentStage::Closed, _)) = self.shared.segments.oldest() {
            let is_needed = self.shared.index().segment_use(oldest).live > 0
                || self.shared.is_kept(oldest)
                || self.shared.awaits_journal(oldest);
            if is_needed || !are_durable(&self.shared) || !self.delete(oldest) {
                return;
            }
        }
    }

    fn delete(&mut self, number: u32) -> bool {
        let Some(path) = self.shared.segments.path(number) else { return false };
        let is_given_up = self.shared.segments.awaits_start(number);
        let deleted = match self.shared.segments.is_damaged(number) {
            true => self.retire(number, &path),
            false => self.reuse(number, &path),
        };
        if is_given_up && deleted.is_ok() {
            let why = format!(
                "the disk is full, so {} is given up, in which something could not be read. No later start reads it again",
                path.display()
            );
            self.shared.tell(Notice::Unreadable { why });
        }
        if let Err(error) = &deleted
            && self.complained.replace(number) != Some(number)
        {
            tracing::warn!(%error, path = %path.display(), "a settled segment cannot be deleted; tried again until it can");
        }
        deleted.is_ok()
    }

    fn reuse(&mut self, number: u32, path: &Path) -> io::Result<()> {
        let file = PoolFile::from_segment(&self.shared.dir, path)?;
        match (self.shared.segments.forget(number), file) {
            (Reclaim::Reuse, Some(file)) if !self.shared.space.is_full() => {
                self.pool.put(file, self.shared.spare_size());
            }
            // If the damage was found just now, it is too late to keep the blocks out of use, but this process does not reuse the file as a
            // segment.
            (Reclaim::Reuse | Reclaim::Free | Reclaim::Retire(_), Some(file)) => self.pool.free(file),
            (Reclaim::LeaveToReader, _) | (_, None) => {}
        }
        Ok(())
    }

    /// Takes the file of a segment with unreadable parts out of use.
    fn retire(&mut self, number: u32, path: &Path) -> io::Result<()> {
        let retired = quarantine::retire(&self.shared.dir, path)?;
        // If somebody still reads from it, the file is kept whole. That is rare.
        if let Reclaim::Retire(damaged) = self.shared.segments.forget(number)
            && let Err(error) = quarantine::free_around(&retired, &damaged)
        {
            tracing::warn!(%error, path = %retired.display(), "what is sound of a retired segment cannot be given back");
        }
        Ok(())
    }
}

/// Waits until every result recorded so far is durable. Returns false if that fails, or the last write failed. Without this, a power cut
/// could take the result of a message together with its events after the message itself is gone, and nobody would learn what became of it.
/// If the disk is so full that results cannot be written, it returns true, because they may be waiting for the space.
fn results_are_durable(shared: &Shared) -> bool {
    // In trouble, another item in the line would only be another failed write.
    (!shared.is_troubled() && is_synced(shared)) || shared.space.is_full()
}

fn is_synced(shared: &Shared) -> bool {
    let (reply, answer) = oneshot::channel();
    shared.inbox.push([Item::Barrier(reply)]).is_ok() && matches!(threads::answer(answer), Some(Ok(())))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::mpsc;

    use super::super::frame;
    use super::super::segments::FoundSegment;
    use super::super::shared::tests::in_folder;
    use super::*;
    use crate::spool::Error;

    #[test]
    fn a_segment_is_deleted_after_the_results_of_its_mail_are_durable() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(in_folder(dir.path()));
        let path = dir.path().join(frame::file_name(1, 7));
        let mut keeper = Keeper::new(Arc::clone(&shared), mpsc::channel().1);
        for (is_full, answer, is_there) in [(false, false, true), (false, true, false), (true, false, false)] {
            File::create(&path).unwrap();
            shared.segments.found(1, FoundSegment::full(7));
            if is_full {
                shared.space.set_spare(Err(&io::ErrorKind::StorageFull.into()));
                shared.look_at_space();
            }
            std::thread::scope(|scope| {
                let keeper = scope.spawn(|| keeper.delete_settled(results_are_durable));
                // The test is the committer.
                let item = shared.inbox.take(Duration::ZERO, Some(Duration::from_secs(60))).items.pop().unwrap();
                assert!(matches!(item, Item::Barrier(_)) && path.exists());
                if answer {
                    item.answer();
                } else {
                    item.refuse(|| Error::Stopped("it failed".into()));
                }
                keeper.join().unwrap();
            });
            assert_eq!(path.exists(), is_there);
        }
    }
}
