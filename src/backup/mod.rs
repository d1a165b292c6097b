//! Backup and restore: one archive of exactly what a relay needs to go on elsewhere as the same relay.
//!
//! | in it | why |
//! |---|---|
//! | the server file and the customers' files | |
//! | every file that they name: keys, certificates, passwords, hashes | mail cannot be signed or delivered without |
//! | what lies in `state_dir` and lasts: verdicts, rotations, the secret of the ownership tokens, suspended routes, the database | domains would be unverified, tokens others |
//!
//! Not in it: the spool, because a copy of it that is started sends its mail a second time; the event log and counters, which tell
//! of the past; what stands in environment variables. The archive says so itself.
//!
//! It is a tar file, compressed with zstd, that only its owner may read: it holds every secret. `manifest.json` comes first and has
//! the digest of each file. [`collect`] reads everything twice, so that the archive is of one moment although the relay runs.

mod archive;
mod contents;
mod restore;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hex::hex;

pub use archive::{Archive, write};
pub use contents::collect;
pub use restore::{Doing, Plan};

/// The archive's format. Another one is refused.
const FORMAT: u32 = 1;

/// What is never in an archive, for whoever reads one.
const LEFT_OUT: [&str; 3] = [
    "the spool: waiting mail stays on the machine that has it, because a copy that is started sends it a second time",
    "the event log, its archives, counters and the audit's notes: they tell of the past",
    "values of environment variables (password_env), what commands print (password_command), and the passphrase of encrypted keys",
];

/// What an archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    format: u32,
    /// Which postbud wrote it.
    pub postbud: String,
    /// When, RFC 3339.
    pub made: String,
    pub hostname: String,
    pub server_file: PathBuf,
    /// The relay's state directory.
    pub state_dir: PathBuf,
    pub files: Vec<Saved>,
    /// What is not in it, for people.
    pub left_out: Vec<String>,
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Where it was, absolute.
    pub path: PathBuf,
    pub role: Role,
    pub owner: Owner,
    /// Its permissions, as in chmod.
    pub mode: u32,
    /// When it was last changed, RFC 3339.
    pub modified: String,
    /// Its length in octets.
    pub size: u64,
    pub sha256: String,
}

/// What a file is to the relay.
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

/// Whose a file is. Numbers differ between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The user that the state directory belongs to.
    Relay,
    /// Anybody else: root, as a rule. Whoever restores it owns it.
    Operator,
}

/// Why there is no backup, or no archive that can be restored. Says what to do.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration has mistakes.
    #[error("{0}")]
    Configuration(#[from] crate::config::Refused),
    /// A file cannot be read or written.
    #[error("{what} {path}: {source}", path = path.display())]
    File {
        /// What was being done.
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The configuration or the state changed each time it was read.
    #[error("the files change all the time ({}); wait until nobody changes customers, and run it again", .0.display())]
    Restless(PathBuf),
    /// The archive is not one, or is damaged.
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
