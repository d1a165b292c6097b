//! Starts a relay: opens the stored state, the stages on a message's path, the domain checks, and then the listeners. Delivery starts last,
//! when nothing can fail any more.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::live::Live;
use super::refeed::{self, Refeed};
use super::{HttpAddresses, Relay, Settings, SpoolSettings, StartError, notices, ready};
use crate::bounce::Postmaster;
use crate::customers::Routing;
use crate::customers::suppression::{self, Suppression};
use crate::database::{self, Database, Home};
use crate::delivery::{self, Delivery};
use crate::events::{self, Events};
use crate::message::ReturnPaths;
use crate::onboarding::{self, Checker, Monitor};
use crate::operate::api::Api;
use crate::operate::letters::Letters;
use crate::operate::pages;
use crate::operate::pages::customers::Customers;
use crate::operate::pages::operators::{Operators, Surroundings};
use crate::operate::{self, Acknowledgements, History, Jobs, Links, Nodes, Service, SpareKeys, Tokens};
use crate::queue::{self, Outcomes, Queue};
use crate::resolver::{Dns, SharedResolver};
use crate::returns::dmarc::{self, Reports};
use crate::returns::mail::ReturnedMail;
use crate::returns::mailjet::{self, Mailjet};
use crate::spool::embedded::{self, Embedded};
use crate::spool::postgres::{self, Postgres};
use crate::spool::{Counters, Spool};
use crate::submission::{self, ListenerSettings, ListenerTls, ServerTls, Submission};
use crate::{dkim, files, metrics, returns, status, web};

/// The most messages that wait for a signer thread. More wait in their sessions.
const SIGNER_QUEUE: usize = 256;
/// The tables of all owners in the database.
pub(super) const DATABASE_SCHEMAS: &[database::Schema] = &[
    operate::tokens::SCHEMA,
    operate::operators::SCHEMA,
    operate::alerts::SCHEMA,
    operate::history::SCHEMA,
    operate::links::SCHEMA,
    suppression::SCHEMA,
    mailjet::SCHEMA,
    dmarc::SCHEMA,
    onboarding::kept::SCHEMA,
    operate::nodes::SCHEMA,
    queue::shared_day::SCHEMA,
    database::moving::SCHEMA,
];

