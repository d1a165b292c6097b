//! HTTP for operators and their machines: `/healthz`, `/readyz`, `/metrics`, and a status page at `/`.
//!
//! Read-only and without secrets; it is meant for the loopback interface or an internal network. Connections are bounded
//! (`limiter`), and requests that call the pages by a foreign name are refused (`hosts`).

mod hosts;
mod limiter;
mod readiness;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use hosts::Hosts;
use limiter::Limited;
pub use readiness::Readiness;

use crate::metrics;
use crate::operate;
use crate::time::Timestamp;

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[web] address`.
    pub address: SocketAddr,
    /// `[web] hosts`: names that requests may call the pages by.
    pub hosts: Vec<String>,
}

/// 127.0.0.1:8025.
impl Default for Settings {
    fn default() -> Self {
        Settings { address: SocketAddr::from(([127, 0, 0, 1], 8025)), hosts: Vec::new() }
    }
}

/// What the pages show.
#[derive(Clone)]
pub struct Sources {
    /// Our host name.
    pub hostname: String,
    /// For `/metrics`.
    pub registry: Arc<Registry>,
    /// For `/metrics`: looks at the spool before the registry is read.
    pub queue_gauges: metrics::QueueGauges,
    /// For `/readyz`: whether mail is taken.
    pub readiness: Readiness,
    /// For `/healthz`: whether anything is left that a restart would not mend.
    pub health: Readiness,
    /// For the status page: the queue, the routes and the alerts.
    pub service: operate::Service,
}

/// The pages. Others may be merged in.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/", get(index))
        .with_state(sources)
}

/// Serves those who call the pages by one of `hosts`, until told to stop; requests in flight are answered first.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    hosts: Hosts,
    stopping: CancellationToken,
) -> std::io::Result<()> {
    let router = router.layer(middleware::from_fn_with_state(hosts, hosts::check));
    axum::serve(Limited::new(listener), router).with_graceful_shutdown(stopping.cancelled_owned()).await
}

/// 503 with the reason where only a restart helps; else the process answers, and that is all it says.
async fn healthz(State(sources): State<Sources>) -> (StatusCode, String) {
    match sources.health.reasons().first() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some((_, reason)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// 200 where mail is taken and can leave; 503 with the reasons where not.
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
    (status, [(CACHE_CONTROL, "no-store")], Json(Answer { ready, reasons }))
}

async fn scrape(State(sources): State<Sources>, headers: HeaderMap) -> impl IntoResponse {
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = metrics::Format::accepted(&accept.join(","));
    sources.queue_gauges.refresh().await;
    ([(CONTENT_TYPE, format.content_type()), (VARY, "Accept")], format.encode(&sources.registry))
}

async fn index(State(sources): State<Sources>) -> impl IntoResponse {
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(status::page(&sources, Timestamp::now()).await))
}
