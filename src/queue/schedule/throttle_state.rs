//! What is remembered of each route across restarts: a small JSON file, replaced as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::files;
use crate::route::RouteId;

/// What a restart must not forget of one route. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The UTC day, counted from the epoch.
    pub day: u64,
    /// Recipients sent on it.
    pub recipients: u32,
    /// When the last message left, where messages a minute are capped.
    #[serde(default)]
    pub last_sent: u64,
    /// Messages in the minute before that.
    #[serde(default)]
    pub in_last_minute: u32,
    /// The server's troubles, from and to; the last may go on. Time spent waiting for them makes mail older.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<(u64, Option<u64>)>,
}

/// By route.
pub type Memories = BTreeMap<RouteId, Memory>;

/// The file.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    saved: Memories,
}

impl Ledger {
    /// Reads the file; a missing one is an empty ledger. A file that cannot be understood is an error: going on would send
    /// more than a server allows a day.
    pub fn open(path: PathBuf) -> io::Result<(Self, Memories)> {
        let text = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
            read => read?,
        };
        let lines: BTreeMap<String, Memory> = serde_json::from_slice(&text).map_err(|e| {
            let remedy = format!("{}: {e}; delete the file to count this day from zero", path.display());
            io::Error::new(io::ErrorKind::InvalidData, remedy)
        })?;
        let saved: Memories = lines.into_iter().map(|(id, memory)| (RouteId::new(&id), memory)).collect();
        Ok((Ledger { path, saved: saved.clone() }, saved))
    }

    /// Writes the file if anything changed. The old file stays where the new one cannot be written whole.
    pub fn save(&mut self, memories: Memories) -> io::Result<()> {
        if memories == self.saved {
            return Ok(());
        }
        let lines: BTreeMap<&str, &Memory> = memories.iter().map(|(id, memory)| (id.as_str(), memory)).collect();
        files::replace(&self.path, &serde_json::to_vec_pretty(&lines)?)?;
        self.saved = memories;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_again_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent-today.json");
        let (mut ledger, memories) = Ledger::open(path.clone()).unwrap();
        assert!(memories.is_empty());
        let memory = Memory {
            day: 20_000,
            recipients: 7,
            last_sent: 1 << 40,
            in_last_minute: 3,
            troubles: vec![(5, Some(7)), (9, None)],
        };
        let memories = Memories::from([(RouteId::new("mailjet.starter"), memory)]);
        ledger.save(memories.clone()).unwrap();
        assert_eq!(Ledger::open(path.clone()).unwrap().1, memories);
        fs::write(&path, "{").unwrap();
        assert!(Ledger::open(path).unwrap_err().to_string().contains("delete the file"));
    }

    #[test]
    fn the_counters_of_an_older_program_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daily-counters.json");
        fs::write(&path, r#"{"mailjet.starter": {"day": 20000, "recipients": 7}}"#).unwrap();
        let memory = Ledger::open(path).unwrap().1.remove(&RouteId::new("mailjet.starter")).unwrap();
        assert_eq!((memory.day, memory.recipients, memory.in_last_minute), (20_000, 7, 0));
    }
}
