//! Compaction: when more than half of the used disk space is settled mail, the messages that still wait in the oldest segment (held mail,
//! mail for a server that is down) are copied to the end of the log, so that the segment can be deleted.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::encoded::Encoded;
use super::inbox::Item;
use super::read::{self, Unread, WholeMessage};
use super::segments::SegmentStage;
use super::shared::Shared;
use super::unreadable;
use crate::machine::threads;
use crate::message::QueueId;
use crate::spool::index::{Entry, LOOK};

/// The number of messages that are copied before their sync is awaited.
const COPY_MESSAGES: usize = 64;

pub(super) struct Compaction {
    shared: Arc<Shared>,
    /// The segment that could not be emptied last, so that the problem is logged once.
    complained: Option<u32>,
}

impl Compaction {
    pub fn new(shared: Arc<Shared>) -> Self {
        Compaction { shared, complained: None }
    }

    /// Empties the oldest segment if that is worthwhile.
    pub fn run(&mut self) {
        let Some(oldest) = self.worth_emptying() else { return };
        if let Err(error) = self.empty(oldest)
            && self.complained.replace(oldest) != Some(oldest)
        {
            tracing::warn!(%error, segment = oldest, "stragglers could not be copied forward; tried again until they can");
        }
    }

    /// Returns the oldest segment if more than half of the data on disk is settled.
    fn worth_emptying(&self) -> Option<u32> {
        let (oldest, stage, len) = self.shared.segments.oldest()?;
        let (closed, _) = self.shared.segments.disk_bytes();
        let (live, here) = {
            let index = self.shared.index();
            (index.live_bytes(), index.segment_use(oldest))
        };
        // On a full disk, only empty a segment that frees much more than it takes, because the rest of the room is reserved for results.
        let pays = !self.shared.space.is_full() || here.live_bytes < len / 8;
        let is_due = stage == SegmentStage::Closed && closed > 2 * live + 2 * len;
        let is_kept = self.shared.keeps_all_places() || self.shared.awaits_journal(oldest);
        (is_due && pays && !is_kept).then_some(oldest)
    }

    /// Copies the waiting messages of a segment to the end of the log with their present states. Returns an error if some of them cannot be
    /// read or written now.
    fn empty(&self, segment: u32) -> io::Result<()> {
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
                    if !threads::answer(answer).unwrap_or(false) {
                        return Err(io::Error::other("the copy could not be written"));
                    }
                    self.shared.settings.counters.copied.inc();
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Sends a copy of one message to the committer. Returns `None` if it needs no copy, or cannot be copied now.
    fn copy(&self, id: QueueId, segment: u32) -> io::Result<Option<oneshot::Receiver<bool>>> {
        let Some(wanted) = self.shared.index().wanted(id) else { return Ok(None) };
        if wanted.entry.place.segment != segment {
            return Ok(None);
        }
        match read::whole(&self.shared, &wanted) {
            Ok(message) => Ok(self.send_copy(&wanted.entry, message)),
            Err(Unread::Damaged(why)) => {
                unreadable::set_aside(&self.shared, id, &why);
                Ok(None)
            }
            Err(Unread::Failed(error)) => Err(error),
            Err(Unread::NotYet | Unread::Gone) => Ok(None),
        }
    }

    fn send_copy(&self, before: &Entry, message: WholeMessage) -> Option<oneshot::Receiver<bool>> {
        let id = before.id;
        let index = self.shared.index();
        let now = index.get(id)?;
        // The message has changed since it was read. A copy with the former state must not follow the change, so it is copied next time.
        if !now.is_as(before) || index.is_unwritten(id) {
            return None;
        }
        let copy = Encoded::copy(id, &message.meta, &message.state, message.content)?;
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.push([Item::Copy(Box::new(copy), reply)]).ok()?;
        drop(index);
        Some(answer)
    }
}
