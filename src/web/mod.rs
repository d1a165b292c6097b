//! HTTP for operators and their machines: `/healthz`, `/readyz`, `/metrics`, and a status page at `/`.
//!
//! These pages are read-only and show no secrets. They are meant for the loopback interface or an internal network. [`serve`] serves both
//! these pages and the API: it limits connections (`limiter`), encrypts them if a certificate is configured (`secured`), refuses requests
//! for foreign host names (`hosts`), and adds headers that keep browsers from misusing the answers.

mod hosts;
mod limiter;
mod peer;
mod readiness;
mod secured;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use hosts::Hosts;
use limiter::Limited;
pub use peer::{Client, Proxies, ViaProxy};
pub use readiness::Readiness;
use secured::Secured;

use crate::metrics;
use crate::operate;
use crate::submission::ServerTls;
use crate::time::Timestamp;

/// How an HTTP endpoint listens: `[web]` or `[api]`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: SocketAddr,
    /// The names that requests may use besides the address, `localhost` and the relay's own name.
    pub hosts: Vec<String>,
    /// The certificate; `None` for plaintext.
    pub tls: Option<ServerTls>,
    /// The proxies whose `X-Forwarded-For` is believed.
    pub proxies: Proxies,
    /// True if everybody may connect in plaintext; otherwise only this machine and the proxies may.
    pub plaintext_from_anywhere: bool,
}

impl Settings {
    /// Plaintext at `address`, open to every client.
    pub fn plaintext(address: SocketAddr) -> Self {
        Settings { address, hosts: Vec::new(), tls: None, proxies: Proxies::default(), plaintext_from_anywhere: true }
    }
}

/// A bound address, with everything that [`serve`] needs.
pub struct Endpoint {
    pub listener: TcpListener,
    /// The names of the endpoint.
    pub hosts: Hosts,
    /// The certificate; `None` for plaintext.
    pub tls: Option<ServerTls>,
    /// Who may connect, and which proxies may name a client.
    pub clients: peer::Rules,
}

impl Endpoint {
    /// Binds the address of these settings. `own_name` is the relay's host name.
    pub async fn bind(settings: Settings, own_name: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind(settings.address).await?;
        let address = listener.local_addr()?;
        let may_be_anybody = settings.tls.is_some() || settings.plaintext_from_anywhere;
        Ok(Endpoint {
            listener,
            hosts: Hosts::new(address, settings.hosts.into_iter().chain([own_name])),
            tls: settings.tls,
            clients: peer::Rules { proxies: settings.proxies, may_be_anybody },
        })
    }

    /// Returns the address, with the real port if port 0 was configured.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The sources of the pages' content.
#[derive(Clone)]
pub struct Sources {
    pub hostname: String,
    pub registry: Arc<Registry>,
    /// For `/metrics`: reads the spool's counts before each scrape.
    pub queue_gauges: metrics::QueueGauges,
    /// For `/readyz`: whether the relay accepts mail.
    pub readiness: Readiness,
    /// For `/healthz`: whether the process works, or needs a restart.
    pub health: Readiness,
    /// For the status page: the queue, the routes and the alerts.
    pub service: operate::Service,
}

/// Builds the router of these pages. Other routers may be merged into it.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/", get(index))
        .with_state(sources)
}

/// Serves `router` until `stopping`, and finishes the running requests. Requests for foreign host names are refused. The request's
/// extensions hold the [`Client`].
pub async fn serve(endpoint: Endpoint, router: Router, stopping: CancellationToken) -> std::io::Result<()> {
    let Endpoint { listener, hosts, tls, clients } = endpoint;
    let router = router
        .layer(middleware::from_fn_with_state(hosts, hosts::check))
        .layer(middleware::from_fn_with_state(clients, peer::check))
        .layer(middleware::from_fn_with_state(tls.is_some(), protect));
    let service = router.into_make_service_with_connect_info::<peer::Peer>();
    axum::serve(Secured::new(Limited::new(listener), tls), service)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
}

/// Adds security headers to an answer. Headers that the answer already has are kept.
async fn protect(State(is_encrypted): State<bool>, request: Request, next: Next) -> Response {
    const ALWAYS: [(HeaderName, &str); 5] = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = next.run(request).await;
    let encrypted = is_encrypted.then_some((STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
    for (name, value) in ALWAYS.into_iter().chain(encrypted) {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Answers 503 with the reason if only a restart helps. Otherwise a 200 shows that the process answers.
async fn healthz(State(sources): State<Sources>) -> (StatusCode, String) {
    match sources.health.reasons().first() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some((_, reason)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// Answers 200 if the relay accepts mail and can send it, and otherwise 503 with the reasons.
async fn readyz(State(sources): State<Sources>) -> impl IntoResponse {
    #[derive(Serialize)]
    struct Reason {
        check: &'static str,
        reason: String,
    }
    #[derive(Serialize)]
    struct Answer {
        ready: bool,
        reasons: Vec<Reason>,
    }
    let reasons: Vec<Reason> =
        sources.readiness.reasons().into_iter().map(|(check, reason)| Reason { check, reason }).collect();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Answer { ready, reasons }))
}

async fn scrape(State(sources): State<Sources>, headers: HeaderMap) -> impl IntoResponse {
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = metrics::Format::accepted(&accept.join(","));
    sources.queue_gauges.refresh().await;
    ([(CONTENT_TYPE, format.content_type()), (VARY, "Accept")], format.encode(&sources.registry))
}

async fn index(State(sources): State<Sources>) -> impl IntoResponse {
    let styled = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    let headers = [(CONTENT_SECURITY_POLICY, styled)];
    (headers, Html(status::page(&sources, Timestamp::now()).await))
}