/// Starts all stages in the order that [`Relay::start`] promises.
pub(super) async fn start(settings: Settings) -> Result<Relay, StartError> {
    prepare(&settings)?;
    let webhooks = settings.events.webhooks.iter();
    let webhook_secrets = webhooks.map(|webhook| (webhook.name.clone(), webhook.secret.clone())).collect();
    let carrier = Arc::new(queue::Carrier::default());
    let nodes = settings.spool.nodes();
    let state_home = settings.spool.state_home(&settings.state_dir);
    let spool = settings.spool.with_carried(carrier.clone());
    let kept = Kept::open(&settings.state_dir, settings.events, spool).await?;
    let Kept { events, spool, suppression, .. } = &kept;
    let routing = Routing::new(settings.directory, settings.bounce_route);
    let first_retry = settings.queue.patience.retry.backoff.first;
    let workers = dkim::Workers::start(settings.signer_threads, SIGNER_QUEUE).map_err(StartError::Threads)?;
    let return_paths = open_return_paths(settings.returned_mail.as_ref(), &settings.state_dir).await?;
    let delivery = Arc::new(Delivery::new(delivery::Settings {
        timeouts: settings.timeouts,
        return_paths: return_paths.clone(),
        resolver: Some(Arc::new(Dns::new(&settings.resolver)?)),
        ..delivery::Settings::new(settings.hostname.as_str(), settings.egress.clone())
    })?);
    let postmaster = Postmaster {
        settings: Arc::new(settings.bounce),
        routing: routing.clone(),
        workers: workers.clone(),
        spool: spool.clone(),
    };
    let fed = settings.state_dir.join(refeed::FILE);
    let refeed = Refeed {
        lists: suppression.clone(),
        events: events.clone(),
        routing: routing.clone(),
        spool: Arc::downgrade(spool),
        file: fed.clone(),
    };
    let outcomes = Outcomes::new(Arc::clone(spool), postmaster, events.clone(), suppression.clone());
    let parts = queue::Parts {
        spool: Arc::clone(spool),
        delivery: Arc::clone(&delivery),
        routing: routing.clone(),
        events: events.clone(),
        outcomes: outcomes.clone(),
    };
    let waiting = Queue::open(settings.queue, parts)
        .map_err(|source| state("cannot read what the queue keeps in", &settings.state_dir, source))?;
    carrier.attach(&waiting);
    let queue = waiting.queue().clone();

    let tasks = Tasks::default();
    // The checks have their own resolver, so that delivery never waits for what strangers' name servers do to it.
    let strangers = Arc::new(Dns::new(&settings.resolver)?);
    let onboarding = share_domains(settings.onboarding, &state_home, &kept.database).await?;
    let leads = {
        let spool = Arc::clone(spool);
        move || spool.leads()
    };
    let checks = Checks::start(onboarding, strangers, &routing, events, leads, &tasks)?;
    let dmarc = open_dmarc(kept.database.clone(), settings.dmarc.keep, routing.clone(), &checks.settings).await?;
    let live = Arc::new(Live {
        hostname: settings.hostname.clone(),
        state_dir: settings.state_dir.clone(),
        state_home,
        egress: settings.egress,
        timeouts: settings.timeouts,
        resolver: settings.resolver,
        returns_domain: settings.returned_mail.as_ref().map(|returned| returned.domain.clone()),
        mailjet_events: settings.mailjet_events.clone(),
        routing: routing.clone(),
        queue: queue.clone(),
        events: events.clone(),
        onboarding: checks.settings.clone(),
        looks: checks.looks,
        dmarc: settings.dmarc,
        customer_files: Mutex::new(settings.customer_files),
    });
    let session_times = settings.operators_pages.as_ref().map(|it| it.sessions).unwrap_or_default();
    let service = Service {
        spool: Arc::clone(spool),
        routes: Arc::new(queue.clone()),
        routing: routing.clone(),
        events: events.clone(),
        outcomes,
        links: Links::new(kept.database.clone(), settings.customers_pages.as_ref().map(|pages| pages.url.clone())),
        tokens: Tokens::open(kept.database.clone())?,
        operators: operate::Operators::open(kept.database.clone(), &settings.limits, session_times)?,
        acknowledgements: Acknowledgements::new(kept.database.clone()),
        history: History::new(kept.database.clone()),
        jobs: Jobs::default(),
        spare_keys: SpareKeys::default(),
        live: Some(live.clone()),
        nodes: Nodes::new(&kept.database),
        suppression: suppression.clone(),
        dmarc: Some(dmarc.clone()),
    };
    if settings.api.is_some() {
        // Customers are added over it.
        service.spare_keys.prepare();
    }
    let mailjet = match settings.mailjet_events.clone() {
        None => None,
        Some(settings) => {
            let parts = mailjet::Parts {
                database: kept.database.clone(),
                events: events.clone(),
                routing: routing.clone(),
                suppression: suppression.clone(),
                outcomes: service.outcomes.clone(),
                accounts: checks.settings.subscribe(),
            };
            Some(Mailjet::open(settings, parts).await?)
        }
    };
    let submitters = Arc::new(ArcSwap::from_pointee(settings.submitters));
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
    let of_operators = settings.operators_pages.as_ref().map(|operators| &operators.pages);
    let browsers = settings.customers_pages.iter().chain(of_operators).map(|pages| &pages.endpoint);
    let of_mailjet = settings.mailjet_events.iter().map(|mailjet| &mailjet.web);
    let over_http = settings
        .web
        .iter()
        .chain(&settings.api)
        .chain(browsers)
        .chain(of_mailjet)
        .filter_map(|endpoint| endpoint.tls.clone());
    let over_smtp = settings.listeners.iter().chain(settings.returned_mail.as_ref().map(|returned| &returned.listener));
    let certificates: Vec<ServerTls> = over_smtp.filter_map(certificate).chain(over_http).collect();
    let reloads = metrics::Reloads::default();
    let mut registry = metrics::registry();
    let stages = metrics::stages(&mut registry);
    metrics::register_build(stages);
    metrics::register_routing(stages, routing);
    context.counters.register(stages);
    kept.spool_counters.register(stages);
    queue.counters().register(stages);
    delivery.counters().register(stages);
    events.counters().register(stages);
    suppression.counters().register(stages);
    checks.counters.register(stages);
    if let Some(mailjet) = &mailjet {
        mailjet.counters().register(stages);
    }
    dmarc.register(stages);
    reloads.register(stages);
    stages.register_collector(Box::new(metrics::Certificates(certificates.clone())));
    stages.register_collector(Box::new(metrics::Signatures(live.routing.clone())));
    stages.register_collector(Box::new(operate::tokens::Expiry(service.tokens.clone())));

    // All addresses are bound before the first client is accepted.
    let accepting = CancellationToken::new();
    let returned_mail = match (settings.returned_mail, return_paths) {
        (Some(of_returns), Some(paths)) => {
            let parts = returns::mail::Parts {
                hostname: settings.hostname.clone(),
                state_dir: settings.state_dir.clone(),
                paths,
                events: events.clone(),
                suppression: suppression.clone(),
                outcomes: service.outcomes.clone(),
                routing: live.routing.clone(),
                spool: spool.clone(),
                retry_first: first_retry,
                egress: live.egress.address,
                dmarc: Some(Arc::new(dmarc.clone())),
            };
            Some(open_returned_mail(of_returns, parts, accepting.clone())?)
        }
        _ => None,
    };
    if let Some(returned_mail) = &returned_mail {
        returned_mail.counters().register(stages);
    }
    let returned_address = returned_mail.as_ref().map(ReturnedMail::address);
    let socket = operate::socket::bind(&settings.state_dir).map_err(|source| {
        state("cannot make the control socket", &operate::socket::socket_path(&settings.state_dir), source)
    })?;
    let own_name = settings.hostname.to_string();
    let bind = async |what, endpoint: Option<web::Settings>| Door::bind(what, endpoint, &own_name).await;
    let endpoint = |pages: Option<&pages::Settings>| pages.map(|pages| pages.endpoint.clone());
    let of_operators = settings.operators_pages.as_ref().map(|operators| &operators.pages);
    let status = bind("the status pages", settings.web).await?;
    let api = bind("the API", settings.api).await?;
    let customers = bind("the customers' pages", endpoint(settings.customers_pages.as_ref())).await?;
    let operators = bind("the operators' pages", endpoint(of_operators)).await?;
    let from_mailjet = bind("the endpoint of Mailjet's events", settings.mailjet_events.map(|it| it.web)).await?;
    let [of_status, of_api, of_customers, of_operators] =
        [&status, &api, &customers, &operators].map(|door| door.as_ref().map(|door| door.address));
    let http = HttpAddresses { status: of_status, api: of_api, customers: of_customers, operators: of_operators };
    let (readiness, until) = (ready::readiness(&accepting, spool), tasks.stopping.clone());
    let surroundings = Surroundings { hostname: own_name.clone(), readiness: readiness.clone(), stopping: until };
    let letters =
        Letters { service: service.clone(), workers: workers.clone(), spool: kept.spool.clone(), first_retry };
    let sources = status::Sources {
        hostname: own_name,
        queue_gauges: metrics::register_queue(stages, Arc::clone(spool), Arc::new(queue)),
        registry: Arc::new(registry),
        readiness,
        health: ready::health(spool),
        service: service.clone(),
    };
    let limits = context.limits.clone();
    let submission =
        Submission::start(settings.listeners, context, accepting.clone()).map_err(StartError::Submission)?;
    let Tasks { background, stopping } = tasks;
    let followers = (service.tokens.clone(), service.operators.clone());
    let history = service.history.clone();
    background.spawn(history.follow(events.clone(), Arc::clone(spool), stopping.clone()));
    background.spawn(service.clone().answer_others(stopping.clone()));
    background.spawn(operate::socket::serve(socket, service.clone(), stopping.clone()));
    if let Some(returned_mail) = returned_mail {
        background.spawn(returned_mail.run(stopping.clone()));
    }
    background.spawn(operate::collect_audit(settings.state_dir, events.clone(), stopping.clone()));
    if let Some(door) = api {
        let router = Api::new(service.clone(), &limits, stopping.clone()).router();
        background.spawn(door.serve(router, stopping.clone()));
    }
    if let (Some(door), Some(settings)) = (customers, &settings.customers_pages) {
        let pages = Customers::new(service.clone(), &limits, stopping.clone());
        background.spawn(door.serve(pages.router(settings), stopping.clone()));
    }
    if let (Some(door), Some(settings)) = (operators, &settings.operators_pages) {
        background
            .spawn(door.serve(Operators::new(service, surroundings, settings).router(settings), stopping.clone()));
    }
    if let (Some(door), Some(mailjet)) = (from_mailjet, mailjet) {
        background.spawn(door.serve(mailjet.router(&limits), stopping.clone()));
        mailjet.start(&background, &stopping);
    }
    if let Some(door) = status {
        background.spawn(door.serve(status::router(sources), stopping.clone()));
    }
    background.spawn(dmarc.run(stopping.clone()));
    let ((tokens, operators), until) = (followers, stopping.clone());
    background.spawn(async move {
        until.run_until_cancelled(async { tokio::join!(tokens.follow(), operators.follow()) }).await;
    });
    let (lists, reports, until) = (kept.suppression, kept.reports, stopping.clone());
    background.spawn(refeed.run(stopping.clone()));
    background.spawn(async move {
        lists.run(reports, until).await;
        refeed::note_end(&lists, &fed);
    });
    background.spawn(letters.run(checks.changes, stopping.clone()));
    let queue = waiting.deliver();
    if nodes > 1 {
        queue.share_days(&kept.database);
    }
    let relay = Relay {
        live,
        reloads,
        submitters,
        certificates,
        webhook_secrets,
        events: kept.events,
        accepting,
        submission,
        queue,
        delivery,
        spool: kept.spool,
        workers,
        http,
        returned_address,
        stopping,
        background,
        running_events: kept.running_events,
        shutdown_grace: settings.shutdown_grace,
    };
    relay.tell_of_microsoft365();
    Ok(relay)
}

