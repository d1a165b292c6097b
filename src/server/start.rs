//! Starts a relay: opens the stored state, the stages on a message's path, the domain checks, and then the listeners. Delivery starts last,
//! when nothing can fail any more.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::endpoints::{EndpointSettings, Endpoints};
use super::live::Live;
use super::open::{self, DurableParts, state};
use super::refeed::{self, Refeed};
use super::{Relay, Settings, StartError, ready};
use crate::bounce::Postmaster;
use crate::customers::Routing;
use crate::delivery::{self, Delivery};
use crate::events::Events;
use crate::onboarding::{self, Checker, Monitor};
use crate::operate::api::Api;
use crate::operate::letters::Letters;
use crate::operate::pages::customers::Customers;
use crate::operate::pages::operators::{Operators, Surroundings};
use crate::operate::{self, Acknowledgements, History, Jobs, Links, Nodes, Service, SpareKeys, Tokens};
use crate::queue::{self, Outcomes, Queue};
use crate::resolver::{Dns, SharedResolver};
use crate::returns::mail::ReturnedMail;
use crate::returns::mailjet::{self, Mailjet};
use crate::submission::{self, ListenerSettings, ListenerTls, ServerTls, Submission};
use crate::{dkim, metrics, returns, status};

/// The most messages that wait for a signer thread. More wait in their sessions.
const SIGNER_QUEUE: usize = 256;

