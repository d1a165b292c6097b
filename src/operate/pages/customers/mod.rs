//! The customer's page, which a link opens: the steps that bring a domain into order, with their results, what is next, and why.
//!
//! ```text
//! GET  /link/SECRET                     redirects to the customer's first domain
//! GET  /link/SECRET/DOMAIN              the page with the last result; starts a check if that is old
//! POST /link/SECRET/DOMAIN/check        starts a check
//! GET  /link/SECRET/DOMAIN/events       the progress of a check (server-sent events)
//! POST /link/SECRET/DOMAIN/oauth        tries an application at Microsoft 365, and stores it if it works
//! POST /link/SECRET/DOMAIN/server       tries the customer's own server, and stores it if it works
//! ```
//!
//! The secret in the path is the only login. `door` admits its holder as an actor with the role of the link. The service's functions decide
//! what this actor may do.

mod clock;
mod dmarc;
mod door;
mod forward;
mod looks;
mod record;
mod server;
mod steps;
mod text;
mod view;
mod wrong;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::forms::Forms;
use super::language::Chosen;
use super::{Problem, Settings, guard, see};
use crate::customers::Via;
use crate::delivery::StepResult;
use crate::message::CustomerId;
use crate::operate::customers::has_in_name;
use crate::operate::links::PATH;
use crate::operate::microsoft365::Application;
use crate::operate::own_server::Trial;
use crate::operate::{self, ErrorKind, Service};
use crate::smtp::Domain;
use crate::submission::Limits;
use crate::time::Timestamp;
use crate::web::Client;
use door::{Door, Guest};
use looks::{Looks, Progress};
use server::{Filled, Named, Trials, Tried};
use view::{Tab, View};
use wrong::Wrong;

#[cfg(test)]
pub(super) use view::tests as made_of_strangers;

/// The most domains in the list of them. A field finds the others.
const TABS: usize = 50;
/// The list of domains shows the status of this many of them. Each status is read from a file.
const TABS_THAT_STAND: usize = 30;
/// How often an idle event stream sends a comment.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// The time limit of an application's login: a token request and a login at the server.
const OAUTH_TIME: Duration = Duration::from_secs(25);
/// The minimum time between two trials of a customer's server.
const TRIAL_PAUSE: Duration = Duration::from_secs(10);
/// The maximum duration of an event stream. The page then loads again.
const LONGEST_STREAM: Duration = Duration::from_secs(120);

/// The customers' pages. Cheap to clone.
#[derive(Clone)]
pub struct Customers(Arc<Inner>);

struct Inner {
    service: Service,
    door: Door,
    forms: Forms,
    looks: Looks,
    trials: Trials,
    /// When each customer's server was last tried.
    trying: Mutex<HashMap<CustomerId, Instant>>,
}

impl Customers {
    /// Makes the pages of this service. Answers to wrong links are delayed as the `login_…` settings of `limits` say. Checks end with
    /// `stopping`.
    pub fn new(service: Service, limits: &Limits, stopping: CancellationToken) -> Self {
        let looks = Looks::new(service.clone(), stopping);
        let (trials, trying) = (Trials::default(), Mutex::default());
        Customers(Arc::new(Inner { service, door: Door::new(limits), forms: Forms::new(), looks, trials, trying }))
    }

    pub fn router(self, settings: &Settings) -> Router {
        let pages = Router::new()
            .route(&format!("{PATH}/{{secret}}"), get(first))
            .route(&format!("{PATH}/{{secret}}/{{domain}}"), get(show))
            .route(&format!("{PATH}/{{secret}}/{{domain}}/check"), post(check))
            .route(&format!("{PATH}/{{secret}}/{{domain}}/server"), post(try_server))
            .route(&format!("{PATH}/{{secret}}/{{domain}}/oauth"), post(try_oauth))
            .route(&format!("{PATH}/{{secret}}/{{domain}}/events"), get(events));
        guard::guarded(pages.with_state(self), &settings.url)
    }

    /// Returns true if the customer's server may be tried now, and records the trial. Each trial is a login at somebody's server.
    fn may_try(&self, customer: &CustomerId) -> bool {
        let (mut all, now) = (self.0.trying.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        all.retain(|_, last| now.duration_since(*last) < TRIAL_PAUSE);
        match all.contains_key(customer) {
            true => false,
            false => all.insert(customer.clone(), now).is_none(),
        }
    }

    async fn open(&self, secret: &str, Client(address): Client, chosen: Chosen) -> Result<Guest, Problem> {
        self.0.door.open(&self.0.service, secret, Some(address), chosen).await
    }
}

/// A domain of the customer whose page the link opens.
#[derive(serde::Deserialize)]
struct At {
    secret: String,
    domain: String,
}

impl At {
    fn path(&self) -> String {
        format!("{PATH}/{}/{}", self.secret, self.domain)
    }

