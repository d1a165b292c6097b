//! Operators' pages, behind a login: first what needs attention, and every command of the other interfaces.
//!
//! ```text
//! guard ─► in_frame   problems as pages of ours
//!            ├─► login, logout
//!            └─► visitor   a session's cookie, or a trusted proxy's header; else the login
//!                  └─► a page ─► service ─► Markup
//! ```
//!
//! The service decides about permissions. A page shows its forms only to operators whose role allows them. A form that is sent anyway gets
//! the service's refusal.

mod account;
mod alerts;
mod audit;
mod charts;
mod customer;
mod customers;
mod dmarc;
mod frame;
mod input;
mod live;
mod login;
mod message;
mod overview;
mod queue;
mod routes;
mod show;
mod suppression;
#[cfg(test)]
mod tests;
mod trace;
mod visitor;
mod work;

use std::sync::Arc;

use axum::http::HeaderName;
use axum::middleware;
use axum::routing::{any, get, post};
use axum::{Router, extract::DefaultBodyLimit};
use tokio_util::sync::CancellationToken;

use super::forms::Forms;
use super::{Problem, guard};
use crate::operate::Service;
use crate::operate::fair::Places;
use crate::operate::operators::SessionTimes;
use crate::web::Readiness;

/// The maximum number of live pages with a stream at the same time, and of one operator.
const STREAMS: usize = 64;
const STREAMS_OF_ONE: usize = 16;

#[derive(Clone, Debug)]
pub struct Settings {
    /// The settings that all pages have.
    pub pages: super::Settings,
    /// The header in which a trusted proxy names the operator that it has authenticated.
    pub trusted_header: Option<HeaderName>,
    /// The lifetime of sessions.
    pub sessions: SessionTimes,
}

/// The data that the pages show besides the service.
pub struct Surroundings {
    pub hostname: String,
    /// Whether the relay accepts mail.
    pub readiness: Readiness,
    pub stopping: CancellationToken,
}

/// The operators' pages. Cheap to clone.
#[derive(Clone)]
pub struct Operators(Arc<Inner>);

struct Inner {
    service: Service,
    surroundings: Surroundings,
    forms: Forms,
    /// True if browsers reach the pages over TLS.
    is_encrypted: bool,
    trusted_header: Option<HeaderName>,
    streams: Places,
}

impl Operators {
    /// Makes the pages of this service.
    pub fn new(service: Service, surroundings: Surroundings, settings: &Settings) -> Self {
        Operators(Arc::new(Inner {
            service,
            surroundings,
            forms: Forms::new(),
            is_encrypted: settings.pages.url.scheme() == "https",
            trusted_header: settings.trusted_header.clone(),
            streams: Places::new(STREAMS, STREAMS_OF_ONE),
        }))
    }

    pub fn router(self, settings: &Settings) -> Router {
        let inside = Router::new()
            .route("/", get(overview::show))
            .route("/live", get(overview::live))
            .route("/alerts", get(alerts::show).post(alerts::acknowledge))
            .route("/alerts/live", get(alerts::live))
            .route("/queue", get(queue::show))
            .route("/queue/live", get(queue::live))
            .route("/queue/confirm", post(queue::confirm))
            .route("/queue/do", post(queue::begin))
            .route("/queue/{id}", get(message::show))
            .route("/queue/{id}/live", get(message::live))
            .route("/work/{id}", get(work::show))
            .route("/work/{id}/live", get(work::live))
            .route("/routes", get(routes::list))
            .route("/routes/live", get(routes::live_list))
            .route("/routes/microsoft365", get(routes::microsoft365))
            .route("/routes/{id}", get(routes::show).post(routes::switch))
            .route("/routes/{id}/live", get(routes::live))
            .route("/customers", get(customers::list))
            // Not below /customers: a customer's id may be any word.
            .route("/live/customers", get(customers::live))
            .route("/customers/{id}", get(customer::show).post(customer::command))
            .route("/customers/{id}/domains/{domain}", get(customer::records))
            .route("/customers/{id}/domains/{domain}/live", get(customer::live_records))
            .route("/customers/{id}/dmarc", get(dmarc::show))
            .route("/customers/{id}/dmarc/live", get(dmarc::live))
            .route("/trace", get(trace::show))
            .route("/suppression", get(suppression::show).post(suppression::change))
            .route("/suppression/export", get(suppression::export))
            .route(
                "/suppression/import",
                post(suppression::import).layer(DefaultBodyLimit::max(suppression::LONGEST_IMPORT)),
            )
            .route("/audit", get(audit::show))
            .route("/account", get(account::show).post(account::change))
            .route("/logout", post(login::log_out))
            .route("/{*rest}", any(async || Problem::NotFound))
            .layer(middleware::from_fn_with_state(self.clone(), visitor::require));
        let outside = Router::new().route("/login", get(login::show).post(login::log_in));
        let pages = outside.merge(inside).layer(middleware::from_fn_with_state(self.clone(), frame::in_frame));
        guard::guarded(pages.with_state(self), &settings.pages.url)
    }

    fn service(&self) -> &Service {
        &self.0.service
    }

    fn forms(&self) -> &Forms {
        &self.0.forms
    }
}
