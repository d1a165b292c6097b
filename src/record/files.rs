//! The journal's files, by their names: `events.jsonl` is being written, `events.jsonl.000041` is full, and `events.jsonl.000041.zst` is an
//! [archive](super::archive).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::archive::keys::Key;
use crate::files::open_to_read;
use crate::time::Timestamp;

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
    if log.exists() {
        found.push(JournalFile { number: None, path: log.to_owned(), is_archive: false });
    }
    Ok(found)
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

    /// Passes lines to `look`, one piece of the file at a time: all lines that may name one of `keys` (or all lines without keys), if the
    /// file has events between `from` and `until`. Pieces that cannot hold such an event are not read. Ends early if `look` returns an
    /// error.
    pub fn search(
        &self,
        keys: &[Key<'_>],
        (from, until): (Timestamp, Timestamp),
        mut look: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let archive = match self.open()? {
            None => return Ok(()),
            Some(Opened::Plain(file)) if written_before(&file, from)? => return Ok(()),
            Some(Opened::Plain(file)) => return read_plain(file, look),
            Some(Opened::Archive(archive)) => archive,
        };
        let (first, last) = archive.span();
        if archive.octets() == 0 || last < from || first > until {
            return Ok(());
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
        for block in blocks {
            look(&archive.block(block).map_err(|error| self.named(error))?)?;
        }
        Ok(())
    }

    fn named(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Reads whole lines in pieces of about 1 MiB. A last line without its line end is ignored.
fn read_plain(file: File, mut look: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    use std::io::Read;
    const PIECE: usize = 1 << 20;
    let (mut file, mut piece, mut held) = (file, vec![0; PIECE], 0);
    loop {
        if held == piece.len() {
            piece.resize(piece.len() * 2, 0);
        }
        let read = file.read(&mut piece[held..])?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        if let Some(end) = memchr::memrchr(b'\n', &piece[..held]) {
            look(&piece[..=end])?;
            piece.copy_within(end + 1..held, 0);
            held -= end + 1;
        }
    }
}

/// Returns true if the file's last line is older than `from`. Allows a minute of tolerance, because file times are coarse and clocks are
/// set.
fn written_before(file: &File, from: Timestamp) -> io::Result<bool> {
    let modified = file.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::EPOCH + modified + std::time::Duration::from_secs(60) < from)
}