/// Tasks that run until the relay stops.
#[derive(Default)]
struct Tasks {
    background: TaskTracker,
    stopping: CancellationToken,
}

/// The open parts that survive a restart: the event log, the database and the spool.
struct Kept {
    events: Events,
    running_events: events::Running,
    database: Database,
    suppression: Suppression,
    /// Receives reports for the suppression lists.
    reports: suppression::Feed,
    spool: Arc<dyn Spool>,
    spool_counters: Arc<Counters>,
}

impl Kept {
    async fn open(state_dir: &Path, events: events::Settings, spool: SpoolSettings) -> Result<Self, StartError> {
        let (events, mut running_events) = Events::start(events)?;
        let database = open_database(spool.state_home(state_dir)).await?;
        let (suppression, reports) = open_suppression(database.clone()).await?;
        let spool_counters = Arc::clone(spool.counters());
        let spool = open_spool(spool.with_journal(running_events.has_journal()), events.clone()).await?;
        running_events.follow(spool.clone());
        Ok(Kept { events, running_events, database, suppression, reports, spool, spool_counters })
    }
}

/// The running domain checks.
struct Checks {
    settings: watch::Sender<Arc<onboarding::Settings>>,
    counters: onboarding::Counters,
    looks: mpsc::Sender<onboarding::Looked>,
    changes: mpsc::Receiver<onboarding::Changed>,
}

