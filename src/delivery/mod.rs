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
mod body;
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

use std::borrow::Cow;
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
use connection::Broken;
use dial::{Failure, Trace};
use job::Job;
use pool::{Pool, retire};
use transaction::Ending;

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
            Ok(body) => self.transact(route, record, &body, recipients).await,
            Err(Unreadable(reason)) => Outcome { hold: Some(reason), ..Outcome::default() },
        };
        self.shared.counters.count(route.id.as_str(), &outcome);
        outcome
    }

    async fn transact(&self, route: &Arc<Route>, record: &Record, body: &Body<'_>, recipients: &[usize]) -> Outcome {
        let Shared { settings, counters, .. } = &*self.shared;
        let pool = self.shared.pool(route);
        let (mut one_by_one, mut parameters) = (pool.goes_one_by_one(), true);
        let mut recipients = Cow::Borrowed(recipients);
        let mut outcome = Outcome::default();
        let mut kept = pool.take(settings.timeouts.quit).await;
        let mut from_pool = kept.is_some();
        loop {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => match pool.dial(settings, counters, &mut Trace::default()).await {
                    Ok(connection) => {
                        from_pool = false;
                        connection
                    }
                    Err(failure) => {
                        outcome.add(not_connected(&recipients, failure));
                        return outcome;
                    }
                },
            };
            let job = Job {
                route,
                envelope: &record.envelope,
                recipients: &recipients,
                from_domain: &record.lane.domain,
                body,
                egress: settings.egress.address,
                one_by_one,
                parameters,
                fallback: connection.fallback.clone(),
            };
            let reused = connection.served > 0;
            let done = match transaction::run(&mut connection, &job, &settings.timeouts, reused).await {
                // Only a connection that served before can be stale, and the next one is new: this ends.
                Ending::Stale(why) => {
                    if matches!(why, Broken::OutOfStep(_)) {
                        pool.lost_step();
                        one_by_one = true;
                    }
                    tracing::debug!(route = %route.id, peer = connection.peer, %why, "a kept connection was dead");
                    continue;
                }
                Ending::OutOfStep(part) => {
                    pool.lost_step();
                    outcome.add(part);
                    return outcome;
                }
                Ending::Done(done) => done,
            };
            connection.served += 1;
            if reused {
                counters.reused.inc();
            }
            // Some servers take only so many messages over a connection, and refuse more without closing it.
            if from_pool && done.may_be_of_connection {
                tracing::debug!(route = %route.id, peer = connection.peer, "refused on a kept connection: a new one is tried");
                connection.quit(settings.timeouts.quit).await;
                continue;
            }
            let in_trouble = done.outcome.trouble.is_some();
            outcome.add(done.outcome);
            let goes_on = !in_trouble && !done.without_parameters.is_empty();
            match (done.usable, in_trouble) {
                (false, _) => drop(connection),
                // The trouble may be this connection's alone.
                (true, true) => retire(connection, settings.timeouts.quit),
                (true, false) if goes_on && connection.served < route.caps.messages_per_connection => {
                    kept = Some(connection);
                }
                (true, false) => pool.put(connection, settings.timeouts.quit),
            }
            if !goes_on {
                return outcome;
            }
            tracing::debug!(route = %route.id, "the server refuses parameters that it offers: they are left out");
            (parameters, recipients) = (false, Cow::Owned(done.without_parameters));
        }
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

/// No connection: every recipient waits, and the route has trouble.
fn not_connected(recipients: &[usize], failure: Failure) -> Outcome {
    let advice = failure.advice().map(str::to_owned);
    let class = Class { advice, ..Class::new(Verdict::Deferred, Scope::Route, failure.reason) };
    let recipients = recipients.iter().map(|index| class.clone().of(*index)).collect();
    Outcome { recipients, trouble: Some(failure.trouble), ..Outcome::default() }
}
