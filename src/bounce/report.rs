//! The content of a notification: the result for each recipient, and the server that gave it.

use crate::message::ReplyText;
use crate::time::Timestamp;

/// What happened to the recipients that a notification is about (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Delivery has failed for good.
    Failed,
    /// Delivery has not succeeded yet and is still tried.
    Delayed {
        /// When delivery will be given up.
        until: Timestamp,
    },
    /// A server took the message and will not report further (NOTIFY=SUCCESS).
    Relayed,
}

impl Action {
    /// The word in the `Action` field.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed { .. } => "delayed",
            Action::Relayed => "relayed",
        }
    }
}

/// The report about one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientReport {
    /// The recipient's index in the envelope.
    pub index: usize,
    /// The server's reply (`550 5.1.1 no such user`), or what broke.
    pub reply: ReplyText,
    /// The remedy in plain words, where one is known.
    pub advice: Option<String>,
    /// The attempt that brought this reply. `None` if the reply is from an earlier attempt, or none was made.
    pub attempt: Option<Attempt>,
    /// Delivery was given up because the message grew too old.
    pub expired: bool,
}

/// One attempt at delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When the attempt was made.
    pub at: Timestamp,
    /// The name or address of the server that was tried: the customer's own or Mailjet, seldom the recipient's. The
    /// notification names it only if it replied.
    pub server: String,
}
