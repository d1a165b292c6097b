//! The pages that machines and operators read without a login: `/healthz`, `/readyz`, `/metrics`, and a status page at `/`.
//!
//! These pages are read-only and show no secrets. They are meant for the loopback interface or an internal network.

mod page;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::metrics;
use crate::operate;
use crate::spool::Configuration;
use crate::time::Timestamp;
use crate::web::Readiness;

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

/// Answers 503 with the reason if only a restart helps. Otherwise a 200 shows that the process answers.
async fn healthz(State(sources): State<Sources>) -> (StatusCode, String) {
    match sources.health.reasons().first() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some((_, reason)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// Answers 200 if the relay accepts mail and can store it, and otherwise 503 with the reasons.
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
        /// Only where several nodes share the spool.
        #[serde(skip_serializing_if = "Option::is_none")]
        configuration: Option<Configuration>,
    }
    let reasons: Vec<Reason> =
        sources.readiness.reasons().into_iter().map(|(check, reason)| Reason { check, reason }).collect();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let configuration = sources.service.spool.configuration();
    (status, Json(Answer { ready, reasons, configuration }))
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
    (headers, Html(page::page(&sources, Timestamp::now()).await))
}
