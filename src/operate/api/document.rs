//! The OpenAPI document. Paths, parameters, bodies and answers come from the handlers' types. This module adds what types cannot express.

use aide::openapi::{
    Header, HeaderStyle, Info, OpenApi, Operation, Parameter, ParameterData, ParameterSchemaOrContent, ReferenceOr,
    Response, SchemaObject, SecurityScheme, StatusCode, Tag,
};
use aide::transform::TransformOperation;
use schemars::json_schema;

use super::problem::{WITH_BODY, documented};
use super::repeat::{IDEMPOTENCY_KEY, REPEATED};

/// The tags of the operations.
pub(super) const QUEUE: &str = "queue";
pub(super) const ROUTES: &str = "routes";
pub(super) const ALERTS: &str = "alerts";
pub(super) const CUSTOMERS: &str = "customers";
pub(super) const DOMAINS: &str = "domains";
pub(super) const RECORD: &str = "record";
pub(super) const SUPPRESSION: &str = "suppression";
pub(super) const JOBS: &str = "jobs";
pub(super) const TOKEN: &str = "token";

const TAGS: [(&str, &str); 9] = [
    (QUEUE, "What waits, and commands about it."),
    (ROUTES, "Where mail goes."),
    (ALERTS, "What a person must look at."),
    (CUSTOMERS, "Customers, and what belongs to one of them."),
    (DOMAINS, "Customers' From domains: records, requirements, checks."),
    (RECORD, "What became of mail."),
    (SUPPRESSION, "Addresses that a customer's mail no longer goes to."),
    (JOBS, "Work that goes on after the answer."),
    (TOKEN, "Who asks."),
];

const DESCRIPTION: &str = "Customers, their domains, the queue and the record of a postbud relay.\n\nA request carries a token of \
    `postbud token add` in `Authorization: Bearer TOKEN`. Roles: `read` sees everything and probes routes; `operate` also changes the \
    queue, the routes and suppression lists, pauses customers, checks domains, sends test mails and acknowledges alerts; `admin` also \
    changes customers, keys and links, and erases recipients from the record; `customer` sees and probes its own customers, and \
    nothing else.\n\nEvery \
    answer that says no is a problem document (RFC 9457) whose `remedy` says what to do. Fields and parameters that are not known are \
    refused by name. Times are RFC 3339 in UTC. A list's `next`, where there is one, is the `cursor` of the next request.\n\nA POST \
    may carry an `Idempotency-Key`: the same request with the same key is carried out once, and its answer is given again for 24 \
    hours, or until the relay stops.";

/// Sets the name and the description of an operation.
pub(super) fn said(
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |operation| operation.tag(tag).id(id).summary(summary).description(description)
}

/// Returns the document without the paths.
pub(super) fn opening() -> OpenApi {
    let mut document = OpenApi {
        info: Info {
            title: "postbud".to_owned(),
            description: Some(DESCRIPTION.to_owned()),
            version: "1".to_owned(),
            ..Info::default()
        },
        tags: TAGS
            .into_iter()
            .map(|(name, text)| Tag { name: name.to_owned(), description: Some(text.to_owned()), ..Tag::default() })
            .collect(),
        security: vec![[("token".to_owned(), Vec::new())].into_iter().collect()],
        ..OpenApi::default()
    };
    let scheme = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: None,
        description: Some("A token of `postbud token add`.".to_owned()),
        extensions: Default::default(),
    };
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert("token".to_owned(), ReferenceOr::Item(scheme));
    document
}

/// Adds the parts that all operations of a kind have in common.
pub(super) fn complete(document: &mut OpenApi) {
    for item in document.paths.iter_mut().flat_map(|paths| paths.paths.values_mut()) {
        let ReferenceOr::Item(item) = item else { continue };
        complete_post(item.post.as_mut());
        for operation in [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten() {
            for (status, answer) in operation.responses.iter_mut().flat_map(|all| &mut all.responses) {
                let (StatusCode::Code(429), ReferenceOr::Item(answer)) = (status, answer) else { continue };
                answer_header(answer, "Retry-After", "After how many seconds to ask again.", true);
            }
        }
    }
    forget_unused(document);
}

/// Adds what every POST has: a key against repeats, and the answers to one that cannot be used.
fn complete_post(operation: Option<&mut Operation>) {
    let Some(operation) = operation else { return };
    let text = "Makes a repeat harmless: see the beginning of this document.";
    header(operation, IDEMPOTENCY_KEY, text, false);
    // A key may be refused even if nothing else in the request can be.
    let answers = aide::generate::in_context(|context| documented(context, WITH_BODY));
    let Some(responses) = &mut operation.responses else { return };
    for (status, answer) in answers {
        let Some(status) = status.map(StatusCode::Code) else { continue };
        responses.responses.entry(status).or_insert(ReferenceOr::Item(answer));
    }
    for (status, answer) in &mut responses.responses {
        let (StatusCode::Code(200..=299), ReferenceOr::Item(answer)) = (status, answer) else { continue };
        answer_header(answer, REPEATED, "`true` if this is the answer to an earlier request with the same key.", false);
    }
}

/// Removes schemas that nothing names, such as those of parameters, which stand where they are used.
fn forget_unused(document: &mut OpenApi) {
    loop {
        let text = serde_json::to_string(document).expect("the document is JSON");
        let Some(components) = &mut document.components else { return };
        let before = components.schemas.len();
        components.schemas.retain(|name, _| text.contains(&format!("\"#/components/schemas/{name}\"")));
        if components.schemas.len() == before {
            return;
        }
    }
}

/// Documents a header of an answer.
pub(super) fn answer_header(answer: &mut Response, name: &str, text: &str, required: bool) {
    let format = ParameterSchemaOrContent::Schema(SchemaObject {
        json_schema: json_schema!({ "type": "string" }),
        example: None,
        external_docs: None,
    });
    let header = Header {
        description: Some(text.to_owned()),
        style: HeaderStyle::Simple,
        required,
        deprecated: None,
        format,
        example: None,
        examples: Default::default(),
        extensions: Default::default(),
    };
    answer.headers.insert(name.to_owned(), ReferenceOr::Item(header));
}

/// Documents a request header.
pub(super) fn header(operation: &mut Operation, name: &str, text: &str, required: bool) {
    let format = ParameterSchemaOrContent::Schema(SchemaObject {
        json_schema: json_schema!({ "type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$" }),
        example: None,
        external_docs: None,
    });
    operation.parameters.push(ReferenceOr::Item(Parameter::Header {
        parameter_data: ParameterData {
            name: name.to_owned(),
            description: Some(text.to_owned()),
            required,
            deprecated: None,
            format,
            example: None,
            examples: Default::default(),
            explode: None,
            extensions: Default::default(),
        },
        style: HeaderStyle::Simple,
    }));
}
