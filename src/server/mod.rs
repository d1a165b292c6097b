//! The running relay: wires the stages to each other, replaces what may be replaced while running, and stops in order.
//!
//! It knows every stage and decides nothing; no stage knows it. [`Relay::start`] refuses to start where a promise could not
//! be kept: another process has the spool, the egress address is not ours, an address to listen on is taken.

mod live;
mod settings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use live::Live;
pub use settings::{Reload, Settings, SpoolSettings};

use crate::bounce::Postmaster;
use crate::customers::Routing;
use crate::customers::suppression::{self, Suppression};
use crate::database::{self, Database};
use crate::delivery::{self, Delivery};
use crate::events::{self, Events, Subject};
use crate::message::Lane;
use crate::onboarding::{Checker, Monitor};
use crate::operate::api::Api;
use crate::operate::{self, Service, Tokens};
use crate::queue::{self, Outcomes, Queue};
use crate::resolver::{self, Dns, SharedResolver};
use crate::route::microsoft::WHEN;
use crate::spool::embedded::{self, Embedded};
use crate::spool::postgres::{self, Postgres};
use crate::spool::{self, Health, LaneStats, Spool};
use crate::submission::{self, ListenerSettings, ListenerTls, ServerTls, Submission, Submitters};
use crate::{dkim, files, metrics, web};

/// Messages that may wait for a signer thread; more wait in their sessions.
const SIGNER_QUEUE: usize = 256;
/// On a stop, how long answers to operators and to readers of the pages may take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The tables of everybody who keeps some in the database.
const DATABASE_SCHEMAS: &[database::Schema] = &[operate::tokens::SCHEMA, suppression::SCHEMA];

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
    /// The event log or the webhook.
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
    webhook_secret: Option<events::Secret>,
    events: Events,
    accepting: CancellationToken,
    submission: Submission,
    queue: Queue,
    delivery: Arc<Delivery>,
    spool: Arc<dyn Spool>,
    workers: dkim::Workers,
    web_address: Option<SocketAddr>,
    api_address: Option<SocketAddr>,
    customers_address: Option<SocketAddr>,
    operators_address: Option<SocketAddr>,
    stopping: CancellationToken,
    background: TaskTracker,
    running_events: events::Running,
    shutdown_grace: Duration,
}

