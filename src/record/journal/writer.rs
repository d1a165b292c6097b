//! The journal's writer: a thread that takes lines from the buffer, writes and syncs them, and rotates the file.
//!
//! All lines that it takes at once are written and synced together, and only then become visible to readers. A failed write or sync is
//! tried again once a second. Meanwhile the spool keeps its own lines, and all others wait in memory as far as there is room. After a
//! failed sync the kernel treats the lost pages as clean, so the unsynced lines are written again to a new file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::kept::StoredPosition;
use super::{Journal, OpenJournal, Position, Retention, append};
use crate::record::archive::keys::Named;
use crate::time::Timestamp;

/// Lines that do not come from the outbox are synced at most this often.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// The pause after a failed write.
const RETRY: Duration = Duration::from_secs(1);
/// How often the position is saved. After a crash, at most the lines of this time are read again.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// How often old files are removed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A buffer larger than this is freed and not reused.
const SPARE: usize = 1 << 20;

/// When a new file begins, and which old files are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    /// A file is rotated before it grows beyond this many octets.
    pub size: u64,
    /// A file is rotated when its first event is this old.
    pub age: Duration,
    pub retention: Retention,
}

/// Reports trouble and lost lines.
pub(crate) trait TroubleReporter: Send {
    /// The journal cannot be written for this reason.
    fn troubled(&self, why: &io::Error);
    /// The journal can be written again.
    fn recovered(&self);
    /// This many lines did not fit into the buffer. Returns the line for the journal that reports it, with its line end.
    fn lost(&self, count: u64) -> Vec<u8>;
}

/// The state of the writer's thread.
pub(crate) struct Writer<R> {
    buffer: Arc<Buffer>,
    journal: Arc<Journal>,
    file: File,
    rotation: Rotation,
    report: R,
    kept: StoredPosition,
    /// True once the journal has everything from the outbox. Before that, the lines behind the kept position come again.
    has_caught_up: bool,
    /// The time of the current file's first event; `None` while the file is empty.
    began: Option<Timestamp>,
    saved: Instant,
    looked: Option<Instant>,
    /// True if a sync of the current file failed. The file will be cut to its synced part, and a new one begun.
    is_broken: bool,
}

/// The progress of writing a batch of lines.
#[derive(Default)]
struct Progress {
    written: usize,
    synced: usize,
}

impl<R: TroubleReporter> Writer<R> {
    /// Makes the writer of an open journal.
    pub fn new(buffer: Arc<Buffer>, open: OpenJournal, rotation: Rotation, report: R) -> Self {
        let OpenJournal { journal, file, kept } = open;
        let began = first_event(&file);
        Writer {
            buffer,
            journal,
            file,
            rotation: Rotation { size: rotation.size.max(1), ..rotation },
            report,
            kept,
            has_caught_up: false,
            began,
            saved: Instant::now(),
            looked: None,
            is_broken: false,
        }
    }

    /// Writes until the buffer is stopped and empty.
    pub fn run(mut self) {
        let (mut spare, mut synced_at) = (Vec::new(), Instant::now() - SYNC_EVERY);
        loop {
            let longest = if self.looked.is_some() { LOOK_EVERY } else { RETRY };
            let taken = self.buffer.take(spare, synced_at + SYNC_EVERY, longest);
            let mut lines = taken.lines;
            if taken.lost > 0 && !taken.last {
                lines.extend(self.report.lost(taken.lost));
            }
            if let Some(outbox) = &taken.outbox {
                lines.extend_from_slice(&outbox.lines);
            }
            if !lines.is_empty() {
                if !self.persist(&lines) {
                    break;
                }
                synced_at = Instant::now();
            }
            for waiting in taken.waiting {
                // The waiting caller may have gone.
                let _ = waiting.send(());
            }
            if let Some(outbox) = taken.outbox {
                self.kept.outbox = Some(outbox.position);
                self.has_caught_up |= outbox.is_all;
                // The feed may have gone with the runtime.
                let _ = outbox.synced.send(());
            }
            self.save_kept(taken.last);
            if taken.last {
                break;
            }
            self.look_after_files(false);
            lines.clear();
            spare = if lines.capacity() > SPARE { Vec::new() } else { lines };
        }
        self.journal.wait_until_closed();
        self.look_after_files(true);
    }

    /// Writes and syncs lines, however long that takes. Returns false if the buffer was stopped before.
    fn persist(&mut self, lines: &[u8]) -> bool {
        let (mut progress, mut is_troubled) = (Progress::default(), false);
        loop {
            match self.try_persist(lines, &mut progress) {
                Ok(()) => {
                    if is_troubled {
                        self.report.recovered();
                    }
                    return true;
                }
                Err(error) => {
                    if !is_troubled {
                        self.report.troubled(&error);
                        is_troubled = true;
                    }
                    if self.buffer.pause(RETRY) {
                        let left = memchr::memchr_iter(b'\n', &lines[progress.synced..]).count();
                        tracing::error!(left, "stopping while the event log cannot be written");
                        return false;
                    }
                }
            }
        }
    }

