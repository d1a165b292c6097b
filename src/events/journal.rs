//! The log on disk: `events.jsonl` and its rotated files, numbered upwards without end. A rotated file `events.jsonl.000041` is
//! closed at once on a thread of its own: it becomes the archive `events.jsonl.000041.zst`.
//!
//! The number of a file never changes: the current file has one already and gets it as its suffix once it is rotated. An archive
//! counts octets as its lines had them. So a position (number, octet) names a line for as long as the line exists, whatever is
//! rotated or closed meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::Error;
use crate::record::archive;
use crate::record::files::{JournalFile, Opened, files};

/// A place in the log: the start of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The file's number.
    pub(super) segment: u64,
    /// Octets before the line.
    pub(super) offset: u64,
}

/// Where the log's files are and which number the current one has.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// Of new files.
    mode: u32,
    keep: u32,
    current: Mutex<u64>,
    /// The thread that turns rotated files into archives, while it runs.
    closing: Mutex<Option<JoinHandle<()>>>,
}

/// What a reader found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// Where they begin: the position asked for, unless files are gone or a file ended.
    pub(super) start: Position,
    /// Files between the position asked for and `start` are gone with lines in them that were not read.
    pub(super) gap: bool,
}

impl Journal {
    /// Opens or makes the current file. Its number is after the newest rotated file, and not below `at_least`, which a reader's
    /// saved position names. A line that a crash tore off is closed, so that the next one stands alone. New files get the permissions
    /// `mode` whatever the umask is.
    pub(super) fn open(path: &Path, mode: u32, keep: u32, at_least: u64) -> Result<(Self, File), Error> {
        let refused = |what| move |source| Error::Io { what, path: path.to_owned(), source };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(refused("making the folder of"))?;
        }
        let rotated = rotated(path).map_err(refused("listing the files of"))?;
        let newest = rotated.last().and_then(|file| file.number).unwrap_or_default();
        // A crash may have come before they were closed.
        let closing = close_soon(rotated.into_iter().filter(|file| !file.is_archive).collect(), mode);
        let current = at_least.max(newest + 1);
        let file = open_current(path, mode).map_err(refused("opening"))?;
        Ok((
            Journal { path: path.to_owned(), mode, keep, current: Mutex::new(current), closing: Mutex::new(closing) },
            file,
        ))
    }

    /// Renames the current file to its number, begins a new one and removes what is over `keep`.
    pub(super) fn rotate(&self, full: &File) -> io::Result<File> {
        full.sync_data()?;
        // One file is closed at a time. An archive that came after its file was removed would outlive what is kept.
        self.wait_until_closed();
        let mut current = self.lock();
        let rotated_to = JournalFile::rotated(&self.path, *current);
        fs::rename(&self.path, &rotated_to.path)?;
        *current += 1;
        let file = open_current(&self.path, self.mode)?;
        let old = rotated(&self.path)?;
        for file in &old[..old.len().saturating_sub(self.keep as usize)] {
            file.remove()?;
        }
        *self.closing() = close_soon(vec![rotated_to], self.mode);
        Ok(file)
    }

    /// Waits until every rotated file is an archive, or could not be made one.
    pub(super) fn wait_until_closed(&self) {
        if let Some(closing) = self.closing().take()
            && closing.join().is_err()
        {
            tracing::error!("the thread that compresses the event log's files panicked");
        }
    }

    fn closing(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.closing.lock().expect("no holder of this lock can panic")
    }

    /// Whether the file at the log's path is still `file`. Somebody may have moved or removed it.
    pub(super) fn is_current(&self, file: &File) -> io::Result<bool> {
        let ours = file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins a new current file after somebody took the old one away.
    pub(super) fn begin_anew(&self) -> io::Result<File> {
        let mut current = self.lock();
        let file = open_current(&self.path, self.mode)?;
        *current += 1;
        Ok(file)
    }

    /// Where the next line will be written.
    pub(super) fn end(&self) -> io::Result<Position> {
        let current = self.lock();
        let offset = match fs::metadata(&self.path) {
            Ok(there) => there.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Position { segment: *current, offset })
    }

    /// The oldest line there is.
    pub(super) fn oldest(&self) -> io::Result<Position> {
        let current = self.lock();
        let segment = rotated(&self.path)?.first().and_then(|file| file.number).unwrap_or(*current);
        Ok(Position { segment, offset: 0 })
    }

    /// Octets from a position to the end.
    pub(super) fn octets_after(&self, from: Position) -> io::Result<u64> {
        let end = self.end()?;
        if from.segment >= end.segment {
            return Ok(end.offset.saturating_sub(from.offset));
        }
        let old = rotated(&self.path)?;
        let sizes = old.iter().filter(|file| file.number >= Some(from.segment)).map(|file| {
            // One that was removed or closed meanwhile counts at the next look.
            let size = file.open().ok().flatten().and_then(|file| file.octets().ok()).unwrap_or_default();
            if file.number == Some(from.segment) { size.saturating_sub(from.offset) } else { size }
        });
        Ok(sizes.sum::<u64>() + end.offset)
    }

    /// Reads whole lines at `from`, about `max` octets; at least one line where there is one. Where the file of `from` is read
    /// to its end or gone, goes on with the next one that exists.
    pub(super) fn read(&self, mut from: Position, max: usize) -> io::Result<Chunk> {
        let mut gap = false;
        loop {
            let (segment, next) = self.segment(from.segment)?;
            if let Some(segment) = segment {
                if from.offset > segment.octets()? {
                    // Somebody truncated the file: what it holds now was never read.
                    from.offset = 0;
                }
                let lines = lines(&segment, from.offset, max)?;
                if !lines.is_empty() || next.is_none() {
                    return Ok(Chunk { lines, start: from, gap });
                }
            } else {
                gap = true;
            }
            let Some(next) = next else {
                return Ok(Chunk { lines: Vec::new(), start: from, gap });
            };
            // A number that was skipped (the file was taken away) counts as a gap only if it was the one asked for.
            from = Position { segment: next, offset: 0 };
        }
    }

    /// The file with this number, if it exists, and the number of the next one.
    fn segment(&self, number: u64) -> io::Result<(Option<Opened>, Option<u64>)> {
        // Held while opening: a rotation in between would give the number's name to another file.
        let current = self.lock();
        if number >= *current {
            return Ok((open_to_read(&self.path)?.map(Opened::Plain), None));
        }
        let next = rotated(&self.path)?.into_iter().filter_map(|file| file.number).find(|other| *other > number);
        Ok((JournalFile::rotated(&self.path, number).open()?, Some(next.unwrap_or(*current))))
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.current.lock().expect("no holder of this lock can panic")
    }
}