    /// Returns the domain if it is one of the guest's. Any other name is not found, even if another customer has it.
    fn domain(&self, guest: &Guest) -> Result<Domain, Problem> {
        let domain = Domain::parse(&self.domain).map_err(|_| Problem::NotFound)?;
        match guest.customer.domains.contains_key(&domain) && domain.as_str() == self.domain {
            true => Ok(domain),
            false => Err(Problem::NotFound),
        }
    }
}

/// A customer who has opened the page of one of its domains by its link.
struct Visit {
    guest: Guest,
    domain: Domain,
    at: At,
}

impl FromRequestParts<Customers> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, pages: &Customers) -> Result<Self, Problem> {
        let client = Extension::from_request_parts(parts, pages).await;
        let Extension(client) = client.map_err(|_| Problem::Failed)?;
        let Ok(chosen) = Chosen::from_request_parts(parts, pages).await;
        let at = Path::<At>::from_request_parts(parts, pages).await;
        let Path(at) = at.map_err(|_| Problem::NotFound)?;
        let guest = pages.open(&at.secret, client, chosen).await?;
        let domain = at.domain(&guest)?;
        Ok(Visit { guest, domain, at })
    }
}

async fn first(
    State(pages): State<Customers>,
    Extension(client): Extension<Client>,
    chosen: Chosen,
    Path(secret): Path<String>,
) -> Result<Response, Problem> {
    let guest = pages.open(&secret, client, chosen).await?;
    let domain = guest.customer.domains.keys().next().ok_or(Problem::NotFound)?;
    Ok(see(&format!("{PATH}/{secret}/{domain}")))
}

async fn show(
    State(pages): State<Customers>,
    Visit { guest, domain, at }: Visit,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Inner { service, forms, looks, .. } = &*pages.0;
    if looks.known(&guest.customer.id, &domain).is_stale(Timestamp::now()) {
        looks.begin(&guest.actor, &guest.customer.id, &domain);
    }
    let (reader, actor, customer) = (service.clone(), guest.actor.clone(), Arc::clone(&guest.customer));
    let (name, base) = (domain.clone(), format!("{PATH}/{}", at.secret));
    let wanted = view::wanted(query.as_deref());
    let sought = wanted.clone();
    let read = tokio::task::spawn_blocking(move || {
        let of = |domain: &Domain| {
            let told = |error: &operate::Error| {
                tracing::warn!(customer = %customer.id, "the results of checks of {domain} cannot be shown: {error}");
            };
            reader.domain(&actor, domain).inspect_err(told).ok()
        };
        let stored = of(&name);
        let tab = |(place, domain): (usize, &Domain)| {
            let path = format!("{base}/{domain}");
            match *domain == name {
                true => Tab::new(domain, path, stored.as_ref()),
                false => Tab::new(domain, path, (place < TABS_THAT_STAND).then(|| of(domain)).flatten().as_ref()),
            }
        };
        let is_listed = |domain: &&Domain| **domain == name || has_in_name(domain.as_str(), &sought);
        let mut listed: Vec<&Domain> = customer.domains.keys().filter(is_listed).take(TABS).collect();
        // The domain that is open is always among them.
        if !listed.contains(&&name) {
            listed.pop();
            listed.push(&name);
        }
        let domains: Vec<Tab> = listed.into_iter().enumerate().map(tab).collect();
        (stored, domains)
    });
    let (stored, domains) = read.await.map_err(|_| Problem::Failed)?;
    let egress = service.live()?.egress().to_string();
    let page = View {
        lang: guest.lang,
        customer: &guest.customer.name,
        domains: &domains,
        domain_count: guest.customer.domains.len(),
        wanted: &wanted,
        domain: domain.as_str(),
        path: &at.path(),
        code: forms.hidden(&at.secret, "check"),
        server: server::part(
            guest.lang,
            &guest.customer,
            &at.path(),
            &forms.hidden(&at.secret, "server"),
            pages.0.trials.last(&guest.customer.id).as_deref(),
            &egress,
        ),
        has_own_server: matches!(guest.customer.via, Via::OwnServer(_)),
        known: &looks.known(&guest.customer.id, &domain),
        stored: stored.as_ref(),
        expires: clock::date(guest.expires, guest.lang),
    }
    .page();
    Ok(page.into_response())
}

async fn check(
    State(pages): State<Customers>,
    Visit { guest, domain, at }: Visit,
    body: Bytes,
) -> Result<Response, Problem> {
    pages.0.forms.read(&at.secret, "check", &body)?;
    pages.0.looks.begin_commanded(&guest.actor, &guest.customer.id, &domain);
    Ok(see(&at.path()))
}

