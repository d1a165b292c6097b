//! Authenticates requests. A request is authenticated only by its token in `Authorization: Bearer …`. No cookie is read, so no page in a
//! browser can send requests in somebody's name (CSRF).
//!
//! Answers to wrong tokens are delayed, and more so with each wrong token from the same address. The mechanism and the settings are those
//! of logins at submission. An address that exceeds its limit gets 429. Unlike a password, a token is always checked: it cannot be guessed,
//! so only the flood is slowed down, and an address with many wrong tokens does not lock out a valid one.

use std::sync::Arc;
use std::time::Duration;

use aide::OperationInput;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::Api;
use super::problem::Problem;
use crate::operate::tokens::{Digest, Presented};
use crate::operate::{Actor, Role};
use crate::time::Timestamp;
use crate::web::Client;

/// The longest delay. Clients do not wait longer.
const LONGEST_DELAY: Duration = Duration::from_secs(20);
/// The maximum length of a token.
const LONGEST: usize = 512;
/// How often it is looked whether the token of an open stream still counts.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The actor of a request. Only routes behind [`check`] have one.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub Arc<Actor>, Digest);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(no_token)
    }
}

/// The OpenAPI document describes authentication once for the whole interface.
impl OperationInput for Caller {}

impl Caller {
    /// Waits until the token no longer counts: it was revoked, has expired, or is not known to count.
    pub async fn ended(self, api: Api) {
        while api.0.service.tokens.counts(self.1, Timestamp::now()) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Returns the customer of a request: the named one, or the only one that the caller may see. `None` means all customers.
    pub fn customer(&self, named: Option<String>) -> Result<Option<String>, Problem> {
        match (named, self.0.role()) {
            (Some(named), _) => Ok(Some(named)),
            (None, Role::Customer(own)) if own.len() == 1 => Ok(own.first().map(ToString::to_string)),
            (None, Role::Customer(_)) => {
                Err(Problem::invalid("the request names no customer, and the token sees several", "add customer=ID"))
            }
            (None, _) => Ok(None),
        }
    }
}

/// Lets a request with a valid token through.
pub(super) async fn check(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let client = request.extensions().get::<Client>().map(|client| client.0);
    let started = Instant::now();
    // If the tokens are not current, another node may have revoked this one, and a valid token would be counted as wrong.
    if let Err(error) = api.0.service.tokens.is_current() {
        return Problem::from(error).into_response();
    }
    let refused = match presented(request.headers()) {
        Err(problem) => problem,
        Ok(secret) => match api.0.service.tokens.look(secret, client, Timestamp::now()) {
            Presented::Valid(actor) => {
                let digest = Digest::of(secret);
                // The answer to a command says what was done, whatever has become of the token meanwhile.
                let is_read = request.method().is_safe();
                request.extensions_mut().insert(Caller(Arc::new(actor), digest));
                let response = next.run(request).await;
                if !is_read || api.0.service.tokens.counts(digest, Timestamp::now()) {
                    return response;
                }
                return match api.0.service.tokens.is_current() {
                    Err(error) => Problem::from(error),
                    Ok(()) => Problem::new(
                        StatusCode::UNAUTHORIZED,
                        "the token was revoked or has expired while the request waited",
                        "have an administrator make another with `postbud token add`",
                    ),
                }
                .into_response();
            }
            Presented::Expired(name) => Problem::new(
                StatusCode::UNAUTHORIZED,
                format!("the token {name} has expired"),
                "have an administrator make another with `postbud token add`",
            ),
            Presented::Unknown => Problem::new(
                StatusCode::UNAUTHORIZED,
                "there is no such token",
                "check that the token is complete and was not revoked; `postbud token list` names those that count",
            ),
        },
    };
    let Some(client) = client else { return refused.into_response() };
    if !api.0.strikes.admits(client, &[0; 32], started) {
        let secs = api.0.strikes.longest().as_secs().max(1);
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests from this address had no token that counts",
            "wait, and then ask with a token that counts; one that does is answered at any time",
        );
        return problem.after(secs).into_response();
    }
    let delay = api.0.strikes.strike_address(client, started);
    tokio::time::sleep_until(started + delay.min(LONGEST_DELAY)).await;
    refused.into_response()
}

/// Returns the token of a request.
fn presented(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(no_token()) };
    let text = value.to_str().map_err(|_| no_token())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(no_token)?;
    let token = token.trim_start_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= LONGEST {
        return Ok(token);
    }
    Err(no_token())
}

fn no_token() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "the request has no token",
        "send one header Authorization: Bearer TOKEN; `postbud token add` makes a token",
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_read_from_one_header_of_the_bearer_scheme_only() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            presented(&headers).map(str::to_owned).ok()
        };
        for (values, expected) in [
            (vec!["Bearer abc"], Some("abc")),
            (vec!["bearer abc"], Some("abc")),
            (vec!["BEARER   abc"], Some("abc")),
            (vec![], None),
            (vec![""], None),
            (vec!["Bearer"], None),
            (vec!["Bearer "], None),
            (vec!["abc"], None),
            (vec!["Basic YTpi"], None),
            (vec!["Bearer abc", "Bearer abc"], None),
            (vec!["Bearer æ"], None),
        ] {
            assert_eq!(read(&values).as_deref(), expected, "{values:?}");
        }
        assert_eq!(read(&[&format!("Bearer {}", "x".repeat(LONGEST + 1))]), None);
    }
}
