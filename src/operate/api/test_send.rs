//! `/customers/{customer}/test`: sends one small mail over the customer's route.

use aide::axum::ApiRouter;
use aide::axum::routing::post_with;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::caller::Caller;
use super::document::{CUSTOMERS, said};
use super::input::{At, Body};
use super::jobs::Accepted;
use super::problem::Problem;

#[derive(Debug, Deserialize, JsonSchema)]
struct Id {
    /// The customer's id.
    customer: String,
}

/// A test mail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TestMail")]
struct Test {
    /// The address that gets the test mail.
    to: String,
    /// The sender, in a From domain of the customer; the default is postmaster@ its first domain.
    from: Option<String>,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new().api_route(
        "/customers/{customer}/test",
        post_with(
            send,
            said(
                CUSTOMERS,
                "sendTest",
                "Send a test mail",
                "One small signed mail through the customer's route, which every page and event shows like any other. A job: it is done once an \
                 attempt has succeeded or failed, or after 100 seconds. Role operate.",
            ),
        ),
    )
}

async fn send(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(Test { to, from }): Body<Test>,
) -> Result<Accepted, Problem> {
    // An invalid request is refused before a job starts.
    Ok(api.0.service.begin_test(&caller.0, &customer, &to, from.as_deref()).await?.into())
}
