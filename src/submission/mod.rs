//! Submission: takes mail from webCRM over SMTP, checks it, has it signed, and answers 250 once the spool has made it durable.
//!
//! Promises: 250 means on disk; nothing is taken that is not signed with the key of the customer in From; what is refused is
//! refused with a reply that says what to change; memory is bounded whatever clients do.

mod auth;
mod counters;
mod limits;
mod settings;
mod tls;

pub use auth::{Allowed, Credentials, Submitter, SubmitterError, Submitters};
pub use counters::Counters;
pub use limits::{Limits, MAX_HEADER_SIZE};
pub use settings::{Context, ListenerAuth, ListenerSettings, ListenerTls};
pub use tls::{ServerTls, TlsError};
