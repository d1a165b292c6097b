//! A command about messages, as it is given: what is to be done, and why.

use serde::{Deserialize, Serialize};

use crate::operate::Error;
use crate::operate::jobs::JobKind;

/// The maximum length of a reason, in characters.
const LONGEST_REASON: usize = 500;

/// A command about messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Holds them until they are released, with a reason.
    Hold(String),
    /// Releases held messages, which are due at once.
    Release,
    /// Makes them due at once.
    Retry,
    /// Gives them up, and informs their senders of the reason.
    Bounce(String),
    /// Gives them up without informing their senders. The audit keeps the reason.
    Remove(String),
}

impl Command {
    pub(super) fn job(&self) -> JobKind {
        match self {
            Command::Hold(_) => JobKind::QueueHold,
            Command::Release => JobKind::QueueRelease,
            Command::Retry => JobKind::QueueRetry,
            Command::Bounce(_) => JobKind::QueueBounce,
            Command::Remove(_) => JobKind::QueueRemove,
        }
    }

    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Command::Hold(reason) | Command::Bounce(reason) | Command::Remove(reason) => Some(reason),
            Command::Release | Command::Retry => None,
        }
    }
}

/// Checks a reason. It becomes a part of replies, events and pages, so it must be one line and not too long.
pub(in crate::operate) fn check_reason(reason: &str) -> Result<(), Error> {
    let is_one_line = !reason.chars().any(char::is_control);
    if !reason.trim().is_empty() && reason.chars().count() <= LONGEST_REASON && is_one_line {
        return Ok(());
    }
    let message = "reason: is empty, longer than 500 characters, or no single line";
    Err(Error::invalid(message, "write one short sentence"))
}
