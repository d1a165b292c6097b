//! Mailjet's report about one recipient, as it is stored between the endpoint's 200 and the event log.

use serde::{Deserialize, Serialize};

use crate::events::EventKind;
use crate::message::QueueId;

/// The kind of a report, by Mailjet's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The recipient's server took the mail.
    Sent,
    /// The recipient's server refused the mail, or never took it.
    Bounce,
    /// Mailjet itself did not send the mail.
    Blocked,
    /// The recipient marked the mail as spam.
    Spam,
    /// The recipient unsubscribed.
    Unsub,
    /// The recipient opened the mail.
    Open,
    /// The recipient followed a link in the mail.
    Click,
}

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Sent, Kind::Bounce, Kind::Blocked, Kind::Spam, Kind::Unsub, Kind::Open, Kind::Click];

    /// Returns the name in Mailjet's events, which is also the label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Sent => "sent",
            Kind::Bounce => "bounce",
            Kind::Blocked => "blocked",
            Kind::Spam => "spam",
            Kind::Unsub => "unsub",
            Kind::Open => "open",
            Kind::Click => "click",
        }
    }

    /// Returns the kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the kind of our event.
    pub fn told_as(self) -> EventKind {
        match self {
            Kind::Sent => EventKind::Delivered,
            Kind::Bounce | Kind::Blocked => EventKind::Bounced,
            Kind::Spam => EventKind::Complained,
            Kind::Unsub => EventKind::Unsubscribed,
            Kind::Open => EventKind::Opened,
            Kind::Click => EventKind::Clicked,
        }
    }
}

/// One report. The code that makes it limits all texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    #[serde(rename = "e")]
    pub kind: Kind,
    /// The time in seconds since 1970; 0 if it is unknown.
    #[serde(rename = "t")]
    pub time: u64,
    /// The recipient's address as Mailjet writes it.
    #[serde(rename = "to", default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// The queue id that was sent with the mail.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<QueueId>,
    /// The recipient's index in the envelope, if it is known.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// Mailjet's numeric id of the message.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Mailjet's other id of the message.
    #[serde(rename = "g", default, skip_serializing_if = "String::is_empty")]
    pub guid: String,
    /// `bounce`: true if Mailjet says that it is permanent.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
    /// `bounce` and `blocked`: what the error concerns, for example `recipient`.
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    pub related_to: String,
    /// `bounce` and `blocked`: the error in Mailjet's words, for example `user unknown`.
    #[serde(rename = "x", default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The reply of the recipient's server, or the source of the complaint.
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(rename = "u", default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// `open` and `click`: distinguishes events of the same second.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub mark: u32,
}

impl Report {
    /// Makes a report with its kind only.
    pub fn new(kind: Kind) -> Self {
        Report {
            kind,
            time: 0,
            email: String::new(),
            mail: None,
            place: None,
            number: None,
            guid: String::new(),
            hard: false,
            related_to: String::new(),
            error: String::new(),
            comment: String::new(),
            url: String::new(),
            mark: 0,
        }
    }
}

fn is_zero(mark: &u32) -> bool {
    *mark == 0
}
