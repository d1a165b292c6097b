//! `/customers/{customer}/suppression`: the addresses to which a customer's mail is no longer sent, singly, in pages, or as CSV.

use std::sync::Arc;

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, ReferenceOr, RequestBody, Response as Documented, SchemaObject};
use aide::{OperationInput, OperationOutput};
use axum::Json;
use axum::body::{Body as Content, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, NoContent, Response};
use futures_util::stream;
use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::document::{SUPPRESSION, said};
use super::input::{At, Body, BodyRules, LONGEST_IMPORT, Nothing, PageQuery, Params, limit};
use super::problem::{Problem, WITH_BODY, documented};
use super::{Api, blocking};
use crate::customers::suppression::csv;
use crate::operate::queue::Page;
use crate::operate::suppression::{MOST, Suppressed};
use crate::operate::{Actor, Error, Service};
use crate::time::Timestamp;

#[derive(Debug, Deserialize, JsonSchema)]
struct Id {
    /// The customer's id.
    customer: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OneOf {
    /// The customer's id.
    customer: String,
    /// The recipient's address.
    address: String,
}

/// An address to be suppressed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSuppressed")]
struct New {
    /// The recipient's address.
    address: String,
    /// The reason, for people.
    #[serde(default)]
    note: String,
    /// The number of seconds after which the entry expires. By default it never does.
    #[schemars(range(min = 1, max = 3_153_600_000_u64))]
    expires_in_secs: Option<u64>,
}

/// The result of an import.
#[derive(Debug, Serialize, JsonSchema)]
struct Imported {
    /// The number of addresses that were added or replaced.
    imported: u64,
}

/// The longest time for which an address may be suppressed: a hundred years.
const LONGEST_SECS: u64 = 3_153_600_000;

pub(super) fn routes() -> ApiRouter<Api> {
    let table = get_with(
        export,
        said(
            SUPPRESSION,
            "exportSuppression",
            "Export a suppression list",
            "CSV (RFC 4180) with the columns address, reason, since, expires and note. An answer that breaks off is not whole. Role read; a \
             customer sees its own.",
        ),
    )
    .post_with(
        import,
        said(
            SUPPRESSION,
            "importSuppression",
            "Import into a suppression list",
            "CSV with a first line that names its columns, or one address a line. Every line is checked before anything is taken; addresses \
             that are there already are replaced. Role operate.",
        ),
    )
    .layer(DefaultBodyLimit::max(LONGEST_IMPORT));
    ApiRouter::new()
        .api_route("/customers/{customer}/suppression.csv", table)
        .api_route(
            "/customers/{customer}/suppression",
            get_with(
                list,
                said(
                    SUPPRESSION,
                    "listSuppressed",
                    "List suppressed addresses",
                    "By address. Role read; a customer sees its own.",
                ),
            )
            .merge(post_with(
                add,
                said(
                    SUPPRESSION,
                    "suppress",
                    "Suppress an address",
                    "The customer's mail no longer goes to it. An entry that is there already is replaced. Role operate.",
                ),
            )),
        )
        .api_route(
            "/customers/{customer}/suppression/{address}",
            get_with(
                show,
                said(SUPPRESSION, "showSuppressed", "Show a suppressed address", "Role read; a customer sees its own."),
            )
            .delete_with(
                remove,
                said(
                    SUPPRESSION,
                    "unsuppress",
                    "Take an address off the list",
                    "Whatever the reason it was there for; its bounces are forgotten. Role operate.",
                ),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(PageQuery { cursor, limit: most }): Params<PageQuery>,
) -> Result<Json<Page<Suppressed>>, Problem> {
    let most = limit(most)?;
    let found = api.0.service.suppressed(&caller.0, &customer, cursor.as_deref(), most + 1).await?;
    Ok(Json(Page::of(found, most, |last| last.address.clone())))
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(OneOf { customer, address }): At<OneOf>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Suppressed>, Problem> {
    Ok(Json(api.0.service.find_suppressed(&caller.0, &customer, &address).await?))
}

async fn add(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(New { address, note, expires_in_secs }): Body<New>,
) -> Result<Json<Suppressed>, Problem> {
    if let Some(secs) = expires_in_secs.filter(|secs| !(1..=LONGEST_SECS).contains(secs)) {
        let remedy = "leave it out where the address stays on the list until somebody takes it off";
        return Err(Problem::invalid(format!("expires_in_secs: {secs} is outside of 1 to {LONGEST_SECS}"), remedy));
    }
    let expires_in = expires_in_secs.map(std::time::Duration::from_secs);
    let service = &api.0.service;
    service.suppress(&caller.0, &customer, &address, &note, expires_in).await?;
    Ok(Json(service.find_suppressed(&caller.0, &customer, &address).await?))
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    At(OneOf { customer, address }): At<OneOf>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<NoContent, Problem> {
    api.0.service.unsuppress(&caller.0, &customer, &address).await?;
    Ok(NoContent)
}

async fn import(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Csv(text): Csv,
) -> Result<Json<Imported>, Problem> {
    let service = api.0.service.clone();
    service.may_import(&caller.0, &customer)?;
    let read = blocking(move || {
        csv::read(&text, Timestamp::now())
            .map_err(|error| Error::invalid(error.to_string(), "correct the line; nothing of the import was taken"))
    });
    let entries: Vec<Suppressed> = read.await?.into_iter().map(|(_, entry)| Suppressed::from(entry)).collect();
    let mut imported = 0;
    for part in entries.chunks(MOST) {
        imported += service.import_suppressed(&caller.0, &customer, part).await.map_err(|error| {
            let taken = format!("after {imported} of {} addresses were taken", entries.len());
            Problem::from(error.within(&taken))
        })?;
    }
    Ok(Json(Imported { imported }))
}

async fn export(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<CsvFile, Problem> {
    let service = api.0.service.clone();
    let pages = Pages { service, actor: caller.0, customer };
    // Read the first page before the answer begins, so that an error is still reported as a problem document.
    let first = pages.after(None).await?;
    let next = |(pages, page): (Pages, Option<Vec<Suppressed>>)| async move {
        let page = page?;
        let rows: String = page.iter().map(row).collect();
        let following = match page.last().filter(|_| page.len() == MOST) {
            None => Ok(None),
            Some(last) => pages.after(Some(&last.address)).await.map(Some),
        };
        match following {
            Ok(following) => Some((Ok(Bytes::from(rows)), (pages, following))),
            // Break the answer off, so that the client does not take it for complete.
            Err(error) => Some((Err(std::io::Error::other(error.to_string())), (pages, None))),
        }
    };
    let header = stream::once(async { Ok(Bytes::from(csv::header())) });
    let rows = stream::unfold((pages, Some(first)), next);
    Ok(CsvFile(Content::from_stream(futures_util::StreamExt::chain(header, rows))))
}

/// Reads a customer's list page by page.
struct Pages {
    service: Service,
    actor: Arc<Actor>,
    customer: String,
}

impl Pages {
    async fn after(&self, address: Option<&str>) -> Result<Vec<Suppressed>, Error> {
        self.service.suppressed(&self.actor, &self.customer, address, MOST).await
    }
}

fn row(entry: &Suppressed) -> String {
    let expires = entry.expires.as_deref().unwrap_or_default();
    csv::record([&entry.address, &entry.reason, &entry.since, expires, &entry.note])
}

/// The body of an import: CSV, from an actor that may import.
struct Csv(Bytes);

impl<S: Send + Sync> FromRequest<S> for Csv {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // The body of an actor that may not import is not read.
        if let Some(caller) = request.extensions().get::<Caller>() {
            caller.0.may_operate()?;
        }
        CSV.read(request, state).await.map(Csv)
    }
}

const CSV: BodyRules = BodyRules {
    types: ["text/csv", "text/plain"],
    longest: LONGEST_IMPORT,
    request: "an import",
    body: "an import",
    remedies: [
        "leave them out",
        "send Content-Type: text/csv",
        "import in several requests, each with its line of columns",
    ],
};

impl OperationInput for Csv {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        let content = CSV.types.map(|kind| (kind.to_owned(), of_text())).into_iter().collect();
        let body = RequestBody { content, required: true, ..RequestBody::default() };
        operation.request_body = Some(ReferenceOr::Item(body));
    }

    fn inferred_early_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        documented(context, WITH_BODY)
    }
}

fn of_text() -> MediaType {
    let json_schema = json_schema!({ "type": "string" });
    MediaType { schema: Some(SchemaObject { json_schema, example: None, external_docs: None }), ..MediaType::default() }
}

/// An answer in CSV.
struct CsvFile(Content);

impl IntoResponse for CsvFile {
    fn into_response(self) -> Response {
        let named = [
            (CONTENT_TYPE, "text/csv; charset=utf-8"),
            (CONTENT_DISPOSITION, "attachment; filename=\"suppression.csv\""),
        ];
        (named, self.0).into_response()
    }
}

impl OperationOutput for CsvFile {
    type Inner = String;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let answer = Documented {
            description: "The whole list as CSV.".to_owned(),
            content: [("text/csv".to_owned(), of_text())].into_iter().collect(),
            ..Documented::default()
        };
        vec![(Some(StatusCode::OK.as_u16()), answer)]
    }
}
