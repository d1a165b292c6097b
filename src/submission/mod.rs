//! Submission takes mail from webCRM over SMTP, checks it, has it signed, and answers 250 once the spool has made it durable.
//!
//! ```text
//! running ─► listener ─► connection ◄─► session (commands, sasl, conduct)
//!            TLS, limits     │             └► transaction (MAIL, RCPT), admission (memory, time)
//!                            └► connection/submitting ─┬► login ─► auth                                        AUTH
//!                                                      └► content ─► intake ─► policy ─► dkim ─► spool ─► 250  DATA, BDAT
//! ```
//!
//! Beside the policy, `suppressed` and `test_mode` change or refuse an envelope. `added_fields` writes Received, Date and Message-ID.
//! `accepted` and `refusals` report what became of a message.
//!
//! Promises: a message that is answered with 250 is on disk. Only messages signed with the key of the customer in From are accepted. Every
//! refusal says what to change. Memory is bounded, whatever clients do.

mod accepted;
mod added_fields;
pub(crate) mod admission;
mod auth;
mod client;
mod conduct;
pub(crate) mod connection;
mod counters;
mod intake;
pub(crate) mod limits;
pub(crate) mod listener;
mod login;
pub(crate) mod open_connections;
pub(crate) mod policy;
mod refusal;
mod refusals;
mod running;
mod sasl;
pub(crate) mod session;
mod settings;
mod stack;
mod suppressed;
mod test_mode;
mod tls;
pub(crate) mod transaction;

pub(crate) use auth::hash_password;
pub use auth::{Allowed, Credentials, Submitter, SubmitterError, Submitters};
pub use counters::{Counters, HandshakeLabels, LoginLabels, ReasonLabels, ReplyLabels};
pub use limits::{Limits, MAX_HEADER_SIZE};
pub(crate) use login::{Login, Logins, Strikes};
pub use running::Submission;
pub use settings::{Context, ListenerAuth, ListenerSettings, ListenerTls};
pub use tls::{ServerTls, TlsError};