    fn try_persist(&mut self, lines: &[u8], progress: &mut Progress) -> io::Result<()> {
        if self.is_broken {
            self.begin_behind_what_is_synced()?;
            self.is_broken = false;
        }
        while progress.written < lines.len() {
            self.write_some(lines, progress)?;
        }
        self.sync(progress)?;
        self.journal.publish(self.file.metadata()?.len());
        Ok(())
    }

    /// Writes once: whole lines, up to the size at which the file is rotated. The file changes only between lines, so the rest of a line
    /// that was written in part goes to the same file.
    fn write_some(&mut self, lines: &[u8], progress: &mut Progress) -> io::Result<()> {
        let starts_a_line = progress.written == 0 || lines[progress.written - 1] == b'\n';
        if starts_a_line {
            self.turn_over(lines, progress)?;
        }
        let rest = &lines[progress.written..];
        let first_line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let room =
            usize::try_from(self.rotation.size.saturating_sub(self.file.metadata()?.len())).unwrap_or(usize::MAX);
        let end = memchr::memrchr(b'\n', &rest[..room.min(rest.len())]).map_or(first_line, |at| at + 1);
        let end = if starts_a_line { end } else { first_line };
        progress.written += append(&self.file, &rest[..end])?;
        Ok(())
    }

    /// Begins a new file if the current one is full or old, or if somebody removed it.
    fn turn_over(&mut self, lines: &[u8], progress: &mut Progress) -> io::Result<()> {
        let rest = &lines[progress.written..];
        let first_line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1) as u64;
        if !self.journal.is_current(&self.file)? {
            self.sync(progress)?;
            self.file = self.journal.begin_anew()?;
            self.began = None;
        }
        let len = self.file.metadata()?.len();
        if len > 0 && (len + first_line > self.rotation.size || self.is_old()) {
            self.sync(progress)?;
            self.rotate()?;
        }
        if self.began.is_none() {
            self.began = Some(Timestamp::now());
        }
        Ok(())
    }

    fn is_old(&self) -> bool {
        self.began.is_some_and(|began| Timestamp::now().since(began) >= self.rotation.age)
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = self.journal.rotate()?;
        self.began = None;
        self.looked = None;
        Ok(())
    }

    /// Syncs the current file. After an error, everything behind the last sync is written again.
    fn sync(&mut self, progress: &mut Progress) -> io::Result<()> {
        match self.file.sync_data() {
            Ok(()) => progress.synced = progress.written,
            Err(error) => {
                progress.written = progress.synced;
                self.is_broken = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Cuts the current file to its synced part, and begins a new one.
    fn begin_behind_what_is_synced(&mut self) -> io::Result<()> {
        if !self.journal.is_current(&self.file)? {
            // An earlier attempt got this far, or somebody removed the file.
            self.file = self.journal.begin_anew()?;
            self.began = None;
            return Ok(());
        }
        let synced = self.journal.end();
        let offset = if synced.segment == *self.journal.lock() { synced.offset } else { 0 };
        self.file.set_len(offset)?;
        self.rotate()
    }

    fn save_kept(&mut self, now: bool) {
        if !self.has_caught_up {
            return;
        }
        let position = self.journal.end();
        if (now || self.saved.elapsed() >= SAVE_EVERY) && self.kept.position != position {
            self.kept.position = position;
            self.saved = Instant::now();
            if let Err(error) = self.kept.save(self.journal.path()) {
                tracing::error!("the event log's position cannot be saved: {error}. It is tried again");
                self.kept.position = Position::default();
            }
        }
    }

    /// Rotates a file that is old, removes files beyond the limits, and compresses files whose compression failed earlier.
    fn look_after_files(&mut self, now: bool) {
        let is_due = now || self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        if !is_due || self.journal.is_closing() {
            return;
        }
        self.looked = Some(Instant::now());
        if let Err(error) = self.leave_old_files() {
            tracing::warn!("old files of the event log cannot be removed yet: {error}");
        }
    }

    fn leave_old_files(&mut self) -> io::Result<()> {
        if self.is_old() && self.journal.is_current(&self.file)? {
            self.rotate()?;
            self.journal.publish(0);
        }
        self.journal.retain(&self.rotation.retention, Timestamp::now())?;
        self.journal.close_left()
    }
}

/// Returns the time of a file's first event. An event without a time counts as happening now.
fn first_event(file: &File) -> Option<Timestamp> {
    let mut first = vec![0; 64 << 10];
    let read = file.read_at(&mut first, 0).unwrap_or_default();
    let line = first[..read].split(|octet| *octet == b'\n').next().filter(|line| !line.is_empty())?;
    Some(Named::of(line).and_then(|named| named.at.parse().ok()).unwrap_or_else(Timestamp::now))
}
