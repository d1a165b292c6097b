//! The table of segments: the stage of each, its unreadable parts, and its file for reading.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::frame;
use super::writing::Writing;

/// The most segment files that stay open for reading.
const OPEN_FILES: usize = 64;
/// How long the operator is not told again about unreadable parts of the same segment.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// The stage of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentStage {
    /// Made in advance and not used yet.
    Spare,
    /// The committer writes to it.
    Active,
    /// Full; its footer is being written.
    Sealing,
    /// It is sealed, and never written again.
    Closed,
}

/// The possible treatments of the file of a deleted segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reclaim {
    /// The file can become another segment.
    Reuse,
    /// Its space can be freed. It cannot become another segment, because a write to it failed once.
    Free,
    /// These parts could not be read. Their blocks must not be reused by any file.
    Retire(Vec<Range<u64>>),
    /// Somebody still reads from the file. It stays whole, and is freed when it is closed.
    LeaveToReader,
}

struct SegmentInfo {
    mark: u64,
    stage: SegmentStage,
    disk_len: u64,
    /// The end of its frames, without the footer. `None` while it is written.
    data_end: Option<u32>,
    /// True if no write or sync failed in it, so that its file may become another segment.
    sound: bool,
    /// True if the next start must read it again.
    awaits_start: bool,
    /// When the operator was last told about unreadable parts of it.
    told: Option<Instant>,
    file: Option<Arc<File>>,
    reading: Arc<Reading>,
}

/// A segment that recovery found.
pub(super) struct FoundSegment {
    pub mark: u64,
    pub disk_len: u64,
    /// The end of its frames, without the footer.
    pub data_end: u32,
    /// True if its file may become another segment.
    pub sound: bool,
    /// The parts that could not be read, at this start or earlier.
    pub damaged: Vec<Range<u64>>,
    /// True after the first read error in it: the next start scans it again.
    pub awaits_start: bool,
}

#[cfg(test)]
impl FoundSegment {
    /// A segment of 1 MiB, full and sound.
    pub fn full(mark: u64) -> Self {
        let (disk_len, data_end) = (1 << 20, 1 << 20);
        FoundSegment { mark, disk_len, data_end, sound: true, damaged: Vec::new(), awaits_start: false }
    }
}

/// Shared by all readers of a segment. While a reader holds it, the segment's file stays whole.
#[derive(Default)]
struct Reading {
    /// The unreadable parts of the segment.
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

/// All segments, and the open files of those that were read recently.
pub(super) struct Segments {
    dir: PathBuf,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    known: BTreeMap<u32, SegmentInfo>,
    /// Closed segments with an open file, in the order of opening.
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
    /// Records that a stretch cannot be read.
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