impl Checks {
    /// Starts the checks. The results of the last run are available before the first message is routed.
    fn start(
        settings: onboarding::Settings,
        resolver: SharedResolver,
        routing: &Routing,
        events: &Events,
        leads: impl Fn() -> bool + Send + 'static,
        tasks: &Tasks,
    ) -> Result<Self, StartError> {
        let state_dir = settings.state_dir.clone();
        let checker = Checker::new(settings, resolver)
            .map_err(|source| state("cannot keep the verdicts in", &state_dir, source))?;
        let mut monitor = Monitor::new(checker, routing.clone(), events.clone()).only_while(leads);
        let checks = Checks {
            settings: monitor.settings(),
            counters: monitor.counters().clone(),
            looks: monitor.looks(),
            changes: monitor.changes(),
        };
        let stopped = monitor.start(tasks.stopping.clone()).map_err(StartError::Threads)?;
        tasks.background.spawn(async move {
            // Nothing is sent; the channel closes when the thread ends.
            let _ = stopped.await;
        });
        Ok(checks)
    }
}

/// A bound HTTP address that does not answer yet.
struct Door {
    what: &'static str,
    address: SocketAddr,
    endpoint: web::Endpoint,
}

impl Door {
    async fn bind(
        what: &'static str,
        settings: Option<web::Settings>,
        own_name: &str,
    ) -> Result<Option<Self>, StartError> {
        let Some(settings) = settings else { return Ok(None) };
        let address = settings.address;
        let taken = |source| StartError::Listen { address, source };
        let endpoint = web::Endpoint::bind(settings, own_name.to_owned()).await.map_err(taken)?;
        Ok(Some(Door { what, address: endpoint.address().map_err(taken)?, endpoint }))
    }

