//! What Mailjet reports of one recipient, as it is kept between the endpoint's 200 and the record.

use serde::{Deserialize, Serialize};

use crate::events::EventKind;
use crate::message::QueueId;

/// What happened, as Mailjet names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The recipient's server took the mail.
    Sent,
    /// The recipient's server refused it, or never took it.
    Bounce,
    /// Mailjet itself did not send it.
    Blocked,
    /// The recipient marked it as spam.
    Spam,
    /// The recipient wants no more of it.
    Unsub,
    /// The recipient opened it.
    Open,
    /// The recipient followed a link.
    Click,
}

impl Kind {
    pub const ALL: [Kind; 7] =
        [Kind::Sent, Kind::Bounce, Kind::Blocked, Kind::Spam, Kind::Unsub, Kind::Open, Kind::Click];

    /// The name in Mailjet's events, which is the label in metrics too.
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

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What the record tells.
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

/// One report. All texts are bounded by whoever makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    #[serde(rename = "e")]
    pub kind: Kind,
    /// When, in seconds since 1970; 0 where it is not said.
    #[serde(rename = "t")]
    pub time: u64,
    /// The recipient's address as Mailjet has it.
    #[serde(rename = "to", default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// The queue id that travelled with the mail.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<QueueId>,
    /// The recipient's index in the envelope, where it is known already.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// Mailjet's numeric id of the message.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Mailjet's other id of the message.
    #[serde(rename = "g", default, skip_serializing_if = "String::is_empty")]
    pub guid: String,
    /// `bounce`: Mailjet says that it is for good.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
    /// `bounce` and `blocked`: what the error is about, `recipient` for example.
    #[serde(rename = "r", default, skip_serializing_if = "String::is_empty")]
    pub related_to: String,
    /// `bounce` and `blocked`: the error in Mailjet's words, `user unknown` for example.
    #[serde(rename = "x", default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// What the recipient's server said, or who complained.
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    #[serde(rename = "u", default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// `open` and `click`: tells one from others of the same second.
    #[serde(rename = "m", default, skip_serializing_if = "is_zero")]
    pub mark: u32,
}

impl Report {
    /// A report of which nothing is known but its kind.
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
