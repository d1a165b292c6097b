//! The HTTP endpoint for events: who may send them, how many, and the answers.
//!
//! | request | answer |
//! |---|---|
//! | the right secret, name and password, after the events are on disk | 200 |
//! | another path, or the wrong secret | 404, delayed |
//! | the right secret, but the wrong name or password | 401, delayed |
//! | too many of these from one address | 429 |
//! | another method than POST | 405 |
//! | a body that is not JSON, or has no events | 400 |
//! | a body that is too large, or has too many events | 413 |
//! | more events per second than `events_per_second` | 429 |
//! | the database accepts nothing now, or too many events wait | 503 |
//!
//! Wrong secrets are answered with a growing delay, by the mechanism for logins at submission. A right secret is always checked, so
//! guessers cannot lock Mailjet out. The body is read only after both the secret and the credentials were right.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::counters::Fate;
use super::inbox::Inbox;
use super::payload::{self, Payload, Refused};
use super::report::{Kind, Report};
use super::{PATH, Shared};
use crate::submission::{Limits, Strikes};
use crate::visible::visible;
use crate::web::Client;

/// The longest delay. The client would not wait longer.
const LONGEST_DELAY: Duration = Duration::from_secs(20);
/// The number of bodies that are read at the same time. Each may have `request_size` octets.
const BODIES: usize = 16;
/// How many seconds of `events_per_second` may come at once, because Mailjet groups the events of a second.
const BURST: f64 = 5.0;

/// The endpoint. Cheap to clone.
#[derive(Clone)]
pub(super) struct EventEndpoint(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    inbox: Inbox,
    strikes: Strikes,
    bodies: Semaphore,
    pace: Mutex<Pace>,
    /// Digests of the path and of the credentials, which are compared in constant time.
    path: [u8; 32],
    credentials: [u8; 32],
}

impl EventEndpoint {
    pub fn new(shared: Arc<Shared>, inbox: Inbox, limits: &Limits) -> Self {
        let access = &shared.settings.access;
        let path = digest_of(format!("{PATH}{}", *access.secret).as_bytes());
        let credentials = Zeroizing::new(format!("{}:{}", access.username, *access.password));
        let credentials = digest_of(credentials.as_bytes());
        let pace = Mutex::new(Pace::new(shared.settings.limits.events_per_second, Instant::now()));
        let (strikes, bodies) = (Strikes::new(limits), Semaphore::new(BODIES));
        EventEndpoint(Arc::new(Inner { shared, inbox, strikes, bodies, pace, path, credentials }))
    }

    /// Returns the router that answers every path.
    pub fn router(self) -> Router {
        Router::new().fallback(answer).with_state(self)
    }
}

async fn answer(State(endpoint): State<EventEndpoint>, request: Request) -> Response {
    let inner = &*endpoint.0;
    let response = inner.answer(request).await;
    inner.shared.counters.answered(response.status().as_u16());
    response
}

impl Inner {
    async fn answer(&self, request: Request) -> Response {
        let started = Instant::now();
        let client = request.extensions().get::<Client>().map(|client| client.0);
        if !is_same(&digest_of(request.uri().path().as_bytes()), &self.path) {
            return self.late(client, started, not_found()).await;
        }
        if !self.knows(request.headers()) {
            return self.late(client, started, unauthorized()).await;
        }
        if request.method() != Method::POST {
            let headers = [(ALLOW, "POST")];
            return (StatusCode::METHOD_NOT_ALLOWED, headers, "Mailjet's events come with POST.\n").into_response();
        }
        let (parts, body) = request.into_parts();
        match self.read(&parts.headers, body).await {
            Ok(payload) => self.take(payload).await,
            Err(response) => *response,
        }
    }

