//! The journal on disk: every event as a line of JSON, in files that are numbered upwards without end.
//!
//! ```text
//! the spool's outbox ──► feed ──┐
//!                               ├──► writer ──► events.jsonl ──► events.jsonl.000041 ──► events.jsonl.000041.zst
//! rejected, alert, audit … ─────┘                  └──► webhooks, cursors: up to the last sync
//! ```
//!
//! Events about mail come from the spool, where they are durable together with the fact that they report (`feed`). All other events go
//! directly to the `writer`, through a bounded `buffer`. The writer syncs at most every 200 ms, and readers see only synced lines. So an
//! event that a reader has seen is never lost or changed.
//!
//! The number of a file never changes. The current file already has its number, and gets it as its suffix when it is rotated. Then a
//! separate thread compresses it. Offsets count uncompressed octets also in archives, so a [`Position`] names a line as long as the line
//! exists, whatever happens to its file.

pub(crate) mod buffer;
pub mod cursor;
pub(crate) mod feed;
mod kept;
mod lines;
mod position;
mod retention;
pub(crate) mod writer;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tokio::sync::watch;

use self::kept::StoredPosition;
use super::archive;
use super::files::{JournalFile, Opened, files};
use crate::files::{folder, open_regular, open_to_read};

pub use self::position::Position;
pub use self::retention::Retention;

/// The journal's path, the number of its current file, and how far it is synced.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// The permissions of new files.
    mode: u32,
    /// Distinguishes this journal from another one at the same path. It is a part of every cursor.
    id: String,
    /// The number of the current file.
    current: Mutex<u64>,
    /// The end of what readers may see.
    synced: watch::Sender<Position>,
    /// The thread that compresses rotated files, while it runs.
    closing: Mutex<Option<JoinHandle<()>>>,
}

/// A part of the journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    pub lines: Vec<u8>,
    /// The position of the first line: the requested one, unless files are gone or a file ended.
    pub start: Position,
    /// True if files between the requested position and `start` are gone, with lines that were not read.
    pub gap: bool,
}

/// A journal that was just opened.
pub(crate) struct OpenJournal {
    pub journal: Arc<Journal>,
    /// The current file, open for appending.
    pub file: File,
    pub kept: StoredPosition,
}

