//! Makes HTTP clients. Every HTTP call of postbud (the webhook, OAuth tokens, the ownership file) starts with [`builder`].
//!
//! A client connects only to addresses from postbud's configuration. `http_proxy`, `HTTPS_PROXY` and `ALL_PROXY` in the environment are
//! ignored, because a proxy would see signed bodies and credentials, and would look up names that were checked here. A redirect is returned
//! to the caller as an answer. `clippy.toml` forbids every other way to make a client.

use reqwest::{ClientBuilder, redirect};

/// Makes a client without proxies that follows no redirects. The caller adds timeouts and, if one is configured, a proxy.
pub fn builder() -> ClientBuilder {
    #[allow(clippy::disallowed_methods, reason = "the one place that makes clients")]
    let builder = reqwest::Client::builder();
    builder.no_proxy().redirect(redirect::Policy::none()).user_agent(concat!("postbud/", env!("CARGO_PKG_VERSION")))
}
