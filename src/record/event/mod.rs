//! The events: one JSON object for each change of a recipient's state, for each alert, and for each change that somebody made.
//!
//! An event about mail is made from two parts: [`Mail`], which all events of a message share, and [`RecipientEvent`], which is about one
//! recipient.
//! Both are borrowed while the line is written, so that an event needs no copy of its texts. `docs/events.md` describes the fields for
//! readers.

mod action;
#[cfg(test)]
mod fixtures;
mod id;
mod kind;
mod known;
mod mail;
mod others;
#[cfg(test)]
mod schema;

use std::borrow::Cow;

use serde::Serialize;

pub use action::Action;
pub use id::EventId;
pub use kind::EventKind;
pub use known::{Known, KnownRecipient};
pub use mail::{Mail, RecipientEvent, Tried};
pub use others::Submission;

use super::subject::Subject;
use crate::message::{FailureClass, QueueId};
use crate::smtp::EnhancedCode;
use crate::time::Timestamp;
use crate::visible::visible_json;

/// An optional text.
pub type Text<'a> = Option<Cow<'a, str>>;

/// Says whose mail an event is about, if it is not a customer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// One of the relay's own notifications: a bounce message, a delay notice.
    Notification,
}

/// One event. Fields that do not apply are absent from the JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event<'a> {
    /// Unique. If the same event is written again, it has the same id.
    #[cfg_attr(test, schemars(with = "String", regex(pattern = "^[0-9A-Z]+-[0-9A-Z]+-[0-9A-Z]+[a-z]?$")))]
    pub event_id: EventId,
    /// The time of the event: RFC 3339, UTC, milliseconds.
    #[cfg_attr(test, schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// The kind of the event.
    pub event: EventKind,
    /// Present if the mail is one of the relay's own notifications; absent for customers' mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// Mail: true in test mode.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(test, schemars(with = "Option<bool>"))]
    pub test: bool,
    /// Mail: the queue id, as in `250 … queued as`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>", regex(pattern = "^[0-9A-HJKMNP-TV-Z]{13}$")))]
    pub queue_id: Option<QueueId>,
    /// Mail: the Message-ID without angle brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Text<'a>,
    /// Mail: the submitter's reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Text<'a>,
    /// Mail: the submitter's campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Text<'a>,
    /// Mail: the submitter's tags.
    #[serde(skip_serializing_if = "is_empty")]
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    pub tags: Cow<'a, [Box<str>]>,
    /// Mail: the decoded ENVID of MAIL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envid: Text<'a>,
    /// The customer's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Text<'a>,
    /// The domain in From, whose key signs. For `domain.*`, the domain that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_domain: Text<'a>,
    /// The envelope sender; empty for the null sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Text<'a>,
    /// Mail: the recipient's address. `audit`: the address that the command was about. `unmatched`: the recipient as the report names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Text<'a>,
    /// `rejected` for a whole message: its number of recipients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<u64>,
    /// The route of the mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Text<'a>,
    /// The host that was tried. If there is a reply, it came from this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Text<'a>,
    /// The number of the attempt, from 1. An attempt that fails because of the route does not count, so the next one has the same number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The three digits of the reply. Only a server's reply has them. For `rejected`, it is this relay's reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 200, max = 599)))]
    pub code: Option<u16>,
    /// The reply's enhanced status code, such as `5.1.1`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    #[cfg_attr(test, schemars(with = "Option<String>", regex(pattern = r"^[245]\.[0-9]{1,3}\.[0-9]{1,3}$")))]
    pub status: Option<EnhancedCode>,
    /// The reply's text, without code and status, cut to 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Text<'a>,
    /// The failure class, for programs. Present for deferred, bounced, expired and rejected, for suppressed at RCPT, and for a delay that
    /// another system reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// `rejected`: the rule that refused it, one of a fixed set of words. `suppressed`: why the address is on the list. For a later report
    /// of another system: the source, `returned_mail`, `feedback_report`, `mailjet` or `test_mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The relay's own text for people: the reason, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Text<'a>,
    /// `deferred`: the time of the next attempt: RFC 3339, UTC, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub next_attempt: Option<Timestamp>,
    /// `clicked`: the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Text<'a>,
    /// The login that submitted the mail; absent for a listener without logins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitter: Text<'a>,
    /// The address that submitted the mail, or from which the command of `audit` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Text<'a>,
    /// The person or program that did it: for `audit`, and for what operators do to mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Text<'a>,
    /// `audit`: the action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Action>,
    /// `audit`: the number of messages or events that were changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// The number of events that this one stands for, because they are not reported one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// `alert`: the subject of lasting trouble. The alert that ends it has the same subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub subject: Option<Subject>,
    /// `alert`: true if the trouble with this subject is over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(test, schemars(with = "Option<bool>"))]
    pub cured: bool,
}

impl Event<'_> {
    /// Makes an event that is not about mail.
    fn new(event: EventKind, at: Timestamp) -> Event<'static> {
        Event::with_id(EventId::new(at), event, at)
    }

    pub(in crate::record) fn with_id(event_id: EventId, event: EventKind, at: Timestamp) -> Event<'static> {
        Event {
            event_id,
            at,
            event,
            about: None,
            test: false,
            queue_id: None,
            message_id: None,
            reference: None,
            campaign: None,
            tags: Cow::Borrowed(&[]),
            envid: None,
            customer: None,
            from_domain: None,
            sender: None,
            recipient: None,
            recipients: None,
            route: None,
            server: None,
            attempt: None,
            code: None,
            status: None,
            reply: None,
            class: None,
            reason: None,
            detail: None,
            next_attempt: None,
            url: None,
            submitter: None,
            peer: None,
            actor: None,
            command: None,
            changed: None,
            left_out: None,
            subject: None,
            cured: false,
        }
    }

    /// Returns the event with its own copies of the texts.
    pub fn into_owned(self) -> Event<'static> {
        fn owned(text: Text<'_>) -> Text<'static> {
            text.map(|text| Cow::Owned(text.into_owned()))
        }
        Event {
            message_id: owned(self.message_id),
            reference: owned(self.reference),
            campaign: owned(self.campaign),
            tags: Cow::Owned(self.tags.into_owned()),
            envid: owned(self.envid),
            customer: owned(self.customer),
            from_domain: owned(self.from_domain),
            sender: owned(self.sender),
            recipient: owned(self.recipient),
            route: owned(self.route),
            server: owned(self.server),
            reply: owned(self.reply),
            detail: owned(self.detail),
            url: owned(self.url),
            submitter: owned(self.submitter),
            peer: owned(self.peer),
            actor: owned(self.actor),
            ..self
        }
    }

    /// Writes the event as one line of JSON, with its line end.
    pub fn write_line(&self, line: &mut Vec<u8>) {
        let from = line.len();
        serde_json::to_writer(&mut *line, self).expect("an event has only string keys, and a Vec takes every write");
        // People read the log on terminals, so invisible characters are escaped. Of the ASCII ones, JSON itself leaves only DEL.
        if line[from..].iter().any(|b| !b.is_ascii() || *b == 0x7f)
            && let Cow::Owned(seen) = visible_json(&String::from_utf8_lossy(&line[from..]))
        {
            line.truncate(from);
            line.extend_from_slice(seen.as_bytes());
        }
        line.push(b'\n');
    }
}

fn is_empty(tags: &[Box<str>]) -> bool {
    tags.is_empty()
}

fn shown<T: std::fmt::Display, S: serde::Serializer>(value: &Option<T>, out: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => out.collect_str(value),
        None => out.serialize_none(),
    }
}
