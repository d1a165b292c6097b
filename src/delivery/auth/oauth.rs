//! Fetches bearer tokens for XOAUTH2 with OAuth 2.0 client credentials (RFC 6749 §4.4), and keeps them until shortly
//! before they expire.
//!
//! The token, too, is fetched from the egress address. If the token endpoint refuses the credentials, the route is
//! suspended, as for a refused password. If the endpoint cannot be reached, or something else answers in its place,
//! mail waits.

use std::time::Duration;

use tokio::time::Instant;

use reqwest::StatusCode;
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};

use super::entra;
use crate::causes::with_causes;
use crate::delivery::dial::{Failure, TokenSource};
use crate::delivery::outcome::{Trouble, clipped};
use crate::delivery::settings::{EgressPath, Settings};
use crate::delivery::step::Step;
use crate::http_client;
use crate::message::FailureClass;
use crate::route::{Cause, LoginSecret, Route};
use crate::visible::visible;

/// Tokens are renewed this long before they expire, so that none expires on the way to the server.
const MARGIN: Duration = Duration::from_secs(300);
/// The lifetime of a token whose endpoint names none (RFC 6749 §5.1), in seconds. An hour is usual.
const USUAL_LIFETIME: u64 = 3600;
/// The longest time that a token is kept, whatever the endpoint says.
const LONGEST_LIFETIME: Duration = Duration::from_secs(86_400);

#[derive(Default)]
pub struct Tokens {
    client: OnceCell<reqwest::Client>,
    kept: Mutex<Option<CachedToken>>,
}

#[derive(Clone)]
struct CachedToken {
    token: String,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<u64>,
}

/// An error response of the token endpoint (RFC 6749 §5.2).
#[derive(Deserialize)]
struct Denied {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Denied {
    /// Reads the refusal in a response. A proxy's page or a busy endpoint says nothing about the credentials.
    fn within(status: StatusCode, text: &str) -> Option<Self> {
        let for_now = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        let denied: Denied = serde_json::from_str(text).ok().filter(|_| status.is_client_error() && !for_now)?;
        // RFC 6749 §5.2 does not list these errors, but endpoints send them when they will do better later.
        let later = matches!(denied.error.as_str(), "" | "temporarily_unavailable" | "server_error");
        (!later).then_some(denied)
    }
}

/// What the answer of a token endpoint means. The texts are short and visible.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenAnswer {
    /// A token, and how long it may be used.
    Token { token: String, usable: Duration },
    /// The endpoint refuses the credentials.
    Denied(String),
    /// Something else is wrong, perhaps not for long.
    Later(String),
}

impl TokenAnswer {
    /// Reads an answer.
    pub fn read(status: StatusCode, text: &str) -> Self {
        if let Some(Denied { error, error_description }) = Denied::within(status, text) {
            return TokenAnswer::Denied(shown(&format!(
                "the token endpoint refused: {status} {error} {error_description}"
            )));
        }
        if !status.is_success() {
            return TokenAnswer::Later(format!("the token endpoint answered {status}"));
        }
        let granted: Granted = match serde_json::from_str(text) {
            Ok(granted) => granted,
            Err(error) => {
                return TokenAnswer::Later(shown(&format!("the token endpoint's answer cannot be read: {error}")));
            }
        };
        let lifetime = Duration::from_secs(granted.expires_in.unwrap_or(USUAL_LIFETIME)).min(LONGEST_LIFETIME);
        // A token with a short life is used for half of it.
        let usable = lifetime.checked_sub(MARGIN).filter(|left| *left > MARGIN).unwrap_or(lifetime / 2);
        TokenAnswer::Token { token: granted.access_token, usable }
    }
}

/// Makes a text from the endpoint short and visible.
fn shown(text: &str) -> String {
    clipped(visible(text.trim_end().replace(|c: char| c.is_control(), " ").as_str()).into_owned())
}

/// A route's token with what is needed to fetch it.
pub struct RouteTokens<'a> {
    pub tokens: &'a Tokens,
    /// The settings, which say how to connect.
    pub settings: &'a Settings,
    /// The route whose credentials are used.
    pub route: &'a Route,
}

impl TokenSource for RouteTokens<'_> {
    async fn token(&self) -> Result<String, Failure> {
        // The lock is kept while fetching, so that connections that start together fetch one token.
        let mut kept = self.tokens.kept.lock().await;
        match kept.as_ref().filter(|kept| Instant::now() < kept.renew_at) {
            Some(kept) => Ok(kept.token.clone()),
            None => self.fetch_into(&mut kept).await,
        }
    }

    async fn new_token(&self) -> Result<String, Failure> {
        self.fetch_into(&mut *self.tokens.kept.lock().await).await
    }
}

