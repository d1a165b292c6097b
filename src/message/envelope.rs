//! The envelope: who a message is from and for, as SMTP says it, and what the relay decided about it at intake.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

pub use crate::smtp::dsn::{Notify, Ret};
use crate::smtp::{Mailbox, ReversePath};

/// The customer's id: the name of its configuration file without `.toml`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerId(Arc<str>);

impl CustomerId {
    /// Takes the id as it is; configuration has checked it.
    pub fn new(id: &str) -> Self {
        CustomerId(id.into())
    }

    /// The id.
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

/// Single mail goes before bulk mail of the same route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A mail somebody waits for.
    Single,
    /// A newsletter, an invitation: `Precedence: bulk`, List-Unsubscribe, the submitter's default, X-Mailjet-Prio.
    Bulk,
}

/// What the content needs of the next server (RFC 6152).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// ASCII only.
    SevenBit,
    /// Octets over 127 appear.
    EightBit,
}

/// One RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The forward path.
    pub address: Mailbox,
    /// NOTIFY; `None` where the client said nothing.
    pub notify: Option<Notify>,
    /// ORCPT as given (`rfc822;user+40test.dk`, xtext kept).
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
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// RCPT TO, at least one, in the order given.
    pub recipients: Vec<Recipient>,
    /// What the content needs.
    pub body: BodyKind,
    /// Whether addresses or header need SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, xtext kept.
    pub envid: Option<String>,
}