/// Whole lines from `offset`, about `max` octets; at least one line where there is one.
fn lines(segment: &Opened, offset: u64, max: usize) -> io::Result<Vec<u8>> {
    match segment {
        Opened::Plain(file) => read_lines(file, offset, max),
        Opened::Archive(archive) => {
            let mut lines = archive.lines_from(offset)?;
            let whole = memchr::memrchr(b'\n', &lines[..max.min(lines.len())]);
            let first = memchr::memchr(b'\n', &lines);
            lines.truncate(whole.or(first).map_or(0, |end| end + 1));
            Ok(lines)
        }
    }
}

/// Turns rotated files into archives, one after the other, on a thread of its own. A file that cannot be closed stays as it is, and is
/// tried again at the next start.
fn close_soon(files: Vec<JournalFile>, mode: u32) -> Option<JoinHandle<()>> {
    if files.is_empty() {
        return None;
    }
    let close = move || {
        for file in files {
            match archive::close(&file.path, &file.archive_path(), mode) {
                // Retention removed it meanwhile.
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
            tracing::warn!("a rotated file of the event log stays uncompressed until the next start: {error}");
        })
        .ok()
}

/// The rotated files of a log, oldest first.
pub(super) fn rotated(path: &Path) -> io::Result<Vec<JournalFile>> {
    Ok(files(path)?.into_iter().filter(|file| file.number.is_some()).collect())
}

fn open_current(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let len = file.metadata()?.len();
    if len == 0 {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    let mut last = [b'\n'];
    if len > 0 {
        file.read_exact_at(&mut last, len - 1)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

fn open_to_read(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole lines from `offset`, about `max` octets, at least one line where a whole one is there.
fn read_lines(file: &File, offset: u64, max: usize) -> io::Result<Vec<u8>> {
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    let mut lines = Vec::new();
    let mut limit = max;
    loop {
        let before = lines.len();
        file.take((limit - before) as u64).read_to_end(&mut lines)?;
        if let Some(end) = memchr::memrchr(b'\n', &lines) {
            lines.truncate(end + 1);
            return Ok(lines);
        }
        if lines.len() < limit {
            return Ok(Vec::new());
        }
        limit *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(keep: u32) -> (tempfile::TempDir, Journal, File) {
        let dir = tempfile::tempdir().unwrap();
        let (journal, file) = Journal::open(&dir.path().join("e.jsonl"), 0o600, keep, 0).unwrap();
        (dir, journal, file)
    }

    fn at(segment: u64, offset: u64) -> Position {
        Position { segment, offset }
    }

    #[test]
    fn a_position_outlives_rotation() {
        let (_dir, journal, mut file) = journal(5);
        file.write_all(b"one\ntwo\n").unwrap();
        let mut file = journal.rotate(&file).unwrap();
        file.write_all(b"three\n").unwrap();
        let chunk = journal.read(at(1, 4), 100).unwrap();
        assert_eq!((chunk.lines.as_slice(), chunk.start, chunk.gap), (&b"two\n"[..], at(1, 4), false));
        let chunk = journal.read(at(1, 8), 100).unwrap();
        assert_eq!((chunk.lines.as_slice(), chunk.start, chunk.gap), (&b"three\n"[..], at(2, 0), false));
        assert_eq!(journal.read(at(2, 6), 100).unwrap().lines, b"");
        assert_eq!(journal.octets_after(at(1, 4)).unwrap(), 10);
    }

    #[test]
    fn what_rotated_away_is_a_gap() {
        let (dir, journal, mut file) = journal(1);
        for line in [b"a\n", b"b\n", b"c\n"] {
            file.write_all(line).unwrap();
            file = journal.rotate(&file).unwrap();
        }
        journal.wait_until_closed();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "the current file and one rotated");
        let chunk = journal.read(at(1, 0), 100).unwrap();
        assert_eq!((chunk.lines.as_slice(), chunk.start, chunk.gap), (&b"c\n"[..], at(3, 0), true));
    }

    #[test]
    fn only_whole_lines_are_read_and_a_long_one_is_read_whole() {
        let (_dir, journal, mut file) = journal(1);
        file.write_all(b"aaaaaaaaaaaaaaaaaaaa\nbb\ncc").unwrap();
        assert!(journal.read(at(1, 0), 4).unwrap().lines.starts_with(b"aaaaaaaaaaaaaaaaaaaa\n"));
        assert_eq!(journal.read(at(1, 21), 100).unwrap().lines, b"bb\n");
        assert_eq!(journal.read(at(1, 24), 100).unwrap().lines, b"");
    }

    #[test]
    fn a_torn_line_is_closed_when_the_log_is_opened_again() {
        let (dir, _, mut file) = journal(1);
        file.write_all(b"{\"torn").unwrap();
        let path = dir.path().join("e.jsonl");
        let (_, mut file) = Journal::open(&path, 0o600, 1, 0).unwrap();
        file.write_all(b"{}\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{\"torn\n{}\n");
    }

    #[test]
    fn numbers_go_on_after_a_restart_and_never_below_a_readers_position() {
        let (dir, journal, file) = journal(3);
        journal.rotate(&file).unwrap();
        let path = dir.path().join("e.jsonl");
        let number = |at_least| Journal::open(&path, 0o600, 3, at_least).unwrap().0.end().unwrap().segment;
        assert_eq!(number(0), 2);
        assert_eq!(number(9), 9);
    }

    #[test]
    fn a_file_taken_away_is_noticed() {
        let (dir, journal, mut file) = journal(3);
        file.write_all(b"a\n").unwrap();
        assert!(journal.is_current(&file).unwrap());
        fs::rename(dir.path().join("e.jsonl"), dir.path().join("mine")).unwrap();
        assert!(!journal.is_current(&file).unwrap());
        let mut file = journal.begin_anew().unwrap();
        file.write_all(b"b\n").unwrap();
        assert!(journal.is_current(&file).unwrap());
        let chunk = journal.read(at(1, 2), 100).unwrap();
        assert_eq!((chunk.lines.as_slice(), chunk.start), (&b"b\n"[..], at(2, 0)));
    }
}
