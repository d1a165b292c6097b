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
//! ← or {"error":{"kind":"not-found","message":"…","remedy":"…"}}
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operate::Error;
use crate::operate::links::NewLink;
use crate::operate::operators::{NewOperator, OperatorChange};
use crate::operate::queue::{Changed, Selection};
use crate::operate::suppression::Suppressed;
use crate::operate::tokens::NewToken;

/// The protocol's version. A relay refuses another one: the program on disk is not the one that runs.
pub const VERSION: u32 = 1;

/// A request of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The version of the protocol: [`VERSION`].
    pub version: u32,
    /// True if the relay tells how far a long command has come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub progress: bool,
    #[serde(flatten)]
    pub command: Command,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// An item a message.
    List {
        /// The messages to act on.
        which: Selection,
        /// At most so many.
        limit: Option<u64>,
    },
    /// One item: the message with its recipients, header and history.
    Show {
        id: String,
    },
    /// Keep them until released.
    Hold {
        /// The messages to act on.
        which: Selection,
        /// The reason, for events and lists.
        reason: String,
    },
    /// Held ones are due at once.
    Release {
        /// The messages to act on.
        which: Selection,
    },
    Retry {
        /// The messages to act on.
        which: Selection,
    },
    /// Given up: the sender is told as if the smarthost had refused them.
    Bounce {
        /// The messages to act on.
        which: Selection,
        /// Why; the sender reads it.
        reason: String,
    },
    /// Given up without a word to the sender.
    Remove {
        /// The messages to act on.
        which: Selection,
        /// The reason, for events and lists.
        reason: String,
    },
    /// One item: a page of events.
    Events {
        /// A cursor, `oldest` or `newest`.
        since: String,
        /// At most so many.
        limit: u64,
        /// How long to wait for the first one.
        wait_secs: u64,
    },
    Stats,
    /// An item a From domain of a customer: the selectors its mail is signed with at this moment.
    Signers {
        /// The id of the customer.
        customer: String,
    },
    /// An item an address on a customer's suppression list, by address.
    SuppressionList {
        customer: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// At most so many.
        limit: Option<u64>,
    },
    /// Puts an address on a customer's suppression list.
    SuppressionAdd {
        customer: String,
        address: String,
        note: String,
        /// For how long; absent: until it is taken off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_secs: Option<u64>,
    },
    /// Takes an address off a customer's suppression list.
    SuppressionRemove {
        customer: String,
        address: String,
    },
    /// Puts many addresses on a customer's suppression list, all or none.
    SuppressionImport {
        customer: String,
        entries: Vec<Suppressed>,
    },
    /// An item a customer whose mail is paused.
    PausedCustomers,
    /// Stops a customer's mail in the queue.
    PauseCustomer {
        customer: String,
        reason: String,
        /// Single mail goes on.
        #[serde(default)]
        spare_single: bool,
    },
    /// Lets it go on.
    UnpauseCustomer {
        customer: String,
    },
    /// An item an alert that is open, or of the last week.
    Alerts,
    /// Takes note of an alert.
    AcknowledgeAlert {
        /// What it is called.
        key: String,
        /// A sentence for the others; may be empty.
        note: String,
    },
    /// An item a route.
    Routes,
    SuspendRoute {
        /// The name of the route.
        route: String,
        /// The reason, for events and lists.
        reason: String,
    },
    /// Lets it go on.
    ResumeRoute {
        /// The name of the route.
        route: String,
    },
    /// Takes over a customer's file that was written or removed.
    TakeCustomer {
        customer: String,
    },
    /// One item: the link that was made, with its address.
    AddLink {
        /// The customer whose page it opens.
        customer: String,
        /// For how long, and in which language.
        new: NewLink,
    },
    /// An item a link.
    Links {
        /// Of this customer only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        customer: Option<String>,
    },
    /// Takes a link back.
    RevokeLink {
        id: String,
    },
    /// One item: the token that was made, with its secret.
    AddToken(NewToken),
    /// An item a token.
    Tokens,
    /// Takes a token back.
    RevokeToken {
        name: String,
    },
    /// One item: the operator that was added.
    AddOperator(NewOperator),
    /// An item an operator.
    Operators,
    /// Changes an operator; every session of it ends.
    ChangeOperator {
        name: String,
        change: OperatorChange,
    },
    /// Removes an operator; every session of it ends.
    RemoveOperator {
        name: String,
    },
}

impl Command {
    /// Returns false if the command only reads.
    pub fn changes_something(&self) -> bool {
        match self {
            Command::List { .. }
            | Command::Show { .. }
            | Command::Events { .. }
            | Command::Stats
            | Command::Signers { .. }
            | Command::SuppressionList { .. }
            | Command::PausedCustomers
            | Command::Alerts
            | Command::Routes
            | Command::Links { .. }
            | Command::Tokens
            | Command::Operators => false,
            Command::Hold { .. }
            | Command::Release { .. }
            | Command::Retry { .. }
            | Command::Bounce { .. }
            | Command::Remove { .. }
            | Command::SuppressionAdd { .. }
            | Command::SuppressionRemove { .. }
            | Command::SuppressionImport { .. }
            | Command::PauseCustomer { .. }
            | Command::UnpauseCustomer { .. }
            | Command::SuspendRoute { .. }
            | Command::ResumeRoute { .. }
            | Command::TakeCustomer { .. }
            | Command::AddLink { .. }
            | Command::RevokeLink { .. }
            | Command::AddToken(_)
            | Command::RevokeToken { .. }
            | Command::AcknowledgeAlert { .. }
            | Command::AddOperator(_)
            | Command::ChangeOperator { .. }
            | Command::RemoveOperator { .. } => true,
        }
    }
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// One of many: a [`Message`](crate::operate::queue::Message), a [`Route`](crate::operate::routes::Route), [`Stats`](crate::operate::queue::Stats).
    Item(Value),
    /// What was done so far.
    Progress(Done),
    Done(Done),
    /// The last line, instead.
    Error(Error),
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

impl Done {
    /// So many, and that was all.
    pub fn of(count: u64) -> Self {
        Done { count, ..Done::default() }
    }
}

impl From<Changed> for Done {
    fn from(Changed { count, busy }: Changed) -> Self {
        Done { count, busy, more: false }
    }
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
