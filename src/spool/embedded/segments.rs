//! The table of segments: the stage that each is in, what could not be read in it, and its file to read from.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::frame;
use super::writing::Writing;

/// How many segment files stay open for reading.
const OPEN_FILES: usize = 64;
/// After telling that something in a segment cannot be read, how long to be silent about it.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// The stage that a segment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is made and not used yet.
    Spare,
    /// The committer writes to it.
    Active,
    /// It is full, and its footer is being written.
    Sealing,
    /// It is never written to again.
    Closed,
}

/// What can be done with the file of a segment that is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reclaim {
    /// It can be another segment.
    Reuse,
    /// Its space can be given back. It cannot be another segment, because a write to it failed once.
    Free,
    /// These parts of it could not be read. No other file may get their blocks.
    Retire(Vec<Range<u64>>),
    /// Somebody still reads in it. It stays whole, and the last to close it frees it.
    LeaveToReader,
}

struct Known {
    mark: u64,
    stage: Stage,
    disk_len: u64,
    /// Where its frames end, but for the footer. `None` while it is written.
    data_end: Option<u32>,
    /// True if no write or sync failed in it, so that its file may become another segment.
    sound: bool,
    /// True if the next start looks for more in it.
    awaits_start: bool,
    /// When an operator was last told that something in it cannot be read.
    told: Option<Instant>,
    file: Option<Arc<File>>,
    reading: Arc<Reading>,
}

/// A segment as a start found it.
pub(super) struct FoundSegment {
    pub mark: u64,
    pub disk_len: u64,
    /// Where its frames end, but for the footer.
    pub data_end: u32,
    /// True if its file may become another segment.
    pub sound: bool,
    /// The parts of it that could not be read, at this start or before.
    pub damaged: Vec<Range<u64>>,
    /// True after the first read error in it: the next start scans it again.
    pub awaits_start: bool,
}

/// Shared by everyone who reads in a segment. While somebody else than the table has it, the segment's file stays whole.
#[derive(Default)]
struct Reading {
    /// The parts of the segment that could not be read.
    damaged: Mutex<Vec<Range<u64>>>,
}

impl Reading {
    fn damaged(&self) -> MutexGuard<'_, Vec<Range<u64>>> {
        self.damaged.lock().expect("nothing panics while it holds the damage")
    }

    fn note_damage(&self, stretch: Range<u64>) {
        let mut damaged = self.damaged();
        if !damaged.contains(&stretch) {
            damaged.push(stretch);
        }
    }
}

/// All segments, and the files of those read lately.
pub(super) struct Segments {
    dir: PathBuf,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    known: BTreeMap<u32, Known>,
    /// Closed segments whose file is open, the one that was opened first in front.
    open: VecDeque<u32>,
}

/// A segment's file for reading.
#[derive(Clone)]
pub(super) struct Source {
    pub file: Arc<File>,
    pub mark: u64,
    reading: Arc<Reading>,
}