    /// Answers after the delay of a wrong login, or with 429 if there were too many.
    async fn late(&self, client: Option<IpAddr>, started: Instant, refused: Response) -> Response {
        let Some(client) = client else { return refused };
        if !self.strikes.admits(client, &[0; 32], started) {
            return too_many(self.strikes.longest(), "too many wrong requests came from this address");
        }
        let delay = self.strikes.strike_address(client, started);
        tokio::time::sleep_until(started + delay.min(LONGEST_DELAY)).await;
        refused
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return false };
        let Some((scheme, encoded)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else { return false };
        let Ok(decoded) = STANDARD.decode(encoded.trim()).map(Zeroizing::new) else { return false };
        scheme.eq_ignore_ascii_case("basic") && is_same(&digest_of(&decoded), &self.credentials)
    }

    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Payload, Box<Response>> {
        let limits = &self.shared.settings.limits;
        let too_large = || {
            let text =
                format!("a request may have {} octets and {} events\n", limits.request_size, limits.events_per_request);
            Box::new((StatusCode::PAYLOAD_TOO_LARGE, text).into_response())
        };
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limits.request_size as u64) {
            return Err(too_large());
        }
        let Ok(_permit) = self.bodies.try_acquire() else {
            return Err(Box::new(unavailable("too many requests are being read")));
        };
        let Ok(octets) = to_bytes(body, limits.request_size).await else {
            // The client left before the announced length.
            return Err(match announced {
                Some(_) => Box::new((StatusCode::BAD_REQUEST, "the body broke off\n").into_response()),
                None => too_large(),
            });
        };
        payload::read(&octets, limits.events_per_request).map_err(|refused| match refused {
            Refused::TooMany(_) => too_large(),
            Refused::Malformed(why) => {
                let why = visible(&why).into_owned();
                tracing::info!("a request with Mailjet's secret holds no events: {why}");
                Box::new(
                    (StatusCode::BAD_REQUEST, format!("not an event or an array of events: {why}\n")).into_response(),
                )
            }
        })
    }

    async fn take(&self, Payload { reports, unknown }: Payload) -> Response {
        let count = reports.len();
        if let Err(wait) = self.pace.lock().unwrap_or_else(PoisonError::into_inner).take(count, Instant::now()) {
            return too_many(wait, "more events came than events_per_second allows");
        }
        let counters = &self.shared.counters;
        let (wanted, unwanted): (Vec<Report>, Vec<Report>) =
            reports.into_iter().partition(|report| self.is_wanted(report.kind));
        let kinds: Vec<Kind> = wanted.iter().chain(&unwanted).map(|report| report.kind).collect();
        if !self.inbox.put(wanted).await {
            return unavailable("the events cannot be written now");
        }
        kinds.into_iter().for_each(|kind| counters.received(kind));
        counters.unknown.inc_by(unknown);
        counters.became(Fate::Unwanted, unwanted.len());
        (StatusCode::OK, "taken\n").into_response()
    }

    fn is_wanted(&self, kind: Kind) -> bool {
        match kind {
            Kind::Open => self.shared.settings.opens,
            Kind::Click => self.shared.settings.clicks,
            _ => true,
        }
    }
}

fn digest_of(octets: &[u8]) -> [u8; 32] {
    digest(&SHA256, octets).as_ref().try_into().expect("SHA-256 has 32 octets")
}

fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here\n").into_response()
}

fn unauthorized() -> Response {
    let headers = [(WWW_AUTHENTICATE, "Basic realm=\"postbud\", charset=\"UTF-8\"")];
    (StatusCode::UNAUTHORIZED, headers, "the name or the password is wrong\n").into_response()
}

fn too_many(wait: Duration, why: &str) -> Response {
    let mut response = (StatusCode::TOO_MANY_REQUESTS, format!("{why}\n")).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    response
}

fn unavailable(why: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")], format!("{why}\n")).into_response()
}

/// Limits the rate of events.
struct Pace {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Pace {
    fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Pace { per_second, left: per_second * BURST, at: now }
    }

    /// Admits this many events, or returns how long to wait. A request is never refused for its own size alone.
    fn take(&mut self, count: usize, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.per_second * BURST);
        self.at = now;
        if self.left <= 0.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / self.per_second));
        }
        self.left -= count as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_events_a_second_come_in_and_no_more() {
        let start = Instant::now();
        let mut pace = Pace::new(100, start);
        assert_eq!(pace.take(500, start), Ok(()));
        let wait = pace.take(1, start).unwrap_err();
        assert!(wait <= Duration::from_millis(11), "{wait:?}");
        assert_eq!(
            pace.take(2000, start + Duration::from_secs(1)),
            Ok(()),
            "larger than what is left, and taken whole"
        );
        let wait = pace.take(1, start + Duration::from_secs(1)).unwrap_err();
        assert!((19..=20).contains(&wait.as_secs()), "{wait:?}");
        let taken: usize = (0..1000u64)
            .filter(|ms| pace.take(1, start + Duration::from_secs(60) + Duration::from_millis(*ms)).is_ok())
            .count();
        assert!((590..=601).contains(&taken), "{taken}");
    }
}
