//! Problem pages: why a page cannot be shown, and what the reader can do.

use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout::Page;
use super::text::{Words, words};
use crate::onboarding::Lang;
use crate::operate::{Error, ErrorKind};
use crate::visible::visible;

/// Why a page cannot be shown. The response has no text: the guard writes the page in the reader's language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// There is no such page. A revoked link looks the same as one that never existed.
    NotFound,
    /// The link has expired.
    Expired,
    /// Too many requests. The reader may try again after this time.
    TooMany(Duration),
    /// The form's code is invalid, because the page is old or was not made for this session.
    StaleForm,
    /// The request is too large or cannot be read.
    Unreadable,
    /// The reader may not do this.
    Forbidden,
    /// It cannot be done now.
    Unavailable,
    /// A failure that webCRM must look at.
    Failed,
    /// The answer took too long.
    TooSlow,
    /// A command was refused, with its own texts: what is wrong, and what to do. Only operators see it, in English.
    Refused(Error),
}

impl Problem {
    /// Returns the status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Problem::NotFound => StatusCode::NOT_FOUND,
            Problem::Expired => StatusCode::GONE,
            Problem::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Problem::StaleForm | Problem::Forbidden => StatusCode::FORBIDDEN,
            Problem::Unreadable => StatusCode::BAD_REQUEST,
            Problem::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Problem::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            Problem::TooSlow => StatusCode::GATEWAY_TIMEOUT,
            Problem::Refused(error) => match error.kind {
                ErrorKind::Invalid => StatusCode::BAD_REQUEST,
                ErrorKind::NotFound => StatusCode::NOT_FOUND,
                ErrorKind::Conflict | ErrorKind::ChangedMeanwhile => StatusCode::CONFLICT,
                ErrorKind::Forbidden => StatusCode::FORBIDDEN,
                ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
                ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// Returns the title, what is wrong and what to do.
    pub(super) fn said(&self, words: &Words) -> (String, String, String) {
        let own = |[title, what, next]: [&str; 3]| (title.to_owned(), what.to_owned(), next.to_owned());
        match self {
            Problem::NotFound => own(words.not_found),
            Problem::Expired => own(words.expired),
            Problem::TooMany(wait) => {
                let [title, what, _] = words.too_many;
                (title.to_owned(), what.to_owned(), (words.wait)(wait.as_secs().max(1)))
            }
            Problem::StaleForm => own(words.stale_form),
            Problem::Unreadable => own(words.unreadable),
            Problem::Forbidden => own(words.forbidden),
            Problem::Unavailable => own(words.unavailable),
            Problem::Failed => own(words.failed),
            Problem::TooSlow => own(words.too_slow),
            Problem::Refused(error) => {
                let [title, ..] = words.refused;
                (title.to_owned(), visible(&error.message).into_owned(), visible(&error.remedy).into_owned())
            }
        }
    }

    pub fn page(&self, lang: Lang) -> Response {
        let (title, what, next) = self.said(words(lang));
        let body = html! {
            h1 { (title) }
            p { (what) }
            p { (next) }
        };
        let mut response = Page::new(lang, title.as_str(), "webCRM", body).with_status(self.status());
        if let Problem::TooMany(wait) = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Problem::Refused(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
