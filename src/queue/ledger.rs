//! What each route sent today, kept across restarts: a small JSON file, replaced as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::route::RouteId;

/// Recipients sent, by route: the UTC day (counted from the epoch) and how many on it.
pub type Spent = BTreeMap<RouteId, (u64, u32)>;

/// The file.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    saved: Spent,
}

#[derive(Serialize, Deserialize)]
struct Line {
    day: u64,
    recipients: u32,
}

impl Ledger {
    /// Reads the file; a missing one is an empty ledger. A file that cannot be understood is an error: going on would send
    /// more than a server allows a day.
    pub fn open(path: PathBuf) -> io::Result<(Self, Spent)> {
        let text = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
            read => read?,
        };
        let lines: BTreeMap<String, Line> = serde_json::from_slice(&text).map_err(|e| {
            let remedy = format!("{}: {e}; delete the file to count this day from zero", path.display());
            io::Error::new(io::ErrorKind::InvalidData, remedy)
        })?;
        let spent: Spent = lines.into_iter().map(|(id, l)| (RouteId::new(&id), (l.day, l.recipients))).collect();
        Ok((Ledger { path, saved: spent.clone() }, spent))
    }

    /// Writes the file if anything changed. The old file stays where the new one cannot be written whole.
    pub fn save(&mut self, spent: Spent) -> io::Result<()> {
        if spent == self.saved {
            return Ok(());
        }
        let line = |(id, (day, recipients)): (&RouteId, &(u64, u32))| {
            (id.as_str().to_owned(), Line { day: *day, recipients: *recipients })
        };
        let lines: BTreeMap<String, Line> = spent.iter().map(line).collect();
        let folder = self.path.parent().unwrap_or(&self.path);
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(&lines)?)?;
        file.as_file().sync_data()?;
        file.persist(&self.path).map_err(|e| e.error)?;
        self.saved = spent;
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
        let (mut ledger, spent) = Ledger::open(path.clone()).unwrap();
        assert!(spent.is_empty());
        let spent = Spent::from([(RouteId::new("mailjet.starter"), (20_000, 7))]);
        ledger.save(spent.clone()).unwrap();
        assert_eq!(Ledger::open(path.clone()).unwrap().1, spent);
        fs::write(&path, "{").unwrap();
        assert!(Ledger::open(path).unwrap_err().to_string().contains("delete the file"));
    }
}
