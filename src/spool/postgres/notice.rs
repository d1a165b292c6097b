//! The PostgreSQL spool's messages to operators.

use std::fmt;

use crate::message::QueueId;

/// A message to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A message does not match its checksum. It is held.
    Damaged {
        /// The id of the message.
        id: QueueId,
        /// The part that does not match.
        why: String,
    },
    /// New mail is refused, because the database has no room for it.
    Full {
        /// Which resource is short, and what to do about it.
        lack: String,
    },
    /// There is room again, so new mail is accepted.
    Roomy,
    /// The database cannot be written, or would not keep what is written.
    Failed {
        /// The error text of the database.
        why: String,
    },
    /// The database can be written again.
    Recovered,
    /// This node does no more work until it is started again.
    Stopped {
        /// The error text of the database.
        why: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Damaged { id, why } => {
                write!(f, "message {id} does not match what was written ({why}); it is held: release or remove it")
            }
            Notice::Full { lack } => write!(f, "new mail is refused, because the spool has no room for it: {lack}"),
            Notice::Roomy => write!(f, "the spool's database has room again: new mail is taken"),
            Notice::Failed { why } => {
                write!(f, "the spool's database cannot be written, so no mail is taken or delivered: {why}")
            }
            Notice::Recovered => write!(f, "the spool's database can be written again"),
            Notice::Stopped { why } => {
                write!(f, "the spool takes no more work until the program is started again: {why}")
            }
        }
    }
}