impl Source {
    /// Notes that a stretch of it cannot be read.
    pub fn note_damage(&self, stretch: Range<u64>) {
        self.reading.note_damage(stretch);
    }
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
        let (file, reading) = (Some(Arc::clone(&writing.file)), Arc::default());
        let known = Known {
            mark: writing.mark,
            stage,
            disk_len: writing.limit,
            data_end: None,
            sound: true,
            awaits_start: false,
            told: None,
            file,
            reading,
        };
        self.table().known.insert(writing.number, known);
    }

    /// A segment found at the start.
    pub fn found(&self, number: u32, found: FoundSegment) {
        let FoundSegment { mark, disk_len, data_end, sound, damaged, awaits_start } = found;
        let (stage, reading) = (Stage::Closed, Arc::new(Reading { damaged: Mutex::new(damaged) }));
        let data_end = Some(data_end);
        let known = Known { mark, stage, disk_len, data_end, sound, awaits_start, told: None, file: None, reading };
        self.table().known.insert(number, known);
    }

    /// Returns true if the next start looks for more in a segment than this one found.
    pub fn awaits_start(&self, number: u32) -> bool {
        self.table().known.get(&number).is_some_and(|known| known.awaits_start)
    }

    /// Notes that a segment is full, and where its frames end.
    pub fn filled(&self, number: u32, data_end: u64) {
        if let Some(known) = self.table().known.get_mut(&number) {
            (known.stage, known.data_end) = (Stage::Sealing, Some(data_end as u32));
        }
    }

    /// Notes that writing a segment failed. Its frames count up to `data_end`.
    pub fn abandon(&self, number: u32, data_end: u64) {
        self.filled(number, data_end);
        self.close(number, None);
    }

    /// Where the frames of a segment end, but for the footer. `None` if it is still written, or gone.
    pub fn data_end(&self, number: u32) -> Option<u32> {
        self.table().known.get(&number).and_then(|known| known.data_end)
    }

    /// The mark of a segment.
    pub fn mark(&self, number: u32) -> Option<u64> {
        self.table().known.get(&number).map(|known| known.mark)
    }

    /// The segments from `first` on, and where the frames of each end; `None` for one that is still written.
    pub fn ends_from(&self, first: u32) -> Vec<(u32, Option<u32>)> {
        self.table().known.range(first..).map(|(number, known)| (*number, known.data_end)).collect()
    }

    /// Notes that a stretch of a segment cannot be read.
    pub fn note_damage(&self, number: u32, stretch: Range<u64>) {
        if let Some(known) = self.table().known.get(&number) {
            known.reading.note_damage(stretch);
        }
    }

    /// Returns true if nobody was told within the last hour that something in a segment cannot be read. Counts as telling it.
    pub fn is_news(&self, number: u32) -> bool {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(&number) else { return true };
        let is_news = known.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN);
        if is_news {
            known.told = Some(Instant::now());
        }
        is_news
    }

    /// Returns true if something in a segment cannot be read.
    pub fn is_damaged(&self, number: u32) -> bool {
        self.table().known.get(&number).is_some_and(|known| !known.reading.damaged().is_empty())
    }

    /// Notes that a segment is never written to again. `disk_len` is its final length, or `None` if writing it failed.
    pub fn close(&self, number: u32, disk_len: Option<u64>) {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(&number) else { return };
        known.stage = Stage::Closed;
        match disk_len {
            Some(len) => known.disk_len = len,
            None => known.sound = false,
        }
        if known.file.is_some() {
            table.remember_open(number);
        }
    }

    /// The file of a segment. `None` if the segment was deleted meanwhile: its messages have moved or are settled.
    pub fn source(&self, number: u32) -> io::Result<Option<Source>> {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(&number) else { return Ok(None) };
        let (mark, reading) = (known.mark, Arc::clone(&known.reading));
        if let Some(file) = &known.file {
            return Ok(Some(Source { file: Arc::clone(file), mark, reading }));
        }
        let file = Arc::new(File::open(self.dir.join(frame::file_name(number, mark)))?);
        known.file = Some(Arc::clone(&file));
        table.remember_open(number);
        Ok(Some(Source { file, mark, reading }))
    }

    /// The oldest segment, its stage and its length.
    pub fn oldest(&self) -> Option<(u32, Stage, u64)> {
        self.table().known.first_key_value().map(|(number, known)| (*number, known.stage, known.disk_len))
    }

    /// Where a segment's file is.
    pub fn path(&self, number: u32) -> Option<PathBuf> {
        let table = self.table();
        let known = table.known.get(&number)?;
        Some(self.dir.join(frame::file_name(number, known.mark)))
    }

    /// Forgets a segment that was deleted, so that nobody begins to read in it. Returns what can be done with its file.
    pub fn forget(&self, number: u32) -> Reclaim {
        let mut table = self.table();
        table.open.retain(|open| *open != number);
        match table.known.remove(&number) {
            Some(known) if Arc::strong_count(&known.reading) > 1 => Reclaim::LeaveToReader,
            Some(known) if !known.reading.damaged().is_empty() => Reclaim::Retire(known.reading.damaged().clone()),
            Some(Known { sound: true, .. }) => Reclaim::Reuse,
            _ => Reclaim::Free,
        }
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
