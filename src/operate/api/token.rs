//! `/token`: describes the token of the request.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::caller::Caller;
use super::document::{TOKEN, said};
use super::input::{Nothing, Params};
use super::problem::Problem;
use crate::operate::Role;

/// The token of the request.
#[derive(Debug, Serialize, JsonSchema)]
struct Who {
    /// The name that the audit shows.
    name: String,
    /// The role of the token: `customer`, `read`, `operate` or `admin`.
    role: &'static str,
    /// The customers that it may see; absent if it may see all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    customers: Option<Vec<String>>,
    /// The address from which the request came.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new().api_route("/token", get_with(show, said(TOKEN, "showToken", "Show who asks", "Any role.")))
}

async fn show(caller: Caller, Params(Nothing {}): Params<Nothing>) -> Result<Json<Who>, Problem> {
    let (role, customers) = match caller.0.role() {
        Role::Customer(own) => ("customer", Some(own.iter().map(ToString::to_string).collect())),
        Role::Link(own) => ("link", Some(vec![own.to_string()])),
        Role::Read => ("read", None),
        Role::Operate => ("operate", None),
        Role::Admin => ("admin", None),
    };
    let address = caller.0.address().map(|address| address.to_string());
    Ok(Json(Who { name: caller.0.to_string(), role, customers, address }))
}