impl RouteTokens<'_> {
    /// Fetches a token and keeps it. If none can be fetched, none is kept.
    async fn fetch_into(&self, kept: &mut Option<CachedToken>) -> Result<String, Failure> {
        *kept = None;
        let fetched = self.fetch().await?;
        Ok(kept.insert(fetched).token.clone())
    }

    async fn fetch(&self) -> Result<CachedToken, Failure> {
        let no_credentials = || later("the route has no client credentials".to_owned());
        let login = self.route.login.as_ref().ok_or_else(no_credentials)?;
        let LoginSecret::ClientCredentials { token_url, client_id, client_secret, scope } = &login.secret else {
            return Err(no_credentials());
        };
        let client = self
            .tokens
            .client
            .get_or_try_init(|| async { client(self.settings) })
            .await
            .map_err(|error| later(format!("cannot fetch a token: {error}")))?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", client_id)
            .append_pair("client_secret", client_secret)
            .append_pair("scope", scope)
            .finish();
        let asked = client.post(token_url).header("content-type", "application/x-www-form-urlencoded").body(form);
        // The message of reqwest holds the URL, which has no secret in it. The secret is in the form.
        let unreachable = |error: reqwest::Error| later(format!("cannot fetch a token: {}", with_causes(&error)));
        let answer = asked.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = bounded_text(answer).await.map_err(unreachable)?;
        let reason = match TokenAnswer::read(status, &text) {
            TokenAnswer::Token { token, usable } => {
                return Ok(CachedToken { token, renew_at: Instant::now() + usable });
            }
            TokenAnswer::Later(reason) => return Err(later(reason)),
            TokenAnswer::Denied(reason) => reason,
        };
        let remedy = entra::remedy(&reason).map(|remedy| format!("{remedy}: ")).unwrap_or_default();
        Err(Failure {
            step: Step::Token,
            reason: reason.clone(),
            trouble: Trouble::Suspend {
                cause: Cause::Login,
                reason,
                advice: format!("{remedy}correct {}, and reload", login.stands_in),
            },
            class: FailureClass::Auth,
            everywhere: true,
        })
    }
}

/// Reads a response of at most about 64 KiB. Tokens and errors are small, so the rest is not read.
async fn bounded_text(mut answer: reqwest::Response) -> Result<String, reqwest::Error> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        text.extend_from_slice(&chunk);
        if text.len() > 64 * 1024 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn client(settings: &Settings) -> Result<reqwest::Client, reqwest::Error> {
    let builder =
        http_client::builder().timeout(settings.timeouts.handshake).connect_timeout(settings.timeouts.connect);
    match &settings.egress.path {
        EgressPath::Bind(local) => builder.local_address(*local).build(),
        EgressPath::Socks5 { proxy, login } => {
            let mut through = reqwest::Proxy::all(format!("socks5h://{proxy}"))?;
            if let Some((user, password)) = login {
                through = through.basic_auth(user, password);
            }
            builder.proxy(through).build()
        }
    }
}

fn later(reason: String) -> Failure {
    Failure {
        step: Step::Token,
        trouble: Trouble::BackOff {
            reason: reason.clone(),
            at_least: None,
            advice: Some(
                "the route needs an OAuth token to log in and got none: check token_url and the network".into(),
            ),
        },
        reason,
        class: FailureClass::Auth,
        everywhere: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, text: &str) -> TokenAnswer {
        TokenAnswer::read(StatusCode::from_u16(status).unwrap(), text)
    }

    #[test]
    fn what_the_endpoint_says_is_short_and_visible() {
        let hostile = "\\u001b[2J\\u202e\\u0000\\r\\n".repeat(2000);
        for (status, text, is_denied) in [
            (401, format!("{{\"error\": \"x{hostile}\", \"error_description\": \"{hostile}\"}}"), true),
            (200, format!("{{\"access_token\": \"t\", \"expires_in\": \"{hostile}\"}}"), false),
            (200, "[".repeat(60_000), false),
            (200, "{\"access_token\": null}".to_owned(), false),
            (302, String::new(), false),
            (503, format!("{{\"error\": \"{hostile}\"}}"), false),
        ] {
            let reason = match read(status, &text) {
                TokenAnswer::Denied(reason) if is_denied => reason,
                TokenAnswer::Later(reason) if !is_denied => reason,
                other => panic!("{status}: {other:?}"),
            };
            assert!(!reason.chars().any(crate::visible::is_unseen), "{reason:?}");
            assert!(reason.len() <= 1024, "{} octets", reason.len());
        }
    }

    #[test]
    fn a_token_is_used_for_a_part_of_its_life_whatever_that_is() {
        for (expires, usable) in
            [("", 3300), (", \"expires_in\": 7200", 6900), (", \"expires_in\": 60", 30), (", \"expires_in\": 0", 0)]
        {
            let answer = read(200, &format!("{{\"access_token\": \"t\"{expires}}}"));
            assert_eq!(answer, TokenAnswer::Token { token: "t".into(), usable: Duration::from_secs(usable) });
        }
        let TokenAnswer::Token { usable, .. } =
            read(200, &format!("{{\"access_token\": \"t\", \"expires_in\": {}}}", u64::MAX))
        else {
            panic!("a token")
        };
        assert!(usable < LONGEST_LIFETIME);
    }
}
