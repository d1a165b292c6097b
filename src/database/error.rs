//! The errors of the database, by who must act.

/// Why the database cannot be opened or used. The operator must act, except on [`Error::Statement`]. `place` is the path of the file, or
/// the database and its servers.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not an SQLite file, or its content is inconsistent.
    #[error(
        "{place} is damaged ({detail}): stop the relay, move the file away together with {place}-wal and {place}-shm, and put a backup \
         in its place; without a backup the relay makes an empty one"
    )]
    Damaged { place: String, detail: String },
    /// The file is the SQLite file of another program.
    #[error("{place} belongs to another program (application id {found:#x}): move it away, or set another state_dir")]
    Foreign { place: String, found: i64 },
    /// Another process has locked the file.
    #[error("{place} is locked by another process: end the program that has it open (`fuser {place}` names it)")]
    Locked { place: String },
    /// The disk or its quota is full.
    #[error("there is no room to write {place}: free space on its file system")]
    Full { place: String },
    /// A newer version of the relay has changed the tables.
    #[error(
        "{place} is from a newer version (the tables of {owner} are at step {found}, this version knows {known}): install that version \
         again, or put back what was there before the update"
    )]
    Newer {
        place: String,
        /// The owner of the tables.
        owner: String,
        /// The steps that the tables have.
        found: i64,
        /// The number of steps that this version knows.
        known: usize,
    },
    /// The file cannot be opened, read or written for another reason.
    #[error("cannot use {place}: {detail}; see that the relay's user owns it and that its file system is writable")]
    Io { place: String, detail: String },
    /// The server does not answer, or does not confirm that it keeps the data.
    #[error("{place} does not answer ({detail}): see that the server runs and that this machine reaches it")]
    Away { place: String, detail: String },
    /// A statement is wrong, or it breaks a rule of its table.
    #[error("{place}: {detail}")]
    Statement { place: String, detail: String },
}