    /// Adds a segment that this process writes.
    pub fn add(&self, writing: &Writing, stage: SegmentStage) {
        let (file, reading) = (Some(Arc::clone(&writing.file)), Arc::default());
        let known = SegmentInfo {
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

    /// Adds a segment that recovery found.
    pub fn found(&self, number: u32, found: FoundSegment) {
        let FoundSegment { mark, disk_len, data_end, sound, damaged, awaits_start } = found;
        let (stage, reading) = (SegmentStage::Closed, Arc::new(Reading { damaged: Mutex::new(damaged) }));
        let data_end = Some(data_end);
        let known =
            SegmentInfo { mark, stage, disk_len, data_end, sound, awaits_start, told: None, file: None, reading };
        self.table().known.insert(number, known);
    }

    /// Returns true if the next start must scan a segment again.
    pub fn awaits_start(&self, number: u32) -> bool {
        self.table().known.get(&number).is_some_and(|known| known.awaits_start)
    }

    /// Records that the next start must read a segment again.
    pub fn await_start(&self, number: u32) {
        if let Some(known) = self.table().known.get_mut(&number) {
            known.awaits_start = true;
        }
    }

    /// Returns true if the next start must scan some segment again.
    pub fn some_awaits_start(&self) -> bool {
        self.table().known.values().any(|known| known.awaits_start)
    }

    /// Records that a segment is full, and the end of its frames.
    pub fn filled(&self, number: u32, data_end: u64) {
        if let Some(known) = self.table().known.get_mut(&number) {
            (known.stage, known.data_end) = (SegmentStage::Sealing, Some(data_end as u32));
        }
    }

    /// Records that writing a segment failed. Its frames count up to `data_end`.
    pub fn abandon(&self, number: u32, data_end: u64) {
        self.filled(number, data_end);
        self.close(number, None);
    }

    /// Returns the end of a segment's frames, without the footer, or `None` if it is still written, or gone.
    pub fn data_end(&self, number: u32) -> Option<u32> {
        self.table().known.get(&number).and_then(|known| known.data_end)
    }

    /// Returns the mark of a segment.
    pub fn mark(&self, number: u32) -> Option<u64> {
        self.table().known.get(&number).map(|known| known.mark)
    }

    /// Returns the segments from `first` on with the end of their frames; `None` for a segment that is still written.
    pub fn ends_from(&self, first: u32) -> Vec<(u32, Option<u32>)> {
        self.table().known.range(first..).map(|(number, known)| (*number, known.data_end)).collect()
    }

    /// Records that a stretch of a segment cannot be read.
    pub fn note_damage(&self, number: u32, stretch: Range<u64>) {
        if let Some(known) = self.table().known.get(&number) {
            known.reading.note_damage(stretch);
        }
    }

    /// Returns true if it is known that the octet at this offset of a segment cannot be read.
    pub fn is_known_unreadable(&self, number: u32, at: u64) -> bool {
        self.table().known.get(&number).is_some_and(|known| known.reading.damaged().iter().any(|it| it.contains(&at)))
    }

    /// Returns true if the operator was not told within the last hour about unreadable parts of a segment, and records that it is told now.
    pub fn is_news(&self, number: u32) -> bool {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(&number) else { return true };
        let is_news = known.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN);
        if is_news {
            known.told = Some(Instant::now());
        }
        is_news
    }

    /// Returns true if a part of a segment cannot be read.
    pub fn is_damaged(&self, number: u32) -> bool {
        self.table().known.get(&number).is_some_and(|known| !known.reading.damaged().is_empty())
    }

    /// Records that a segment is never written again. `disk_len` is its final length, or `None` if writing it failed.
    pub fn close(&self, number: u32, disk_len: Option<u64>) {
        let mut table = self.table();
        let Some(known) = table.known.get_mut(&number) else { return };
        known.stage = SegmentStage::Closed;
        match disk_len {
            Some(len) => known.disk_len = len,
            None => known.sound = false,
        }
        if known.file.is_some() {
            table.remember_open(number);
        }
    }

    /// Returns the file of a segment, or `None` if the segment was deleted: its messages have moved or are settled.
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

    /// Returns the oldest segment, its stage and its length.
    pub fn oldest(&self) -> Option<(u32, SegmentStage, u64)> {
        self.table().known.first_key_value().map(|(number, known)| (*number, known.stage, known.disk_len))
    }

    /// Returns the path of a segment's file.
    pub fn path(&self, number: u32) -> Option<PathBuf> {
        let table = self.table();
        let known = table.known.get(&number)?;
        Some(self.dir.join(frame::file_name(number, known.mark)))
    }

    /// Removes a deleted segment, so that nobody starts to read it. Returns what can be done with its file.
    pub fn forget(&self, number: u32) -> Reclaim {
        let mut table = self.table();
        table.open.retain(|open| *open != number);
        match table.known.remove(&number) {
            Some(known) if Arc::strong_count(&known.reading) > 1 => Reclaim::LeaveToReader,
            Some(known) if !known.reading.damaged().is_empty() => Reclaim::Retire(known.reading.damaged().clone()),
            Some(SegmentInfo { sound: true, .. }) => Reclaim::Reuse,
            _ => Reclaim::Free,
        }
    }

    /// Returns the octets of closed segments, and of all segments.
    pub fn disk_bytes(&self) -> (u64, u64) {
        let table = self.table();
        let sum = |closed_only: bool| {
            let counted = table.known.values().filter(|known| !closed_only || known.stage == SegmentStage::Closed);
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
