//! The protocol of the socket: one JSON object per line.
//!
//! ```text
//! → {"version":1,"command":"list","which":{"customer":"test-as"},"limit":100}
//! ← {"item":{"id":"6H0K9MEFC7721",…}}
//! ← {"item":{"id":"1K3V9ZQ5W5J",…}}
//! ← {"done":{"count":2}}
//!
//! → {"version":1,"command":"hold","which":{"ids":["6H0K9MEFC7721"]},"reason":"wrong list"}
//! ← {"progress":{"count":500}}       any number of these, if the request has "progress":true
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
use crate::record::trace::Query;

/// The protocol's version. A relay refuses another version, which means that the program on disk is not the running one.
pub const VERSION: u32 = 1;

/// A request with a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The version of the protocol: [`VERSION`].
    pub version: u32,
    /// True if the relay shall report the progress of a long command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub progress: bool,
    #[serde(flatten)]
    pub command: Command,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// One item for each message.
    List {
        /// The messages to act on.
        which: Selection,
        /// The maximum number of messages.
        limit: Option<u64>,
    },
    /// One item: the message with its recipients, header and history.
    Show {
        id: String,
    },
    /// Holds messages until they are released.
    Hold {
        /// The messages to act on.
        which: Selection,
        /// The reason, for events and lists.
        reason: String,
    },
    /// Releases held messages, which are due at once.
    Release {
        /// The messages to act on.
        which: Selection,
    },
    Retry {
        /// The messages to act on.
        which: Selection,
    },
    /// Gives messages up, and informs the sender as if the receiving server had refused them.
    Bounce {
        /// The messages to act on.
        which: Selection,
        /// The reason, which the sender reads.
        reason: String,
    },
    /// Gives messages up without informing the sender.
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
        /// The maximum number of events.
        limit: u64,
        /// How long to wait for the first one.
        wait_secs: u64,
    },
    Stats,
    /// One item for each mail, with its events, of all nodes.
    Trace {
        query: Query,
        /// At most so many.
        limit: u64,
    },
    /// One item: what was erased from the records of all nodes.
    EraseRecipient {
        /// The recipient's address.
        recipient: String,
    },
    /// One item for each From domain of a customer: the selectors with which its mail is signed now.
    Signers {
        /// The id of the customer.
        customer: String,
    },
    /// One item for each address on a customer's suppression list, by address.
    SuppressionList {
        customer: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// The maximum number of addresses.
        limit: Option<u64>,
    },
    /// Adds an address to a customer's suppression list.
    SuppressionAdd {
        customer: String,
        address: String,
        note: String,
        /// The time after which the entry expires; absent if it does not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_secs: Option<u64>,
    },
    /// Removes an address from a customer's suppression list.
    SuppressionRemove {
        customer: String,
        address: String,
    },
    /// Adds many addresses to a customer's suppression list, all or none.
    SuppressionImport {
        customer: String,
        entries: Vec<Suppressed>,
    },
    /// One item for each customer whose mail is paused.
    PausedCustomers,
    /// One item for each customer whose mail would be stuck now.
    StuckCustomers,
    /// Pauses a customer's mail in the queue.
    PauseCustomer {
        customer: String,
        reason: String,
        /// True if single mail is still sent.
        #[serde(default)]
        spare_single: bool,
    },
    /// Resumes a customer's mail.
    UnpauseCustomer {
        customer: String,
    },
    /// One item: what came of a test mail.
    TestSend {
        customer: String,
        to: String,
        /// Absent: postmaster@ the customer's first domain.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// One item for each open alert and each notice of the last week.
    Alerts,
    /// Acknowledges an alert.
    AcknowledgeAlert {
        /// The key of the alert.
        key: String,
        /// A note for other operators. It may be empty.
        note: String,
    },
    /// One item for each route.
    Routes,
    SuspendRoute {
        /// The name of the route.
        route: String,
        /// The reason, for events and lists.
        reason: String,
    },
    /// Resumes a route.
    ResumeRoute {
        /// The name of the route.
        route: String,
    },
    /// Makes the relay use a customer's file that was written or removed.
    TakeCustomer {
        customer: String,
    },
    /// One item: the link that was made, with its address.
    AddLink {
        /// The customer whose page it opens.
        customer: String,
        /// The validity and the language.
        new: NewLink,
    },
    /// One item for each link.
    Links {
        /// Only links of this customer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        customer: Option<String>,
    },
    /// Revokes a link.
    RevokeLink {
        id: String,
    },
    /// One item: the token that was made, with its secret.
    AddToken(NewToken),
    /// One item for each token.
    Tokens,
    /// Revokes a token.
    RevokeToken {
        name: String,
    },
    /// One item: the operator that was added.
    AddOperator(NewOperator),
    /// One item for each operator.
    Operators,
    /// Changes an operator. All sessions of the operator end.
    ChangeOperator {
        name: String,
        change: OperatorChange,
    },
    /// Removes an operator. All sessions of the operator end.
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
            | Command::Trace { .. }
            | Command::Signers { .. }
            | Command::SuppressionList { .. }
            | Command::PausedCustomers
            | Command::StuckCustomers
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
            | Command::TestSend { .. }
            | Command::SuspendRoute { .. }
            | Command::ResumeRoute { .. }
            | Command::TakeCustomer { .. }
            | Command::EraseRecipient { .. }
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
    /// An item, such as a [`Message`](crate::operate::queue::Message), a [`Route`](crate::operate::routes::Route), or
    /// [`Stats`](crate::operate::queue::Stats).
    Item(Value),
    /// The progress so far.
    Progress(Done),
    Done(Done),
    /// The last line of an answer that failed.
    Error(Error),
}

/// The result of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The number of items, or of changed messages.
    pub count: u64,
    /// The number of messages that were left alone because they were being delivered.
    #[serde(default)]
    pub busy: u64,
    /// True if more than `limit` items match.
    #[serde(default)]
    pub more: bool,
    /// The nodes whose part is missing, because they did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl Done {
    /// Makes the result of a complete command with this number.
    pub fn of(count: u64) -> Self {
        Done { count, ..Done::default() }
    }
}

impl From<Changed> for Done {
    fn from(Changed { count, busy }: Changed) -> Self {
        Done { count, busy, ..Done::default() }
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
