//! The parts of the log that the journal went on without, because the disk did not return them. `SKIPPED` in the quarantine lists them.
//!
//! The events in such a part are missing from the event log. So each later start reads the parts again, before the lines that follow.
//! Events that the disk returns then reach the event log late. A part is forgotten once the journal has its lines, or its segment is gone.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::frame;
use super::lost::folder;
use crate::files;
use crate::spool::index::Place;

const FILE: &str = "SKIPPED";

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The segment and the first octet.
    pub place: Place,
    /// The octet behind the last.
    pub end: u32,
    /// The mark of the segment.
    pub mark: u64,
}

impl Part {
    fn parse(line: &str) -> Option<Part> {
        let mut words = line.split(' ');
        let (segment, mark) = frame::parse_segment_name(words.next()?)?;
        let (at, end) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Part { place: Place { segment, at }, end, mark })
    }

    fn line(&self) -> String {
        let Part { place: Place { segment, at }, end, mark } = *self;
        format!("{} {at} {end}\n", frame::segment_name(segment, mark))
    }
}

/// The list of skipped parts, and what this process does with it.
pub(super) struct Skipped {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// All parts in the file.
    all: Vec<Part>,
    /// Those that this process has not read again yet.
    left: Vec<Part>,
    /// Those whose lines the journal has got, but perhaps not written yet.
    given: Vec<Part>,
    /// True once the journal has written them.
    is_confirmed: bool,
}

impl Skipped {
    /// Reads the list. Without a journal there is nobody who would ask for the parts.
    pub fn load(spool: &Path, has_journal: bool) -> io::Result<Skipped> {
        let path = folder(spool).join(FILE);
        let text = match files::read_state(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let all: Vec<Part> = String::from_utf8_lossy(&text).lines().filter_map(Part::parse).collect();
        let left = if has_journal { all.clone() } else { Vec::new() };
        Ok(Skipped { path, state: Mutex::new(State { all, left, ..State::default() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the skipped parts")
    }

    /// Returns true if some part must be read again, or forgotten.
    pub fn has_work(&self) -> bool {
        let state = self.state();
        !state.left.is_empty() || state.is_confirmed
    }

    /// Returns true if a segment has a part that must be read again.
    pub fn needs(&self, segment: u32) -> bool {
        let state = self.state();
        state.left.iter().chain(&state.given).any(|part| part.place.segment == segment)
    }

    /// Returns true if a part of this segment was skipped.
    pub fn is_known(&self, segment: u32, mark: u64) -> bool {
        self.state().all.iter().any(|part| (part.place.segment, part.mark) == (segment, mark))
    }

    /// Durably notes that the journal goes on without these parts. Blocks.
    pub fn add(&self, parts: impl IntoIterator<Item = Part>) -> io::Result<()> {
        let mut state = self.state();
        let known = state.all.len();
        for part in parts {
            if !state.all.contains(&part) {
                state.all.push(part);
            }
        }
        if state.all.len() > known { self.write(&state.all) } else { Ok(()) }
    }

    /// Returns the next part to read again.
    pub fn next(&self) -> Option<Part> {
        self.state().left.pop()
    }

    /// Records that the journal gets the lines of a part.
    pub fn give(&self, part: Part) {
        let mut state = self.state();
        state.given.push(part);
        state.is_confirmed = false;
    }

    /// Records that the journal has written everything that it got.
    pub fn confirm(&self) {
        let mut state = self.state();
        state.is_confirmed = !state.given.is_empty();
    }

    /// Takes the parts that the journal has written from the list. Blocks.
    pub fn forget_written(&self) -> io::Result<()> {
        let mut state = self.state();
        if !std::mem::take(&mut state.is_confirmed) {
            return Ok(());
        }
        let given = std::mem::take(&mut state.given);
        state.all.retain(|part| !given.contains(part));
        self.write(&state.all)
    }

    /// Takes a part from the list that nobody needs any more. Blocks.
    pub fn forget(&self, part: Part) -> io::Result<()> {
        let mut state = self.state();
        state.all.retain(|known| *known != part);
        self.write(&state.all)
    }

    fn write(&self, parts: &[Part]) -> io::Result<()> {
        files::replace(&self.path, parts.iter().map(Part::line).collect::<String>().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_on_the_list_until_the_journal_has_written_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(dir.path())).unwrap();
        let load = || Skipped::load(dir.path(), true).unwrap();
        let [one, two] = [7, 8].map(|segment| Part { place: Place { segment, at: 64 }, end: 4096, mark: 0xABCD });
        load().add([one, two, one]).unwrap();
        assert!(!Skipped::load(dir.path(), false).unwrap().has_work());
        let skipped = load();
        assert!(skipped.has_work() && skipped.needs(7) && skipped.is_known(8, 0xABCD) && !skipped.is_known(8, 1));
        assert_eq!((skipped.next(), skipped.next(), skipped.next()), (Some(two), Some(one), None));
        assert!(!skipped.has_work() && !skipped.needs(7));
        skipped.give(one);
        skipped.forget_written().unwrap();
        assert!(skipped.needs(7) && load().needs(7), "it is not written yet");
        skipped.confirm();
        assert!(skipped.has_work());
        skipped.forget_written().unwrap();
        assert!(!skipped.has_work() && !skipped.needs(7) && !load().needs(7) && load().needs(8));
        load().forget(two).unwrap();
        assert!(!load().has_work());
    }
}
