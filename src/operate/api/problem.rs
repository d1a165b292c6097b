//! Error answers as problem documents (RFC 9457): a stable `type` for programs, and for people what is wrong and what to do.

use aide::OperationOutput;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, Response as Documented, SchemaObject};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operate::{Error, ErrorKind};

/// The prefix of every `type`.
const TYPES: &str = "urn:postbud:problem:";

/// Why a request was not carried out (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The kind of problem, for programs: `urn:postbud:problem:` and one of a fixed set of words.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// How to solve the problem.
    pub remedy: String,
    /// The number of seconds after which to repeat the request, if waiting helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_secs: Option<u64>,
}

/// The kinds of problems: the end of the type, the status, and the title.
const KINDS: [(&str, StatusCode, &str); 15] = [
    ("invalid", StatusCode::BAD_REQUEST, "The request says something that cannot be"),
    ("no-token", StatusCode::UNAUTHORIZED, "The request has no token that counts"),
    ("forbidden", StatusCode::FORBIDDEN, "The token does not allow this"),
    ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
    ("no-such-method", StatusCode::METHOD_NOT_ALLOWED, "This path has no such method"),
    ("conflict", StatusCode::CONFLICT, "The request does not fit what is there"),
    ("changed-meanwhile", StatusCode::PRECONDITION_FAILED, "It was changed since it was read"),
    ("too-large", StatusCode::PAYLOAD_TOO_LARGE, "The request's body is too large"),
    ("other-type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The request's body is of another type"),
    ("another-request", StatusCode::UNPROCESSABLE_ENTITY, "The idempotency key was used for another request"),
    ("no-precondition", StatusCode::PRECONDITION_REQUIRED, "The request does not say which version it changes"),
    ("too-many", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
    ("failed", StatusCode::INTERNAL_SERVER_ERROR, "Something failed that an administrator has to look at"),
    ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Not now"),
    ("timed-out", StatusCode::GATEWAY_TIMEOUT, "The answer took too long"),
];

/// The statuses that every operation may answer with.
const ANYWHERE: [StatusCode; 8] = [
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// The further statuses of an operation with a body.
pub(super) const WITH_BODY: [StatusCode; 4] = [
    StatusCode::CONFLICT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::UNPROCESSABLE_ENTITY,
];

impl Problem {
    /// Makes a problem with this status, which must be in the table.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (kind, status, title) =
            KINDS.into_iter().find(|(_, known, _)| *known == status).expect("each status that is used is in the table");
        Problem {
            kind: format!("{TYPES}{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            remedy: remedy.into(),
            retry_after_secs: None,
        }
    }

    /// Makes the problem of an invalid request.
    pub(super) fn invalid(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, detail, remedy)
    }

    /// Adds the time after which to repeat the request.
    pub(super) fn after(self, secs: u64) -> Self {
        Problem { retry_after_secs: Some(secs), ..self }
    }
}

impl From<Error> for Problem {
    fn from(Error { kind, message, remedy }: Error) -> Self {
        let status = match kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::ChangedMeanwhile => StatusCode::PRECONDITION_FAILED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::TooMany => return Problem::new(StatusCode::TOO_MANY_REQUESTS, message, remedy).after(10),
            ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, message, remedy)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem has texts and numbers");
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(secs) = self.retry_after_secs {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

/// Documents an answer for each of these statuses.
pub(super) fn documented(
    context: &mut GenContext,
    statuses: impl IntoIterator<Item = StatusCode>,
) -> Vec<(Option<u16>, Documented)> {
    let schema = context.schema.subschema_for::<Problem>();
    let answer = |status: StatusCode| {
        let (_, _, title) = KINDS.into_iter().find(|(_, known, _)| *known == status)?;
        let media = MediaType {
            schema: Some(SchemaObject { json_schema: schema.clone(), example: None, external_docs: None }),
            ..MediaType::default()
        };
        let documented = Documented {
            description: title.to_owned(),
            content: [("application/problem+json".to_owned(), media)].into_iter().collect(),
            ..Documented::default()
        };
        Some((Some(status.as_u16()), documented))
    };
    statuses.into_iter().filter_map(answer).collect()
}

impl OperationOutput for Problem {
    type Inner = Problem;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        documented(context, ANYWHERE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_a_type_a_status_and_its_remedy() {
        for (kind, ending, status) in [
            (ErrorKind::Invalid, "invalid", 400),
            (ErrorKind::Forbidden, "forbidden", 403),
            (ErrorKind::NotFound, "not-found", 404),
            (ErrorKind::Conflict, "conflict", 409),
            (ErrorKind::ChangedMeanwhile, "changed-meanwhile", 412),
            (ErrorKind::Failed, "failed", 500),
            (ErrorKind::Unavailable, "unavailable", 503),
        ] {
            let problem = Problem::from(Error::new(kind, "what", "do"));
            assert_eq!(problem.kind, format!("urn:postbud:problem:{ending}"));
            assert_eq!((problem.status, problem.detail.as_str(), problem.remedy.as_str()), (status, "what", "do"));
        }
        for (index, (kind, status, _)) in KINDS.into_iter().enumerate() {
            assert_eq!(Problem::new(status, "", "").status, status.as_u16());
            assert!(KINDS[..index].iter().all(|(other, known, _)| *other != kind && *known != status));
        }
    }
}
