//! HTTP endpoints, which serve the status page, the API, the pages for operators and customers, and take Mailjet's events.
//!
//! [`serve`] limits connections (`limiter`), encrypts them if a certificate is configured (`secured`), believes the proxies that are
//! configured (`peer`), refuses requests for foreign host names (`hosts`), and adds headers that keep browsers from misusing the answers.

mod hosts;
mod limiter;
mod peer;
mod readiness;
mod secured;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use hosts::Hosts;
use limiter::Limited;
pub use peer::{Client, Proxies, ViaProxy};
pub use readiness::Readiness;
use secured::Secured;

use crate::submission::ServerTls;

/// How an HTTP endpoint listens. Each table with an `address` in the server file makes one, such as `[web]` and `[api]`.
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
    /// The permitted clients, and the proxies that may name a client.
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
