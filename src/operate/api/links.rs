//! `/customers/{customer}/links`: links to a customer's page.

use aide::OperationOutput;
use aide::axum::ApiRouter;
use aide::axum::routing::{delete_with, get_with};
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as Documented};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::caller::Caller;
use super::document::{CUSTOMERS, said};
use super::input::{At, Body, Nothing, PageQuery, Params, limit};
use super::problem::Problem;
use crate::operate::links::{AddedLink, Link, NewLink};
use crate::operate::queue::Page;

#[derive(Debug, Deserialize, JsonSchema)]
struct Id {
    /// The customer's id.
    customer: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OfLink {
    /// The customer's id.
    customer: String,
    /// The link's id.
    link: String,
}

/// A link that was revoked.
#[derive(Debug, Serialize, JsonSchema)]
struct Revoked {
    /// The link's id.
    id: String,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/customers/{customer}/links",
            get_with(
                list,
                said(
                    CUSTOMERS,
                    "listLinks",
                    "List links to a customer's page",
                    "The newest first. The links themselves are not kept. Role admin.",
                ),
            )
            .post_with(
                add,
                said(
                    CUSTOMERS,
                    "addLink",
                    "Make a link to a customer's page",
                    "Send `url` to the customer: it is given this once, and whoever has it may use the page. Role admin.",
                ),
            ),
        )
        .api_route(
            "/customers/{customer}/links/{link}",
            delete_with(
                revoke,
                said(CUSTOMERS, "revokeLink", "Take a link back", "It opens nothing from this moment on. Role admin."),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(PageQuery { cursor, limit: most }): Params<PageQuery>,
) -> Result<Json<Page<Link>>, Problem> {
    let most = limit(most)?;
    // A customer has some links only: 50 that count, and expired ones of the last 90 days.
    let mut all = api.0.service.links(&caller.0, Some(&customer)).await?;
    all.sort_by(|one, other| position(other).cmp(&position(one)));
    if let Some(after) = cursor {
        let known = after.split_once('~').ok_or_else(|| {
            let detail = format!("cursor: \"{after}\" is no position in the list");
            Problem::invalid(detail, "give `next` of an answer, or leave it out to begin")
        })?;
        all.retain(|link| position(link) < known);
    }
    Ok(Json(Page::of(all, most, |last| format!("{}~{}", last.created, last.id))))
}

/// Returns the position of a link in the list, which begins with the greatest.
fn position(link: &Link) -> (&str, &str) {
    (&link.created, &link.id)
}

async fn add(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(new): Body<NewLink>,
) -> Result<Created, Problem> {
    Ok(Created(api.0.service.add_link(&caller.0, &customer, &new).await?))
}

async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    At(OfLink { customer, link }): At<OfLink>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Revoked>, Problem> {
    api.0.service.revoke_link(&caller.0, Some(&customer), &link).await?;
    Ok(Json(Revoked { id: link }))
}

/// A link that was just made.
struct Created(AddedLink);

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

impl OperationOutput for Created {
    type Inner = AddedLink;

    fn inferred_responses(context: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let answer = Json::<AddedLink>::operation_response(context, operation);
        answer.map(|answer| (Some(StatusCode::CREATED.as_u16()), answer)).into_iter().collect()
    }
}
