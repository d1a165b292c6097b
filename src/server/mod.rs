//! The running relay: wires the stages to each other, replaces what may be replaced while running, and stops in order.
//!
//! It knows every stage and decides nothing; no stage knows it. [`Relay::start`] refuses to start where a promise could not
//! be kept: another process has the spool, the egress address is not ours, an address to listen on is taken.

mod live;
mod notices;
mod ready;
mod settings;
mod start;

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
pub use settings::{Reload, Settings, SpoolSettings};

use crate::delivery::{self, Delivery};
use crate::events::{self, Events, Subject};
use crate::message::Lane;
use crate::queue::Queue;
use crate::route::microsoft::WHEN;
use crate::spool::embedded;
use crate::spool::postgres;
use crate::spool::{self, LaneStats, Spool};
use crate::submission::{self, ServerTls, Submission, Submitters};
use crate::{database, dkim, metrics, resolver};

/// On a stop, how long answers to operators and to readers of the pages may take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Why the relay does not start. The operator must act.
#[derive(Debug, Error)]
pub enum StartError {
    /// A folder or file of the state directory.
    #[error("{what} {path}: {source}")]
    State {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// The errno.
        #[source]
        source: std::io::Error,
    },
    /// The event log or a webhook.
    #[error(transparent)]
    Events(#[from] events::Error),
    /// The database.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// The spool.
    #[error("spool: {0}")]
    Spool(#[from] embedded::OpenError),
    /// The spool in a database.
    #[error("spool: {0}")]
    SharedSpool(#[from] postgres::OpenError),
    /// The resolver.
    #[error("cannot ask the DNS: {0}")]
    Resolver(#[from] resolver::dns::SetupError),
    /// The egress address.
    #[error(transparent)]
    Egress(#[from] delivery::EgressError),
    /// An address to take mail on.
    #[error("cannot take mail: {0}")]
    Submission(#[source] std::io::Error),
    /// The address of the status pages or of the API.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The errno.
        #[source]
        source: std::io::Error,
    },
    /// The listener of returned mail, or the folder where such mail waits.
    #[error("cannot take returned mail on {address}: {source}")]
    Returns {
        /// Where it is to be taken.
        address: SocketAddr,
        /// The errno.
        #[source]
        source: std::io::Error,
    },
    /// The system gives no threads.
    #[error("cannot start a thread: {0}")]
    Threads(#[source] std::io::Error),
}

/// A relay at work.
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
    returned_address: Option<SocketAddr>,
    stopping: CancellationToken,
    background: TaskTracker,
    running_events: events::Running,
    shutdown_grace: Duration,
}

/// Where HTTP is answered: the ports that the system gave for port 0.
#[derive(Clone, Copy)]
struct HttpAddresses {
    status: Option<SocketAddr>,
    api: Option<SocketAddr>,
    customers: Option<SocketAddr>,
    operators: Option<SocketAddr>,
}

impl Relay {
    /// Makes every stage ready, then the listeners, and begins to deliver once nothing can fail any more: a start that fails has
    /// tried no mail.
    pub async fn start(settings: Settings) -> Result<Relay, StartError> {
        start::start(settings).await
    }

    /// Where mail is taken, in the order of the configuration: the ports that the system gave for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.submission.addresses()
    }

    /// Where the status pages are.
    pub fn web_address(&self) -> Option<SocketAddr> {
        self.http.status
    }

    /// Where the API is.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.http.api
    }

    /// Where customers' pages are.
    pub fn customers_address(&self) -> Option<SocketAddr> {
        self.http.customers
    }

    /// Where operators' pages are.
    pub fn operators_address(&self) -> Option<SocketAddr> {
        self.http.operators
    }

    /// Where returned mail is taken.
    pub fn returned_mail_address(&self) -> Option<SocketAddr> {
        self.returned_address
    }

    /// The state folder.
    pub fn state_dir(&self) -> &Path {
        &self.live.state_dir
    }

    /// How reloads went, for the metrics.
    pub fn reloads(&self) -> &metrics::Reloads {
        &self.reloads
    }

    /// What happens, as it happens.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Replaces customers, submitters, certificates, the webhooks' secrets and the checks' settings at once. Mail of a
    /// customer that is gone is kept, with an alert. Gives the certificates that could not be read; their listeners go on
    /// with the ones they have.
    pub fn reload(&self, new: Reload) -> Vec<submission::TlsError> {
        self.submitters.store(Arc::new(new.submitters.remembering(&self.submitters.load())));
        self.live.replace(new.directory, new.onboarding, new.customer_files);
        for (name, secret) in new.webhook_secrets {
            if let Some(old) = self.webhook_secrets.get(&name) {
                old.replace(secret);
            }
        }
        self.tell_of_microsoft365();
        self.reload_certificates()
    }

    /// Raises one alert for all routes that log in at Microsoft 365 with a password, until there are none.
    fn tell_of_microsoft365(&self) {
        let routes = self.live.routing.routes().into_iter();
        let routes = routes.filter(|route| route.password_at_microsoft365().is_some());
        let routes: Vec<String> = routes.map(|route| route.id.to_string()).collect();
        let subject = Subject::PasswordsAtMicrosoft365;
        match routes.len() {
            0 => self.events.resolve(&subject, "no route logs in at Microsoft 365 with a password any more"),
            count => self.events.raise(
                subject,
                format!(
                    "{WHEN}, and {count} routes log in with one: {}; `postbud route list --microsoft365` says what each needs",
                    routes.join(", ")
                ),
            ),
        }
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

    /// Ends once the spool has given up on its disk: only a restart reads what is on it. The caller [stops](Self::stop) what is
    /// left.
    pub async fn gave_up(&self) {
        let _ = self.spool.health().wait_for(|health| health.stopped.is_some()).await;
    }

    /// Answers once the relay's loops have moved: the dispatcher has come round, which takes the locks of the spool's index and of
    /// the routes. It never does where one of them is stuck, or the relay stops.
    pub async fn comes_round(&self) {
        self.queue.comes_round().await;
    }

    /// What the spool holds, lane by lane.
    pub async fn waiting(&self) -> Result<BTreeMap<Lane, LaneStats>, spool::Error> {
        spool::all_lanes(&*self.spool).await
    }

    /// Stops in order: no new mail and no new attempts, then what holds the results. Messages on their way in and attempts under
    /// way share one grace to end in. A message that is not in by then is not acknowledged, an attempt that has not ended is
    /// dropped: its mail stays queued.
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
        // Whoever reads the pages slowly is not waited for.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.background.wait()).await;
        self.spool.stop().await;
        let workers = self.workers;
        // Joining threads blocks; that the task was cancelled would mean that the runtime is gone already.
        let _ = tokio::task::spawn_blocking(move || workers.stop()).await;
        self.running_events.stop().await;
    }
}
