//! `/routes`: the routes of mail, and commands about them.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::caller::Caller;
use super::document::{ROUTES, said};
use super::input::{At, Body, Nothing, Params, limit};
use super::problem::Problem;
use crate::operate::queue::Page;
use crate::operate::routes::Route;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// Only routes in this state: `ready`, `throttled` or `suspended`.
    state: Option<String>,
    /// The position to continue from: `next` of the previous answer.
    cursor: Option<String>,
    /// The number of routes, from 1 to 500; the default is 50.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Name {
    /// The route's name, such as `mailjet.trusted` or `own-server.test-as`.
    route: String,
}

/// The suspension of a route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteSuspension")]
struct Reason {
    /// The reason, which lists and the audit show.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route("/routes", get_with(list, said(ROUTES, "listRoutes", "List routes", "By name. Role read.")))
        .api_route(
            "/routes/{route}/suspend",
            post_with(
                suspend,
                said(
                    ROUTES,
                    "suspendRoute",
                    "Stop a route until it is resumed",
                    "Attempts under way end by themselves. Role operate.",
                ),
            ),
        )
        .api_route(
            "/routes/{route}/resume",
            post_with(resume, said(ROUTES, "resumeRoute", "Let a suspended or throttled route go on", "Role operate.")),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(filters): Params<Filters>,
) -> Result<Json<Page<Route>>, Problem> {
    let limit = limit(filters.limit)?;
    if let Some(state) = filters.state.as_deref().filter(|state| !["ready", "throttled", "suspended"].contains(state)) {
        let detail = format!("state: \"{state}\" is none of \"ready\", \"throttled\", \"suspended\"");
        return Err(Problem::invalid(detail, "correct it"));
    }
    let (mut all, missing) = api.0.service.routes(&caller.0).await?;
    all.sort_by(|a, b| a.route.cmp(&b.route));
    all.retain(|route| {
        filters.state.as_ref().is_none_or(|state| route.state == *state)
            && filters.cursor.as_ref().is_none_or(|after| route.route > *after)
    });
    Ok(Json(Page { missing, ..Page::of(all, limit, |last| last.route.clone()) }))
}

async fn suspend(
    State(api): State<Api>,
    caller: Caller,
    At(Name { route }): At<Name>,
    Body(Reason { reason }): Body<Reason>,
) -> Result<NoContent, Problem> {
    api.0.service.suspend_route(&caller.0, &route, &reason).await?;
    Ok(NoContent)
}

async fn resume(
    State(api): State<Api>,
    caller: Caller,
    At(Name { route }): At<Name>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<NoContent, Problem> {
    api.0.service.resume_route(&caller.0, &route).await?;
    Ok(NoContent)
}
