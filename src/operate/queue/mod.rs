//! Commands about the queue: read its messages and change them.
//!
//! A message that is being delivered is not given up, only counted and reported, because the result of its attempt decides. A hold takes
//! effect when the attempt has ended.

mod carry_out;
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
pub use look::Page;
pub(super) use look::together;

/// A selection of messages, which must match every given filter. An unknown filter is refused, because without it the selection would be
/// larger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Messages with these queue ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Messages of this customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Messages that take this route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Messages with a waiting recipient in this domain. Bounce and remove affect only these recipients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_domain: Option<String>,
    /// Messages with this reference of the submitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Messages of this campaign of the submitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Messages with this tag of the submitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Messages with this ENVID of MAIL, decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// Messages from this envelope sender; empty for the null sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Messages that were accepted at least this number of seconds ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_than_secs: Option<u64>,
    /// Messages in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// All messages. A command that changes messages requires it if no filter is given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// The state of a message in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// Waiting for its first attempt. One that failed because of the route does not count.
    Waiting,
    /// Tried without success, and waiting for the next attempt.
    Deferred,
    /// Held until it is released.
    Held,
    /// Being delivered now.
    Delivering,
    /// Waiting or deferred, but not tried: its customer is suspended or paused, its route is suspended, or it has no route. Only for
    /// selections; the message itself keeps its other state and has the reason in `stopped`.
    Stopped,
}

impl MessageState {
    /// Returns the name in commands.
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

/// A message in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The queue id.
    pub id: String,
    /// Message-ID without angle brackets.
    pub message_id: String,
    /// The id of the customer.
    pub customer: String,
    /// `mail`, `bounce` (a notification of the relay's), or for test mode `test` (it stays here) and `test-leaving`.
    pub kind: String,
    /// `single` or `bulk`.
    pub urgency: String,
    /// The route it takes now; absent if there is none.
    pub route: Option<String>,
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// The domain of the signing key.
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
    /// ENVID of MAIL, decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// The size of the message in octets.
    pub size: u64,
    /// When it was accepted, RFC 3339.
    pub arrived: String,
    /// Seconds since the message was accepted.
    pub age_secs: u64,
    /// The state of the message.
    pub state: MessageState,
    /// Why it is held.
    pub held: Option<String>,
    /// Why it is not tried, although it is not held: its customer is suspended or paused, its route is suspended, or it has no route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The number of attempts that counted.
    pub attempts: u32,
    /// When the next attempt is due, RFC 3339.
    pub due: String,
    /// The number of all recipients.
    pub recipient_count: u64,
    /// The number of recipients that still wait.
    pub waiting_count: u64,
    /// In a list the first waiting recipients, in `show` all recipients.
    pub recipients: Vec<Recipient>,
    /// Only in `show`: the header, with everything replaced that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Only in `show`: the events in the event log, oldest first, with every attempt and its reply.
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
    /// The last reply from a server.
    pub reply: Option<String>,
}

/// The numbers of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// The number of waiting messages.
    pub messages: u64,
    /// The number of held messages among them.
    pub held: u64,
    /// The number of messages among them that were tried before.
    pub deferred: u64,
    /// The number of messages among them that are stopped: not held, and not tried either.
    #[serde(default)]
    pub stopped: u64,
    /// The number of messages among them that are being delivered.
    pub delivering: u64,
    /// The octets of the messages.
    pub bytes: u64,
    /// The octets that the spool uses on disk.
    pub disk_bytes: u64,
    /// The number of unreadable records that were set aside.
    pub quarantined: u64,
    /// The age of the oldest message in seconds.
    pub oldest_secs: Option<u64>,
    /// The counts of each lane.
    pub lanes: Vec<LaneStats>,
    /// The nodes whose part is missing, because they did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The numbers of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneStats {
    /// The id of the customer.
    pub customer: String,
    /// The From domain of the lane.
    pub domain: String,
    /// `single` or `bulk`.
    pub urgency: String,
    /// `mail`, `bounce` (a notification of the relay's), or for test mode `test` (it stays here) and `test-leaving`.
    pub kind: String,
    /// The route that its mail takes now; absent if there is none.
    pub route: Option<String>,
    /// Why none of its mail is tried, if it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The number of waiting messages.
    pub messages: u64,
    /// The number of held messages among them.
    pub held: u64,
    /// The number of messages among them that were tried before.
    pub deferred: u64,
    /// The number of messages among them that are being delivered.
    pub delivering: u64,
    /// The age of the oldest message in seconds.
    pub oldest_secs: u64,
}
