//! The SMTP protocol without I/O: parses lines and writes replies.
//!
//! Nothing here opens a socket, reads configuration or knows a customer. Both sides use it: the submission server
//! parses commands and writes replies, and the delivery client parses replies and EHLO answers, and stuffs dots.

pub(crate) mod command;
pub(crate) mod data;
pub(crate) mod dsn;
pub mod ehlo;
pub(crate) mod path;
pub(crate) mod reply;
pub mod response;
pub(crate) mod stuff;

pub use command::{Command, CommandError, Mail, Rcpt};
pub use data::{DataReader, Flaw};
pub use ehlo::{Extensions, Mechanism, Mechanisms};
pub use path::{Domain, Host, Mailbox, PathError, ReversePath, comparable, is_same_address};
pub use reply::{EnhancedCode, Reply};
pub use stuff::{BareLineEnd, DotStuffer};
