//! The layer around all pages: answers in time, no forms from other sites, and problems as pages.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use url::Url;

use super::language::{self, Chosen};
use super::{Problem, assets};

/// The maximum time for an answer. A connection without an answer is closed after 30 seconds.
const LONGEST_ANSWER: Duration = Duration::from_secs(28);
/// The maximum size of a body. Forms are short.
const LONGEST_BODY: usize = 32 * 1024;

/// Wraps pages, and the assets that they load, in this layer. `url` is the address at which browsers reach them.
pub(super) fn guarded(pages: Router, url: &Url) -> Router {
    let origin = url.origin().ascii_serialization();
    pages
        .route("/assets/{name}", get(asset))
        .method_not_allowed_fallback(async || Problem::NotFound)
        .fallback(async || Problem::NotFound)
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .layer(middleware::from_fn_with_state(origin, from_here))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn(in_words))
        .layer(middleware::from_fn(language::choose))
}

async fn asset(Path(name): Path<String>) -> Response {
    assets::answer(&name).unwrap_or_else(|| Problem::NotFound.into_response())
}

/// Refuses a form that another site sends. The codes of the forms do so too, but this check needs no session.
async fn from_here(State(origin): State<String>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) || is_from_here(request.headers(), &origin) {
        return next.run(request).await;
    }
    Problem::StaleForm.into_response()
}

/// Returns true if the request comes from our own site. Browsers send this in `Sec-Fetch-Site`. Our pages send no referrer, so their forms
/// may have the origin `null`.
fn is_from_here(headers: &HeaderMap, own: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match text(ORIGIN.as_str()) {
        None | Some("null") => true,
        Some(origin) => {
            let host = text(HOST.as_str()).unwrap_or_default();
            origin == own || origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host))
        }
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(LONGEST_ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::TooSlow.into_response(),
    }
}

/// Writes the page of a problem.
async fn in_words(request: Request, next: Next) -> Response {
    let chosen = request.extensions().get::<Chosen>().copied().unwrap_or_default();
    let response = next.run(request).await;
    let problem = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone(),
        // The status comes from axum itself.
        None => match response.status() {
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE
                if !response.headers().contains_key(axum::http::header::CONTENT_SECURITY_POLICY) =>
            {
                Problem::Unreadable
            }
            _ => return response,
        },
    };
    if let Problem::Failed | Problem::TooSlow = problem {
        tracing::warn!("a page could not be shown: {problem:?}");
    }
    problem.page(chosen.lang())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_form_of_another_site_is_refused() {
        for (headers, expected) in [
            (vec![], true),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "none")], true),
            (vec![("sec-fetch-site", "same-site")], false),
            (vec![("sec-fetch-site", "cross-site"), ("origin", "https://mail.webcrm.com")], false),
            (vec![("origin", "https://mail.webcrm.com")], true),
            (vec![("origin", "https://relay:8027"), ("host", "relay:8027")], true),
            (vec![("origin", "https://evil.example"), ("host", "relay:8027")], false),
            (vec![("origin", "null")], true),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(is_from_here(&map, "https://mail.webcrm.com"), expected, "{headers:?}");
        }
    }
}
