//! HTTP clients: every call that postbud makes over HTTP (the webhook, OAuth tokens, the ownership file) starts with [`builder`].
//!
//! A client goes where postbud's configuration says and nowhere else. `http_proxy`, `HTTPS_PROXY` and `ALL_PROXY` of the
//! environment are ignored: a proxy would see signed bodies and credentials, and would look up names that were checked here. A
//! redirect is returned to the caller as the answer it is. `clippy.toml` refuses every other way to make a client.

use reqwest::{ClientBuilder, redirect};

/// A client without proxies, which follows no redirects. The caller adds timeouts and, where it is configured, a proxy.
pub fn builder() -> ClientBuilder {
    #[allow(clippy::disallowed_methods, reason = "the one place that makes clients")]
    let builder = reqwest::Client::builder();
    builder.no_proxy().redirect(redirect::Policy::none()).user_agent(concat!("postbud/", env!("CARGO_PKG_VERSION")))
}
