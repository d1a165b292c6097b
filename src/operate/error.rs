//! Why a command was not carried out: a kind for programs, and for people what is wrong and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spool;

/// The error of a command that was not carried out, or not completely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Error {
    /// The kind, on which a program can decide.
    pub kind: ErrorKind,
    pub message: String,
    /// What a person can do about it.
    pub remedy: String,
}

/// Writes what is wrong, and the remedy as a sentence. The remedy is on its own line if the first part has more than one.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.message.contains('\n') { "\n" } else { ". " };
        let mut remedy = self.remedy.chars();
        let first = remedy.next().map(char::to_uppercase).into_iter().flatten();
        write!(f, "{}{end}{}{}", self.message, first.collect::<String>(), remedy.as_str())
    }
}

/// The kind of error, by who can correct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The command is invalid.
    Invalid,
    /// The command names something that does not exist.
    NotFound,
    /// It exists already, or does not fit the existing state.
    Conflict,
    /// It was changed since the actor read it.
    ChangedMeanwhile,
    /// The actor may not do this.
    Forbidden,
    /// It cannot be done now. The same command may succeed later.
    Unavailable,
    /// The actor has too many jobs running. The same command succeeds after some of them have ended.
    TooMany,
    /// A failure that an administrator must look at.
    Failed,
}

impl Error {
    /// Makes an error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error { kind, message: message.into(), remedy: remedy.into() }
    }

    /// Makes the error of an invalid command.
    pub fn invalid(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message, remedy)
    }

    /// Makes the error of a command that names something that does not exist.
    pub fn not_found(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotFound, message, remedy)
    }

    /// Makes the error of a command that names a customer that does not exist.
    pub fn no_customer(id: impl fmt::Display) -> Self {
        let remedy = "a customer's id is the name of its file without .toml; `postbud customer list` names them";
        Error::not_found(format!("there is no customer \"{id}\""), remedy)
    }

    /// Makes the error of a command that does not fit the existing state.
    pub fn conflict(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::new(ErrorKind::Conflict, message, remedy)
    }

    /// Makes the error of a file that cannot be written. If the cause may go away by itself, the same command may succeed later.
    pub fn not_written(error: &std::io::Error, remedy: impl Into<String>) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let kind = match error.kind() {
            StorageFull | QuotaExceeded | ReadOnlyFilesystem => ErrorKind::Unavailable,
            _ => ErrorKind::Failed,
        };
        Error::new(kind, error.to_string(), remedy)
    }

    /// Makes the error of a command that was carried out, but whose result cannot be saved.
    pub fn not_saved(done: &str, error: &std::io::Error) -> Self {
        Error::failed(
            format!("{done}, but that cannot be saved: {error}"),
            "a restart of the relay would forget it: make room in its state folder, then say it again",
        )
    }

    /// Returns the same error with a prefix that names its subject.
    #[must_use]
    pub fn within(self, what: &str) -> Self {
        Error { message: format!("{what}: {}", self.message), ..self }
    }

    /// Makes the error of a failure that the command did not cause.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_sentences_and_says_its_kind_to_machines() {
        let one = Error::not_found("there is no route \"x\"", "the routes are: a, b");
        assert_eq!(one.to_string(), "there is no route \"x\". The routes are: a, b");
        let two = Error::conflict("two mistakes\na:1: x\na:2: y", "`postbud check` says the same");
        assert_eq!(two.to_string(), "two mistakes\na:1: x\na:2: y\n`postbud check` says the same");
        assert_eq!(Error::invalid("a", "b").within("here").to_string(), "here: a. B");
        let json = serde_json::to_string(&one).unwrap();
        assert!(json.starts_with(r#"{"kind":"not-found","message":"#), "{json}");
    }
}
