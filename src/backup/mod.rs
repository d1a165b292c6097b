//! Backup and restore: an archive of everything that a relay needs to continue on another machine.
//!
//! | content | reason |
//! |---|---|
//! | the server file and the customers' files | |
//! | every file that they name: keys, certificates, passwords, hashes | without them no mail can be signed or delivered |
//! | the lasting files in `state_dir`: check results, rotations, the secret of the ownership tokens, suspended routes, the database | otherwise domains would be unverified, and tokens would change |
//!
//! Left out: the spool, because starting a copy of it would send its mail a second time; the event log and counters, which are about the
//! past; environment variables. The manifest lists what is left out.
//!
//! The archive is a tar file, compressed with zstd, which only its owner may read, because it holds all secrets. `manifest.json` comes
//! first and has the digest of each file. [`collect`] reads everything until it finds the same
//! twice, so that the archive is consistent although the relay runs.

mod archive;
mod contents;
mod restore;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hex::hex;

pub use archive::{Archive, write};
pub use contents::{collect, configuration_files};
pub use restore::{Doing, Plan};

/// The archive's format. Other formats are refused.
const FORMAT: u32 = 1;

/// What an archive never contains, for its reader.
const LEFT_OUT: [&str; 3] = [
    "the spool: waiting mail stays on the machine that has it, because a copy that is started sends it a second time",
    "the event log, its archives, counters and the audit's notes: they tell of the past",
    "values of environment variables (password_env), what commands print (password_command), and the passphrase of encrypted keys",
];

/// The table of contents of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the archive: the value of [`FORMAT`] of the program that wrote it.
    format: u32,
    /// The version of postbud that wrote it.
    pub postbud: String,
    /// The time of the backup, RFC 3339.
    pub made: String,
    pub hostname: String,
    pub server_file: PathBuf,
    /// The relay's state directory.
    pub state_dir: PathBuf,
    pub files: Vec<Saved>,
    /// What the archive does not contain, for people.
    pub left_out: Vec<String>,
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The absolute path of the original.
    pub path: PathBuf,
    pub role: Role,
    pub owner: Owner,
    /// The mode, as in chmod.
    pub mode: u32,
    /// The time of its last change, RFC 3339.
    pub modified: String,
    /// Its length in octets.
    pub size: u64,
    pub sha256: String,
}

/// The role of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A file of the state directory.
    State,
    /// A key, a certificate or a secret that the configuration names.
    Named,
    Customer,
    Server,
}

/// The owner of a file. User ids are not stored, because they differ between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The relay's user, who owns the state directory.
    Relay,
    /// Any other user, usually root. The user who restores the file will own it.
    Operator,
}

/// Why a backup failed, or an archive cannot be restored. Each message says what to do.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration has mistakes.
    #[error("{0}")]
    Configuration(#[from] crate::config::Refused),
    /// A file cannot be read or written.
    #[error("{what} {path}: {source}", path = path.display())]
    File {
        /// The operation that failed.
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The configuration or the state changed each time it was read.
    #[error("the files change all the time ({}); wait until nobody changes customers, and run it again", .0.display())]
    Restless(PathBuf),
    /// The file is not one of our archives, or is damaged.
    #[error("{path}: {what}", path = path.display())]
    Archive {
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Error {
    fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::File { what, path, source }
    }
}

fn digest(octets: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    hex(digest.as_ref())
}
