//! The keeper: the second thread. It seals full segments, makes the next one beforehand, gives space back and watches how
//! much is left, so that the committer only writes.
//!
//! Segments are deleted oldest first, each deletion synced before the next: a settlement must never vanish before the message
//! it settles, or that message would be sent again. When more than half of the disk space in use is settled mail, the oldest
//! segment's stragglers are copied forward (held mail, mail to a server that is down), so that one of them cannot keep
//! everything behind it. Deletion stops at a segment of which the disk did not give something at the start: it may hold mail that
//! the next start finds.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Notice;
use super::blank::Blank;
use super::inbox::Item;
use super::index::{Entry, LOOK};
use super::prepared::Prepared;
use super::quarantine;
use super::read::{self, Message, Unread};
use super::segment::{Afterlife, Stage};
use super::shared::Shared;
use super::stock::{PIECE_PAUSE, Stock};
use super::writing::Writing;
use crate::message::QueueId;

/// How often space is given back.
const TICK: Duration = Duration::from_millis(250);
/// Messages copied forward before the next sync is awaited.
const COPY_MESSAGES: usize = 64;

/// What the committer asks for.
pub(super) enum Chore {
    /// Close this segment.
    Seal(Box<Writing>),
    /// The spare segment was taken.
    MakeSpare,
}

