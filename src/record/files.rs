//! The journal's files, by their names: `events.jsonl` is being written, `events.jsonl.000041` is full, and `events.jsonl.000041.zst` is an
//! [archive](super::archive).

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::archive::keys::Key;
use crate::files::open_to_read;
use crate::time::Timestamp;

/// The octets of a plain file that are read at once.
const PIECE: u64 = 256 << 10;

/// One file of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFile {
    /// Its number. The file that is being written has none yet.
    pub number: Option<u64>,
    pub path: PathBuf,
    /// True if it is compressed and has an index.
    pub is_archive: bool,
}

/// Returns the files of the journal at `log`, oldest first. If a crash left a file in both forms, only the plain one counts.
pub fn files(log: &Path) -> io::Result<Vec<JournalFile>> {
    let mut found = rotated(log)?;
    if log.exists() {
        found.push(JournalFile::current(log));
    }
    Ok(found)
}

/// Returns the files that are no longer written, oldest first.
fn rotated(log: &Path) -> io::Result<Vec<JournalFile>> {
    let folder = log.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let other = entry.file_name();
        let Some(suffix) = other.to_str().and_then(|other| other.strip_prefix(&*name)) else { continue };
        let (number, is_archive) = match suffix.strip_suffix(".zst") {
            Some(number) => (number, true),
            None => (suffix, false),
        };
        let digits = number.strip_prefix('.').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
            found.push(JournalFile { number: Some(number), path: entry.path(), is_archive });
        }
    }
    found.sort_by_key(|file| (file.number, file.is_archive));
    found.dedup_by_key(|file| file.number);
    Ok(found)
}

/// All files of a journal at one moment. A later rotation takes no line out of it, and compression and retention change nothing that
/// [`JournalFile::open`] does not know.
struct Snapshot {
    /// The file that is being written, already open, because a rotation gives its path to another file.
    current: Option<Opened>,
    /// The other files, oldest first.
    rotated: Vec<JournalFile>,
}

impl Snapshot {
    fn of(log: &Path) -> io::Result<Self> {
        Snapshot::with(log, rotated)
    }

