//! What the spool's threads and the port's calls share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::{Notify, oneshot};

use super::blank::Blank;
use super::footer::Note;
use super::guard::Guard;
use super::inbox::{Change, Inbox, Item};
use super::index::Index;
use super::lock::Lock;
use super::segment::{Dir, Segments, Stage, Writing};
use super::{Error, Notice, Settings};
use crate::message::QueueId;

/// The smallest segment, unless smaller ones are asked for.
const SMALLEST: u64 = 1 << 20;

/// Whether results can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// As far as known.
    Sound = 0,
    /// The last write failed; it is tried again. Nothing is handed out for delivery.
    Troubled = 1,
}

/// The spool's common state. Locks are taken in the order index, then inbox; never the other way round.
pub(super) struct Shared {
    pub settings: Settings,
    pub dir: Dir,
    pub segments: Segments,
    pub inbox: Inbox,
    pub guard: Guard,
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
    health: AtomicU8,
    stopped: OnceLock<String>,
    lock: Mutex<Option<Lock>>,
}

impl Shared {
    pub fn new(settings: Settings, dir: Dir, segments: Segments, index: Index, next_segment: u32, lock: Lock) -> Self {
        Shared {
            settings,
            dir,
            segments,
            inbox: Inbox::default(),
            guard: Guard::default(),
            changed: Arc::default(),
            quarantined: AtomicU64::new(0),
            stock_bytes: AtomicU64::new(0),
            index: Mutex::new(index),
            spare: Mutex::new(None),
            spare_made: AtomicBool::new(false),
            next_number: AtomicU32::new(next_segment),
            health: AtomicU8::new(Health::Sound as u8),
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

    /// Sets the health; returns what it was.
    pub fn set_health(&self, health: Health) -> Health {
        self.settings.counters.troubled.set(health as i64);
        match self.health.swap(health as u8, Ordering::Relaxed) {
            0 => Health::Sound,
            _ => Health::Troubled,
        }
    }

    /// Whether the last write failed and nothing was written since.
    pub fn is_troubled(&self) -> bool {
        self.health.load(Ordering::Relaxed) == Health::Troubled as u8
    }

    /// Refuses while results cannot be recorded: sending on would only make duplicates.
    pub fn may_deliver(&self) -> Result<(), Error> {
        self.may_work()?;
        match self.is_troubled() {
            false => Ok(()),
            true => Err(Error::Io {
                what: "recording results in the spool".into(),
                source: io::Error::other("the last write failed; it is being tried again"),
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
            self.settings.counters.stopped.set(1);
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
        if let Some(notice) = self.guard.look(&self.dir, &self.settings) {
            self.tell(notice);
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
