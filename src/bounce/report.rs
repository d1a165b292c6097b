//! What there is to report: what became of recipients, and who said so.

use crate::time::Timestamp;

/// What happened to the recipients of a notification (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Given up.
    Failed,
    /// Not delivered yet; tried until an instant.
    Delayed {
        /// When it will be given up.
        until: Timestamp,
    },
    /// Taken over by a server that reports no further (NOTIFY=SUCCESS).
    Relayed,
}

impl Action {
    /// As the status writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed { .. } => "delayed",
            Action::Relayed => "relayed",
        }
    }
}

/// One recipient's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Index in the envelope.
    pub index: usize,
    /// What was heard, `550 5.1.1 no such user`, or what broke.
    pub reply: String,
    /// The remedy in plain words, where one is known.
    pub advice: Option<String>,
    /// The attempt that brought this; `None` where it is from an earlier one, or none was made.
    pub attempt: Option<Attempt>,
    /// Given up because the message grew too old.
    pub expired: bool,
}

/// One attempt at delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When.
    pub at: Timestamp,
    /// The server that the message was offered to, by name or address: the customer's own or Mailjet, seldom the recipient's.
    /// Named where it gave a reply.
    pub server: String,
}
