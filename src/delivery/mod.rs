//! Delivery: one attempt at one smarthost, and what came of it. It decides nothing: the queue does.
//!
//! ```text
//! attempt ─► pool ─► connection (egress, greeting, EHLO, STARTTLS, AUTH) ─► transaction (MAIL, RCPT…, DATA, body, dot)
//!                                                                              │
//!         outcome ◄── settle (by recipient) ◄── classify (reply → verdict, scope, trouble, advice)
//! ```
//!
//! Promises: every connection leaves from the configured address or not at all; a password never crosses the network in
//! clear unless the customer's file says so; a recipient counts as delivered only after the reply to the final dot; a
//! connection that broke after the final dot is reported as unknown. Replies are bounded in octets, lines and time.

mod addresses;
mod advice;
mod attempt;
mod body;
mod certificate;
mod classify;
mod commands;
mod connection;
mod counters;
mod dial;
mod egress;
mod job;
mod limits;
mod login;
mod oauth;
mod ours;
pub mod outcome;
mod pool;
pub mod probe;
mod refusal;
mod sasl;
pub mod settings;
mod settle;
mod signal;
mod step;
mod tls;
mod transaction;
mod verifier;
#[cfg(test)]
mod wordings;
mod words;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;

pub use counters::Counters;
pub use outcome::{Class, Outcome, RecipientOutcome, Scope, Trouble, Verdict};
pub use probe::{Finding, ProbeReport, ProbeStep};
pub use settings::{Egress, EgressPath, Settings, Timeouts};
pub use step::Step;

use body::{Body, Unreadable};
use job::Job;
use pool::{Pool, retire};

use crate::route::{Route, RouteId};
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

/// How often kept connections are looked over for those that have waited too long.
const SWEEP: Duration = Duration::from_secs(5);

/// All connections to all smarthosts.
pub struct Delivery {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    counters: Counters,
    pools: Mutex<HashMap<RouteId, Arc<Pool>>>,
}

impl Delivery {
    /// Checks that the egress address can be bound; the caller refuses to start where it cannot. Must be called within the
    /// runtime.
    pub fn new(settings: Settings) -> Result<Self, EgressError> {
        egress::check(&settings.egress.path)?;
        let shared = Arc::new(Shared { settings, counters: Counters::default(), pools: Mutex::default() });
        tokio::spawn(sweep(Arc::downgrade(&shared)));
        Ok(Delivery { shared })
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Makes one transaction for the recipients at these indices of the record's envelope; another one on a new connection where
    /// a kept one refused them all, and for those whose parameters the server refused. `extra_header` holds unsigned header lines
    /// (with CRLF) that go before the message on a Mailjet route. Never fails: what went wrong is in the outcome. Recipients that
    /// are absent from it were not reached (the server takes no more in one transaction) and go in another one at once. May be
    /// dropped at any time; the connection is then closed.
    pub async fn attempt(
        &self,
        route: &Arc<Route>,
        record: &Record,
        bytes: &Bytes,
        recipients: &[usize],
        extra_header: &[u8],
    ) -> Outcome {
        let outcome = match Body::open(bytes, extra_header, route.kind).await {
            Ok(body) => {
                let pool = self.shared.pool(route);
                let job = Job {
                    route,
                    envelope: &record.envelope,
                    recipients,
                    from_domain: &record.lane.domain,
                    body: &body,
                    egress: self.shared.settings.egress.address,
                    one_by_one: pool.goes_one_by_one(),
                    parameters: true,
                    fallback: None,
                };
                attempt::run(&self.shared, &pool, &job).await
            }
            Err(Unreadable(reason)) => Outcome { hold: Some(reason), ..Outcome::default() },
        };
        self.shared.counters.count(route.id.as_str(), &outcome);
        outcome
    }

    /// After a reload: closes idle connections of routes that are gone or changed, and of those that name files, so that
    /// certificates are read anew. Transactions under way end on the connections they have.
    pub fn retain(&self, routes: &[Arc<Route>]) {
        let same = |pool: &Pool| routes.iter().any(|route| route.id == pool.route.id && *route == pool.route);
        let names_files = |route: &Route| route.tls.ca_file.is_some() || route.tls.client_certificate.is_some();
        let gone: Vec<_> = self
            .shared
            .pools()
            .extract_if(|_, pool| !same(pool) || names_files(&pool.route))
            .map(|(_, pool)| pool)
            .collect();
        for connection in gone.iter().flat_map(|pool| pool.close()) {
            retire(connection, self.shared.settings.timeouts.quit);
        }
    }

    /// Closes idle connections with QUIT, without waiting for the answers. Attempts in flight go on, and their connections
    /// are closed when they end.
    pub async fn shutdown(&self) {
        let pools: Vec<_> = self.shared.pools().drain().map(|(_, pool)| pool).collect();
        let mut goodbyes: JoinSet<()> =
            pools.iter().flat_map(|pool| pool.close()).map(|connection| connection.quit_without_waiting()).collect();
        while goodbyes.join_next().await.is_some() {}
    }

    /// Connections that wait for their next transaction.
    pub fn idle_connections(&self) -> usize {
        self.shared.pools().values().map(|pool| pool.idle_count()).sum()
    }
}

impl Shared {
    fn pools(&self) -> MutexGuard<'_, HashMap<RouteId, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool of a route as it is configured now.
    fn pool(&self, route: &Arc<Route>) -> Arc<Pool> {
        let mut pools = self.pools();
        if let Some(pool) = pools.get(&route.id)
            && (Arc::ptr_eq(&pool.route, route) || pool.route == *route)
        {
            return Arc::clone(pool);
        }
        let pool = Arc::new(Pool::new(Arc::clone(route)));
        let replaced = pools.insert(route.id.clone(), Arc::clone(&pool));
        drop(pools);
        for connection in replaced.iter().flat_map(|pool| pool.close()) {
            retire(connection, self.settings.timeouts.quit);
        }
        pool
    }
}

/// Closes connections that have waited too long, for as long as the delivery lives.
async fn sweep(shared: std::sync::Weak<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(shared) = shared.upgrade() else { return };
        let pools: Vec<_> = shared.pools().values().cloned().collect();
        for connection in pools.iter().flat_map(|pool| pool.expired()) {
            retire(connection, shared.settings.timeouts.quit);
        }
    }
}
