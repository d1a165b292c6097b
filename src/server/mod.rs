//! The running relay: connects the stages, replaces parts of them at a reload, and stops them in order.
//!
//! It knows every stage and decides nothing; no stage knows it. [`Relay::start`] fails if a promise could not be kept: another process has
//! the spool, the egress address is not on this machine, an address to listen on is taken.

mod endpoints;
mod live;
mod notices;
mod open;
mod ready;
mod refeed;
mod settings;
mod start;
mod state;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use live::Live;
pub use open::unreadable_state;
pub use settings::{Reload, Settings, SpoolSettings};
pub use state::StateMove;

use crate::delivery::{self, Delivery};
use crate::events::{self, Events, Subject};
use crate::message::Lane;
use crate::queue::Queue;
use crate::spool::embedded;
use crate::spool::postgres;
use crate::spool::{self, LaneStats, Spool};
use crate::submission::{self, ServerTls, Submission, Submitters};
use crate::{database, dkim, metrics, resolver};

/// On a stop, the time for the last HTTP answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why the relay does not start. The operator must act.
#[derive(Debug, Error)]
pub enum StartError {
    /// A folder or file of the state directory cannot be used.
    #[error("{what} {path}: {source}")]
    State {
        /// The operation that failed.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The event log or a webhook cannot be started.
    #[error(transparent)]
    Events(#[from] events::Error),
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The spool cannot be opened.
    #[error("spool: {0}")]
    Spool(#[from] embedded::OpenError),
    /// The spool in a database cannot be opened.
    #[error("spool: {0}")]
    SharedSpool(#[from] postgres::OpenError),
    /// DNS lookups cannot be set up.
    #[error("cannot ask the DNS: {0}")]
    Resolver(#[from] resolver::dns::SetupError),
    /// The egress address cannot be bound.
    #[error(transparent)]
    Egress(#[from] delivery::EgressError),
    /// A listener's address cannot be bound.
    #[error("cannot take mail: {0}")]
    Submission(#[source] std::io::Error),
    /// The address of an HTTP endpoint cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The listener for returned mail cannot be bound, or the folder for such mail cannot be used.
    #[error("cannot take returned mail on {address}: {source}")]
    Returns {
        /// The address of the listener.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The system cannot start a thread.
    #[error("cannot start a thread: {0}")]
    Threads(#[source] std::io::Error),
}

/// A running relay.
pub struct Relay {
    live: Arc<Live>,
    reloads: metrics::Reloads,
    submitters: Arc<ArcSwap<Submitters>>,
    certificates: Vec<ServerTls>,
    webhook_secrets: BTreeMap<String, events::Secret>,
    events: Events,
    accepting: CancellationToken,
    submission: Submission,
    queue: Queue,
    delivery: Arc<Delivery>,
    spool: Arc<dyn Spool>,
    workers: dkim::Workers,
    http: HttpAddresses,
    stopping: CancellationToken,
    background: TaskTracker,
    running_events: events::Running,
    shutdown_grace: Duration,
}

/// The addresses of the HTTP endpoints, with the real ports if port 0 was configured.
#[derive(Clone, Copy)]
struct HttpAddresses {
    status: Option<SocketAddr>,
    api: Option<SocketAddr>,
    customers: Option<SocketAddr>,
    operators: Option<SocketAddr>,
}

impl Relay {
    /// Prepares all stages and listeners, and begins to deliver only when nothing can fail any more. So a start that fails has tried no
    /// mail.
    pub async fn start(settings: Settings) -> Result<Relay, StartError> {
        start::start(settings).await
    }

    /// Returns the listeners' addresses in the order of the configuration, with the real ports if port 0 was configured.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.submission.addresses()
    }

    /// Returns the address of the status pages.
    pub fn web_address(&self) -> Option<SocketAddr> {
        self.http.status
    }

    /// Returns the address of the API.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.http.api
    }

    /// Returns the address of the customers' pages.
    pub fn customers_address(&self) -> Option<SocketAddr> {
        self.http.customers
    }

    /// Returns the address of the operators' pages.
    pub fn operators_address(&self) -> Option<SocketAddr> {
        self.http.operators
    }

    /// Returns the state directory.
    pub fn state_dir(&self) -> &Path {
        &self.live.state_dir
    }

    /// Returns the metrics of reloads.
    pub fn reloads(&self) -> &metrics::Reloads {
        &self.reloads
    }

    /// Returns the events, which can be subscribed to.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Replaces customers, submitters, certificates, webhook secrets and the settings of checks at once. Mail of a removed customer is
    /// kept, with an alert. Returns the certificates that could not be read; their listeners keep the old ones.
    pub fn reload(&self, new: Reload) -> Vec<submission::TlsError> {
        self.submitters.store(Arc::new(new.submitters.remembering(&self.submitters.load())));
        self.live.replace(new.directory, new.onboarding, new.customer_files);
        for (name, secret) in new.webhook_secrets {
            if let Some(old) = self.webhook_secrets.get(&name) {
                old.replace(secret);
            }
        }
        self.reload_certificates()
    }

    fn reload_certificates(&self) -> Vec<submission::TlsError> {
        let mut unread = Vec::new();
        for certificate in &self.certificates {
            let subject = Subject::Certificate(certificate.certificate().display().to_string());
            match certificate.reload() {
                Ok(()) => self.events.resolve(&subject, "the certificate is read again"),
                Err(error) => {
                    self.events.raise(subject, format!("the old certificate stays in use: {error}"));
                    unread.push(error);
                }
            }
        }
        unread
    }

    /// Returns when the spool has given up on its disk, because only a restart helps then. The caller should then call
    /// [`stop`](Self::stop).
    pub async fn gave_up(&self) {
        let _ = self.spool.health().wait_for(|health| health.stopped.is_some()).await;
    }

    /// Returns after the dispatcher has made a round, which needs the locks of the spool's index and of the routes. So it does not return
    /// if one of them is stuck, or if the relay stops.
    pub async fn wait_for_dispatcher(&self) {
        self.queue.wait_for_dispatcher().await;
    }

    /// Returns the counts of the spool by lane.
    pub async fn waiting(&self) -> Result<BTreeMap<Lane, LaneStats>, spool::Error> {
        spool::all_lanes(&*self.spool).await
    }

    /// Stops the stages in order: first new mail and new attempts, then the parts that record the results. Incoming messages and running
    /// attempts share one grace period. A message that is not complete by then is not acknowledged. An attempt that has not ended is
    /// dropped, and its mail stays queued.
    pub async fn stop(self) {
        let grace = self.shutdown_grace;
        self.accepting.cancel();
        let sessions = async {
            if tokio::time::timeout(grace, self.submission.stopped()).await.is_err() {
                tracing::warn!("sessions were still open after {grace:?}; what they were sending is not taken");
            }
        };
        tokio::join!(sessions, self.queue.stop(grace));
        self.delivery.shutdown().await;
        self.stopping.cancel();
        self.background.close();
        // Slow readers of the pages are not waited for.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.background.wait()).await;
        self.spool.stop().await;
        let workers = self.workers;
        // Joining threads blocks. An error would mean that the runtime has already ended.
        let _ = tokio::task::spawn_blocking(move || workers.stop()).await;
        self.running_events.stop().await;
    }
}
