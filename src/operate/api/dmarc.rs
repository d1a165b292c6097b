//! `/customers/{customer}/dmarc`: the DMARC reports on a customer's domains.

use aide::OperationOutput;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, Response as Documented};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::caller::Caller;
use super::document::{CUSTOMERS, said};
use super::domains::LangName;
use super::input::{At, Params, domain};
use super::problem::Problem;
use crate::operate::Site;
use crate::operate::dmarc::{DAYS, DmarcReport, DmarcView};
use crate::returns::dmarc::plot;

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

pub(super) fn routes() -> ApiRouter<Api> {
    let plot = get_with(
        plot,
        said(
            CUSTOMERS,
            "plotCustomerDmarc",
            "Draw what DMARC reports tell",
            "An SVG with a bar for each day: our mail and others', passing and failing. It has no scripts and refers to no other files. A \
             customer with several domains names one. Any role; a customer sees its own.",
        ),
    );
    ApiRouter::new().api_route("/customers/{customer}/dmarc.svg", plot).api_route(
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
    let found = reports(&api, &caller, &customer, named.as_deref(), days).await?;
    let lang = lang.unwrap_or_default().into();
    Ok(Json(DmarcReports { domains: found.iter().map(|report| report.view(lang)).collect() }))
}

async fn plot(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(DmarcQuestion { domain: named, days, lang }): Params<DmarcQuestion>,
) -> Result<Drawing, Problem> {
    let found = reports(&api, &caller, &customer, named.as_deref(), days).await?;
    let [report] = &found[..] else {
        let domains: Vec<&str> = found.iter().map(|it| it.summary.domain.as_str()).collect();
        let detail = format!("domain: is missing, and the customer has several: {}", domains.join(", "));
        return Err(Problem::invalid(detail, "name one of them"));
    };
    Ok(Drawing(plot::svg(&report.summary, lang.unwrap_or_default().into())))
}

async fn reports(
    api: &Api,
    caller: &Caller,
    customer: &str,
    named: Option<&str>,
    days: Option<u32>,
) -> Result<Vec<DmarcReport>, Problem> {
    let named = named.map(domain).transpose()?;
    let site = Site::of_relay(&api.0.service).await?;
    Ok(site.dmarc(&caller.0, customer, named.as_ref(), days.unwrap_or(DAYS)).await?)
}

/// An answer with a drawing.
struct Drawing(String);

const SVG: &str = "image/svg+xml";

impl IntoResponse for Drawing {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, SVG)], self.0).into_response()
    }
}

impl OperationOutput for Drawing {
    type Inner = String;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let answer = Documented {
            description: "A drawing.".to_owned(),
            content: [(SVG.to_owned(), MediaType::default())].into_iter().collect(),
            ..Documented::default()
        };
        vec![(Some(StatusCode::OK.as_u16()), answer)]
    }
}
