//! One suppressed address: why it is suppressed, since when, and for how long.

use std::fmt;
use std::str::FromStr;

use crate::time::Timestamp;

/// A note is cut to this many octets.
const LONGEST_NOTE: usize = 256;

/// Why an address is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Servers refused the address as unknown or closed.
    HardBounce,
    /// The recipient marked mail as spam.
    Complaint,
    /// The recipient unsubscribed.
    Unsubscribe,
    /// An operator added the address.
    Operator,
}

impl Reason {
    /// Every reason, in the order in which lists show them.
    pub const ALL: [Reason; 4] = [Reason::HardBounce, Reason::Complaint, Reason::Unsubscribe, Reason::Operator];

    /// The name in replies, events, files and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::HardBounce => "hard_bounce",
            Reason::Complaint => "complaint",
            Reason::Unsubscribe => "unsubscribe",
            Reason::Operator => "operator",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads a reason. The error lists the valid names.
impl FromStr for Reason {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Reason::ALL.into_iter().find(|reason| reason.as_str() == text);
        found.ok_or_else(|| {
            let names = Reason::ALL.map(Reason::as_str).join(", ");
            format!("\"{text}\" is no reason; the reasons are {names}")
        })
    }
}

/// An entry of a customer's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The address as lists compare it: [folded](super::folded).
    pub address: String,
    /// Why it is suppressed.
    pub reason: Reason,
    /// When the address was added to the list.
    pub since: Timestamp,
    /// When the entry expires; `None` means never.
    pub expires: Option<Timestamp>,
    /// The text of a server or a person, at most 256 octets.
    pub note: String,
}

/// Cuts a note to the length that is kept.
pub fn clipped(note: &str) -> String {
    note[..note.floor_char_boundary(LONGEST_NOTE)].to_owned()
}
