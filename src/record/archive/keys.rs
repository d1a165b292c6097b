//! The keys under which an event can be found, and their hashes.

use std::borrow::Cow;

use serde::Deserialize;

use crate::smtp::{comparable, is_same_address};

/// A value of an event that people search for. Ids are compared without case, and addresses however they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    Recipient(&'a str),
    /// The envelope sender's address.
    Sender(&'a str),
    /// A Message-ID without angle brackets.
    MessageId(&'a str),
    QueueId(&'a str),
    Reference(&'a str),
    Campaign(&'a str),
    /// ENVID of MAIL, decoded.
    Envid(&'a str),
}

impl Key<'_> {
    /// Returns the text of the key.
    pub fn text(&self) -> &str {
        match self {
            Key::Recipient(text)
            | Key::Sender(text)
            | Key::MessageId(text)
            | Key::QueueId(text)
            | Key::Reference(text)
            | Key::Campaign(text)
            | Key::Envid(text) => text,
        }
    }

    /// Returns the hash. Keys of different kinds with the same text have different hashes.
    pub(super) fn hash(&self) -> u32 {
        let kind = match self {
            Key::Recipient(_) => b'r',
            Key::Sender(_) => b's',
            Key::MessageId(_) => b'm',
            Key::QueueId(_) => b'q',
            Key::Reference(_) => b'f',
            Key::Campaign(_) => b'c',
            Key::Envid(_) => b'e',
        };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[kind]);
        let text = self.text();
        if self.is_address() {
            hasher.update(comparable(text).as_bytes());
        } else if text.bytes().any(|b| b.is_ascii_uppercase()) {
            hasher.update(text.to_ascii_lowercase().as_bytes());
        } else {
            hasher.update(text.as_bytes());
        }
        hasher.finalize()
    }

    fn is_address(&self) -> bool {
        matches!(self, Key::Recipient(_) | Key::Sender(_))
    }
}

/// The fields of an event's line under which it can be found. All other fields are skipped.
#[derive(Debug, Default, Deserialize)]
pub struct Named<'a> {
    /// The time of the event, as RFC 3339 writes it.
    #[serde(borrow, default)]
    pub at: Cow<'a, str>,
    #[serde(borrow, default)]
    pub queue_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub message_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub recipient: Option<Cow<'a, str>>,
    /// The envelope sender's address.
    #[serde(borrow, default)]
    pub sender: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub reference: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub campaign: Option<Cow<'a, str>>,
    /// ENVID of MAIL, decoded.
    #[serde(borrow, default)]
    pub envid: Option<Cow<'a, str>>,
    /// The submitter's tags. They are not indexed.
    #[serde(borrow, default)]
    pub tags: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub customer: Option<Cow<'a, str>>,
}

impl<'a> Named<'a> {
    /// Reads a line. Returns `None` if it is not an event, for example because a crash cut it off.
    pub fn of(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Returns the keys under which the event is indexed. An ENVID that is the reference as well, as of mail without another reference, is
    /// indexed as that only.
    pub fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        let envid = self.envid.as_deref().map(Key::Envid);
        let is_reference = |key: &Key<'_>| self.names(&Key::Reference(key.text()));
        [
            self.recipient.as_deref().map(Key::Recipient),
            self.sender.as_deref().map(Key::Sender),
            self.message_id.as_deref().map(Key::MessageId),
            self.queue_id.as_deref().map(Key::QueueId),
            self.reference.as_deref().map(Key::Reference),
            self.campaign.as_deref().map(Key::Campaign),
            envid.filter(|key| !is_reference(key)),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns true if the event has this key.
    pub fn names(&self, key: &Key<'_>) -> bool {
        let value = match key {
            Key::Recipient(_) => &self.recipient,
            Key::Sender(_) => &self.sender,
            Key::MessageId(_) => &self.message_id,
            Key::QueueId(_) => &self.queue_id,
            Key::Reference(_) => &self.reference,
            Key::Campaign(_) => &self.campaign,
            Key::Envid(_) => &self.envid,
        };
        let is_same = if key.is_address() { is_same_address } else { str::eq_ignore_ascii_case };
        value.as_deref().is_some_and(|value| is_same(value, key.text()))
    }
}
