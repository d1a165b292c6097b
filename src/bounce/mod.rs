//! Delivery status notifications: mails that tell a sender whether a message was delivered (RFC 3461–3464, RFC 6522, RFC 6533).
//!
//! By default webCRM learns this from events. If a customer's file or the server file asks for mail (`bounces = "mail"`),
//! the envelope sender gets a `multipart/report` about failures, delays and requested successes. It holds plain words
//! with the remedy, the status for machines, and the message's header. For a failure with RET=FULL it returns the whole
//! message, if that is 7-bit and not too large.
//!
//! * [`notification()`] is pure and decides what to write. It writes nothing to the null sender (RFC 5321 §4.5.5: a
//!   bounce is never bounced), and nothing that NOTIFY excludes (RFC 3461 §4.1).
//! * [`Postmaster`] signs the notification with the customer's key and commits it to the spool as
//!   [`MailKind::Bounce`](crate::message::MailKind). The notification's From address is in the customer's domain, so
//!   the customer's signature makes it pass DMARC.
//! * A notification has the null reverse path (RFC 3464 §2), which Mailjet and Microsoft 365 refuse. On such a route
//!   the failure stays an event and nothing is mailed, unless a route for bounces is configured.

mod content;
mod mime;
mod notification;
mod postmaster;
mod report;
mod status;
mod words;

use std::time::Duration;

pub use content::Content;
pub(crate) use mime::{header_text, quoted_printable};
pub use notification::{Notification, Original, notification};
pub use postmaster::{Error, Postmaster};
pub use report::{Action, Attempt, RecipientReport};

/// How notifications are written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The language of a notification's text.
    pub language: Language,
    /// Our host name, which the `Reporting-MTA` field names.
    pub reporting_mta: String,
    /// The local part of the From address. The domain is the customer's.
    pub local_part: String,
    /// The largest message, in octets, that RET=FULL returns. A larger message returns its header.
    pub full_limit: u64,
    /// How long after its commit a notification is tried a second time (`[retry] first`).
    pub retry_first: Duration,
}

/// The defaults are both languages, `mailer-daemon@` and 256 KiB.
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
    /// The text is in Danish.
    Danish,
    /// The text is in English.
    English,
    /// The text is in Danish, then in English.
    Both,
}
