//! Segment files: making them, filling them, finding the file of a segment to read from it.
//!
//! A segment is preallocated when it is made and its name is synced before anything in it is acknowledged. The next one is
//! always made beforehand: so a change of segment costs nothing, and when the disk runs full there is room for settlements.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::footer::Footer;
use super::frame::{self, Head, Kind, SEGMENT_HEAD};
use crate::message::QueueId;

/// How many segment files stay open for reading.
const OPEN_FILES: usize = 64;

/// The spool's directory.
pub(super) struct Dir {
    pub path: PathBuf,
    handle: File,
}

impl Dir {
    pub fn open(path: &Path) -> io::Result<Dir> {
        Ok(Dir { path: path.to_owned(), handle: File::open(path)? })
    }

    /// Makes names that were added or removed durable.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    pub fn handle(&self) -> &File {
        &self.handle
    }
}

/// A segment that is being filled.
pub(super) struct Writing {
    pub number: u32,
    pub mark: u64,
    pub file: Arc<File>,
    /// Where the next frame goes.
    pub end: u64,
    /// What is reserved on disk.
    pub limit: u64,
    pub footer: Footer,
}

impl Writing {
    /// Makes a segment: file, reserved space, header, name synced.
    pub fn create(dir: &Dir, number: u32, size: u64) -> io::Result<Writing> {
        let mark: u64 = rand::random();
        let path = dir.path.join(frame::file_name(number, mark));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let made = reserve(&file, size)
            .and_then(|()| file.write_all_at(&frame::segment_head(number, mark), 0))
            .and_then(|()| file.sync_all())
            .and_then(|()| dir.sync());
        if let Err(error) = made {
            // Nothing points to it; should this fail too, the next start finds a segment without frames and deletes it.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let footer = Footer::default();
        Ok(Writing { number, mark, file: Arc::new(file), end: SEGMENT_HEAD as u64, limit: size, footer })
    }

    /// Closes the segment: footer, trailer, reserved space given back, synced. Returns its length. The committer is done with it.
    pub fn seal(&self) -> io::Result<u64> {
        seal(&self.file, self.mark, self.end, &self.footer)
    }
}

/// Writes the footer at `end` and makes it durable. Returns the length of the file.
pub(super) fn seal(file: &File, mark: u64, end: u64, footer: &Footer) -> io::Result<u64> {
    let payload = footer.encode();
    let mut tail = Vec::with_capacity(payload.len() + frame::HEAD + frame::TRAILER);
    tail.extend_from_slice(&Head::of(Kind::Footer, QueueId::from_u64(0), &payload).encode(mark));
    tail.extend_from_slice(&payload);
    tail.extend_from_slice(&frame::trailer(end, mark));
    file.write_all_at(&tail, end)?;
    let len = end + tail.len() as u64;
    file.set_len(len)?;
    file.sync_all()?;
    Ok(len)
}

fn reserve(file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        // A file system that cannot reserve: the guard's `min_free` is the only headroom then.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(size),
        other => other.map_err(io::Error::from),
    }
}

/// What a segment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Made, not used yet.
    Spare,
    /// The committer writes to it.
    Active,
    /// Full; its footer is being written.
    Sealing,
    /// Never written to again.
    Closed,
}

struct Known {
    mark: u64,
    stage: Stage,
    disk_len: u64,
    file: Option<Arc<File>>,
    reading: Arc<Reading>,
}

/// Held by everyone who reads in a segment: while there is another holder than the table, its file stays whole.
struct Reading;

/// All segments, and the files of those read lately.
pub(super) struct Segments {
    dir: PathBuf,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    known: BTreeMap<u32, Known>,
    /// Closed segments with an open file, longest open first.
    open: VecDeque<u32>,
}

/// A segment's file for reading.
#[derive(Clone)]
pub(super) struct Source {
    pub file: Arc<File>,
    pub mark: u64,
    _reading: Arc<Reading>,
}

impl Segments {
    pub fn new(dir: &Path) -> Self {
        Segments { dir: dir.to_owned(), table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while it holds the segment table")
    }

    /// A segment that is written by this process.
    pub fn add(&self, writing: &Writing, stage: Stage) {
        let (file, reading) = (Some(Arc::clone(&writing.file)), Arc::new(Reading));
        let known = Known { mark: writing.mark, stage, disk_len: writing.limit, file, reading };
        self.table().known.insert(writing.number, known);
    }

    /// A segment found at the start.
    pub fn found(&self, number: u32, mark: u64, disk_len: u64) {
        let known = Known { mark, stage: Stage::Closed, disk_len, file: None, reading: Arc::new(Reading) };
        self.table().known.insert(number, known);
    }

    /// Notes a change of stage; a closed segment with its final length.
    pub fn set_stage(&self, number: u32, stage: Stage, disk_len: Option<u64>) {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(&number) else { return };
        known.stage = stage;
        if let Some(len) = disk_len {
            known.disk_len = len;
        }
        if stage == Stage::Closed && known.file.is_some() {
            table.remember_open(number);
        }
    }

    /// The file of a segment; `None` where it was given back meanwhile: what lived there has moved or is settled.
    pub fn source(&self, number: u32) -> io::Result<Option<Source>> {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(&number) else { return Ok(None) };
        let (mark, _reading) = (known.mark, Arc::clone(&known.reading));
        if let Some(file) = &known.file {
            return Ok(Some(Source { file: Arc::clone(file), mark, _reading }));
        }
        let file = Arc::new(File::open(self.dir.join(frame::file_name(number, mark)))?);
        known.file = Some(Arc::clone(&file));
        table.remember_open(number);
        Ok(Some(Source { file, mark, _reading }))
    }

    /// The oldest segment and its stage.
    pub fn oldest(&self) -> Option<(u32, Stage)> {
        self.table().known.first_key_value().map(|(number, known)| (*number, known.stage))
    }

    /// Where a segment's file is.
    pub fn path(&self, number: u32) -> Option<PathBuf> {
        let table = self.table();
        let known = table.known.get(&number)?;
        Some(self.dir.join(frame::file_name(number, known.mark)))
    }

    /// Forgets a segment that was deleted. Returns whether somebody still reads in it; nobody begins to.
    pub fn forget(&self, number: u32) -> bool {
        let mut table = self.table();
        table.open.retain(|open| *open != number);
        table.known.remove(&number).is_some_and(|known| Arc::strong_count(&known.reading) > 1)
    }

    /// Octets of closed segments, and of all.
    pub fn disk_bytes(&self) -> (u64, u64) {
        let table = self.table();
        let sum = |closed_only: bool| {
            let counted = table.known.values().filter(|known| !closed_only || known.stage == Stage::Closed);
            counted.map(|known| known.disk_len).sum()
        };
        (sum(true), sum(false))
    }
}

impl Table {
    fn remember_open(&mut self, number: u32) {
        self.open.push_back(number);
        if self.open.len() > OPEN_FILES
            && let Some(closed) = self.open.pop_front()
            && let Some(known) = self.known.get_mut(&closed)
        {
            known.file = None;
        }
    }
}