/// The thread's state.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    chores: Receiver<Chore>,
    stock: Stock,
    /// The segment that trouble was last logged for.
    complained: Option<u32>,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>, chores: Receiver<Chore>) -> Self {
        Keeper { shared, chores, stock: Stock::default(), complained: None }
    }

    /// Runs until the committer is gone.
    pub fn run(mut self) {
        let tick = TICK.min(self.shared.settings.guard_interval);
        let (mut looked, mut reclaimed) = (Instant::now(), Instant::now());
        self.order_spare();
        loop {
            let pause = if self.stock.is_busy() { PIECE_PAUSE.min(tick) } else { tick };
            match self.chores.recv_timeout(pause) {
                Ok(Chore::Seal(segment)) => self.seal(&segment),
                Ok(Chore::MakeSpare) => self.order_spare(),
                Err(RecvTimeoutError::Timeout) => {
                    self.fill_spare();
                    self.stock.free_piece();
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
                    self.stock.free_kept();
                }
                self.shared.stock_bytes.store(self.stock.bytes(), Ordering::Relaxed);
                let disk_bytes = self.shared.disk_bytes();
                self.shared.settings.counters.disk_bytes.set(i64::try_from(disk_bytes).unwrap_or(i64::MAX));
            }
        }
        self.delete_settled();
        if let Some(spare) = self.shared.drop_spare() {
            self.delete(spare);
        }
        self.stock.clear();
        self.shared.closed();
    }

    fn seal(&self, segment: &Writing) {
        let len = segment.seal();
        if let Err(error) = &len {
            // Nothing is lost: every frame in it was synced before it was acknowledged. The next start scans it.
            let why =
                format!("segment {:08x} could not be closed: {error}. The next start reads it whole", segment.number);
            self.shared.tell(Notice::Unreadable { why });
        }
        self.shared.segments.close(segment.number, len.ok());
    }

    /// Sees to it that there will be a spare segment.
    fn order_spare(&mut self) {
        if self.shared.has_spare() {
            self.shared.space.set_spare(Ok(()));
            return;
        }
        let mut ordered = self.stock.order(&self.shared.dir, self.shared.spare_size());
        // There may be room that is ours already, or for a short one.
        if ordered.is_err() && self.stock.clear() {
            ordered = self.stock.order(&self.shared.dir, self.shared.spare_size());
        }
        if ordered.is_err() {
            ordered = self.stock.order(&self.shared.dir, self.shared.smallest());
        }
        match ordered {
            Ok(()) => self.fill_spare(),
            Err(error) => self.no_spare(&error),
        }
    }

    /// Goes on with the spare segment, if it is in the making.
    fn fill_spare(&mut self) {
        let made =
            self.stock.fill_piece().and_then(|whole| whole.map(|blank| self.shared.make_spare(blank)).transpose());
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
        self.delete_settled();
        if self.shared.stopped().is_some() {
            return;
        }
        if let Some(oldest) = self.worth_evacuating()
            && let Err(error) = self.evacuate(oldest)
            && self.complained.replace(oldest) != Some(oldest)
        {
            tracing::warn!(%error, segment = oldest, "stragglers could not be copied forward; tried again until they can");
        }
    }

    /// Deletes from the oldest on what nobody waits in.
    fn delete_settled(&mut self) {
        while let Some((oldest, Stage::Closed, _)) = self.shared.segments.oldest() {
            if self.shared.index().segment_use(oldest).live > 0 || self.is_kept(oldest) || !self.delete(oldest) {
                return;
            }
        }
    }

    /// Whether a segment is to stay for the next start, and with it all behind it, where its mail's settlements are. Not where
    /// there is no room: by then a start is long overdue, and without room nothing new is taken.
    fn is_kept(&self, number: u32) -> bool {
        self.shared.segments.awaits_start(number) && !self.shared.space.is_full()
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
                "the disk is full: {} is given up, of which it did not give something. No later start reads it again",
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
        let blank = Blank::delete_segment(&self.shared.dir, path)?;
        match (self.shared.segments.forget(number), blank) {
            (Afterlife::Sound, Some(blank)) if !self.shared.space.is_full() => {
                self.stock.put(blank, self.shared.spare_size());
            }
            // Damage that was found this moment: too late for its blocks, but no segment is made of them by this process.
            (Afterlife::Sound | Afterlife::Unsound | Afterlife::Damaged(_), Some(blank)) => self.stock.free(blank),
            (Afterlife::Read, _) | (_, None) => {}
        }
        Ok(())
    }

    /// Takes the file of a segment out of use in which something could not be read.
    fn retire(&mut self, number: u32, path: &Path) -> io::Result<()> {
        let retired = quarantine::retire(&self.shared.dir, path)?;
        // Where somebody still reads in it, all of it is kept: that is rare.
        if let Afterlife::Damaged(damaged) = self.shared.segments.forget(number)
            && let Err(error) = quarantine::free_around(&retired, &damaged)
        {
            tracing::warn!(%error, path = %retired.display(), "what is sound of a retired segment cannot be given back");
        }
        Ok(())
    }

    /// The oldest segment, if more than half of what is on disk is settled.
    fn worth_evacuating(&self) -> Option<u32> {
        let (oldest, stage, len) = self.shared.segments.oldest()?;
        let (closed, _) = self.shared.segments.disk_bytes();
        let (live, here) = {
            let index = self.shared.index();
            (index.live_bytes(), index.segment_use(oldest))
        };
        // On a full disk only what gives back much more than it takes: the rest of the room is for results.
        let pays = !self.shared.space.is_full() || here.live_bytes < len / 8;
        let is_due = stage == Stage::Closed && closed > 2 * live + 2 * len;
        (is_due && pays && !self.is_kept(oldest)).then_some(oldest)
    }

    /// Copies what waits in a segment to the end of the log, with its present state. An error where some of it cannot be read or
    /// written now.
    fn evacuate(&self, segment: u32) -> io::Result<()> {
        let mut from = Some(QueueId::from_u64(0));
        let mut failed = None;
        while let Some(start) = from {
            let (ids, next) = self.shared.index().in_segment(segment, start, LOOK);
            from = next;
            for batch in ids.chunks(COPY_MESSAGES) {
                let mut answers = Vec::with_capacity(batch.len());
                for id in batch {
                    match self.copy(*id, segment) {
                        Ok(answer) => answers.extend(answer),
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
                for answer in answers {
                    if !answer.blocking_recv().unwrap_or(false) {
                        return Err(io::Error::other("the copy could not be written"));
                    }
                    self.shared.settings.counters.copied.inc();
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Sends one message on its way forward. `None` where it needs no copy or cannot be copied now.
    fn copy(&self, id: QueueId, segment: u32) -> io::Result<Option<oneshot::Receiver<bool>>> {
        let Some(wanted) = self.shared.index().wanted(id) else { return Ok(None) };
        if wanted.entry.place.segment != segment {
            return Ok(None);
        }
        match read::whole(&self.shared, &wanted) {
            Ok(message) => Ok(self.send_copy(&wanted.entry, message)),
            Err(Unread::Damaged(why)) => {
                read::quarantine(&self.shared, id, &why);
                Ok(None)
            }
            Err(Unread::Failed(error)) => Err(error),
            Err(Unread::NotYet | Unread::Gone) => Ok(None),
        }
    }

    fn send_copy(&self, before: &Entry, message: Message) -> Option<oneshot::Receiver<bool>> {
        let id = before.id;
        let index = self.shared.index();
        let now = index.get(id)?;
        // Whatever changed since belongs before the copy: next time.
        let unchanged = now.place == before.place
            && now.state == before.state
            && now.next_try() == before.next_try()
            && now.attempts == before.attempts
            && now.held() == before.held()
            && now.leased == before.leased
            && !index.is_unwritten(id);
        if !unchanged {
            return None;
        }
        let copy = Prepared::copy(id, &message.meta, &message.state, message.content)?;
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.push([Item::Copy(Box::new(copy), reply)]).ok()?;
        drop(index);
        Some(answer)
    }
}