    async fn serve(self, router: axum::Router, stopping: CancellationToken) {
        if let Err(error) = web::serve(self.endpoint, router, stopping).await {
            tracing::error!("{} ended: {error}", self.what);
        }
    }
}

fn state(what: &'static str, path: &Path, source: io::Error) -> StartError {
    StartError::State { what, path: path.to_owned(), source }
}

fn certificate(listener: &ListenerSettings) -> Option<ServerTls> {
    match &listener.tls {
        ListenerTls::Off => None,
        ListenerTls::StartTls(tls) | ListenerTls::Implicit(tls) => Some(tls.clone()),
    }
}

/// Makes the relay's folders private, because they hold customers' mail.
fn prepare(settings: &Settings) -> Result<(), StartError> {
    for path in std::iter::once(&*settings.state_dir).chain(settings.spool.dir()) {
        files::make_private_dir(path).map_err(|source| state("cannot make the folder", path, source))?;
        // Files whose rights cannot be removed belong to another user, who could grant the rights again.
        files::close_to_others(path)
            .map_err(|source| state("cannot take other users' rights from what is in", path, source))?;
    }
    Ok(())
}

/// Opens the keys of return paths, and creates them at the first start that needs them.
async fn open_return_paths(
    settings: Option<&returns::mail::Settings>,
    state_dir: &Path,
) -> Result<Option<Arc<ReturnPaths>>, StartError> {
    let Some(settings) = settings else { return Ok(None) };
    let path = returns::mail::keys::file(state_dir);
    let opened = tokio::task::spawn_blocking({
        let path = path.clone();
        move || returns::mail::keys::read_or_make(&path)
    });
    let panicked = |panic: JoinError| StartError::Threads(io::Error::other(panic));
    let keys = opened.await.map_err(panicked)?;
    let keys = keys.map_err(|source| state("cannot read or make the keys of return paths in", &path, source))?;
    Ok(Some(Arc::new(ReturnPaths::new(settings.domain.clone(), &keys))))
}

