//! Delivery tries one message at one smarthost, for some or all of its recipients, and reports what the server's replies mean. The queue
//! decides what happens next.
//!
//! ```text
//! attempt ─► pool ─► connection (egress, greeting, EHLO, STARTTLS, AUTH) ─► transaction (MAIL, RCPT…, DATA, body, dot)
//!                                                                              │
//!         outcome ◄── interpret (by recipient) ◄── reply (→ verdict, scope, trouble, advice)
//! ```
//!
//! Promises: every connection leaves from the configured address, or no connection is made. A password crosses the
//! network without encryption only if the customer's file allows it. A recipient counts as relayed only after a
//! positive reply to the final dot. If the connection breaks after the final dot, the outcome is reported as unknown.
//! Replies are bounded in octets, lines and time.

mod addresses;
mod attempt;
mod auth;
mod body;
mod commands;
mod connection;
mod counters;
mod dial;
mod egress;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod interpret;
mod job;
pub(crate) mod outcome;
mod pool;
pub(crate) mod probe;
mod reply;
pub(crate) mod settings;
mod step;
mod test_attempt;
mod tls;
mod transaction;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;

pub use counters::Counters;
pub use outcome::{Meaning, Outcome, RecipientOutcome, Scope, Trouble, Verdict};
pub use probe::{ProbeReport, ProbeStep, StepResult};
pub(crate) use reply::{class_of_quoted, class_of_reported};
pub use settings::{Egress, EgressPath, Settings, Timeouts};
pub use step::Step;

use body::Body;
use job::Job;
use pool::{Pool, retire};

use crate::message::{MailKind, Returned};
use crate::route::{Route, RouteId};
use crate::smtp::ReversePath;
use crate::spool::{Bytes, Record};

/// Why delivery cannot start. The operator must act.
#[derive(Debug, Error)]
pub enum EgressError {
    /// The egress address cannot be bound on this machine.
    #[error(
        "egress: cannot bind {address}: {source}. Mail would leave from another address than customers have allow-listed; \
         give this machine the address or correct egress.bind (in a container, or behind NAT that gives the address: \
         bind = \"any\")"
    )]
    Bind {
        /// The address in `egress.bind`.
        address: std::net::IpAddr,
        /// The error text of the system.
        #[source]
        source: std::io::Error,
    },
}

/// How often kept connections are checked for those that have been idle too long.
const SWEEP: Duration = Duration::from_secs(5);

/// All connections to all smarthosts.
pub struct Delivery {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    counters: Counters,
    pools: Mutex<BTreeMap<RouteId, Arc<Pool>>>,
}

impl Delivery {
    /// Checks that the egress address can be bound. The caller refuses to start on an error. Must be called within the
    /// Tokio runtime, because it spawns the task that closes idle connections.
    pub fn new(settings: Settings) -> Result<Self, EgressError> {
        egress::check(&settings.egress.path)?;
        let shared = Arc::new(Shared { settings, counters: Counters::default(), pools: Mutex::default() });
        tokio::spawn(sweep(Arc::downgrade(&shared)));
        Ok(Delivery { shared })
    }

    /// The counters of all attempts and connections.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Makes one attempt for the recipients at these indices of the record's envelope. An attempt is one transaction. It is repeated over a
    /// new connection if a kept connection was dead or refused everybody, and without parameters for the recipients whose parameters the
    /// server refused.
    ///
    /// `extra_header` holds unsigned header lines (with CRLF) that are sent before the message on a Mailjet route. Test mail that stays
    /// here is never sent, whatever the route.
    ///
    /// Never fails: errors are part of the outcome. Recipients that are missing from the outcome were not reached, because the server takes
    /// no more in one transaction. The caller tries them at once in another transaction. The future may be dropped at any time; the
    /// connection is then closed.
    pub async fn attempt(
        &self,
        route: &Arc<Route>,
        record: &Record,
        bytes: &Bytes,
        recipients: &[usize],
        extra_header: &[u8],
    ) -> Outcome {
        if record.lane.kind == MailKind::Test {
            return test_attempt::run(record, recipients).await;
        }
        let outcome = match Body::open(bytes, extra_header, route.kind).await {
            Ok(body) => {
                let pool = self.shared.pool(route);
                let return_path = self.return_path(route, record, recipients);
                let job = Job {
                    route,
                    envelope: &record.envelope,
                    sender: return_path.as_ref().unwrap_or(&record.envelope.reverse_path),
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
            Err(why) => interpret::unread(why, recipients.iter().copied()),
        };
        self.shared.counters.count(route.id.as_str(), &outcome);
        outcome
    }

    /// Returns true if each recipient of this message must have a transaction of its own, because the return path names the recipient. A null
    /// sender is never replaced.
    pub fn separates_recipients(&self, route: &Route, record: &Record) -> bool {
        let has_sender = record.lane.kind == MailKind::Mail && record.envelope.reverse_path.mailbox().is_some();
        route.verp && has_sender && self.shared.settings.return_paths.is_some()
    }

    /// Returns the return path that names the one recipient of a transaction, if the route uses such return paths.
    fn return_path(&self, route: &Route, record: &Record, recipients: &[usize]) -> Option<ReversePath> {
        let paths = self.shared.settings.return_paths.as_ref()?;
        match recipients {
            [index] if self.separates_recipients(route, record) => {
                let address = paths.address(Returned { queue_id: record.id, index: *index });
                Some(ReversePath::Mailbox(address))
            }
            _ => None,
        }
    }

    /// Called after a reload. Closes the idle connections of routes that were removed or changed, and of routes that
    /// name certificate files, so that the files are read again. Transactions in progress finish on their connections.
    pub fn retain(&self, routes: &[Arc<Route>]) {
        let by_id: HashMap<&RouteId, &Arc<Route>> = routes.iter().map(|route| (&route.id, route)).collect();
        let same = |pool: &Pool| {
            let now = by_id.get(&pool.route.id);
            now.is_some_and(|route| Arc::ptr_eq(route, &pool.route) || **route == pool.route)
        };
        let names_files = |route: &Route| route.tls.ca_file.is_some() || route.tls.client_certificate.is_some();
        let gone: Vec<_> = self
            .shared
            .pools()
            .extract_if(.., |_, pool| !same(pool) || names_files(&pool.route))
            .map(|(_, pool)| pool)
            .collect();
        for connection in gone.iter().flat_map(|pool| pool.close()) {
            retire(connection, self.shared.settings.timeouts.quit);
        }
    }

    /// Sends QUIT on all idle connections and closes them without waiting for the replies. Attempts in progress
    /// continue, and their connections are closed when they end.
    pub async fn shutdown(&self) {
        let pools: Vec<_> = std::mem::take(&mut *self.shared.pools()).into_values().collect();
        let mut goodbyes: JoinSet<()> =
            pools.iter().flat_map(|pool| pool.close()).map(|connection| connection.quit_without_waiting()).collect();
        while goodbyes.join_next().await.is_some() {}
    }

    /// The number of idle connections in all pools.
    pub fn idle_connections(&self) -> usize {
        self.shared.pools().values().map(|pool| pool.idle_count()).sum()
    }
}

impl Shared {
    fn pools(&self) -> MutexGuard<'_, BTreeMap<RouteId, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the pool of this route. A new pool replaces the old one if the route has changed since.
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

/// Closes connections that have been idle too long, as long as the `Delivery` exists.
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
