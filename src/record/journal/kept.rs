//! The journal's small state file: the journal's id, and the position up to which it has the spool's outbox.
//!
//! The file is written every few seconds, so after a crash both positions are behind by the same amount. Lines that the spool returns again
//! from there on are recognised by the ids of the events behind the journal's position ([`feed`](super::feed)).

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Journal, Position};
use crate::files;
use crate::spool::OutboxPosition;

/// The octets of the journal that are read at once to find events.
const PIECE: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredPosition {
    /// Eight random hexadecimal digits.
    pub journal: String,
    /// The outbox up to here is in the journal before `position`.
    pub outbox: Option<OutboxPosition>,
    pub position: Position,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    journal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outbox: Option<String>,
    position: Position,
}

impl StoredPosition {
    /// Reads the file. Without a file, or with one that makes no sense, the journal counts as new: its readers start again, and the spool's
    /// whole outbox is copied again. Returns `None` in that case. A file that the disk does not return is an error, because it would be
    /// overwritten, and all readers' cursors with it.
    pub fn load(log: &Path) -> io::Result<Option<Self>> {
        let path = path(log);
        let text = match files::read_state(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?,
        };
        match serde_json::from_slice(&text) {
            Ok(Stored { journal, outbox, position }) => {
                Ok(Some(StoredPosition { journal, outbox: outbox.map(OutboxPosition::new), position }))
            }
            Err(error) => {
                tracing::error!("{} makes no sense, so events may be told twice: {error}", path.display());
                Ok(None)
            }
        }
    }

    /// Starts a new journal. Lines from the outbox will come behind `position`.
    pub fn begin(position: Position) -> Self {
        StoredPosition { journal: format!("{:08x}", rand::random::<u32>()), outbox: None, position }
    }

    pub fn save(&self, log: &Path) -> io::Result<()> {
        let outbox = self.outbox.as_ref().map(|position| position.as_str().to_owned());
        let stored = Stored { journal: self.journal.clone(), outbox, position: self.position };
        files::replace(&path(log), &serde_json::to_vec(&stored)?)
    }

    /// Returns the ids of the events behind the saved position in the journal.
    pub fn ids_behind(&self, journal: &Journal) -> io::Result<HashSet<String>> {
        let mut ids = HashSet::new();
        let mut from = self.position;
        loop {
            let chunk = journal.read(from, PIECE)?;
            if chunk.lines.is_empty() {
                return Ok(ids);
            }
            from = Position { offset: chunk.start.offset + chunk.lines.len() as u64, ..chunk.start };
            ids.extend(chunk.lines.split(|octet| *octet == b'\n').filter_map(event_id));
        }
    }
}

/// Returns the id of the event in a line.
pub(super) fn event_id(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Id {
        event_id: String,
    }
    serde_json::from_slice::<Id>(line).ok().map(|id| id.event_id)
}

fn path(log: &Path) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(".position");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_saved_and_a_new_journal_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        assert_eq!(StoredPosition::load(&log).unwrap(), None);
        let new = StoredPosition::begin(Position::default());
        assert_eq!(new.journal.len(), 8);
        let kept = StoredPosition {
            outbox: Some(OutboxPosition::new("7-9")),
            position: Position { segment: 41, offset: 7 },
            ..new
        };
        kept.save(&log).unwrap();
        assert_eq!(StoredPosition::load(&log).unwrap(), Some(kept));
        std::fs::write(path(&log), "{").unwrap();
        assert_eq!(StoredPosition::load(&log).unwrap(), None, "damaged");
    }

    #[test]
    fn a_file_that_cannot_be_read_ends_the_start_and_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        std::fs::create_dir(path(&log)).unwrap();
        let refused = StoredPosition::load(&log).unwrap_err().to_string();
        assert!(refused.contains("e.jsonl.position"), "{refused}");
        assert!(Journal::open(&log, 0o600, 0).is_err());
        assert!(path(&log).is_dir());
    }
}
