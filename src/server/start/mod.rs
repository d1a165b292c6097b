//! Starts a relay: opens what is stored, the stages on a message's path and those beside it, binds every address, and then lets all of it
//! run. Delivery starts last, when nothing can fail any more.

mod background;
mod domains;
mod http;
mod path;
mod registry;
mod returns;
mod service;
mod tasks;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::endpoints::Endpoints;
use super::open::{self, DurableParts, state};
use super::refeed::{self, Refeed};
use super::{Relay, Settings, StartError};
use crate::operate::letters::Letters;
use crate::operate::socket;
use crate::submission::{self, ListenerSettings, ListenerTls, ServerTls};
use crate::{metrics, queue};
use background::Background;
use domains::Domains;
use path::MessagePath;
use registry::Measured;
use returns::Returns;
use tasks::Tasks;

/// Starts all stages in the order that [`Relay::start`] promises.
pub(super) async fn start(settings: Settings) -> Result<Relay, StartError> {
    open::prepare(&settings)?;
    let (tasks, accepting) = (Tasks::default(), CancellationToken::new());

    let carrier = Arc::new(queue::Carrier::default());
    let stored = DurableParts::open(&settings, carrier.clone()).await?;
    let path = MessagePath::open(&settings, &stored).await?;
    carrier.attach(&path.opened_queue);
    let domains = Domains::open(&settings, &stored, &path.routing, &tasks).await?;
    let live = Arc::new(service::live(&settings, &stored, &path, &domains));
    live.tell_of_microsoft365();
    let service = service::open(&settings, &stored, &path, &domains, Arc::clone(&live))?;
    let returns = Returns::open(&settings, &stored, &path, &domains, &accepting).await?;

    // All addresses are bound before the first client is accepted.
    let control = bind_control_socket(&settings)?;
    let endpoints = Endpoints::bind(&settings).await?;
    let http = endpoints.addresses();

    let certificates = certificates(&settings);
    let (submitted, reloads) = (submission::Counters::default(), metrics::Reloads::default());
    let metrics = Measured {
        stored: &stored,
        path: &path,
        domains: &domains,
        returns: &returns,
        service: &service,
        submission: &submitted,
        reloads: &reloads,
        certificates: &certificates,
    }
    .register();
    let mailjet = returns.mailjet.as_ref();
    let answering = http::answering(endpoints, &settings, &service, mailjet, metrics, &accepting, &tasks.stopping);

    let webhooks = settings.events.webhooks.iter();
    let webhook_secrets = webhooks.map(|webhook| (webhook.name.clone(), webhook.secret.clone())).collect();
    let (state_dir, nodes) = (settings.state_dir.clone(), settings.spool.nodes());
    let shutdown_grace = settings.shutdown_grace;
    let (submission, submitters) = path.take_mail(settings, &stored, submitted, accepting.clone())?;

    // Nothing fails from here on.
    let background = Background {
        control,
        answering,
        returns,
        dmarc: domains.dmarc,
        letters: Letters {
            service: service.clone(),
            workers: path.workers.clone(),
            spool: stored.spool.clone(),
            first_retry: path.first_retry,
        },
        changes: domains.changes,
        refeed: Refeed {
            lists: stored.suppression.clone(),
            events: stored.events.clone(),
            routing: path.routing.clone(),
            spool: Arc::downgrade(&stored.spool),
            file: state_dir.join(refeed::FILE),
        },
        suppression: stored.suppression,
        reports: stored.reports,
        service,
        state_dir,
    };
    background.start(&tasks);
    let queue = path.opened_queue.deliver();
    if nodes > 1 {
        queue.share_days(&stored.database);
    }
    Ok(Relay {
        live,
        reloads,
        submitters,
        certificates,
        webhook_secrets,
        events: stored.events,
        accepting,
        submission,
        queue,
        delivery: path.delivery,
        spool: stored.spool,
        workers: path.workers,
        http,
        stopping: tasks.stopping,
        background: tasks.running,
        running_events: stored.running_events,
        shutdown_grace,
    })
}

fn bind_control_socket(settings: &Settings) -> Result<socket::Listener, StartError> {
    let path = socket::socket_path(&settings.state_dir);
    socket::bind(&settings.state_dir).map_err(|source| state("cannot make the control socket", &path, source))
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
