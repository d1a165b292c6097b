//! `/customers/{customer}/dmarc`: the DMARC reports on a customer's domains.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::caller::Caller;
use super::document::{CUSTOMERS, said};
use super::domains::LangName;
use super::input::{At, Params, domain};
use super::problem::Problem;
use crate::operate::Site;
use crate::operate::dmarc::{DAYS, DmarcView};

#[derive(Debug, Deserialize, JsonSchema)]
struct Id {
    /// The customer's id.
    customer: String,
}

/// The parameters of a request for DMARC reports.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DmarcQuestion {
    /// Only reports on this domain.
    domain: Option<String>,
    /// The number of days up to today, from 1 to 400; the default is 30.
    #[schemars(range(min = 1, max = 400))]
    days: Option<u32>,
    /// The language of the texts: `en` or `da`.
    lang: Option<LangName>,
}

/// The DMARC reports on a customer's domains.
#[derive(Debug, Serialize, JsonSchema)]
struct DmarcReports {
    /// The domains, by name.
    domains: Vec<DmarcView>,
}

/// Returns the paths.
pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new().api_route(
        "/customers/{customer}/dmarc",
        get_with(
            show,
            said(
                CUSTOMERS,
                "showCustomerDmarc",
                "Say what DMARC reports tell",
                "Of each domain, or of one: how much mail is ours, what passes, who else sends, what a stricter policy would hit, and whether \
                 the next policy is safe now. Reports are not signed: the numbers are what their senders claim. Any role; a customer sees \
                 its own.",
            ),
        ),
    )
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(DmarcQuestion { domain: named, days, lang }): Params<DmarcQuestion>,
) -> Result<Json<DmarcReports>, Problem> {
    let named = named.as_deref().map(domain).transpose()?;
    let found =
        Site::of_relay(&api.0.service).await?.dmarc(&caller.0, &customer, named.as_ref(), days.unwrap_or(DAYS)).await?;
    let lang = lang.unwrap_or_default().into();
    Ok(Json(DmarcReports { domains: found.iter().map(|report| report.view(lang)).collect() }))
}
