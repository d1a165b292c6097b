//! The state that the spool's threads and the port's calls share.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::{Notify, oneshot, watch};

use super::Settings;
use super::active::Active;
use super::dir::Dir;
use super::inbox::{Inbox, Item};
use super::lock::Lock;
use super::note::Change;
use super::pool::PoolFile;
use super::recovery::Recovered;
use super::segments::{SegmentStage, Segments};
use super::skipped::Skipped;
use super::space::Space;
use super::spare::Spare;
use super::writing::Writing;
use crate::machine;
use crate::message::{QueueId, QueueIds};
use crate::spool::index::{Index, Place};
use crate::spool::recent::Recent;
use crate::spool::{Error, Health, Notice};

/// The smallest segment, unless the settings ask for smaller ones.
const SMALLEST: u64 = 1 << 20;

/// The spool's shared state. Locks are taken in the order active segment, index, inbox, and never the other way round.
pub(super) struct Shared {
    pub settings: Settings,
    pub dir: Dir,
    pub ids: QueueIds,
    pub segments: Segments,
    pub spare: Spare,
    pub active: Arc<Active>,
    pub inbox: Inbox,
    pub space: Space,
    pub outbox: Recent,
    /// The parts that the journal went on without.
    pub skipped: Skipped,
    /// The number of reads of the outbox in succession in which the disk did not return all lines.
    pub failed_outbox_reads: AtomicU32,
    /// Notified when mail may have become due.
    pub changed: Arc<Notify>,
    /// The number of files in the quarantine.
    pub quarantined: AtomicU64,
    /// The octets of the files in the segment pool.
    pub pool_bytes: AtomicU64,
    index: Mutex<Index>,
    health: watch::Sender<Health>,
    stopped: OnceLock<String>,
    lock: Mutex<Option<Lock>>,
}

impl Shared {
    pub fn new(settings: Settings, dir: Dir, recovered: Recovered, skipped: Skipped, lock: Lock) -> Self {
        let Recovered { index, segments, next_segment, end, greatest, .. } = recovered;
        // Another process has another spool. A random number keeps their ids apart where logs are joined.
        let ids = QueueIds::new(machine::random());
        ids.observe(greatest);
        let outbox = Recent::new(settings.has_journal, end);
        Shared {
            settings,
            dir,
            ids,
            segments,
            spare: Spare::new(next_segment),
            active: Arc::default(),
            inbox: Inbox::default(),
            space: Space::default(),
            outbox,
            skipped,
            failed_outbox_reads: AtomicU32::new(0),
            changed: Arc::default(),
            quarantined: AtomicU64::new(0),
            pool_bytes: AtomicU64::new(0),
            index: Mutex::new(index),
            health: watch::Sender::default(),
            stopped: OnceLock::new(),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("nothing panics while it holds the index")
    }

    /// Returns the length of the next spare segment: as much as all others have together. So a spool that holds little takes little space,
    /// and one under load soon has segments of the configured size.
    pub fn spare_size(&self) -> u64 {
        self.segments.disk_bytes().1.clamp(self.smallest(), self.settings.segment_size)
    }

    /// Returns the length of a segment that is needed at once, or that is made on a nearly full disk.
    pub fn smallest(&self) -> u64 {
        SMALLEST.min(self.settings.segment_size)
    }

    /// Returns the next segment to fill.
    pub fn next_segment(&self) -> io::Result<Writing> {
        self.spare.take_or_make(&self.dir, self.smallest(), self.settings.segment_size)
    }

    /// Makes the spare segment from a file.
    pub fn make_spare(&self, file: PoolFile) -> io::Result<()> {
        let known = |segment: &Writing| self.segments.add(segment, SegmentStage::Spare);
        self.spare.make(&self.dir, file, self.settings.segment_size, known)
    }

    /// Returns a receiver of the spool's health.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Records that a write failed, and reports it unless the one before failed, too.
    pub fn set_troubled(&self, why: String) {
        let mut before = None;
        self.health.send_if_modified(|health| {
            before = health.troubled.replace(why.clone());
            before.as_ref() != Some(&why)
        });
        if before.is_none() {
            self.tell(Notice::Failed { why });
        }
    }

    /// Records that a sync succeeded, and reports it if a write had failed before.
    pub fn set_recovered(&self) {
        if self.health.send_if_modified(|health| health.troubled.take().is_some()) {
            self.tell(Notice::Recovered);
        }
    }

    /// Returns true if the last write failed.
    pub fn is_troubled(&self) -> bool {
        self.health.borrow().troubled.is_some()
    }

    /// Returns an error while results cannot be recorded, because further attempts would only make duplicates.
    pub fn may_deliver(&self) -> Result<(), Error> {
        self.may_work()?;
        match &self.health.borrow().troubled {
            None => Ok(()),
            Some(why) => Err(Error::Io {
                what: "recording results in the spool".into(),
                source: io::Error::other(format!("the last write failed ({why}); it is being tried again")),
            }),
        }
    }

    /// Returns an error if the spool has stopped.
    pub fn may_work(&self) -> Result<(), Error> {
        self.stopped().map_or(Ok(()), |why| Err(Error::Stopped(why)))
    }

    /// Returns why the spool has stopped, if it has.
    pub fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned()
    }

