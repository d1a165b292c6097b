//! Reads the input of requests: names in the path, parameters, and bodies. Invalid input is refused with a problem that names the mistake.

use std::time::Duration;

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as Documented};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::{Problem, WITH_BODY, documented};
use super::shape::list_for_object;
use crate::causes::causes;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The maximum size of a body in octets. A request with thousands of queue ids fits.
pub(super) const LONGEST_BODY: usize = 256 << 10;
/// The maximum octets of an import of a suppression list: about 200,000 addresses.
pub(super) const LONGEST_IMPORT: usize = 16 << 20;

/// The names in the path.
pub(super) struct At<T>(pub T);

impl<T, S> FromRequestParts<S> for At<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(At(names)),
            Err(error) => Err(Problem::invalid(error.body_text(), "correct the path")),
        }
    }
}

impl<T: JsonSchema> OperationInput for At<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        Path::<T>::operation_input(context, operation);
    }
}

/// The query parameters. An unknown parameter is refused, because without it the request would mean something else.
pub(super) struct Params<T>(pub T);

impl<T, S> FromRequestParts<S> for Params<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Params(params)),
            Err(error) => {
                // The rejection's own words are about the deserializer; its cause names the parameter.
                let what = causes(&error).next().map_or_else(|| error.body_text(), ToString::to_string);
                Err(Problem::invalid(what, "correct the parameter; the OpenAPI document lists them"))
            }
        }
    }
}

impl<T: JsonSchema> OperationInput for Params<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        Query::<T>::operation_input(context, operation);
    }
}

/// The request takes no parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A JSON body. A request with one has no parameters.
pub(super) struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned + JsonSchema + 'static,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let octets = JSON.read(request, state).await?;
        let not_understood =
            |what: String| Problem::invalid(what, "correct it; the OpenAPI document describes the body");
        // What is no JSON, the reader below names with its place.
        let whole = serde_json::from_slice::<serde_json::Value>(&octets).ok();
        if whole.as_ref().is_some_and(|body| !body.is_object()) {
            return Err(not_understood("the body is no object".to_owned()));
        }
        if let Some(path) = whole.as_ref().and_then(list_for_object::<T>) {
            return Err(not_understood(format!("{path}: a list stands where an object is expected")));
        }
        let mut json = serde_json::Deserializer::from_slice(&octets);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            match path.as_str() {
                "." | "?" => not_understood(format!("the body is not understood: {}", error.inner())),
                path => not_understood(format!("{path}: {}", error.inner())),
            }
        })?;
        json.end().map_err(|error| not_understood(format!("more follows the body: {error}")))?;
        Ok(Body(value))
    }
}

impl<T: JsonSchema> OperationInput for Body<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        Json::<T>::operation_input(context, operation);
    }

    fn inferred_early_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        documented(context, WITH_BODY)
    }
}

/// What a body must be, and the words for one that is not.
pub(super) struct BodyRules {
    /// The content types that it may have. The first is named to the client.
    pub types: [&'static str; 2],
    /// The maximum octets. The router enforces the limit.
    pub longest: usize,
    /// What a request with such a body is called.
    pub request: &'static str,
    /// What the octets are counted of.
    pub body: &'static str,
    /// The remedies for parameters, for another content type, and for too many octets.
    pub remedies: [&'static str; 3],
}

const JSON: BodyRules = BodyRules {
    types: ["application/json", "application/merge-patch+json"],
    longest: LONGEST_BODY,
    request: "a request with a body",
    body: "a body",
    remedies: [
        "put them into the body",
        "send Content-Type: application/json, and a body in JSON",
        "ask in several requests",
    ],
};

impl BodyRules {
    /// Reads the body of a request. A request with a body has no parameters.
    pub async fn read<S: Send + Sync>(&self, request: Request, state: &S) -> Result<Bytes, Problem> {
        let BodyRules { types, longest, request: called, body, remedies } = self;
        if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
            let detail = format!("{called} has no parameters, and this one has \"{query}\"");
            return Err(Problem::invalid(detail, remedies[0]));
        }
        let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let given = given.split(';').next().unwrap_or_default().trim();
        if !types.iter().any(|known| given.eq_ignore_ascii_case(known)) {
            let detail = format!("the body's type is not {}", types[0]);
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail, remedies[1]));
        }
        Bytes::from_request(request, state).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = format!("{body} may have {longest} octets");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail, remedies[2])
            }
            _ => Problem::invalid(error.body_text(), "send the body again"),
        })
    }
}

/// Reads a domain name.
pub(super) fn domain(text: &str) -> Result<Domain, Problem> {
    Domain::parse(text).map_err(|error| Problem::invalid(error.to_string(), "give a domain like test.dk"))
}

/// Reads the time in a parameter.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let refused = || {
        Problem::invalid(
            format!("{name}: {:?} is no time", text.unwrap_or_default()),
            "give one like 2026-11-29T08:00:00Z",
        )
    };
    text.map(|text| text.parse().map_err(|_| refused())).transpose()
}

/// The page that a request asks for, of a list that is not filtered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// The position to continue from: `next` of the previous answer.
    pub cursor: Option<String>,
    /// The number of items, from 1 to 500; the default is 50.
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u16>,
}

/// The maximum number of items in one answer.
pub(super) const LONGEST_PAGE: u16 = 500;

/// Returns the number of items in an answer.
pub(super) fn limit(given: Option<u16>) -> Result<usize, Problem> {
    match given.unwrap_or(50) {
        limit @ 1..=LONGEST_PAGE => Ok(limit.into()),
        limit => Err(Problem::invalid(
            format!("limit: {limit} is outside of 1 to {LONGEST_PAGE}"),
            "ask for fewer, and go on with the cursor of each answer",
        )),
    }
}

/// The longest time in seconds that a poll may wait. A connection without an answer is closed after 30 seconds.
const LONGEST_WAIT: u64 = 25;

/// Returns how long a poll waits.
pub(super) fn wait(secs: Option<u64>) -> Result<Duration, Problem> {
    match secs.unwrap_or_default() {
        secs @ 0..=LONGEST_WAIT => Ok(Duration::from_secs(secs)),
        secs => Err(Problem::invalid(
            format!("wait_secs: {secs} is more than {LONGEST_WAIT}"),
            "ask again when the answer comes without what you wait for",
        )),
    }
}
