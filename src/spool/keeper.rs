//! The keeper: the second thread. It seals full segments, makes the next one beforehand, gives space back and watches how
//! much is left, so that the committer only writes.
//!
//! Segments are deleted oldest first, each deletion synced before the next: a settlement must never vanish before the message
//! it settles, or that message would be sent again. A file system that frees much at once (and tells the disk so) lets the
//! committer's syncs wait for it: so a deleted segment's space is freed piece by piece. When more than half of the disk
//! space in use is settled mail, the oldest segment's stragglers are copied forward (held mail, mail to a server that is
//! down), so that one of them cannot keep everything behind it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Notice;
use super::inbox::Item;
use super::prepared::Prepared;
use super::read::{self, Unread};
use super::segment::{Stage, Writing};
use super::shared::Shared;
use crate::message::QueueId;

/// How often space is given back.
const TICK: Duration = Duration::from_millis(250);
/// What is freed of a deleted segment at once, and the pause between two pieces: some 200 MB/s, where freeing 64 MB at once
/// was measured to hold up syncs for 9–15 ms, and this for 1–2 ms.
const PIECE: u64 = 2 << 20;
const PIECE_PAUSE: Duration = Duration::from_millis(10);
/// Deleted segments that wait to be freed. Beyond, the oldest is freed whole.
const FREEING: usize = 8;
/// Messages copied forward before the next sync is awaited.
const COPY_MESSAGES: usize = 64;
/// Entries looked at while the index is locked.
const LOOK: usize = 20_000;

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
    /// Deleted segments whose space is being freed, with the length they still have.
    freeing: VecDeque<(File, u64)>,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>, chores: Receiver<Chore>) -> Self {
        Keeper { shared, chores, freeing: VecDeque::new() }
    }

    /// Runs until the committer is gone.
    pub fn run(mut self) {
        let tick = TICK.min(self.shared.settings.guard_interval);
        let (mut looked, mut reclaimed) = (Instant::now(), Instant::now());
        self.make_spare();
        loop {
            let pause = if self.freeing.is_empty() { tick } else { PIECE_PAUSE.min(tick) };
            match self.chores.recv_timeout(pause) {
                Ok(Chore::Seal(segment)) => self.seal(&segment),
                Ok(Chore::MakeSpare) => self.make_spare(),
                Err(RecvTimeoutError::Timeout) => self.free_piece(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if reclaimed.elapsed() >= tick {
                reclaimed = Instant::now();
                self.reclaim();
            }
            if looked.elapsed() >= self.shared.settings.guard_interval {
                looked = Instant::now();
                if !self.shared.has_spare() {
                    self.make_spare();
                }
                self.shared.look_at_space();
                let disk_bytes = self.shared.segments.disk_bytes().1;
                self.shared.settings.counters.disk_bytes.set(i64::try_from(disk_bytes).unwrap_or(i64::MAX));
            }
        }
        self.delete_settled();
        if let Some(spare) = self.shared.drop_spare() {
            self.delete(spare);
        }
        self.shared.closed();
    }

    fn seal(&self, segment: &Writing) {
        let len = segment.seal();
        if let Err(error) = &len {
            // Nothing is lost: every frame in it was synced before it was acknowledged. The next start scans it.
            let why = format!("segment {:08x} could not be closed: {error}", segment.number);
            self.shared.tell(Notice::Failed { why });
        }
        self.shared.segments.set_stage(segment.number, Stage::Closed, len.ok());
    }

    fn make_spare(&mut self) {
        let made = self.shared.make_spare().or_else(|error| {
            // There may be room that is ours already: freed at once, whatever waits for it.
            if self.freeing.is_empty() {
                return Err(error);
            }
            self.freeing.clear();
            self.shared.make_spare()
        });
        match made {
            Ok(()) => self.shared.guard.set_spare(true),
            Err(error) => {
                tracing::warn!(%error, "the next segment cannot be made yet");
                self.shared.guard.set_spare(false);
                self.shared.look_at_space();
            }
        }
    }

    fn reclaim(&mut self) {
        self.delete_settled();
        if self.shared.stopped().is_some() {
            return;
        }
        if let Some(oldest) = self.worth_evacuating()
            && let Err(error) = self.evacuate(oldest)
        {
            tracing::warn!(%error, segment = oldest, "stragglers could not be copied forward; tried again later");
        }
    }

    /// Deletes from the oldest on what nobody waits in.
    fn delete_settled(&mut self) {
        while let Some((oldest, Stage::Closed)) = self.shared.segments.oldest() {
            if self.shared.index().segment_use(oldest).live > 0 || !self.delete(oldest) {
                return;
            }
        }
    }

    fn delete(&mut self, number: u32) -> bool {
        let Some(path) = self.shared.segments.path(number) else { return false };
        let file = OpenOptions::new().write(true).open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let removed = match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        match removed.and_then(|()| self.shared.dir.sync()) {
            Ok(()) => {
                let is_read = self.shared.segments.forget(number);
                // Whoever still reads in it keeps it whole; the last to close it frees it.
                if let (Ok((len, file)), false) = (file, is_read) {
                    self.freeing.push_back((file, len));
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a settled segment cannot be deleted; tried again later");
                false
            }
        }
    }

    /// Frees a piece of what was deleted: its name is gone for good, nobody reads in it.
    fn free_piece(&mut self) {
        if self.freeing.len() > FREEING {
            self.freeing.pop_front();
        }
        let Some((file, len)) = self.freeing.front_mut() else { return };
        *len = len.saturating_sub(PIECE);
        if *len == 0 || file.set_len(*len).is_err() {
            self.freeing.pop_front();
        }
    }

    /// The oldest segment, if more than half of what is on disk is settled.
    fn worth_evacuating(&self) -> Option<u32> {
        let (oldest, stage) = self.shared.segments.oldest()?;
        let (closed, _) = self.shared.segments.disk_bytes();
        let (live, here) = {
            let index = self.shared.index();
            (index.live_bytes(), index.segment_use(oldest))
        };
        let size = self.shared.settings.segment_size;
        // On a full disk only what surely fits into what is reserved.
        let fits = !self.shared.guard.is_full() || here.live_bytes < self.shared.reserve();
        (stage == Stage::Closed && closed > 2 * live + 2 * size && fits).then_some(oldest)
    }

    /// Copies what waits in a segment to the end of the log, with its present state.
    fn evacuate(&self, segment: u32) -> io::Result<()> {
        let mut from = Some(QueueId::from_u64(0));
        while let Some(start) = from {
            let (ids, next) = self.shared.index().in_segment(segment, start, LOOK);
            from = next;
            for batch in ids.chunks(COPY_MESSAGES) {
                let answers: Vec<_> = batch.iter().filter_map(|id| self.copy(*id, segment)).collect();
                for answer in answers {
                    if !answer.blocking_recv().unwrap_or(false) {
                        return Err(io::Error::other("the copy could not be written"));
                    }
                    self.shared.settings.counters.copied.inc();
                }
            }
        }
        Ok(())
    }

    /// Sends one message on its way forward. `None` where it needs no copy or cannot be copied now.
    fn copy(&self, id: QueueId, segment: u32) -> Option<oneshot::Receiver<bool>> {
        let wanted = self.shared.index().wanted(id)?;
        let before = wanted.entry;
        if before.place.segment != segment {
            return None;
        }
        let message = match read::whole(&self.shared, &wanted) {
            Ok(message) => message,
            Err(Unread::Damaged(why)) => {
                read::quarantine(&self.shared, id, &why);
                return None;
            }
            Err(Unread::Failed(error)) => {
                tracing::warn!(%id, %error, "a straggler cannot be read");
                return None;
            }
            Err(Unread::NotYet | Unread::Gone) => return None,
        };
        let index = self.shared.index();
        let now = index.get(id)?;
        // Whatever changed since belongs before the copy: next time.
        let unchanged = now.place == before.place
            && now.state == before.state
            && now.due == before.due
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