impl Relay {
    /// Makes every stage ready, then the listeners, and begins to deliver once nothing can fail any more: a start that fails has
    /// tried no mail.
    pub async fn start(settings: Settings) -> Result<Relay, StartError> {
        prepare(&settings)?;
        let webhook_secret = settings.events.webhook.as_ref().map(|webhook| webhook.secret.clone());
        let (events, mut running_events) = Events::start(settings.events)?;
        let database = open_database(settings.state_dir.clone()).await?;
        let (suppression, reports) = open_suppression(database.clone()).await?;
        let spool_counters = Arc::clone(settings.spool.counters());
        let spool_settings = settings.spool.with_journal(running_events.has_journal());
        let spool = open_spool(spool_settings, events.clone()).await?;
        running_events.follow(spool.clone());
        let workers = dkim::Workers::start(settings.signer_threads, SIGNER_QUEUE).map_err(StartError::Threads)?;
        let routing = Routing::new(settings.directory, settings.bounce_route);
        let submitters = Arc::new(ArcSwap::from_pointee(settings.submitters));
        let resolver: SharedResolver = Arc::new(Dns::new(&settings.resolver)?);
        let delivery = Arc::new(Delivery::new(delivery::Settings {
            timeouts: settings.timeouts,
            resolver: Some(Arc::clone(&resolver)),
            ..delivery::Settings::new(settings.hostname.as_str(), settings.egress.clone())
        })?);
        let postmaster = Postmaster {
            settings: Arc::new(settings.bounce),
            routing: routing.clone(),
            workers: workers.clone(),
            spool: spool.clone(),
        };
        let outcomes = Outcomes::new(Arc::clone(&spool), postmaster, events.clone(), suppression.clone());
        let first_retry = settings.queue.patience.retry.backoff.first;
        let parts = queue::Parts {
            spool: Arc::clone(&spool),
            delivery: Arc::clone(&delivery),
            routing: routing.clone(),
            events: events.clone(),
            outcomes: outcomes.clone(),
        };
        let waiting = Queue::open(settings.queue, parts).map_err(|source| StartError::State {
            what: "cannot read what the queue keeps in",
            path: settings.state_dir.clone(),
            source,
        })?;
        let queue = waiting.queue().clone();

        let stopping = CancellationToken::new();
        let background = TaskTracker::new();
        let checks = settings.onboarding.state_dir.clone();
        // A resolver of their own: what strangers' name servers do to it, no delivery has to wait for.
        let strangers: SharedResolver = Arc::new(Dns::new(&settings.resolver)?);
        let checker = Checker::new(settings.onboarding, strangers).map_err(|source| StartError::State {
            what: "cannot keep the verdicts in",
            path: checks,
            source,
        })?;
        // Publishes what the last run knew before the first message is routed.
        let monitor = Monitor::new(checker, routing.clone(), events.clone());
        let (onboarding, onboarding_counters) = (monitor.settings(), monitor.counters().clone());
        let checks_stopped = monitor.start(stopping.clone()).map_err(StartError::Threads)?;
        background.spawn(async move {
            // It is not sent to: it ends with the thread.
            let _ = checks_stopped.await;
        });
        let socket = operate::socket::bind(&settings.state_dir).map_err(|source| StartError::State {
            what: "cannot make the control socket",
            path: operate::socket::socket_path(&settings.state_dir),
            source,
        })?;
        let live = Arc::new(Live {
            hostname: settings.hostname.clone(),
            state_dir: settings.state_dir.clone(),
            egress: settings.egress,
            timeouts: settings.timeouts,
            resolver: settings.resolver,
            routing: routing.clone(),
            queue: queue.clone(),
            events: events.clone(),
            onboarding,
            customer_files: Mutex::new(settings.customer_files),
        });
        let service = Service {
            spool: Arc::clone(&spool),
            routes: Arc::new(queue.clone()),
            routing: routing.clone(),
            events: events.clone(),
            outcomes,
            tokens: Tokens::open(database)?,
            live: Some(live.clone()),
            suppression: suppression.clone(),
        };
        background.spawn({
            let (suppression, stopping) = (suppression.clone(), stopping.clone());
            async move { suppression.run(reports, stopping).await }
        });
        background.spawn(operate::collect_audit(settings.state_dir.clone(), events.clone(), stopping.clone()));
        background.spawn(operate::socket::serve(socket, service.clone(), stopping.clone()));

        let context = submission::Context {
            hostname: settings.hostname.clone(),
            limits: settings.limits,
            first_retry,
            bulk_requires: settings.bulk_requires,
            routing: routing.clone(),
            suppression: suppression.clone(),
            submitters: Arc::clone(&submitters),
            spool: spool.clone(),
            workers: workers.clone(),
            events: events.clone(),
            counters: submission::Counters::default(),
            known_clients: Some(settings.state_dir.join("known-clients.json")),
        };
        let submission_counters = context.counters.clone();
        let browsers = [&settings.customers_pages, &settings.operators_pages];
        let browsers = browsers.into_iter().flatten().map(|pages| &pages.endpoint);
        let over_http = settings.api.iter().chain(browsers).filter_map(|endpoint| endpoint.tls.clone());
        let certificates: Vec<ServerTls> = settings.listeners.iter().filter_map(certificate).chain(over_http).collect();
        let accepting = CancellationToken::new();
        let mut registry = metrics::registry();
        let stages = metrics::stages(&mut registry);
        submission_counters.register(stages);
        spool_counters.register(stages);
        queue.counters().register(stages);
        delivery.counters().register(stages);
        events.counters().register(stages);
        onboarding_counters.register(stages);
        metrics::register_build(stages);
        let reloads = metrics::Reloads::default();
        reloads.register(stages);
        stages.register_collector(Box::new(metrics::Certificates(Vec::clone(&certificates))));
        suppression.counters().register(stages);
        let queue_gauges = metrics::register_queue(stages, Arc::clone(&spool), Arc::new(queue.clone()));
        metrics::register_routing(stages, routing.clone());
        let own_name = settings.hostname.to_string();
        let pages = listen(settings.web, &own_name).await?;
        let api = listen(settings.api, &own_name).await?;
        let [web_address, api_address] = [&pages, &api].map(|it| it.as_ref().map(|(address, _)| *address));
        let browsers = [&settings.customers_pages, &settings.operators_pages];
        let [customers_pages, operators_pages] = browsers.map(|it| it.as_ref().map(|it| it.endpoint.clone()));
        let customers_pages = listen(customers_pages, &own_name).await?;
        let operators_pages = listen(operators_pages, &own_name).await?;
        let [customers_address, operators_address] =
            [&customers_pages, &operators_pages].map(|it| it.as_ref().map(|(address, _)| *address));
        let api = api.map(|(_, endpoint)| (endpoint, Api::new(service.clone(), &context.limits, stopping.clone())));
        let submission =
            Submission::start(settings.listeners, context, accepting.clone()).map_err(StartError::Submission)?;
        if let Some((endpoint, api)) = api {
            background.spawn(serve("the API", endpoint, api.router(), stopping.clone()));
        }
        if let (Some((_, endpoint)), Some(settings)) = (customers_pages, &settings.customers_pages) {
            let router = operate::pages::customers::Customers::new(service.clone()).router(settings);
            background.spawn(serve("the customers' pages", endpoint, router, stopping.clone()));
        }
        if let (Some((_, endpoint)), Some(settings)) = (operators_pages, &settings.operators_pages) {
            let router = operate::pages::operators::Operators::new(service.clone()).router(settings);
            background.spawn(serve("the operators' pages", endpoint, router, stopping.clone()));
        }
        if let Some((_, endpoint)) = pages {
            let sources = web::Sources {
                hostname: settings.hostname.to_string(),
                registry: Arc::new(registry),
                queue_gauges,
                readiness: web::Readiness::default()
                    .with("relay", is_not_stopping(accepting.clone()))
                    .with("spool", healthy(spool.health(), has_room))
                    .with("spool", healthy(spool.health(), is_written))
                    .with("spool", healthy(spool.health(), works)),
                health: web::Readiness::default().with("spool", healthy(spool.health(), works)),
                service,
            };
            background.spawn(serve("the status pages", endpoint, web::router(sources), stopping.clone()));
        }
        let queue = waiting.deliver();
        let relay = Relay {
            live,
            reloads,
            submitters,
            certificates,
            webhook_secret,
            events,
            accepting,
            submission,
            queue,
            delivery,
            spool,
            workers,
            web_address,
            api_address,
            customers_address,
            operators_address,
            stopping,
            background,
            running_events,
            shutdown_grace: settings.shutdown_grace,
        };
        relay.tell_of_microsoft365();
        Ok(relay)
    }

