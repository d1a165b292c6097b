//! What a notification says: pure, from a record and what happened to its recipients.

use super::Settings;
use crate::smtp::{Domain, Mailbox};
use crate::spool::Record;
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

/// One recipient's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Index in the envelope.
    pub index: usize,
    /// What was heard, `550 5.1.1 no such user`, or what broke.
    pub reply: String,
    /// The remedy in plain words, where one is known.
    pub advice: Option<String>,
    /// The server that said so.
    pub remote_mta: Option<String>,
}

/// The message a notification is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// Its header block, prefix first, CRLF line ends, with or without the blank line.
    pub header: &'a [u8],
    /// Its body after the blank line, where the caller read it for RET=FULL.
    pub body: Option<&'a [u8]>,
}

/// A notification ready to be signed and sent.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Whom it goes to: the envelope sender.
    pub to: Mailbox,
    /// Its From domain, whose key signs.
    pub from_domain: Domain,
    /// Its Message-ID without angle brackets.
    pub message_id: String,
    /// Header fields with CRLF, without the blank line.
    pub header: Vec<u8>,
    /// The body after the blank line.
    pub body: Vec<u8>,
    /// Octets over 127 appear in the body.
    pub eight_bit: bool,
    /// Whether its recipient's address needs SMTPUTF8.
    pub smtputf8: bool,
}

/// Writes the notification for those of `reports` whose recipients want one. `None` for the null sender and where NOTIFY wants
/// nothing.
pub fn notification(
    record: &Record,
    original: Original<'_>,
    action: Action,
    reports: &[Report],
    settings: &Settings,
    now: Timestamp,
) -> Option<Notice> {
    let _ = (record, original, action, reports, settings, now);
    None
}