impl Journal {
    /// Opens or creates the current file. Its number follows that of the newest rotated file, and is at least `at_least`, which is from a
    /// reader's saved position. An incomplete last line that a crash left is cut off. New files get the mode `mode`, regardless of the
    /// umask.
    pub(crate) fn open(path: &Path, mode: u32, at_least: u64) -> io::Result<OpenJournal> {
        fs::create_dir_all(folder(path))?;
        let kept = StoredPosition::load(path)?;
        let rotated = rotated(path)?;
        let newest = rotated.last().and_then(|file| file.number).unwrap_or_default();
        // A crash may have prevented their compression.
        let closing = close_soon(rotated.into_iter().filter(|file| !file.is_archive).collect(), mode);
        let known = kept.as_ref().map_or(0, |kept| kept.position.segment);
        let current = at_least.max(newest + 1).max(known);
        let file = open_current(path, mode)?;
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let new = StoredPosition::begin(Position { segment: current, offset: 0 });
                // Cursors contain the journal's id, so the id must survive a crash.
                new.save(path)?;
                new
            }
        };
        let end = Position { segment: current, offset: file.metadata()?.len() };
        let journal = Journal {
            path: path.to_owned(),
            mode,
            id: kept.journal.clone(),
            current: Mutex::new(current),
            synced: watch::Sender::new(end),
            closing: Mutex::new(closing),
        };
        Ok(OpenJournal { journal: Arc::new(journal), file, kept })
    }

    /// Returns the path of the current file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the current file to its number and begins a new one. The full file must be synced.
    fn rotate(&self) -> io::Result<File> {
        // Only one file is compressed at a time. Otherwise an archive could be written after retention has removed its file, and would stay
        // too long.
        self.wait_until_closed();
        let mut current = self.lock();
        let full = JournalFile::rotated(&self.path, *current);
        fs::rename(&self.path, &full.path)?;
        *current += 1;
        *self.closing() = close_soon(vec![full], self.mode);
        open_current(&self.path, self.mode)
    }

    /// Compresses rotated files whose compression failed earlier, for example because the disk was full.
    fn close_left(&self) -> io::Result<()> {
        let left: Vec<_> = rotated(&self.path)?.into_iter().filter(|file| !file.is_archive).collect();
        if !left.is_empty() {
            *self.closing() = close_soon(left, self.mode);
        }
        Ok(())
    }

    /// Waits for the running compression, if any.
    fn wait_until_closed(&self) {
        let closing = self.closing().take();
        if closing.is_some_and(|closing| closing.join().is_err()) {
            tracing::error!("the thread that compresses rotated files of the event log panicked");
        }
    }

    /// Returns true if a file is being compressed.
    fn is_closing(&self) -> bool {
        self.closing().as_ref().is_some_and(|closing| !closing.is_finished())
    }

    /// Returns true if the file at the journal's path is the open one. Somebody may have moved or deleted it.
    fn is_current(&self, open: &File) -> io::Result<bool> {
        let ours = open.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins a new current file after somebody removed the old one.
    fn begin_anew(&self) -> io::Result<File> {
        let mut current = self.lock();
        let file = open_current(&self.path, self.mode)?;
        *current += 1;
        Ok(file)
    }

    /// Makes the current file visible to readers up to `offset`. All of that and all earlier files are on disk.
    fn publish(&self, offset: u64) {
        let segment = *self.lock();
        self.synced.send_replace(Position { segment, offset });
    }

    /// Returns the position of the next line, as readers see it.
    pub fn end(&self) -> Position {
        *self.synced.borrow()
    }

    /// Returns a receiver of the end. It changes when there is more to read.
    pub fn watch_end(&self) -> watch::Receiver<Position> {
        self.synced.subscribe()
    }

    /// Returns the position of the oldest line.
    pub fn oldest(&self) -> io::Result<Position> {
        let current = self.lock();
        let segment = rotated(&self.path)?.first().and_then(|file| file.number).unwrap_or(*current);
        Ok(Position { segment, offset: 0 })
    }

    /// Returns the octets from a position to the end.
    pub fn octets_after(&self, from: Position) -> io::Result<u64> {
        let end = self.end();
        if from.segment >= end.segment {
            return Ok(end.offset.saturating_sub(from.offset));
        }
        let old = rotated(&self.path)?;
        let sizes = old.iter().filter(|file| file.number >= Some(from.segment)).map(|file| {
            // A file that was just removed or compressed is counted the next time.
            let size = file.open().ok().flatten().and_then(|file| file.octets().ok()).unwrap_or_default();
            if file.number == Some(from.segment) { size.saturating_sub(from.offset) } else { size }
        });
        Ok(sizes.sum::<u64>() + end.offset)
    }

    /// Reads about `max` octets of whole lines at `from`, and at least one line if there is one. If the file of `from` is read to its end
    /// or gone, continues with the next file that exists.
    pub fn read(&self, mut from: Position, max: usize) -> io::Result<Chunk> {
        let mut gap = false;
        loop {
            let end = self.end();
            let (segment, next) = self.segment(from.segment)?;
            if let Some(segment) = segment {
                // Lines that are not synced yet are not visible.
                let limit = match from.segment.cmp(&end.segment) {
                    std::cmp::Ordering::Less => segment.octets()?,
                    std::cmp::Ordering::Equal => segment.octets()?.min(end.offset),
                    std::cmp::Ordering::Greater => 0,
                };
                if from.offset > limit && from.segment <= end.segment {
                    // Somebody truncated the file, so its present content was never read.
                    from.offset = 0;
                }
                let lines = lines::read(&segment, from.offset, limit, max).map_err(|error| {
                    let is_current = from.segment >= end.segment;
                    if is_current { error } else { JournalFile::rotated(&self.path, from.segment).named(error) }
                })?;
                if !lines.is_empty() || next.is_none_or(|next| next > end.segment) {
                    return Ok(Chunk { lines, start: from, gap });
                }
            } else {
                gap = true;
            }
            let Some(next) = next.filter(|next| *next <= end.segment) else {
                return Ok(Chunk { lines: Vec::new(), start: from, gap });
            };
            // A missing number (of a file that somebody removed) counts as a gap only if it is the requested one.
            from = Position { segment: next, offset: 0 };
        }
    }

    /// Opens the file with this number, if it exists. Also returns the number of the next file.
    fn segment(&self, number: u64) -> io::Result<(Option<Opened>, Option<u64>)> {
        // Locked while opening, because a rotation in between would give the path to another file.
        let current = self.lock();
        if number >= *current {
            return Ok((open_if_there(&self.path)?.map(Opened::Plain), None));
        }
        let next = rotated(&self.path)?.into_iter().filter_map(|file| file.number).find(|other| *other > number);
        Ok((JournalFile::rotated(&self.path, number).open()?, Some(next.unwrap_or(*current))))
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.current.lock().expect("no holder of this lock can panic")
    }

    fn closing(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.closing.lock().expect("no holder of this lock can panic")
    }
}