    /// Stops the spool until a restart.
    pub fn stop_with(&self, why: String) {
        if self.stopped.set(why.clone()).is_ok() {
            self.health.send_modify(|health| health.stopped = Some(why.clone()));
            self.tell(Notice::Stopped { why });
        }
    }

    /// Records that everything is on disk and both threads have ended.
    pub fn closed(&self) {
        let _ = self.stopped.set("it was closed".into());
        self.lock.lock().expect("nothing panics while it holds the lock").take();
    }

    /// Returns true if a segment is kept for the next start. All later segments are kept, too, because they hold results of its mail. On a
    /// full disk it is not kept: a start is long overdue by then, and without room no new mail is accepted.
    pub fn is_kept(&self, segment: u32) -> bool {
        self.segments.awaits_start(segment) && !self.space.is_full()
    }

    /// Returns true if messages must stay where they are until the next start, because one of their results may be in a segment that is
    /// kept for it. A copy behind that segment would bring a settled message back.
    pub fn keeps_all_places(&self) -> bool {
        self.segments.some_awaits_start() && !self.space.is_full()
    }

    /// Returns true if a closed segment has lines that the journal may not have yet.
    pub fn awaits_journal(&self, segment: u32) -> bool {
        let is_unconfirmed = |at| self.outbox.is_unconfirmed(Place { segment, at });
        self.skipped.needs(segment) || self.segments.data_end(segment).is_some_and(is_unconfirmed)
    }

    /// Returns true if no attempt is in flight.
    pub fn nothing_leased(&self) -> bool {
        self.index().leased() == 0
    }

    /// Returns the octets on disk of segments and pool files.
    pub fn disk_bytes(&self) -> u64 {
        self.segments.disk_bytes().1 + self.pool_bytes.load(Ordering::Relaxed)
    }

    /// Passes a notice to the operator.
    pub fn tell(&self, notice: Notice) {
        self.settings.notices.tell(notice);
    }

    /// Checks the free space now.
    pub fn look_at_space(&self) {
        let lack = match self.space.look(&self.dir, &self.settings) {
            Ok(lack) => lack,
            Err(error) => return tracing::warn!(%error, "free space cannot be read"),
        };
        let was_full = self.health.borrow().full.is_some();
        self.health.send_if_modified(|health| {
            let is_news = health.full != lack;
            health.full = lack.clone();
            is_news
        });
        match lack {
            Some(lack) if !was_full => self.tell(Notice::Full { lack }),
            None if was_full => self.tell(Notice::Roomy),
            _ => {}
        }
    }

    /// Queues changes to be written in order. The caller holds the index's lock, so that the order there is the order on disk.
    pub fn write(&self, _index: &mut Index, changes: Vec<Change>) {
        let items = changes.into_iter().map(|change| Item::Change(change, None));
        if let Err(refused) = self.inbox.push(items) {
            // This happens only after stop(), when nothing is delivered any more.
            tracing::error!(changes = refused.len(), "changes came after the spool was stopped and are not recorded");
        }
    }

    /// Queues a change as [`write`](Self::write) does, and waits until it is written.
    pub fn written(
        &self,
        _index: &mut Index,
        change: Change,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let pushed = self.inbox.push([Item::Change(change, Some(reply))]).map_err(|_| self.stopping());
        let stopping = self.stopping();
        async move {
            pushed?;
            answer.await.unwrap_or(Err(stopping))
        }
    }

    /// Waits until everything written so far is durable.
    pub async fn synced(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.inbox.push([Item::Barrier(reply)]).map_err(|_| self.stopping())?;
        answer.await.unwrap_or_else(|_| Err(self.stopping()))
    }

    fn stopping(&self) -> Error {
        Error::Stopped(self.stopped().unwrap_or_else(|| "it is stopping".into()))
    }

    /// Removes a record that was set aside.
    pub fn drop_record(&self, id: QueueId) {
        let mut index = self.index();
        if index.remove(id).is_some() {
            self.write(&mut index, vec![Change::done(id, &[])]);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::super::{quarantine, recovery};
    use super::*;

    /// The shared state of a new spool in this folder, without the spool's threads.
    pub fn in_folder(path: &Path) -> Shared {
        let settings = Settings { dir: path.to_owned(), min_free: 0, min_free_inodes: 0, ..Settings::default() };
        let lock = Lock::take(path).unwrap();
        quarantine::prepare(path).unwrap();
        let dir = Dir::open(path).unwrap();
        let recovered = recovery::recover(&settings, &dir).unwrap();
        let skipped = Skipped::load(path, false).unwrap();
        Shared::new(settings, dir, recovered, skipped, lock)
    }
}
