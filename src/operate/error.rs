//! Why a command was not carried out: a kind for machines, and for people what is wrong and what to do.

use serde::{Deserialize, Serialize};

use crate::spool;

/// The answer to a command that was not carried out, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}. {remedy}")]
pub struct Error {
    /// What a program can decide by.
    pub kind: ErrorKind,
    /// What is wrong.
    pub message: String,
    /// What a person can do about it.
    pub remedy: String,
}

/// What went wrong, by who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The command says something that cannot be. Another command can be right.
    Invalid,
    /// The command names something that does not exist.
    NotFound,
    /// It is there already, was changed meanwhile, or does not fit what is there.
    Conflict,
    /// The actor may not do this.
    Forbidden,
    /// Not now. The same command may succeed later.
    Unavailable,
    /// Something failed that an administrator has to look at.
    Failed,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error { kind, message: message.into(), remedy: remedy.into() }
    }

    /// The command says something that cannot be.
    pub fn invalid(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message, remedy)
    }

    /// The command names something that does not exist.
    pub fn not_found(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotFound, message, remedy)
    }

    /// It does not fit what is there.
    pub fn conflict(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::new(ErrorKind::Conflict, message, remedy)
    }

    /// Something failed.
    pub fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::new(ErrorKind::Failed, message, remedy)
    }
}

impl From<spool::Error> for Error {
    fn from(error: spool::Error) -> Self {
        let (kind, remedy) = match &error {
            spool::Error::Unknown(_) => {
                (ErrorKind::NotFound, "it may have been delivered meanwhile: look for its id in the event log")
            }
            spool::Error::Full { .. } => (ErrorKind::Unavailable, "make room on the spool's disk"),
            spool::Error::Corrupt { .. } => {
                (ErrorKind::Failed, "the record is kept in the spool's quarantine folder for inspection")
            }
            spool::Error::Stopped(_) => (ErrorKind::Unavailable, "the relay is stopping: try again once it runs"),
            _ => (ErrorKind::Failed, "see the relay's log"),
        };
        Error::new(kind, error.to_string(), remedy)
    }
}
