//! `/alerts`: lists what needs attention, and acknowledges alerts.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::caller::Caller;
use super::document::{ALERTS, said};
use super::input::{Body, Nothing, Params};
use super::problem::Problem;
use crate::operate::alerts::AlertLine;
use crate::operate::queue::Page;

/// An acknowledgement of an alert.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The key of the alert.
    key: String,
    /// A note for other operators. It may be empty.
    #[serde(default)]
    #[schemars(length(max = 500))]
    note: String,
}

/// Returns the paths.
pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/alerts",
            get_with(
                list,
                said(
                    ALERTS,
                    "listAlerts",
                    "List alerts",
                    "Those that are open, first what nobody took note of; then what happened in the last week. At most some thousand. Role read.",
                ),
            ),
        )
        .api_route(
            "/alerts/acknowledge",
            post_with(
                acknowledge,
                said(
                    ALERTS,
                    "acknowledgeAlert",
                    "Take note of an alert",
                    "It stays open until its trouble is over, and the note goes with it. Role operate.",
                ),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Page<AlertLine>>, Problem> {
    let alerts = api.0.service.alerts(&caller.0).await?;
    Ok(Json(Page { items: alerts.lines(), next: None, missing: alerts.missing }))
}

async fn acknowledge(
    State(api): State<Api>,
    caller: Caller,
    Body(Note { key, note }): Body<Note>,
) -> Result<NoContent, Problem> {
    api.0.service.acknowledge_alert(&caller.0, &key, &note).await?;
    Ok(NoContent)
}
