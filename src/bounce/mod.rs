//! Delivery status notifications: telling a sender by mail what became of a message (RFC 3461–3464, RFC 6522, RFC 6533).
//!
//! Events are the default answer to webCRM. Where a customer or the server file asks for mail (`bounce_mail`), failures,
//! delays and asked-for successes go to the envelope sender as a `multipart/report`: plain words with the remedy, the status
//! for machines, and the message's header (of a failure with RET=FULL: the message, where it is 7-bit, up to a bound).
//!
//! * [`notification()`] is pure: what to write, or nothing: for the null sender (RFC 5321 §4.5.5: no bounce of a bounce) and where
//!   NOTIFY says so (RFC 3461 §4.1).
//! * [`Postmaster`] signs it with the customer's key and commits it to the spool as [`MailKind::Bounce`](crate::message::MailKind).
//!   It is From an address in the customer's domain, so it has the customer's signature and passes DMARC.
//! * A notification has the null reverse path (RFC 3464 §2). Mailjet and Microsoft 365 refuse that: on such a route, unless
//!   a route for bounces is configured, the failure stays an event and nothing is mailed.

mod content;
mod mime;
mod notification;
mod postmaster;
mod report;
mod status;
mod words;

use std::time::Duration;

pub use content::Content;
pub use notification::{Notice, Original, notification};
pub use postmaster::{Error, Postmaster};
pub use report::{Action, Attempt, Report};

/// How notifications are written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The language of the text.
    pub language: Language,
    /// `Reporting-MTA`: our host name.
    pub reporting_mta: String,
    /// The sender's local part; the domain is the customer's.
    pub local_part: String,
    /// RET=FULL returns at most this many octets; a larger message returns its header.
    pub full_limit: u64,
    /// The pause before a notification that could not be delivered is tried again (`[retry] first`).
    pub retry_first: Duration,
}

/// Both languages, `mailer-daemon@`, 256 KiB.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            language: Language::Both,
            reporting_mta: "localhost".into(),
            local_part: "mailer-daemon".into(),
            full_limit: 256 << 10,
            retry_first: Duration::from_secs(60),
        }
    }
}

/// The language of a notification's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Danish.
    Danish,
    /// English.
    English,
    /// Danish, then English.
    Both,
}