    /// Lists the rotated files with `rotated`, again and again until the journal is not rotated meanwhile. Otherwise the file that was current
    /// before could be in the list as well, and one that was rotated afterwards could be in neither.
    fn with(log: &Path, mut rotated: impl FnMut(&Path) -> io::Result<Vec<JournalFile>>) -> io::Result<Self> {
        loop {
            let current = JournalFile::current(log).open()?;
            let rotated = rotated(log)?;
            // An open file keeps its number in the file system to itself.
            let opened = match &current {
                Some(Opened::Plain(file)) => Some(file.metadata()?),
                _ => None,
            };
            let there = match fs::symlink_metadata(log) {
                Ok(there) => Some(there),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let place = |found: fs::Metadata| (found.dev(), found.ino());
            if opened.map(place) == there.map(place) {
                return Ok(Snapshot { current, rotated });
            }
        }
    }

    /// Does what [`search`] does.
    fn search(
        self,
        log: &Path,
        keys: &[Key<'_>],
        span: (Timestamp, Timestamp),
        mut look: impl FnMut(&[u8]) -> io::Result<ControlFlow<()>>,
    ) -> io::Result<()> {
        if let Some(current) = self.current
            && JournalFile::current(log).search(current, keys, span, &mut look)?.is_break()
        {
            return Ok(());
        }
        for file in self.rotated.iter().rev() {
            let Some(opened) = file.open()? else { continue };
            if file.search(opened, keys, span, &mut look)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Passes lines of the journal at `log` to `look`, some at a time and the newest first: all lines that may name one of `keys` (or all lines
/// without keys) in files that have events between the two times of `span`. Ends when `look` breaks.
pub fn search(
    log: &Path,
    keys: &[Key<'_>],
    span: (Timestamp, Timestamp),
    look: impl FnMut(&[u8]) -> io::Result<ControlFlow<()>>,
) -> io::Result<()> {
    Snapshot::of(log)?.search(log, keys, span, look)
}

/// An open file of the journal.
#[derive(Debug)]
pub enum Opened {
    /// A file that is not compressed.
    Plain(File),
    Archive(Archive),
}

impl Opened {
    /// Returns the octets of its lines before compression.
    pub fn octets(&self) -> io::Result<u64> {
        match self {
            Opened::Plain(file) => Ok(file.metadata()?.len()),
            Opened::Archive(archive) => Ok(archive.octets()),
        }
    }
}

impl JournalFile {
    /// Returns the file of the journal at `log` that is being written.
    fn current(log: &Path) -> Self {
        JournalFile { number: None, path: log.to_owned(), is_archive: false }
    }

    /// Returns the rotated file with this number of the journal at `log`.
    pub fn rotated(log: &Path, number: u64) -> Self {
        JournalFile { number: Some(number), path: with_ending(log, &format!(".{number:06}")), is_archive: false }
    }

    /// Returns the path of its archive, whether or not it exists.
    pub fn archive_path(&self) -> PathBuf {
        if self.is_archive { self.path.clone() } else { with_ending(&self.path, ".zst") }
    }

    /// Opens it in the form that it has now. Returns `None` if retention has removed it.
    pub fn open(&self) -> io::Result<Option<Opened>> {
        let opened = match (self.is_archive, open_to_read(&self.path)) {
            (false, Ok(file)) => Ok(Opened::Plain(file)),
            // The archive gets its name before the plain file is removed.
            (false, Err(error)) if error.kind() == io::ErrorKind::NotFound && self.number.is_some() => {
                Archive::open(&self.archive_path()).map(Opened::Archive)
            }
            (true, Ok(file)) => Archive::read(file).map(Opened::Archive),
            (_, Err(error)) => Err(error),
        };
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.named(error)),
        }
    }

    /// Removes it in the form that it has now.
    pub fn remove(&self) -> io::Result<()> {
        for path in [&self.path, &self.archive_path()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Does what [`search`] does with this file, which is open, and returns whether `look` broke. Pieces of the file without a key are not
    /// read.
    fn search(
        &self,
        opened: Opened,
        keys: &[Key<'_>],
        (from, until): (Timestamp, Timestamp),
        mut look: impl FnMut(&[u8]) -> io::Result<ControlFlow<()>>,
    ) -> io::Result<ControlFlow<()>> {
        let archive = match opened {
            Opened::Plain(file) if written_before(&file, from)? => return Ok(ControlFlow::Continue(())),
            Opened::Plain(file) => return read_plain(&file, look),
            Opened::Archive(archive) => archive,
        };
        let (first, last) = archive.span();
        if archive.octets() == 0 || last < from || first > until {
            return Ok(ControlFlow::Continue(()));
        }
        let blocks = if keys.is_empty() {
            (0..archive.blocks()).collect()
        } else {
            let mut blocks = Vec::new();
            for key in keys {
                blocks.extend(archive.blocks_with(key).map_err(|error| self.named(error))?);
            }
            blocks.sort_unstable();
            blocks.dedup();
            blocks
        };
        for block in blocks.into_iter().rev() {
            if look(&archive.block(block).map_err(|error| self.named(error))?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Adds the path of the form that the file has now.
    pub(super) fn named(&self, error: io::Error) -> io::Error {
        let archive = self.archive_path();
        let path = if self.number.is_some() && archive.exists() { &archive } else { &self.path };
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Reads whole lines in pieces of about [`PIECE`] octets, from the end of the file to its start. A last line without its line end is ignored.
fn read_plain(file: &File, mut look: impl FnMut(&[u8]) -> io::Result<ControlFlow<()>>) -> io::Result<ControlFlow<()>> {
    let mut begin = file.metadata()?.len();
    // The octets from `begin` to the end of the last line that was not passed on.
    let mut held = Vec::new();
    let mut has_line_end = false;
    while begin > 0 {
        let read = begin.min(PIECE);
        begin -= read;
        let mut piece = vec![0; usize::try_from(read).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut piece, begin)?;
        if !has_line_end {
            // Only the end of the file can be in the middle of a line.
            piece.truncate(memchr::memrchr(b'\n', &piece).map_or(0, |end| end + 1));
            has_line_end = !piece.is_empty();
        }
        piece.append(&mut held);
        // A first line that begins before this piece waits for the next piece.
        let whole = if begin == 0 { Some(0) } else { memchr::memchr(b'\n', &piece).map(|end| end + 1) };
        let lines = whole.map(|whole| piece.split_off(whole)).unwrap_or_default();
        held = piece;
        if !lines.is_empty() && look(&lines)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Returns true if the file's last line is older than `from`. Allows a minute of tolerance, because file times are coarse and clocks are
/// set.
fn written_before(file: &File, from: Timestamp) -> io::Result<bool> {
    let modified = file.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::EPOCH + modified + std::time::Duration::from_secs(60) < from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the pieces of `text` as `look` gets them.
    fn pieces(text: &str, most: usize) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.jsonl");
        fs::write(&path, text).unwrap();
        let mut pieces = Vec::new();
        let file = JournalFile::current(&path);
        let opened = file.open().unwrap().unwrap();
        let done = file.search(opened, &[], (Timestamp::EPOCH, Timestamp::NEVER), |lines| {
            pieces.push(String::from_utf8(lines.to_owned()).unwrap());
            Ok(if pieces.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        assert_eq!(done.unwrap().is_break(), pieces.len() == most);
        pieces
    }

    #[test]
    fn a_rotation_at_any_moment_of_a_search_hides_no_line_and_shows_none_twice() {
        enum When {
            BeforeTheList,
            AfterTheList,
            WithoutNewFileYet,
            AfterTheSnapshot,
        }
        for when in [When::BeforeTheList, When::AfterTheList, When::WithoutNewFileYet, When::AfterTheSnapshot] {
            let dir = tempfile::tempdir().unwrap();
            let log = dir.path().join("e.jsonl");
            fs::write(JournalFile::rotated(&log, 1).path, "1\n").unwrap();
            fs::write(&log, "2\n").unwrap();
            let turn_over = |number: u64| fs::rename(&log, JournalFile::rotated(&log, number).path).unwrap();
            let mut lists = 0;
            let snapshot = Snapshot::with(&log, |log| {
                lists += 1;
                // Two rotations, and then there is time to look.
                let now = if lists <= 2 { &when } else { &When::AfterTheSnapshot };
                let begin_next = || fs::write(log, format!("{}\n", lists + 2)).unwrap();
                if matches!(now, When::BeforeTheList | When::WithoutNewFileYet) {
                    turn_over(lists + 1);
                }
                if matches!(now, When::BeforeTheList) {
                    begin_next();
                }
                let found = rotated(log);
                if matches!(now, When::AfterTheList) {
                    turn_over(lists + 1);
                }
                if matches!(now, When::AfterTheList | When::WithoutNewFileYet) {
                    begin_next();
                }
                found
            });
            let snapshot = snapshot.unwrap();
            let last = lists + 1;
            // The search has begun.
            turn_over(last);
            fs::write(&log, "new\n").unwrap();
            let mut read = String::new();
            let everything = (Timestamp::EPOCH, Timestamp::NEVER);
            let look = |lines: &[u8]| {
                read.push_str(str::from_utf8(lines).unwrap());
                Ok(ControlFlow::Continue(()))
            };
            snapshot.search(&log, &[], everything, look).unwrap();
            let all: String = (1..=last).rev().map(|number| format!("{number}\n")).collect();
            assert_eq!((read, lists), (all, if matches!(when, When::AfterTheSnapshot) { 1 } else { 3 }));
        }
    }

    #[test]
    fn a_plain_file_is_read_from_its_end_in_whole_lines() {
        let mut all = String::new();
        while all.len() < 5 * PIECE as usize {
            // Lines of many lengths, some of them longer than a piece.
            let len = if all.len().is_multiple_of(7) { PIECE as usize + 9 } else { all.len() % 3_001 };
            all.push_str(&"x".repeat(len));
            all.push('\n');
        }
        for torn in ["", "torn", &"torn".repeat(PIECE as usize)] {
            let read = pieces(&format!("{all}{torn}"), usize::MAX);
            assert!(read.len() > 2 && read.iter().all(|piece| piece.ends_with('\n')));
            assert!(read.iter().rev().map(String::as_str).collect::<String>() == all, "{} octets torn", torn.len());
        }
        assert_eq!(pieces(&all, 2).len(), 2);
        assert_eq!(pieces("one\ntwo\n", 9), ["one\ntwo\n"]);
        assert_eq!(pieces("\n", 9), ["\n"]);
        for nothing in ["", "torn"] {
            assert!(pieces(nothing, 9).is_empty());
        }
    }
}
