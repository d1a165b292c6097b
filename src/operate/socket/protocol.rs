//! What goes over the socket: one JSON object a line.
//!
//! ```text
//! → {"version":1,"command":"list","which":{"customer":"test-as"},"limit":100}
//! ← {"item":{"id":"6H0K9MEFC7721",…}}
//! ← {"item":{"id":"1K3V9ZQ5W5J",…}}
//! ← {"done":{"count":2}}
//!
//! → {"version":1,"command":"hold","which":{"ids":["6H0K9MEFC7721"]},"reason":"wrong list"}
//! ← {"progress":{"count":500}}       any number of these, where the request says "progress":true
//! ← {"done":{"count":1}}
//! ← or {"error":{"message":"…","remedy":"…"}}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The protocol's version. A relay refuses another one: the program on disk is not the one that runs.
pub const VERSION: u32 = 1;

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// Whether to tell how far a long command has come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub progress: bool,
    /// What to do.
    #[serde(flatten)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// An item a message.
    List {
        /// Which.
        which: Selection,
        /// At most so many.
        limit: Option<u64>,
    },
    /// One item: the message with its recipients, header and history.
    Show {
        /// Its queue id.
        id: String,
    },
    /// Keep them until released.
    Hold {
        /// Which.
        which: Selection,
        /// Why.
        reason: String,
    },
    /// Held ones are due at once.
    Release {
        /// Which.
        which: Selection,
    },
    /// Due at once.
    Retry {
        /// Which.
        which: Selection,
    },
    /// Given up: the sender is told as if the smarthost had refused them.
    Bounce {
        /// Which.
        which: Selection,
        /// Why; the sender reads it.
        reason: String,
    },
    /// Given up without a word to the sender.
    Remove {
        /// Which.
        which: Selection,
        /// Why.
        reason: String,
    },
    /// One item: counts.
    Stats,
    /// An item a From domain of a customer: the selectors its mail is signed with at this moment.
    Signers {
        /// Its id.
        customer: String,
    },
    /// An item a route.
    Routes,
    /// Stops a route.
    SuspendRoute {
        /// Its name.
        route: String,
        /// Why.
        reason: String,
    },
    /// Lets it go on.
    ResumeRoute {
        /// Its name.
        route: String,
    },
}

/// Which messages: those that fit everything given. A filter that is not known is refused: ignored, it would mean more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// These.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// One of many: a [`Message`], a [`Route`] or [`Stats`].
    Item(Value),
    /// What was done so far.
    Progress(Done),
    /// The last line.
    Done(Done),
    /// The last line, instead.
    Error(Refusal),
}

/// What was done, to how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Items given, or messages changed.
    pub count: u64,
    /// Messages left alone because they were being delivered at that moment.
    #[serde(default)]
    pub busy: u64,
    /// More than `limit` match.
    #[serde(default)]
    pub more: bool,
}

/// Why not, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: String,
}

/// One message of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Queue id.
    pub id: String,
    /// Message-ID without angle brackets.
    pub message_id: String,
    /// Customer.
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
    /// Octets.
    pub size: u64,
    /// When it was accepted, RFC 3339.
    pub arrived: String,
    /// Seconds since.
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

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Address.
    pub address: String,
    /// `waiting`, `delivered` or `failed`.
    pub state: String,
    /// The last reply heard.
    pub reply: Option<String>,
}

/// The queue in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Messages.
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
    /// By lane.
    pub lanes: Vec<LaneStats>,
}

/// One lane in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStats {
    /// Customer.
    pub customer: String,
    /// From domain.
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
    /// Messages.
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

/// What signs for one From domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The domain.
    pub domain: String,
    /// The selectors of its own signatures; none where its key cannot be used.
    pub selectors: Vec<String>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its name.
    pub route: String,
    /// `host:port`.
    pub server: String,
    /// `ready`, `throttled` or `suspended`.
    pub state: String,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// When a throttled route is tried again, RFC 3339.
    pub until: Option<String>,
    /// Since when a route is suspended, RFC 3339.
    #[serde(default)]
    pub since: Option<String>,
    /// Since when its server has taken part in no transaction, where that is so, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_trouble_since: Option<String>,
    /// What lifts a suspension.
    #[serde(default)]
    pub lifted_by: Option<String>,
    /// Attempts being made.
    pub in_flight: u32,
    /// Recipients since midnight UTC.
    pub sent_today: u32,
    /// The cap a day.
    pub per_day: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_documented() {
        let line = r#"{"version":1,"command":"list","which":{"customer":"test-as"},"limit":100}"#;
        let which = Selection { customer: Some("test-as".into()), ..Selection::default() };
        let request = Request { version: 1, progress: false, command: Command::List { which, limit: Some(100) } };
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        let line = r#"{"version":1,"command":"suspend-route","route":"mailjet.starter","reason":"x"}"#;
        assert!(matches!(
            serde_json::from_str::<Request>(line).unwrap().command,
            Command::SuspendRoute { route, .. } if route == "mailjet.starter"
        ));
        assert_eq!(
            serde_json::to_string(&Answer::Done(Done { count: 1, ..Done::default() })).unwrap(),
            r#"{"done":{"count":1,"busy":0,"more":false}}"#
        );
    }
}
