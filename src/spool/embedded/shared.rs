//! What the spool's threads and the port's calls share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::{Notify, oneshot, watch};

use super::blank::Blank;
use super::dir::Dir;
use super::footer::Note;
use super::inbox::{Change, Inbox, Item};
use super::index::Index;
use super::lock::Lock;
use super::recovery::Recovered;
use super::segment::{Segments, Stage};
use super::space::Space;
use super::writing::Writing;
use super::{Notice, Settings};
use crate::message::{QueueId, QueueIds};
use crate::spool::{Error, Health};

/// The smallest segment, unless smaller ones are asked for.
const SMALLEST: u64 = 1 << 20;

/// The spool's common state. Locks are taken in the order index, then inbox; never the other way round.
pub(super) struct Shared {
    pub settings: Settings,
    pub dir: Dir,
    pub segments: Segments,
    pub inbox: Inbox,
    pub ids: QueueIds,
    pub space: Space,
    /// Told when something may have become due.
    pub changed: Arc<Notify>,
    /// Files in the quarantine.
    pub quarantined: AtomicU64,
    /// Octets of the files that are no segments, or not yet.
    pub stock_bytes: AtomicU64,
    index: Mutex<Index>,
    spare: Mutex<Option<Writing>>,
    spare_made: AtomicBool,
    next_number: AtomicU32,
    health: watch::Sender<Health>,
    stopped: OnceLock<String>,
    lock: Mutex<Option<Lock>>,
}

impl Shared {
    pub fn new(settings: Settings, dir: Dir, recovered: Recovered, lock: Lock) -> Self {
        let Recovered { index, segments, next_segment, greatest, .. } = recovered;
        // Other processes have spools of their own. A number by chance keeps their ids apart in common logs.
        let ids = QueueIds::new(rand::random());
        ids.observe(greatest);
        Shared {
            settings,
            dir,
            segments,
            inbox: Inbox::default(),
            ids,
            space: Space::default(),
            changed: Arc::default(),
            quarantined: AtomicU64::new(0),
            stock_bytes: AtomicU64::new(0),
            index: Mutex::new(index),
            spare: Mutex::new(None),
            spare_made: AtomicBool::new(false),
            next_number: AtomicU32::new(next_segment),
            health: watch::Sender::default(),
            stopped: OnceLock::new(),
            lock: Mutex::new(Some(lock)),
        }
    }

    /// The index.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("nothing panics while it holds the index")
    }

    /// Whether the next segment is made already.
    pub fn has_spare(&self) -> bool {
        self.spare_made.load(Ordering::Relaxed)
    }

    /// The length of the next spare segment: as much as all the others have, so that a spool that holds little takes little,
    /// and one under load soon has segments of the size that was set.
    pub fn spare_size(&self) -> u64 {
        self.segments.disk_bytes().1.clamp(self.smallest(), self.settings.segment_size)
    }

    /// The length of a segment that is made in a hurry, or on a disk that is nearly full.
    pub fn smallest(&self) -> u64 {
        SMALLEST.min(self.settings.segment_size)
    }

    /// The next segment: the spare one, or a small new one, since there is mail that waits for it. Segments must be filled in the
    /// order of their numbers, since that is the order in which a start reads them; so both are made under one lock.
    pub fn next_segment(&self) -> io::Result<Writing> {
        let mut spare = self.spare();
        self.spare_made.store(false, Ordering::Relaxed);
        if let Some(spare) = spare.take() {
            return Ok(spare);
        }
        let mut blank = Blank::new(&self.dir)?;
        blank.fill(self.smallest())?;
        self.make_segment(blank)
    }

    /// Makes the next segment beforehand.
    pub fn make_spare(&self, blank: Blank) -> io::Result<()> {
        let mut spare = self.spare();
        let made = self.make_segment(blank)?;
        self.segments.add(&made, Stage::Spare);
        self.spare_made.store(true, Ordering::Relaxed);
        *spare = Some(made);
        Ok(())
    }

    /// Takes the spare segment away at the end. Returns its number.
    pub fn drop_spare(&self) -> Option<u32> {
        self.spare_made.store(false, Ordering::Relaxed);
        self.spare().take().map(|spare| spare.number)
    }

    fn spare(&self) -> MutexGuard<'_, Option<Writing>> {
        self.spare.lock().expect("nothing panics while it holds the spare segment")
    }

    fn make_segment(&self, blank: Blank) -> io::Result<Writing> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        blank.into_segment(&self.dir, number, self.settings.segment_size)
    }

    /// The spool's health, kept up to date.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// A write failed. Says so, unless one had failed before.
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

    /// A write succeeded. Says so if one had failed before.
    pub fn set_recovered(&self) {
        if self.health.send_if_modified(|health| health.troubled.take().is_some()) {
            self.tell(Notice::Recovered);
        }
    }

    /// Returns true if the last write failed.
    pub fn is_troubled(&self) -> bool {
        self.health.borrow().troubled.is_some()
    }

    /// Refuses while results cannot be recorded, because sending on would only make duplicates.
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

    /// Refuses once the spool has stopped.
    pub fn may_work(&self) -> Result<(), Error> {
        self.stopped().map_or(Ok(()), |why| Err(Error::Stopped(why)))
    }

    /// Why the spool takes no more work.
    pub fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned()
    }

    /// Takes no more work until a restart.
    pub fn stop_with(&self, why: String) {
        if self.stopped.set(why.clone()).is_ok() {
            self.health.send_modify(|health| health.stopped = Some(why.clone()));
            self.tell(Notice::Stopped { why });
        }
    }

    /// Everything is on disk and both threads are done.
    pub fn closed(&self) {
        let _ = self.stopped.set("it was closed".into());
        self.lock.lock().expect("nothing panics while it holds the lock").take();
    }

    pub fn nothing_leased(&self) -> bool {
        self.index().leased() == 0
    }

    /// Octets on disk, of segments and of files for them.
    pub fn disk_bytes(&self) -> u64 {
        self.segments.disk_bytes().1 + self.stock_bytes.load(Ordering::Relaxed)
    }

    /// Log and operator.
    pub fn tell(&self, notice: Notice) {
        tell(&self.settings, notice);
    }

    /// Looks at the free space now.
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

    /// Writes changes, in order. The caller holds the index, so that order there and on disk are the same.
    pub fn write(&self, _index: &mut Index, changes: Vec<Change>) -> usize {
        // Refused only after stop(): then nothing is delivered any more, and what is lost is the record of an attempt.
        let items = changes.into_iter().map(Item::Note);
        self.inbox.push(items).unwrap_or_else(|refused| {
            tracing::error!(changes = refused.len(), "results came after the spool was stopped and are not recorded");
            0
        })
    }

    /// Waits until everything written so far is durable.
    pub async fn synced(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let stopped = || Error::Stopped(self.stopped().unwrap_or_else(|| "it is stopping".into()));
        self.inbox.push([Item::Barrier(reply)]).map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Takes a record out because it was set aside.
    pub fn drop_record(&self, id: QueueId) {
        let mut index = self.index();
        if index.remove(id).is_some() {
            self.write(&mut index, vec![Change::new(Note::Done { id }, None)]);
        }
    }
}

/// Log and operator.
pub(super) fn tell(settings: &Settings, notice: Notice) {
    match &notice {
        Notice::Roomy | Notice::Recovered => tracing::info!("{notice}"),
        Notice::Torn { .. } | Notice::Full { .. } => tracing::warn!("{notice}"),
        _ => tracing::error!("{notice}"),
    }
    if let Some(hear) = &settings.notices {
        hear(notice);
    }
}
