//! Commands about the queue: what waits there, and what is done to it.
//!
//! A message that is being delivered at that moment is left alone, counted and reported: what its attempt brings is the truth.

mod change;
mod command;
mod look;
mod selection;
mod stopped;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use change::{Changed, Progress};
pub use command::Command;
pub(super) use command::check_reason;
pub use look::{Page, Pages};

/// Which messages: those that fit everything given. A filter that is not known is refused: ignored, it would mean more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// The messages with these queue ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Of this customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Whose mail takes this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// With a waiting recipient in this domain. Bounce and remove touch only these recipients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_domain: Option<String>,
    /// With this reference of the submitter's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Of this campaign of the submitter's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// With this tag of the submitter's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// From this envelope sender; empty for the null sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Accepted at least so many seconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than_secs: Option<u64>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// All of them: what a command that changes messages asks for when nothing else is given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// What a message does in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// Not tried yet.
    Waiting,
    /// Tried without success, waiting for the next attempt.
    Deferred,
    /// Kept until released.
    Held,
    /// Being tried at this moment.
    Delivering,
    /// Waiting or deferred, and not tried until a person acts: its customer or its route is suspended, or it has no route. For
    /// selections; the message itself keeps its state and says why in `stopped`.
    Stopped,
}

impl MessageState {
    /// As commands write it.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageState::Waiting => "waiting",
            MessageState::Deferred => "deferred",
            MessageState::Held => "held",
            MessageState::Delivering => "delivering",
            MessageState::Stopped => "stopped",
        }
    }
}

/// One message of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The queue id.
    pub id: String,
    /// Message-ID without angle brackets.
    pub message_id: String,
    /// The id of the customer.
    pub customer: String,
    /// `mail` or `bounce`.
    pub kind: String,
    /// `single` or `bulk`.
    pub urgency: String,
    /// The route it takes now; absent where there is none.
    pub route: Option<String>,
    /// Envelope sender; empty for the null sender.
    pub sender: String,
    /// The domain whose key signed.
    pub from_domain: String,
    /// The submitter's reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The submitter's campaign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// The submitter's tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The size of the message in octets.
    pub size: u64,
    /// When it was accepted, RFC 3339.
    pub arrived: String,
    /// Seconds since the message was accepted.
    pub age_secs: u64,
    /// What it does.
    pub state: MessageState,
    /// Why it is held.
    pub held: Option<String>,
    /// Why it is not tried until a person acts, though it is not held: its customer or its route is suspended, or it has no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Attempts that counted.
    pub attempts: u32,
    /// When the next is due, RFC 3339.
    pub due: String,
    /// Recipients in all.
    pub recipient_count: u64,
    /// Of these, still waiting.
    pub waiting_count: u64,
    /// In a list the first waiting ones, in `show` all.
    pub recipients: Vec<Recipient>,
    /// `show` only: the header, what is not UTF-8 replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// `show` only: what the event log remembers, oldest first: every attempt with the reply heard.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Value>,
}

/// A recipient and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recipient {
    /// The address of the recipient.
    pub address: String,
    /// `waiting`, `relayed` or `failed`.
    pub state: String,
    /// The last reply heard.
    pub reply: Option<String>,
}

/// The queue in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// How many messages wait.
    pub messages: u64,
    /// Of these held.
    pub held: u64,
    /// Of these tried before.
    pub deferred: u64,
    /// Of these neither held nor tried until a person acts.
    #[serde(default)]
    pub stopped: u64,
    /// Of these being delivered.
    pub delivering: u64,
    /// Octets of the messages.
    pub bytes: u64,
    /// Octets the spool takes on disk.
    pub disk_bytes: u64,
    /// Records set aside as unreadable.
    pub quarantined: u64,
    /// Age of the oldest message in seconds.
    pub oldest_secs: Option<u64>,
    /// The counts of each lane.
    pub lanes: Vec<LaneStats>,
}

/// One lane in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneStats {
    /// The id of the customer.
    pub customer: String,
    /// The From domain of the lane.
    pub domain: String,
    /// `single` or `bulk`.
    pub urgency: String,
    /// `mail` or `bounce`.
    pub kind: String,
    /// The route that its mail takes now; absent where there is none.
    pub route: Option<String>,
    /// Why nothing of it is tried until a person acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// How many messages wait.
    pub messages: u64,
    /// Of these held.
    pub held: u64,
    /// Of these tried before.
    pub deferred: u64,
    /// Of these being delivered.
    pub delivering: u64,
    /// Age of the oldest message in seconds.
    pub oldest_secs: u64,
}
