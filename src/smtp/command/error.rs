//! Why a line is no command that we execute, and the reply that says so.

use crate::smtp::path::PathError;
use crate::smtp::reply::{EnhancedCode, Reply};

/// Why a line is not a command that we execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The verb is not known.
    Unknown,
    /// The verb is known, but its arguments are wrong. Holds the syntax that is expected.
    Syntax(&'static str),
    /// The line is not UTF-8, or holds a control character.
    Octets,
    /// The line is longer than allowed.
    TooLong,
    /// The line has a parameter of MAIL or RCPT that is not offered.
    Parameter(String),
    /// The line has a parameter with a wrong value, or gives it twice.
    Value(&'static str),
    /// The path of MAIL is wrong.
    Sender(PathError),
    /// The path of RCPT is wrong.
    Recipient(PathError),
    /// The recipient is the reserved `postmaster` without a domain.
    Postmaster,
}

impl CommandError {
    /// The reply that refuses the line.
    pub fn reply(&self) -> Reply {
        match self {
            CommandError::Unknown => Reply::new(500, EnhancedCode(5, 5, 1), "command not recognized"),
            CommandError::Syntax(expected) => Reply::new(501, EnhancedCode(5, 5, 4), format!("expected: {expected}")),
            CommandError::Octets => {
                Reply::new(500, EnhancedCode(5, 5, 2), "a command holds printable characters and ends with CRLF")
            }
            // RFC 5321 §4.2.2 names this code.
            CommandError::TooLong => Reply::new(500, EnhancedCode(5, 5, 2), "this line is too long"),
            // RFC 5321 §4.1.1.11 names this code.
            CommandError::Parameter(name) => {
                Reply::new(555, EnhancedCode(5, 5, 4), format!("parameter {name} is not offered here"))
            }
            CommandError::Value(name) => {
                Reply::new(501, EnhancedCode(5, 5, 4), format!("parameter {name} has a wrong value or is given twice"))
            }
            CommandError::Sender(why) => Reply::new(501, EnhancedCode(5, 1, 7), format!("MAIL FROM: {why}")),
            CommandError::Recipient(why) => Reply::new(501, EnhancedCode(5, 1, 3), format!("RCPT TO: {why}")),
            // RFC 5321 §4.5.1 asks servers that deliver to accept mail to `postmaster`. This one only relays, for
            // clients that log in.
            CommandError::Postmaster => {
                let text = "this relay has no mailboxes, not even a postmaster's: give the address with its domain";
                Reply::new(550, EnhancedCode(5, 1, 1), text)
            }
        }
    }
}