/// Starts all stages in the order that [`Relay::start`] promises.
pub(super) async fn start(settings: Settings) -> Result<Relay, StartError> {
    open::prepare(&settings)?;
    let certificates = certificates(&settings);
    let webhooks = settings.events.webhooks.iter();
    let webhook_secrets = webhooks.map(|webhook| (webhook.name.clone(), webhook.secret.clone())).collect();
    let carrier = Arc::new(queue::Carrier::default());
    let nodes = settings.spool.nodes();
    let state_home = settings.spool.state_home(&settings.state_dir);
    let spool = settings.spool.with_carried(carrier.clone());
    let stored = DurableParts::open(&settings.state_dir, settings.events, spool).await?;
    let DurableParts { events, spool, suppression, .. } = &stored;
    let routing = Routing::new(settings.directory, settings.bounce_route);
    let first_retry = settings.queue.patience.retry.backoff.first;
    let workers = dkim::Workers::start(settings.signer_threads, SIGNER_QUEUE).map_err(StartError::Threads)?;
    let return_paths = open::return_paths(settings.returned_mail.as_ref(), &settings.state_dir).await?;
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
    let onboarding = open::share_domains(settings.onboarding, &state_home, &stored.database).await?;
    let leads = {
        let spool = Arc::clone(spool);
        move || spool.leads()
    };
    let checks = Checks::start(onboarding, strangers, &routing, events, leads, &tasks)?;
    let dmarc = open::dmarc(stored.database.clone(), settings.dmarc.keep, routing.clone(), &checks.settings).await?;
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
        links: Links::new(stored.database.clone(), settings.customers_pages.as_ref().map(|pages| pages.url.clone())),
        tokens: Tokens::open(stored.database.clone())?,
        operators: operate::Operators::open(stored.database.clone(), &settings.limits, session_times)?,
        acknowledgements: Acknowledgements::new(stored.database.clone()),
        history: History::new(stored.database.clone()),
        jobs: Jobs::default(),
        spare_keys: SpareKeys::default(),
        live: Some(live.clone()),
        nodes: Nodes::new(&stored.database),
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
                database: stored.database.clone(),
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
    let reloads = metrics::Reloads::default();
    let mut registry = metrics::registry();
    let stages = metrics::stages(&mut registry);
    metrics::register_build(stages);
    metrics::register_routing(stages, routing);
    context.counters.register(stages);
    stored.spool_counters.register(stages);
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
            Some(open::returned_mail(of_returns, parts, accepting.clone())?)
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
    let of_operators = settings.operators_pages.as_ref().map(|operators| &operators.pages);
    let endpoints = EndpointSettings {
        status: settings.web,
        api: settings.api,
        customers: settings.customers_pages.as_ref(),
        operators: of_operators,
        mailjet: settings.mailjet_events.as_ref(),
    };
    let endpoints = Endpoints::bind(endpoints, &own_name).await?;
    let http = endpoints.addresses();
    let (readiness, until) = (ready::readiness(&accepting, spool), tasks.stopping.clone());
    let surroundings = Surroundings { hostname: own_name.clone(), readiness: readiness.clone(), stopping: until };
    let letters =
        Letters { service: service.clone(), workers: workers.clone(), spool: stored.spool.clone(), first_retry };
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
    if let Some(endpoint) = endpoints.api {
        let router = Api::new(service.clone(), &limits, stopping.clone()).router();
        background.spawn(endpoint.serve(router, stopping.clone()));
    }
    if let (Some(endpoint), Some(settings)) = (endpoints.customers, &settings.customers_pages) {
        let pages = Customers::new(service.clone(), &limits, stopping.clone());
        background.spawn(endpoint.serve(pages.router(settings), stopping.clone()));
    }
    if let (Some(endpoint), Some(settings)) = (endpoints.operators, &settings.operators_pages) {
        background
            .spawn(endpoint.serve(Operators::new(service, surroundings, settings).router(settings), stopping.clone()));
    }
    if let (Some(endpoint), Some(mailjet)) = (endpoints.mailjet, mailjet) {
        background.spawn(endpoint.serve(mailjet.router(&limits), stopping.clone()));
        mailjet.start(&background, &stopping);
    }
    if let Some(endpoint) = endpoints.status {
        background.spawn(endpoint.serve(status::router(sources), stopping.clone()));
    }
    background.spawn(dmarc.run(stopping.clone()));
    let ((tokens, operators), until) = (followers, stopping.clone());
    background.spawn(async move {
        until.run_until_cancelled(async { tokio::join!(tokens.follow(), operators.follow()) }).await;
    });
    let (lists, reports, until) = (stored.suppression, stored.reports, stopping.clone());
    background.spawn(refeed.run(stopping.clone()));
    background.spawn(async move {
        lists.run(reports, until).await;
        refeed::note_end(&lists, &fed);
    });
    background.spawn(letters.run(checks.changes, stopping.clone()));
    let queue = waiting.deliver();
    if nodes > 1 {
        queue.share_days(&stored.database);
    }
    let relay = Relay {
        live,
        reloads,
        submitters,
        certificates,
        webhook_secrets,
        events: stored.events,
        accepting,
        submission,
        queue,
        delivery,
        spool: stored.spool,
        workers,
        http,
        returned_address,
        stopping,
        background,
        running_events: stored.running_events,
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

/// Returns the certificates of all listeners and endpoints.
fn certificates(settings: &Settings) -> Vec<ServerTls> {
    let over_smtp = settings.listeners.iter().chain(settings.returned_mail.as_ref().map(|returned| &returned.listener));
    let of_operators = settings.operators_pages.as_ref().map(|operators| &operators.pages);
    let pages = settings.customers_pages.iter().chain(of_operators).map(|pages| &pages.endpoint);
    let of_mailjet = settings.mailjet_events.iter().map(|mailjet| &mailjet.web);
    let over_http = settings.web.iter().chain(&settings.api).chain(pages).chain(of_mailjet);
    over_smtp.filter_map(certificate).chain(over_http.filter_map(|endpoint| endpoint.tls.clone())).collect()
}

fn certificate(listener: &ListenerSettings) -> Option<ServerTls> {
    match &listener.tls {
        ListenerTls::Off => None,
        ListenerTls::StartTls(tls) | ListenerTls::Implicit(tls) => Some(tls.clone()),
    }
}
