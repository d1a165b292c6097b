//! The file with the throttle states that survive a restart: a small JSON file that is replaced as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::files;
use crate::route::RouteId;

/// The throttle state of one route. Times are milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleState {
    /// The UTC day, counted from the epoch.
    pub day: u64,
    /// Recipients sent on that day.
    pub recipients: u32,
    /// Recipients sent on a few other days, in case the clock is set back to one of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_days: BTreeMap<u64, u32>,
    /// Recipients sent under wrong later days, which count to this day.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ahead: u32,
    /// When the last message left, if messages a minute are capped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent: Option<u64>,
    /// Messages sent in the minute before that.
    #[serde(default)]
    pub in_last_minute: u32,
    /// The server's troubles with start and end; the last may not have ended. Waiting for them makes mail older.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<(u64, Option<u64>)>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The throttle states by route.
pub type ThrottleStates = BTreeMap<RouteId, ThrottleState>;

/// The file with the throttle states.
#[derive(Debug)]
pub struct ThrottleStateFile {
    path: PathBuf,
    saved: ThrottleStates,
}

impl ThrottleStateFile {
    /// Reads the file. A missing file counts as empty. An unreadable file is an error, because without it the relay could send more than a
    /// server allows per day.
    pub fn open(path: PathBuf) -> io::Result<(Self, ThrottleStates)> {
        let text = match files::read_state(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
            read => read?,
        };
        let lines: BTreeMap<String, ThrottleState> = serde_json::from_slice(&text).map_err(|e| {
            let remedy = format!("{}: {e}; delete the file to count this day from zero", path.display());
            io::Error::new(io::ErrorKind::InvalidData, remedy)
        })?;
        let saved: ThrottleStates = lines.into_iter().map(|(id, state)| (RouteId::new(&id), state)).collect();
        Ok((ThrottleStateFile { path, saved: saved.clone() }, saved))
    }

    /// Saves the states if they have changed. If the new file cannot be written completely, the old one stays.
    pub fn save(&mut self, states: ThrottleStates) -> io::Result<()> {
        if states == self.saved {
            return Ok(());
        }
        let lines: BTreeMap<&str, &ThrottleState> = states.iter().map(|(id, state)| (id.as_str(), state)).collect();
        files::replace(&self.path, &serde_json::to_vec_pretty(&lines)?)?;
        self.saved = states;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_saved_is_read_again_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sent-today.json");
        let (mut file, states) = ThrottleStateFile::open(path.clone()).unwrap();
        assert!(states.is_empty());
        let state = ThrottleState {
            day: 20_000,
            recipients: 7,
            other_days: BTreeMap::from([(19_999, 4)]),
            ahead: 2,
            last_sent: Some(1 << 40),
            in_last_minute: 3,
            troubles: vec![(5, Some(7)), (9, None)],
        };
        let states = ThrottleStates::from([(RouteId::new("mailjet.starter"), state)]);
        file.save(states.clone()).unwrap();
        assert_eq!(ThrottleStateFile::open(path.clone()).unwrap().1, states);
        fs::write(&path, "{").unwrap();
        assert!(ThrottleStateFile::open(path).unwrap_err().to_string().contains("delete the file"));
    }

    #[test]
    fn the_counters_of_an_older_program_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daily-counters.json");
        fs::write(&path, r#"{"mailjet.starter": {"day": 20000, "recipients": 7}}"#).unwrap();
        let state = ThrottleStateFile::open(path).unwrap().1.remove(&RouteId::new("mailjet.starter")).unwrap();
        assert_eq!((state.day, state.recipients, state.in_last_minute), (20_000, 7, 0));
    }
}
