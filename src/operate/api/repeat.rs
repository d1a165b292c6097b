//! `Idempotency-Key`: a POST that is repeated with the same key is not carried out again, but gets the same answer as before.
//!
//! Keys belong to a token. They are kept in memory, limited in number, and valid for 24 hours or until the relay stops. If there are too
//! many, the oldest one of the token that has the most is forgotten, so that nobody's keys push out those of others. Only the answer to a
//! request that was carried out is kept: one that was refused may be repeated with the same key.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::Api;
use super::caller::Caller;
use super::input::{LONGEST_BODY, LONGEST_IMPORT};
use super::problem::Problem;

pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header of an answer that is given again.
pub(super) const REPEATED: &str = "Idempotency-Replayed";
const HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The maximum number of answers that are kept.
const REMEMBERED: usize = 1_000;
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The maximum octets of an answer that is kept. Every answer to a POST is much smaller.
const LONGEST_ANSWER: usize = 1 << 20;

/// The kept answers. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Repeats(Arc<Mutex<HashMap<Key, Entry>>>);

/// The token's name, and the key.
type Key = (String, String);

struct Entry {
    /// The digest of the request.
    request: [u8; 32],
    at: Instant,
    /// `None` while the request is being carried out.
    answer: Option<Answer>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn again(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(HEADER, HeaderValue::from_static("true"));
        response
    }
}

impl Repeats {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a key for a request, or returns the kept answer.
    fn reserve(&self, key: &Key, request: [u8; 32], now: Instant) -> Result<Reserved, Box<Response>> {
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.answer.is_none() || now < entry.at + KEPT);
        match entries.get(key) {
            Some(entry) if entry.request != request => {
                let detail = "this Idempotency-Key was used for another request";
                let remedy = "give each request a key of its own, and send the same request where it is a repeat";
                let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail, remedy);
                return Err(Box::new(problem.into_response()));
            }
            Some(Entry { answer: Some(answer), .. }) => return Err(Box::new(answer.clone().again())),
            Some(_) => {
                let remedy = "wait for its answer, or ask again in a moment";
                let detail = "a request with this Idempotency-Key is being carried out";
                let problem = Problem::new(StatusCode::CONFLICT, detail, remedy).after(1);
                return Err(Box::new(problem.into_response()));
            }
            None => {}
        }
        if entries.len() >= REMEMBERED {
            let Some(oldest) = to_forget(&entries) else {
                let detail = "too many requests with an Idempotency-Key are being carried out";
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail, "ask again in a moment").after(1);
                return Err(Box::new(problem.into_response()));
            };
            entries.remove(&oldest);
        }
        entries.insert(key.clone(), Entry { request, at: now, answer: None });
        Ok(Reserved { repeats: self.clone(), key: key.clone() })
    }
}

