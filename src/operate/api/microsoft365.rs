//! `/routes/microsoft365` and `/customers/{customer}/oauth`: routes that log in at Microsoft 365 with a password, and their change to OAuth.

use std::time::Duration;

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::document::{CUSTOMERS, ROUTES, said};
use super::input::{At, Body, PageQuery, Params, limit};
use super::problem::Problem;
use super::{Api, blocking};
use crate::delivery::ProbeReport;
use crate::operate::Site;
use crate::operate::customers::Password;
use crate::operate::microsoft365::{Application, FailedStep};
use crate::operate::queue::Page;

/// The time limit of a trial: a request for a token, and a login at the server.
const TRIAL_TIME: Duration = Duration::from_secs(25);

#[derive(Debug, Deserialize, JsonSchema)]
struct Id {
    /// The customer's id.
    customer: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GuideQuestion {
    /// The application's (client) id, if it is known already.
    client_id: Option<String>,
}

/// A route that logs in at Microsoft 365 with a password.
#[derive(Debug, Serialize, JsonSchema)]
struct PasswordLogin {
    /// The customer whose route it is.
    customer: String,
    /// The route's name.
    route: String,
    /// The server, as `host:port`.
    server: String,
    /// The mailbox that logs in.
    username: String,
    /// The route's state: `ready`, `throttled` or `suspended`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// The server's reply to the last login, if it said that passwords are not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// What an administrator of the customer's tenant does.
#[derive(Debug, Serialize, JsonSchema)]
struct OauthGuide {
    /// The steps, with the lines for PowerShell.
    text: String,
}

/// An application in the customer's tenant, to be tried.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OauthApplication {
    /// The tenant: its id or one of its domains.
    tenant: String,
    /// The application's (client) id.
    client_id: String,
    /// The value of the client secret.
    secret: Password,
    /// True if the application takes the password's place where its login works.
    #[serde(default)]
    switch: bool,
}

/// The result of a trial of an application.
#[derive(Debug, Serialize, JsonSchema)]
struct OauthTrial {
    /// True if mail can be delivered with the application.
    works: bool,
    /// The step that failed, such as `token` or `login`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_step: Option<String>,
    /// What this means, and what to check.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_means: Option<String>,
    /// True if mail goes out with the application from now on.
    switched: bool,
    /// Every step of the trial.
    report: ProbeReport,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/routes/microsoft365",
            get_with(
                list,
                said(
                    ROUTES,
                    "listMicrosoft365Passwords",
                    "List routes with a password at Microsoft 365",
                    "Microsoft switches such logins off. By customer, with what the last login heard. Role read.",
                ),
            ),
        )
        .api_route(
            "/customers/{customer}/oauth",
            get_with(
                guide,
                said(
                    CUSTOMERS,
                    "showOauthGuide",
                    "Show how a route at Microsoft 365 changes to OAuth",
                    "For an administrator of the customer's tenant, with the lines for PowerShell. Role read; a customer sees its own.",
                ),
            )
            .post_with(
                try_application,
                said(
                    CUSTOMERS,
                    "tryOauth",
                    "Try an application at Microsoft 365, and switch to it",
                    "Fetches a token and logs in; mail goes on with the password meanwhile. `failed_step` names the step that fails. With \
                     `switch`, an application that works takes the password's place at once. Role admin.",
                ),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(PageQuery { cursor, limit: most }): Params<PageQuery>,
) -> Result<Json<Page<PasswordLogin>>, Problem> {
    let most = limit(most)?;
    let mut all = api.0.service.microsoft365(&caller.0).await?;
    all.sort_by(|one, other| one.customer.cmp(&other.customer));
    let left = all.into_iter().filter(|it| cursor.as_ref().is_none_or(|after| it.customer > *after));
    let shown = left.map(|it| PasswordLogin {
        customer: it.customer,
        route: it.route,
        server: it.server,
        username: it.username,
        state: it.state,
        hint: it.hint,
    });
    Ok(Json(Page::of(shown, most, |last| last.customer.clone())))
}

async fn guide(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(GuideQuestion { client_id }): Params<GuideQuestion>,
) -> Result<Json<OauthGuide>, Problem> {
    let site = Site::of_relay(&api.0.service).await?;
    Ok(Json(OauthGuide { text: site.oauth_guide(&caller.0, &customer, client_id.as_deref())? }))
}

async fn try_application(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(OauthApplication { tenant, client_id, secret, switch }): Body<OauthApplication>,
) -> Result<Json<OauthTrial>, Problem> {
    let application = Application { tenant, client_id, secret: secret.into_inner() };
    let site = Site::of_relay(&api.0.service).await?;
    let trial = tokio::time::timeout(TRIAL_TIME, site.try_oauth(&caller.0, &customer, &application)).await;
    let report = trial.map_err(|_| {
        let detail = "Microsoft did not answer within 25 seconds; nothing was changed";
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail, "see that port 587 and HTTPS lead out, and try again")
    })??;
    let failed = FailedStep::of(&report);
    let switched = switch && failed.is_none();
    if switched {
        blocking(move || site.switch_to_oauth(&caller.0, &customer, &application)).await?;
    }
    let (failed_step, failed_means) = failed.map(|failed| (failed.step.to_string(), failed.means)).unzip();
    Ok(Json(OauthTrial { works: failed_step.is_none(), failed_step, failed_means, switched, report }))
}
