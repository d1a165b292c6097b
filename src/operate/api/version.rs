//! The versions of customers' files: the ETag of an answer, and the If-Match of a request.

use aide::generate::GenContext;
use aide::openapi::{Operation, Response as Documented};
use aide::transform::TransformOperation;
use aide::{OperationInput, OperationOutput};
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::document::{answer_header, header};
use super::problem::{Problem, documented};
use crate::operate::customers::{CustomerView, Version};

/// Documents that a request names the version that it changes.
pub(super) fn versioned(mut operation: TransformOperation<'_>) -> TransformOperation<'_> {
    header(operation.inner_mut(), "If-Match", "The ETag of the version that is changed, or * for any.", true);
    operation
}

/// The version that a request changes. `None` means any version.
pub(super) struct IfMatch(pub Option<Version>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        expected(&parts.headers)
    }
}

impl OperationInput for IfMatch {
    fn inferred_early_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        documented(context, [StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED, StatusCode::PRECONDITION_REQUIRED])
    }
}

fn expected(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let mut given = headers.get_all(IF_MATCH).iter();
    let (first, second) = (given.next(), given.next());
    let Some(first) = first else {
        let remedy = "read the customer, and send its ETag as If-Match; If-Match: * changes any version";
        let detail = "the request has no If-Match";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail, remedy));
    };
    let text = first.to_str().unwrap_or_default().trim();
    let tag = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|tag| !tag.contains('"'));
    match (text, tag, second) {
        ("*", _, None) => Ok(IfMatch(None)),
        (_, Some(tag), None) => Ok(IfMatch(Some(Version::named(tag)))),
        _ => Err(Problem::invalid("If-Match: is not one ETag in double quotes", "send the ETag as it was given")),
    }
}

/// A customer, with the version of its file.
pub(super) struct Versioned {
    status: StatusCode,
    location: Option<String>,
    version: Version,
    view: CustomerView,
}

impl Versioned {
    /// Makes the answer with the customer as it is now.
    pub fn current((view, version): (CustomerView, Version)) -> Self {
        Versioned { status: StatusCode::OK, location: None, version, view }
    }
}

impl IntoResponse for Versioned {
    fn into_response(self) -> Response {
        let tag = [(ETAG, format!("\"{}\"", self.version))];
        let location = self.location.map(|location| [(LOCATION, location)]);
        match location {
            Some(location) => (self.status, tag, location, Json(self.view)).into_response(),
            None => (self.status, tag, Json(self.view)).into_response(),
        }
    }
}

impl OperationOutput for Versioned {
    type Inner = CustomerView;

    fn inferred_responses(context: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let mut answers = Json::<CustomerView>::inferred_responses(context, operation);
        answers.iter_mut().for_each(|(_, answer)| names_version(answer));
        answers
    }
}

fn names_version(answer: &mut Documented) {
    answer_header(answer, "ETag", "The version of the customer's file, for If-Match of a change.", true);
}

/// A customer that was just added.
pub(super) struct Created(Versioned);

impl Created {
    /// Makes the answer with the customer, which is at `location` from now on.
    pub fn at(location: String, (view, version): (CustomerView, Version)) -> Self {
        Created(Versioned { status: StatusCode::CREATED, location: Some(location), version, view })
    }
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl OperationOutput for Created {
    type Inner = CustomerView;

    fn inferred_responses(context: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let Some(mut answer) = Json::<CustomerView>::operation_response(context, operation) else { return Vec::new() };
        names_version(&mut answer);
        answer_header(&mut answer, "Location", "The path of the customer.", true);
        vec![(Some(StatusCode::CREATED.as_u16()), answer)]
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_version_is_one_tag_in_quotes_or_any() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            expected(&headers)
                .map(|IfMatch(version)| version.map(|it| it.to_string()))
                .map_err(|problem| problem.status)
        };
        assert_eq!(read(&["\"abc\""]), Ok(Some("abc".into())));
        assert_eq!(read(&["*"]), Ok(None));
        assert_eq!(read(&[]), Err(428));
        for wrong in
            [&["abc"][..], &["W/\"abc\""], &["\"abc"], &["\"a\", \"b\""], &["\"a\"", "\"b\""], &["\"æ\""], &[""]]
        {
            assert_eq!(read(wrong), Err(400), "{wrong:?}");
        }
    }
}
