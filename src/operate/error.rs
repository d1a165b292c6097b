//! Why a command was not carried out: a kind for machines, and for people what is wrong and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spool;

/// The answer to a command that was not carried out, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Error {
    /// What a program can decide by.
    pub kind: ErrorKind,
    pub message: String,
    /// What a person can do about it.
    pub remedy: String,
}

/// What is wrong, and the remedy as a sentence: on a line of its own where the first takes more than one.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.message.contains('\n') { "\n" } else { ". " };
        let mut remedy = self.remedy.chars();
        let first = remedy.next().map(char::to_uppercase).into_iter().flatten();
        write!(f, "{}{end}{}{}", self.message, first.collect::<String>(), remedy.as_str())
    }
}

/// What went wrong, by who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The command says something that cannot be. Another command can be right.
    Invalid,
    /// The command names something that does not exist.
    NotFound,
    /// It is there already, or does not fit what is there.
    Conflict,
    /// It was changed since the actor looked at it.
    ChangedMeanwhile,
    /// The actor may not do this.
    Forbidden,
    /// Not now. The same command may succeed later.
    Unavailable,
    /// The actor has too much under way. The same command succeeds once some of it has ended.
    TooMany,
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

    /// A file cannot be written. Where that may be over by itself, the same command may succeed later.
    pub fn not_written(error: &std::io::Error, remedy: impl Into<String>) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let kind = match error.kind() {
            StorageFull | QuotaExceeded | ReadOnlyFilesystem => ErrorKind::Unavailable,
            _ => ErrorKind::Failed,
        };
        Error::new(kind, error.to_string(), remedy)
    }

    /// The same, said of something.
    #[must_use]
    pub fn within(self, what: &str) -> Self {
        Error { message: format!("{what}: {}", self.message), ..self }
    }

    /// An error for what failed although the command was right.
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