    /// Where mail is taken, in the order of the configuration: the ports that the system gave for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.submission.addresses()
    }

    /// Where the pages are.
    pub fn web_address(&self) -> Option<SocketAddr> {
        self.web_address
    }

    /// Where the API is.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api_address
    }

    /// Where customers' pages are.
    pub fn customers_address(&self) -> Option<SocketAddr> {
        self.customers_address
    }

    /// Where operators' pages are.
    pub fn operators_address(&self) -> Option<SocketAddr> {
        self.operators_address
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

    /// Replaces customers, submitters, certificates, the webhook's secret and the checks' settings at once. Mail of a
    /// customer that is gone is kept, with an alert. Gives the certificates that could not be read; their listeners go on
    /// with the ones they have.
    pub fn reload(&self, new: Reload) -> Vec<submission::TlsError> {
        self.submitters.store(Arc::new(new.submitters.remembering(&self.submitters.load())));
        self.live.replace(new.directory, new.onboarding, new.customer_files);
        if let (Some(secret), Some(new)) = (&self.webhook_secret, new.webhook_secret) {
            secret.replace(new);
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

fn certificate(listener: &ListenerSettings) -> Option<ServerTls> {
    match &listener.tls {
        ListenerTls::Off => None,
        ListenerTls::StartTls(tls) | ListenerTls::Implicit(tls) => Some(tls.clone()),
    }
}

/// Only its owner may look into what the relay keeps: it holds customers' mail.
fn prepare(settings: &Settings) -> Result<(), StartError> {
    for path in std::iter::once(&*settings.state_dir).chain(settings.spool.dir()) {
        let failed = |what| move |source| StartError::State { what, path: path.to_owned(), source };
        files::make_private_dir(path).map_err(failed("cannot make the folder"))?;
        // What cannot be closed belongs to somebody else, who could open it again.
        files::close_to_others(path).map_err(failed("cannot take other users' rights from what is in"))?;
    }
    Ok(())
}

/// The check for damage reads the whole file.
async fn open_database(state_dir: PathBuf) -> Result<Database, StartError> {
    let opened = tokio::task::spawn_blocking(move || Database::open(&state_dir, DATABASE_SCHEMAS)).await;
    let panicked = |panic: JoinError| StartError::Threads(std::io::Error::other(panic));
    Ok(opened.map_err(panicked)??)
}

/// Reads all lists into memory.
async fn open_suppression(database: Database) -> Result<(Suppression, suppression::Feed), StartError> {
    let opened = tokio::task::spawn_blocking(move || Suppression::open(database)).await;
    let panicked = |panic: JoinError| StartError::Threads(std::io::Error::other(panic));
    Ok(opened.map_err(panicked)??)
}

/// Recovery may read for seconds: it runs on a thread of its own.
async fn open_spool(settings: SpoolSettings, events: Events) -> Result<Arc<dyn Spool>, StartError> {
    match settings {
        SpoolSettings::Embedded(mut settings) => {
            settings.notices = Some(Arc::new(move |notice| tell_of_disk(&events, notice)));
            let opened = tokio::task::spawn_blocking(move || Embedded::open(settings)).await;
            let panicked = |panic: JoinError| embedded::OpenError::Io {
                what: "reading the spool".into(),
                source: std::io::Error::other(panic),
            };
            Ok(opened.map_err(panicked)??)
        }
        SpoolSettings::Postgres(mut settings) => {
            settings.notices = Some(Arc::new(move |notice| tell_of_database(&events, notice)));
            let opened = tokio::task::spawn_blocking(move || Postgres::open(*settings)).await;
            let panicked = |panic: JoinError| postgres::OpenError::Thread(std::io::Error::other(panic));
            Ok(opened.map_err(panicked)??)
        }
    }
}

fn tell_of_disk(events: &Events, notice: embedded::Notice) {
    use embedded::Notice;
    let detail = notice.to_string();
    match notice {
        Notice::Full { .. } => events.raise(Subject::SpoolRoom, detail),
        Notice::Roomy => events.resolve(&Subject::SpoolRoom, detail),
        Notice::Failed { .. } | Notice::Stopped { .. } => events.raise(Subject::SpoolWrites, detail),
        Notice::Recovered => events.resolve(&Subject::SpoolWrites, detail),
        // Every crash may leave one, and there is nothing to do about it.
        Notice::Torn { .. } => tracing::warn!("{detail}"),
        Notice::Quarantined { .. } | Notice::Doubtful { .. } | Notice::Unreadable { .. } => events.alert(detail),
    }
}

fn tell_of_database(events: &Events, notice: postgres::Notice) {
    use postgres::Notice;
    let detail = notice.to_string();
    match notice {
        Notice::Full { .. } => events.raise(Subject::SpoolRoom, detail),
        Notice::Roomy => events.resolve(&Subject::SpoolRoom, detail),
        Notice::Failed { .. } | Notice::Stopped { .. } => events.raise(Subject::SpoolWrites, detail),
        Notice::Recovered => events.resolve(&Subject::SpoolWrites, detail),
        Notice::Damaged { .. } => events.alert(detail),
    }
}

fn is_not_stopping(accepting: CancellationToken) -> impl Fn() -> Result<(), String> {
    move || match accepting.is_cancelled() {
        false => Ok(()),
        true => Err("the relay is stopping and takes no new mail; send it elsewhere until the next start".into()),
    }
}

/// A check of the spool's health, as it is when it is asked for.
fn healthy(
    health: watch::Receiver<Health>,
    check: fn(&Health) -> Result<(), String>,
) -> impl Fn() -> Result<(), String> {
    move || check(&health.borrow())
}

fn has_room(health: &Health) -> Result<(), String> {
    match &health.full {
        None => Ok(()),
        Some(lack) => Err(format!("the spool has no room for new mail: {lack}")),
    }
}

fn is_written(health: &Health) -> Result<(), String> {
    match &health.troubled {
        None => Ok(()),
        Some(why) => Err(format!("the spool cannot be written for now, so no mail is taken or delivered: {why}")),
    }
}

fn works(health: &Health) -> Result<(), String> {
    match &health.stopped {
        None => Ok(()),
        Some(why) => Err(format!("the spool has given up, so no mail is taken or delivered until a restart: {why}")),
    }
}

/// Binds the address of an endpoint, where there is one.
async fn listen(
    settings: Option<web::Settings>,
    own_name: &str,
) -> Result<Option<(SocketAddr, web::Endpoint)>, StartError> {
    let Some(settings) = settings else { return Ok(None) };
    let address = settings.address;
    let taken = |source| StartError::Listen { address, source };
    let endpoint = web::Endpoint::bind(settings, own_name.to_owned()).await.map_err(taken)?;
    Ok(Some((endpoint.address().map_err(taken)?, endpoint)))
}

async fn serve(what: &str, endpoint: web::Endpoint, router: axum::Router, stopping: CancellationToken) {
    if let Err(error) = web::serve(endpoint, router, stopping).await {
        tracing::error!("{what} ended: {error}");
    }
}
