//! Copies the file in a consistent state, for backups. The relay may have the file open.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Error, LOCK_WAIT, failed};
use crate::files;

/// Returns the content of a copy. Equal tables give equal octets.
pub fn snapshot(path: &Path) -> Result<Vec<u8>, Error> {
    let place = path.display().to_string();
    let failed = |error| failed(&place, error);
    let io = |error: std::io::Error| Error::Io { place: place.clone(), detail: error.to_string() };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(LOCK_WAIT).map_err(failed)?;
    // Use a private folder, because SQLite creates the copy with the umask's mode.
    let folder = tempfile::Builder::new().prefix(".copy").tempdir_in(files::folder(path)).map_err(io)?;
    let copy = folder.path().join("copy");
    connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(failed)?;
    std::fs::read(&copy).map_err(io)
}