/// Tries the server that was entered. If mail could be delivered there, the customer's mail is sent there from now on.
async fn try_server(
    State(pages): State<Customers>,
    Visit { guest, at, .. }: Visit,
    body: Bytes,
) -> Result<Response, Problem> {
    let Inner { service, forms, looks, trials, .. } = &*pages.0;
    let filled = Filled::of(&forms.read(&at.secret, "server", &body)?);
    let id = &guest.customer.id;
    let back = || see(&format!("{}#server", at.path()));
    let server = match filled.server(&guest.customer) {
        Ok(server) if pages.may_try(id) => server,
        Ok(_) => {
            trials.keep(id, filled.tried(Err(Wrong::TooSoon), false));
            return Ok(back());
        }
        Err(wrong) => {
            trials.keep(id, filled.tried(Err(wrong), false));
            return Ok(back());
        }
    };
    let trial = looks::site(service).await?.try_own_server(&guest.actor, id.as_str(), &server).await?;
    let works = matches!(&trial, Trial::Done(report) if report.worst != StepResult::Failed);
    if !works {
        trials.keep(id, filled.tried(Ok(trial), false));
        return Ok(back());
    }
    let (service, actor, customer) = (service.clone(), guest.actor.clone(), id.clone());
    let kept = tokio::task::spawn_blocking(move || {
        operate::customers::Customers::in_relay(&service)?.use_own_server(&actor, customer.as_str(), &server)
    });
    let tried = match (kept.await.map_err(|_| Problem::Failed)?, trial) {
        (Err(error), Trial::Done(report)) => {
            tracing::warn!(customer = %id, "the customer's own server works and cannot be kept: {error}");
            filled.not_kept(report)
        }
        (_, trial) => filled.tried(Ok(trial), true),
    };
    trials.keep(id, tried);
    guest.customer.domains.keys().for_each(|domain| looks.forget(domain));
    Ok(back())
}

/// Tries the application at Microsoft 365 that was entered. If its login works, it replaces the password.
async fn try_oauth(
    State(pages): State<Customers>,
    Visit { guest, at, .. }: Visit,
    body: Bytes,
) -> Result<Response, Problem> {
    let Inner { service, forms, looks, trials, .. } = &*pages.0;
    let fields = forms.read(&at.secret, "server", &body)?;
    let Via::OwnServer(route) = &guest.customer.via else { return Err(Problem::NotFound) };
    let id = &guest.customer.id;
    let back = || see(&format!("{}#server", at.path()));
    let short = |name: &str| fields.text(name).chars().take(300).collect::<String>();
    let named = Named { tenant: short("tenant"), client: short("client") };
    if !pages.may_try(id) {
        trials.keep(id, Tried::again(route, named, Err(Wrong::TooSoon), false));
        return Ok(back());
    }
    let application = Application {
        tenant: named.tenant.clone(),
        client_id: named.client.clone(),
        secret: Zeroizing::new(fields.text("secret").to_owned()),
    };
    let site = looks::site(service).await?;
    let trial = tokio::time::timeout(OAUTH_TIME, site.try_oauth(&guest.actor, id.as_str(), &application)).await;
    let tried = match trial {
        Err(_) => Tried::again(route, named, Err(Wrong::TooSlow), false),
        Ok(Err(error)) if error.kind == ErrorKind::Invalid => {
            Tried::again(route, named, Err(Wrong::Application), false)
        }
        Ok(Err(error)) => return Err(error.into()),
        Ok(Ok(report)) if report.worst == StepResult::Failed => Tried::again(route, named, Ok(report), false),
        Ok(Ok(report)) => {
            let (actor, customer) = (guest.actor.clone(), id.clone());
            let kept =
                tokio::task::spawn_blocking(move || site.switch_to_oauth(&actor, customer.as_str(), &application));
            match kept.await.map_err(|_| Problem::Failed)? {
                Ok(_) => Tried::again(route, named, Ok(report), true),
                Err(error) => {
                    tracing::warn!(customer = %id, "the customer's application works and cannot be kept: {error}");
                    Tried::again(route, named, Err(Wrong::Ours), false)
                }
            }
        }
    };
    trials.keep(id, tried);
    guest.customer.domains.keys().for_each(|domain| looks.forget(domain));
    Ok(back())
}

/// Sends the results of the running check as they come, and then the address to continue at.
async fn events(State(pages): State<Customers>, Visit { guest, domain, at }: Visit) -> Result<Response, Problem> {
    let running = pages.0.looks.known(&guest.customer.id, &domain).running;
    let (lang, path) = (guest.lang, at.path());
    let state = Following { running, is_first: true, is_over: false };
    let until = tokio::time::Instant::now() + LONGEST_STREAM;
    let events = stream::unfold(state, move |mut state| {
        let path = path.clone();
        async move {
            if state.is_over {
                return None;
            }
            let progress = match &mut state.running {
                Some(running) if tokio::time::Instant::now() < until => next(running, state.is_first).await,
                _ => Progress { is_over: true, ..Progress::default() },
            };
            (state.is_first, state.is_over) = (false, progress.is_over);
            let event = match progress.is_over {
                true => Event::default().event("done").data(path),
                false => {
                    let part = json!({ "id": "results", "html": view::results(lang, &progress).into_string() });
                    Event::default().event("part").data(part.to_string())
                }
            };
            Some((Ok::<_, Infallible>(event), state))
        }
    });
    let keep_alive = KeepAlive::new().interval(SIGN_OF_LIFE);
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

struct Following {
    running: Option<watch::Receiver<Progress>>,
    is_first: bool,
    is_over: bool,
}

/// Waits for the progress of a check, or returns it at once. A check that is gone has ended.
async fn next(running: &mut watch::Receiver<Progress>, at_once: bool) -> Progress {
    if !at_once && running.changed().await.is_err() {
        return Progress { is_over: true, ..Progress::default() };
    }
    running.borrow_and_update().clone()
}