/// Compresses rotated files one after the other on a separate thread. A file that cannot be compressed stays as it is, and is tried again
/// later.
fn close_soon(files: Vec<JournalFile>, mode: u32) -> Option<JoinHandle<()>> {
    if files.is_empty() {
        return None;
    }
    let close = move || {
        for file in files {
            match archive::close(&file.path, &file.archive_path(), mode) {
                // Retention may have removed the file meanwhile, which is no error.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("{} cannot be compressed and stays as it is: {error}", file.path.display());
                }
                _ => {}
            }
        }
    };
    std::thread::Builder::new()
        .name("journal-close".into())
        .spawn(close)
        .inspect_err(|error| {
            tracing::warn!("a rotated file of the event log stays uncompressed for now: {error}");
        })
        .ok()
}

/// Returns the rotated files of a journal, oldest first.
fn rotated(path: &Path) -> io::Result<Vec<JournalFile>> {
    Ok(files(path)?.into_iter().filter(|file| file.number.is_some()).collect())
}

/// Opens the current file, and makes the file and its name durable.
fn open_current(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let file = open_regular(OpenOptions::new().read(true).append(true).create(true).mode(0o600), path)?;
    let len = file.metadata()?.len();
    if len == 0 {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    } else {
        cut_torn_line(&file, len)?;
    }
    file.sync_all()?;
    File::open(folder(path))?.sync_all()?;
    Ok(file)
}