/// Returns the key of the oldest answer of the token that has the most.
fn to_forget(entries: &HashMap<Key, Entry>) -> Option<Key> {
    // By token: how many answers it has, and the oldest one.
    type Settled<'a> = HashMap<&'a str, (usize, Reverse<(Instant, &'a Key)>)>;
    let mut settled = Settled::new();
    for (key, entry) in entries.iter().filter(|(_, entry)| entry.answer.is_some()) {
        let of_token = settled.entry(&key.0).or_insert((0, Reverse((entry.at, key))));
        *of_token = (of_token.0 + 1, of_token.1.max(Reverse((entry.at, key))));
    }
    settled.into_values().max().map(|(_, Reverse((_, oldest)))| oldest.clone())
}

/// A key whose request is being carried out. If it is dropped without an answer, the key can be used again.
struct Reserved {
    repeats: Repeats,
    key: Key,
}

impl Reserved {
    fn settle(self, answer: Answer) {
        if let Some(entry) = self.repeats.entries().get_mut(&self.key) {
            entry.answer = Some(answer);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut entries = self.repeats.entries();
        if entries.get(&self.key).is_some_and(|entry| entry.answer.is_none()) {
            entries.remove(&self.key);
        }
    }
}

/// Carries a POST with a key out once.
pub(super) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut given = request.headers().get_all(IDEMPOTENCY_KEY).iter();
    let (key, more) = (given.next(), given.next());
    let (Some(key), Some(caller)) = (key, request.extensions().get::<Caller>()) else { return next.run(request).await };
    let key = key.to_str().ok().filter(|key| (1..=128).contains(&key.len()) && !key.contains(' '));
    let (Some(key), None) = (key, more) else {
        let remedy = "send one key of 1 to 128 visible characters, such as a UUID";
        return Problem::invalid("the Idempotency-Key cannot be used", remedy).into_response();
    };
    if request.method() != Method::POST {
        return Problem::invalid("an Idempotency-Key is for POST", "leave it out").into_response();
    }
    let key = (caller.0.to_string(), key.to_owned());
    let (parts, body) = request.into_parts();
    let most = if parts.uri.path().ends_with(".csv") { LONGEST_IMPORT } else { LONGEST_BODY };
    let Ok(body) = to_bytes(body, most).await else {
        let detail = format!("a body may have {most} octets");
        return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail, "ask in several requests").into_response();
    };
    let mut asked = Context::new(&SHA256);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    for part in [target.as_bytes(), b"\0", &body] {
        asked.update(part);
    }
    let asked = asked.finish().as_ref().try_into().expect("SHA-256 has 32 octets");
    let reserved = match api.0.repeats.reserve(&key, asked, Instant::now()) {
        Ok(reserved) => reserved,
        Err(answer) => return *answer,
    };
    // The work continues even if the client disconnects, so that its answer is kept.
    let work = tokio::spawn(async move { next.run(Request::from_parts(parts, Body::from(body))).await });
    let Ok(response) = work.await else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the work broke off", "see the relay's log")
            .into_response();
    };
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_ANSWER).await else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer broke off", "see the relay's log")
            .into_response();
    };
    let answer = Answer { status: parts.status, headers: parts.headers.clone(), body: body.clone() };
    if answer.status.is_success() {
        reserved.settle(answer);
    } else {
        drop(reserved);
    }
    Response::from_parts(parts, Body::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("token a".to_owned(), name.to_owned())
    }

    fn answer() -> Answer {
        Answer { status: StatusCode::CREATED, headers: HeaderMap::new(), body: Bytes::from_static(b"{}") }
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_hears_the_first_answer_and_another_request_is_refused() {
        let repeats = Repeats::default();
        let now = Instant::now();
        let reserved = repeats.reserve(&key("1"), [1; 32], now).ok().unwrap();
        let refused = |request: u8, now| match repeats.reserve(&key("1"), [request; 32], now) {
            Err(response) => response.status().as_u16(),
            Ok(_) => 0,
        };
        assert_eq!(refused(1, now), 409, "while it is carried out");
        reserved.settle(answer());
        assert_eq!((refused(1, now), refused(2, now)), (201, 422));
        assert!(
            repeats.reserve(&("token b".into(), "1".into()), [2; 32], now).is_ok(),
            "another token has keys of its own"
        );
        assert_eq!(refused(2, now + KEPT), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_not_settled_may_be_sent_again_and_memory_is_bounded() {
        let repeats = Repeats::default();
        let now = Instant::now();
        drop(repeats.reserve(&key("1"), [1; 32], now).ok().unwrap());
        assert!(repeats.reserve(&key("1"), [2; 32], now).is_ok());
        for n in 0..2 * REMEMBERED {
            repeats.reserve(&key(&n.to_string()), [1; 32], now).ok().unwrap().settle(answer());
        }
        assert_eq!(repeats.entries().len(), REMEMBERED);
    }

    #[tokio::test(start_paused = true)]
    async fn the_keys_of_one_token_do_not_push_out_anothers() {
        let repeats = Repeats::default();
        let own = ("token b".to_owned(), "1".to_owned());
        repeats.reserve(&own, [1; 32], Instant::now()).ok().unwrap().settle(answer());
        for n in 0..2 * REMEMBERED {
            tokio::time::advance(Duration::from_millis(1)).await;
            repeats.reserve(&key(&n.to_string()), [1; 32], Instant::now()).ok().unwrap().settle(answer());
        }
        assert!(repeats.reserve(&own, [1; 32], Instant::now()).is_err(), "it is still known");
        assert!(repeats.reserve(&key("0"), [1; 32], Instant::now()).is_ok(), "the oldest of the flood is not");
    }
}
