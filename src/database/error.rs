//! The errors of the database, by who must act.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the database cannot be opened or used. The operator must act, except on [`Error::Statement`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not an SQLite file, or its content is inconsistent.
    #[error(
        "{path} is damaged ({detail}): stop the relay, move the file away together with {path}-wal and {path}-shm, and put a backup \
         in its place; without a backup the relay makes an empty one"
    )]
    Damaged { path: PathBuf, detail: String },
    /// The file is the SQLite file of another program.
    #[error("{path} belongs to another program (application id {found:#x}): move it away, or set another state_dir")]
    Foreign { path: PathBuf, found: i64 },
    /// Another process has locked the file.
    #[error("{path} is locked by another process: end the program that has it open (`fuser {path}` names it)")]
    Locked { path: PathBuf },
    /// The disk or its quota is full.
    #[error("there is no room to write {path}: free space on its file system")]
    Full { path: PathBuf },
    /// A newer version of the relay has changed the tables.
    #[error(
        "{path} is from a newer version (the tables of {owner} are at step {found}, this version knows {known}): install that version \
         again, or put back the file from before the update"
    )]
    Newer {
        path: PathBuf,
        /// The owner of the tables.
        owner: String,
        /// The number of steps in the file.
        found: i64,
        /// The number of steps that this version knows.
        known: usize,
    },
    /// The file cannot be opened, read or written for another reason.
    #[error("cannot use {path}: {detail}; see that the relay's user owns it and that its file system is writable")]
    Io { path: PathBuf, detail: String },
    /// A statement is wrong, or it breaks a rule of its table.
    #[error("{path}: {detail}")]
    Statement { path: PathBuf, detail: String },
}

impl Error {
    /// Converts an error of the SQLite library.
    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
        let (path, detail) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Damaged { path, detail },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Locked { path },
            Some(ErrorCode::DiskFull) => Error::Full { path },
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport,
            ) => Error::Io { path, detail },
            _ => Error::Statement { path, detail },
        }
    }
}