/// Cuts off an incomplete last line. No reader has seen it, because it was never synced. If it was about mail, the spool returns it again.
fn cut_torn_line(file: &File, len: u64) -> io::Result<()> {
    const PIECE: u64 = 64 << 10;
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        let mut piece = vec![0; (end - start) as usize];
        file.read_exact_at(&mut piece, start)?;
        if let Some(last) = memchr::memrchr(b'\n', &piece) {
            end = start + last as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len { file.set_len(end) } else { Ok(()) }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match open_to_read(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Appends to a file, and returns the number of octets written.
fn append(mut file: &File, octets: &[u8]) -> io::Result<usize> {
    file.write(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal, with the actions of its writer.
    struct Rig {
        dir: tempfile::TempDir,
        journal: Arc<Journal>,
        file: File,
    }

    impl Rig {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let OpenJournal { journal, file, .. } = Journal::open(&dir.path().join("e.jsonl"), 0o600, 0).unwrap();
            Rig { dir, journal, file }
        }

        fn write(&mut self, lines: &[u8]) {
            self.file.write_all(lines).unwrap();
            self.journal.publish(self.file.metadata().unwrap().len());
        }

        fn rotate(&mut self) {
            self.file = self.journal.rotate().unwrap();
            self.journal.publish(0);
        }
    }

    fn at(segment: u64, offset: u64) -> Position {
        Position { segment, offset }
    }

    #[test]
    fn a_position_outlives_rotation() {
        let mut rig = Rig::new();
        rig.write(b"one\ntwo\n");
        rig.rotate();
        rig.write(b"three\n");
        let chunk = rig.journal.read(at(1, 4), 100).unwrap();
        assert_eq!((chunk.lines.as_slice(), chunk.start, chunk.gap), (&b"two\n"[..], at(1, 4), false));
        let chunk = rig.journal.read(at(1, 8), 100).unwrap();
        assert_eq!((chunk.lines.as_slice(), chunk.start, chunk.gap), (&b"three\n"[..], at(2, 0), false));
        assert_eq!(rig.journal.read(at(2, 6), 100).unwrap().lines, b"");
        assert_eq!(rig.journal.octets_after(at(1, 4)).unwrap(), 10);
    }

    #[test]
    fn readers_see_nothing_that_is_not_synced() {
        let mut rig = Rig::new();
        rig.write(b"one\n");
        rig.file.write_all(b"two\n").unwrap();
        assert_eq!(rig.journal.read(at(1, 0), 100).unwrap().lines, b"one\n");
        assert_eq!(rig.journal.read(at(1, 4), 100).unwrap(), Chunk { start: at(1, 4), ..Chunk::default() });
        // The full file is synced, but readers do not know yet, so nothing of the next file is shown.
        rig.file = rig.journal.rotate().unwrap();
        rig.file.write_all(b"three\n").unwrap();
        assert_eq!(rig.journal.read(at(1, 0), 100).unwrap().lines, b"one\n");
        assert_eq!(rig.journal.read(at(1, 4), 100).unwrap(), Chunk { start: at(1, 4), ..Chunk::default() });
        rig.journal.publish(6);
        assert_eq!(rig.journal.read(at(1, 4), 100).unwrap().lines, b"two\n");
        assert_eq!(rig.journal.read(at(1, 8), 100).unwrap().lines, b"three\n");
    }

    #[test]
    fn what_was_removed_is_a_gap() {
        let mut rig = Rig::new();
        for line in [b"a\n", b"b\n", b"c\n"] {
            rig.write(line);
            rig.rotate();
        }
        rig.journal.wait_until_closed();
        for file in rotated(rig.journal.path()).unwrap().into_iter().take(2) {
            file.remove().unwrap();
        }
        let chunk = rig.journal.read(at(1, 0), 100).unwrap();
        assert_eq!((chunk.lines.as_slice(), chunk.start, chunk.gap), (&b"c\n"[..], at(3, 0), true));
    }

    #[test]
    fn a_damaged_file_is_named_and_a_gap_once_it_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.jsonl");
        let (plain, closed) = (dir.path().join("e.jsonl.000001"), dir.path().join("e.jsonl.000001.zst"));
        fs::write(&plain, "{\"at\":\"2026-11-29T08:00:00.000Z\",\"event_id\":\"one\"}\n".repeat(100)).unwrap();
        archive::close(&plain, &closed, 0o600).unwrap();
        let mut octets = fs::read(&closed).unwrap();
        octets[20] ^= 0xff;
        fs::write(&closed, &octets).unwrap();
        fs::write(&path, "{\"event_id\":\"two\"}\n").unwrap();
        let journal = Journal::open(&path, 0o600, 0).unwrap().journal;
        let first = Position { segment: 1, offset: 0 };
        let damaged = journal.read(first, 1000).unwrap_err().to_string();
        assert!(damaged.contains("e.jsonl.000001.zst: "), "{damaged}");
        fs::remove_file(&closed).unwrap();
        let read = journal.read(first, 1000).unwrap();
        assert!(read.gap && read.lines.starts_with(b"{\"event_id\":\"two\""), "{:?}", read.start);
    }

    #[test]
    fn a_torn_line_is_cut_off_when_the_journal_is_opened_again() {
        for (left, kept) in [
            ("{}\n{\"torn", "{}\n"),
            ("{\"torn", ""),
            ("{}\n", "{}\n"),
            (&format!("{{}}\n{}", "x".repeat(200_000)), "{}\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("e.jsonl");
            fs::write(&path, left).unwrap();
            let mut open = Journal::open(&path, 0o600, 0).unwrap();
            assert_eq!(open.journal.end(), at(1, kept.len() as u64));
            open.file.write_all(b"{}\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{kept}{{}}\n"));
        }
    }

    #[test]
    fn numbers_go_on_after_a_restart_and_never_below_a_readers_position() {
        let mut rig = Rig::new();
        rig.rotate();
        let path = rig.dir.path().join("e.jsonl");
        let number = |at_least| Journal::open(&path, 0o600, at_least).unwrap().journal.end().segment;
        assert_eq!(number(0), 2);
        assert_eq!(number(9), 9);
    }

    #[test]
    fn a_file_taken_away_is_noticed() {
        let mut rig = Rig::new();
        rig.write(b"a\n");
        assert!(rig.journal.is_current(&rig.file).unwrap());
        fs::rename(rig.dir.path().join("e.jsonl"), rig.dir.path().join("mine")).unwrap();
        assert!(!rig.journal.is_current(&rig.file).unwrap());
        rig.file = rig.journal.begin_anew().unwrap();
        rig.write(b"b\n");
        assert!(rig.journal.is_current(&rig.file).unwrap());
        let chunk = rig.journal.read(at(1, 2), 100).unwrap();
        assert_eq!((chunk.lines.as_slice(), chunk.start), (&b"b\n"[..], at(2, 0)));
    }
}
