//! The envelope: sender and recipients as the client named them in SMTP, and what intake found out about the content.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use super::References;
use crate::smtp::dsn::xtext_decoded;
pub use crate::smtp::dsn::{Notify, Ret};
use crate::smtp::{Mailbox, ReversePath};

/// The customer's id: the name of its configuration file without `.toml`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerId(Arc<str>);

impl CustomerId {
    /// Makes an id from a text that the configuration has checked.
    pub fn new(id: &str) -> Self {
        CustomerId(id.into())
    }

    /// Reads an id that a person or a program has written: up to 64 lower-case letters, digits, hyphens and underscores, without a hyphen
    /// at the start. The id becomes a file name, so a path must not be accepted.
    pub fn parse(id: &str) -> Option<Self> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let is_id = !id.is_empty() && id.len() <= 64 && id.bytes().all(legal) && !id.starts_with('-');
        is_id.then(|| CustomerId::new(id))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for CustomerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The urgency of a message. Single mail goes before bulk mail of the same route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A mail that somebody waits for.
    Single,
    /// A newsletter or an invitation, found by `Precedence: bulk`, List-Unsubscribe, X-Mailjet-Prio or the submitter's
    /// default.
    Bulk,
}

/// What the next server must support to carry the content (RFC 6152).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// The content is ASCII only.
    SevenBit,
    /// The content holds octets over 127.
    EightBit,
}

/// One recipient, as RCPT TO named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The forward path (RFC 5321 §3.3).
    pub address: Mailbox,
    /// The value of NOTIFY; `None` if the client did not give it.
    pub notify: Option<Notify>,
    /// The value of ORCPT as the client gave it (`rfc822;user+40test.dk`, still in xtext).
    pub orcpt: Option<String>,
}

impl Recipient {
    /// A recipient without DSN parameters.
    pub fn new(address: Mailbox) -> Self {
        Recipient { address, notify: None, orcpt: None }
    }
}

/// The envelope of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse path in MAIL FROM.
    pub reverse_path: ReversePath,
    /// The recipients in the order of RCPT TO. There is at least one.
    pub recipients: Vec<Recipient>,
    /// What the next server must support to carry the content.
    pub body: BodyKind,
    /// True if addresses or header may need SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// The value of RET; `None` if the client did not give it.
    pub ret: Option<Ret>,
    /// The value of ENVID, still in xtext. [`decoded_envid`](Self::decoded_envid) decodes it.
    pub envid: Option<String>,
    /// The submitter's own names for the message.
    pub references: References,
}

impl Envelope {
    /// Returns ENVID decoded, or as it is if it is no xtext.
    pub fn decoded_envid(&self) -> Option<Cow<'_, str>> {
        let envid = self.envid.as_deref()?;
        Some(match xtext_decoded(envid) {
            Some(decoded) if decoded != envid => Cow::Owned(decoded),
            _ => Cow::Borrowed(envid),
        })
    }
}