/// Opens the inbox for returned mail and binds its listener.
fn open_returned_mail(
    settings: returns::mail::Settings,
    parts: returns::mail::Parts,
    accepting: CancellationToken,
) -> Result<ReturnedMail, StartError> {
    let address = settings.listener.address;
    ReturnedMail::open(settings, parts, accepting).map_err(|source| StartError::Returns { address, source })
}

/// Opens the database on a blocking thread, because the check for damage reads the whole file.
async fn open_database(home: Home) -> Result<Database, StartError> {
    let opened = tokio::task::spawn_blocking(move || Database::open_at(&home, DATABASE_SCHEMAS)).await;
    let panicked = |panic: JoinError| StartError::Threads(io::Error::other(panic));
    Ok(opened.map_err(panicked)??)
}

/// Lets the nodes share what is known of domains, and the secret of the tokens that customers publish, where they share a database.
async fn share_domains(
    settings: onboarding::Settings,
    home: &Home,
    database: &Database,
) -> Result<onboarding::Settings, StartError> {
    if let Home::Folder(_) = home {
        return Ok(settings);
    }
    let (dir, shared) = (settings.state_dir.clone(), onboarding::kept::Shared::new(database));
    let kept = shared.clone();
    let done = tokio::task::spawn_blocking(move || onboarding::Secret::share(&dir, &kept)).await;
    let panicked = |panic: JoinError| StartError::Threads(io::Error::other(panic));
    let failed = |source| state("cannot share the secret of ownership tokens in", &settings.state_dir, source);
    done.map_err(panicked)?.map_err(failed)?;
    Ok(onboarding::Settings { shared: Some(shared), ..settings })
}

/// Reads all suppression lists into memory.
async fn open_suppression(database: Database) -> Result<(Suppression, suppression::Feed), StartError> {
    let opened = tokio::task::spawn_blocking(move || Suppression::open(database)).await;
    let panicked = |panic: JoinError| StartError::Threads(io::Error::other(panic));
    Ok(opened.map_err(panicked)??)
}

/// Reads which DMARC reports exist.
async fn open_dmarc(
    database: Database,
    keep: Duration,
    routing: Routing,
    onboarding: &watch::Sender<Arc<onboarding::Settings>>,
) -> Result<Reports, StartError> {
    let onboarding = onboarding.subscribe();
    let in_force = move || (routing.directory(), Arc::clone(&onboarding.borrow()));
    let opened = tokio::task::spawn_blocking(move || Reports::open(database, keep, in_force)).await;
    let panicked = |panic: JoinError| StartError::Threads(io::Error::other(panic));
    Ok(opened.map_err(panicked)??)
}

/// Opens the spool on a blocking thread, because recovery may take seconds.
async fn open_spool(settings: SpoolSettings, events: Events) -> Result<Arc<dyn Spool>, StartError> {
    let (notices, follow_up) = notices::listen(events);
    let folder = settings.dir().map(Path::to_owned);
    let spool: Arc<dyn Spool> = match settings {
        SpoolSettings::Embedded(settings) => {
            let settings = embedded::Settings { notices, ..settings };
            let opened = tokio::task::spawn_blocking(move || Embedded::open(settings)).await;
            let panicked = |panic: JoinError| embedded::OpenError::Io {
                what: "reading the spool".into(),
                source: io::Error::other(panic),
            };
            opened.map_err(panicked)??
        }
        SpoolSettings::Postgres(settings) => {
            let settings = postgres::Settings { notices, ..*settings };
            let opened = tokio::task::spawn_blocking(move || Postgres::open(settings)).await;
            let panicked = |panic: JoinError| postgres::OpenError::Thread(io::Error::other(panic));
            opened.map_err(panicked)??
        }
    };
    follow_up.begin(&spool, folder);
    Ok(spool)
}
