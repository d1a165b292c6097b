//! A webhook's cursor: its position in the log, in a small file that survives a restart.

use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::record::journal::Position;

/// The folder of cursors in the state folder.
pub(crate) const FOLDER: &str = "webhooks";

/// Returns the path of a webhook's cursor file.
pub(super) fn file(state_dir: &Path, webhook: &str) -> PathBuf {
    state_dir.join(FOLDER).join(format!("{webhook}.json"))
}

/// Returns the number of the log file in a saved cursor, or 0 if none is saved.
pub(in crate::events) fn saved_segment(state_dir: &Path, webhook: &str) -> u64 {
    match load(&file(state_dir, webhook)) {
        Ok(Some(position)) => position.segment,
        _ => 0,
    }
}

pub(super) fn load(path: &Path) -> io::Result<Option<Position>> {
    let text = match files::read_state(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

pub(super) fn save_if_changed(path: &Path, position: Position) -> io::Result<()> {
    if load(path).ok().flatten() == Some(position) {
        return Ok(());
    }
    save(path, position)
}

pub(super) fn save(path: &Path, position: Position) -> io::Result<()> {
    files::make_dir(files::folder(path))?;
    files::replace(path, &serde_json::to_vec(&position)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_read_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "webcrm");
        assert_eq!(saved_segment(dir.path(), "webcrm"), 0);
        save(&path, Position { segment: 41, offset: 7 }).unwrap();
        assert_eq!(load(&path).unwrap(), Some(Position { segment: 41, offset: 7 }));
        assert_eq!((saved_segment(dir.path(), "webcrm"), saved_segment(dir.path(), "other")), (41, 0));
        std::fs::write(&path, "").unwrap();
        assert!(load(&path).is_err(), "a damaged cursor is told, not guessed");
    }
}
