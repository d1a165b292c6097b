//! The SMTP protocol without I/O: what a line means and how a reply is written.
//!
//! Nothing here opens a socket, reads configuration or knows a customer. Both sides use it: the
//! submission server parses commands and writes replies, the delivery client writes commands.

pub mod command;
pub mod data;
pub mod dsn;
pub mod ehlo;
pub mod path;
pub mod reply;
pub mod response;
pub mod stuff;

pub use command::{Command, Mail, Rcpt, Refusal};
pub use data::{DataReader, Flaw};
pub use ehlo::{Extensions, Mechanism, Mechanisms};
pub use path::{Domain, Mailbox, PathError, ReversePath};
pub use reply::{EnhancedCode, Reply};
pub use stuff::{BareLineEnd, DotStuffer};
