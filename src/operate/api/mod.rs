//! The HTTP interface, `/api/v1`. It runs the same commands as the command line, with the same results, errors and audit.
//!
//! ```text
//! web::serve      connections bounded, TLS, Host checked, client named, headers that protect
//!   └─ time       an answer within 28 seconds, or 504
//!      └─ caller  the token: who asks, with which role
//!         └─ repeat   Idempotency-Key
//!            └─ a handler: input ─► service ─► JSON, or a problem document
//! ```
//!
//! Handlers do not decide about permissions: the service's functions do, by the actor's role. The handlers' types make the OpenAPI document
//! (`document`), which is served at `/api/v1/openapi.json`.

mod alerts;
mod caller;
mod checked;
mod customers;
mod dmarc;
mod document;
mod domains;
mod input;
mod jobs;
mod links;
mod microsoft365;
mod problem;
mod queue;
mod record;
mod repeat;
mod routes;
mod shape;
mod suppression;
mod test_send;
mod token;
mod version;

use std::sync::Arc;
use std::time::Duration;

use aide::axum::ApiRouter;
use aide::openapi::OpenApi;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::Service;
use crate::submission::{Limits, Strikes};
use problem::Problem;
use repeat::Repeats;

/// The base path of the interface.
pub const BASE: &str = "/api/v1";

/// The maximum time for an answer. A connection without an answer is closed after 30 seconds.
const LONGEST_ANSWER: Duration = Duration::from_secs(28);

/// The interface. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    service: Service,
    /// Ends the event streams when the relay stops.
    stopping: CancellationToken,
    repeats: Repeats,
    strikes: Strikes,
    /// The OpenAPI document as it is served.
    document: String,
}

impl Api {
    /// Makes the interface of this service. Answers to wrong tokens are delayed as the `login_…` settings of `limits` say. Streams end with
    /// `stopping`.
    pub fn new(service: Service, limits: &Limits, stopping: CancellationToken) -> Self {
        Api(Arc::new(Inner {
            service,
            stopping,
            repeats: Repeats::default(),
            strikes: Strikes::new(limits),
            document: openapi(),
        }))
    }

    pub fn router(self) -> Router {
        let (routes, _) = documented();
        let inside = routes
            .layer(middleware::from_fn_with_state(self.clone(), repeat::check))
            .layer(middleware::from_fn_with_state(self.clone(), caller::check));
        let outside = Router::new().route(&format!("{BASE}/openapi.json"), get(document));
        outside
            .merge(inside)
            .method_not_allowed_fallback(no_such_method)
            .fallback(no_such_path)
            .layer(DefaultBodyLimit::max(input::LONGEST_BODY))
            .layer(middleware::from_fn(in_time))
            .with_state(self)
    }
}

/// Returns the OpenAPI document, indented and with a final line end.
pub fn openapi() -> String {
    let (_, document) = documented();
    let mut text = serde_json::to_string_pretty(&document).expect("the document is JSON");
    text.push('\n');
    text
}

/// Returns the paths and the document that describes them.
fn documented() -> (Router<Api>, OpenApi) {
    aide::generate::reset_context();
    aide::generate::infer_responses(true);
    aide::generate::extract_schemas(true);
    let all = ApiRouter::new()
        .merge(token::routes())
        .merge(queue::routes())
        .merge(routes::routes())
        .merge(microsoft365::routes())
        .merge(alerts::routes())
        .merge(customers::routes())
        .merge(links::routes())
        .merge(dmarc::routes())
        .merge(suppression::routes())
        .merge(test_send::routes())
        .merge(domains::routes())
        .merge(record::routes())
        .merge(jobs::routes());
    let mut document = document::opening();
    let router = ApiRouter::new().nest(BASE, all).finish_api(&mut document);
    document::complete(&mut document);
    (router, document)
}

async fn document(State(api): State<Api>) -> Response {
    ([(CONTENT_TYPE, "application/json")], api.0.document.clone()).into_response()
}

/// Answers 504 if a request takes too long. Work that a command has begun on the disk continues.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(LONGEST_ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let remedy = "look whether it was done, and narrow the request with a filter before asking again";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "the answer was not ready after 28 seconds", remedy)
                .into_response()
        }
    }
}

async fn no_such_path(uri: Uri) -> Problem {
    let detail = format!("there is no {}", uri.path());
    Problem::new(StatusCode::NOT_FOUND, detail, format!("{BASE}/openapi.json describes every path"))
}

async fn no_such_method(uri: Uri) -> Problem {
    let detail = format!("{} does not have this method", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail, "the header Allow names those that it has")
}

/// Runs blocking work on a thread for such work. The work continues even if the client disconnects.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, super::Error> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(super::Error::failed(format!("the work broke off: {error}"), "see the relay's log").into()),
    }
}
