//! HTTP for operators and their machines: `/healthz`, `/readyz`, `/metrics`, and a status page at `/`.
//!
//! Read-only and without secrets; it is meant for the loopback interface or an internal network. Connections are bounded in
//! number and closed when idle.

mod door;
mod readiness;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use door::Door;
pub use readiness::Readiness;

use crate::events::Events;
use crate::metrics;
use crate::route::RouteControl;
use crate::spool::Inspect;
use crate::time::Timestamp;

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[web] address`.
    pub address: SocketAddr,
}

/// 127.0.0.1:8025.
impl Default for Settings {
    fn default() -> Self {
        Settings { address: SocketAddr::from(([127, 0, 0, 1], 8025)) }
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
    /// What waits.
    pub spool: Arc<dyn Inspect>,
    /// The routes.
    pub routes: Arc<dyn RouteControl>,
    /// Recent alerts.
    pub events: Events,
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

/// Serves until told to stop; requests in flight are answered first.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) -> std::io::Result<()> {
    axum::serve(Door::new(listener), router).with_graceful_shutdown(stopping.cancelled_owned()).await
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

async fn scrape(State(sources): State<Sources>) -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    sources.queue_gauges.refresh().await;
    (headers, metrics::encode(&sources.registry))
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
