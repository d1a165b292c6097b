//! `/domains`: customers' From domains, the records that they must publish, and the results of checks.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::document::{DOMAINS, said};
use super::input::{At, Body, Nothing, Params, domain, limit};
use super::jobs::Accepted;
use super::problem::Problem;
use super::{Api, blocking};
use crate::onboarding::text::Lang;
use crate::operate::Site;
use crate::operate::domains::{DomainSummary, DomainView};
use crate::operate::queue::Page;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// Only domains of this customer.
    customer: Option<String>,
    /// The position to continue from: `next` of the previous answer.
    cursor: Option<String>,
    /// The number of domains, from 1 to 500; the default is 50.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Name {
    /// The From domain.
    domain: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Language {
    /// The language of the texts for the customer: `en` or `da`.
    lang: Option<LangName>,
}

/// The language of texts for the customer.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LangName {
    /// Texts are in English.
    #[default]
    En,
    /// Texts are in Danish.
    Da,
}

impl From<LangName> for Lang {
    fn from(name: LangName) -> Self {
        match name {
            LangName::En => Lang::En,
            LangName::Da => Lang::Da,
        }
    }
}

/// The records that a customer must publish for a domain.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DomainRecords")]
struct Records {
    /// The domain of the customer's addresses.
    domain: String,
    /// The domain's zone, if DNS names it.
    zone: Option<String>,
    /// The records, in the order in which to publish them.
    records: Vec<Record>,
    /// True if nothing remains to be done.
    done: bool,
    /// False if records are missing from the list, because DNS did not answer or something must be configured first.
    whole: bool,
}

/// A DNS record that the customer publishes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DnsRecord")]
struct Record {
    /// The purpose of the record, such as `spf` or `dkim`.
    item: String,
    /// How necessary it is: `required`, `recommended` or `optional`.
    need: String,
    /// The record type: `TXT` or `CNAME`.
    #[serde(rename = "type")]
    kind: String,
    /// The full host name.
    host: String,
    /// The host as it is entered in a DNS panel that appends the zone.
    label: String,
    /// The value on one line.
    value: String,
    /// An empty policy file that may be published instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    alternative: Option<String>,
    /// True if it is already published.
    present: bool,
    /// True if DNS did not answer, so that nobody knows whether it is published; `present` is false then.
    unanswered: bool,
    /// Further remarks about the record.
    remarks: Vec<String>,
}

/// The options of a check of domains.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct CheckOptions {
    /// True if the customer's own server is also probed.
    probe: bool,
    /// The language of the texts: `en` or `da`.
    lang: LangName,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/domains",
            get_with(
                list,
                said(DOMAINS, "listDomains", "List From domains", "With what each has verified. Role read; a customer sees its own."),
            ),
        )
        .api_route(
            "/domains/{domain}",
            get_with(
                show,
                said(
                    DOMAINS,
                    "showDomain",
                    "Show a From domain",
                    "The state of each requirement, and what changed when. Role read; a customer sees its own.",
                ),
            ),
        )
        .api_route(
            "/domains/{domain}/records",
            get_with(
                records,
                said(
                    DOMAINS,
                    "listRecords",
                    "List the records to publish",
                    "Asks the DNS what is published now. Role read; a customer sees its own.",
                ),
            ),
        )
        .api_route(
            "/domains/{domain}/check",
            post_with(
                check,
                said(
                    DOMAINS,
                    "checkDomain",
                    "Check a domain's customer now",
                    "Checks every domain of the customer that has this one, as a job, and keeps what was found. Role operate.",
                ),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(filters): Params<Filters>,
) -> Result<Json<Page<DomainSummary>>, Problem> {
    let limit = limit(filters.limit)?;
    let customer = caller.customer(filters.customer)?;
    let after = filters.cursor.as_deref().map(domain).transpose()?;
    Ok(Json(api.0.service.domains(&caller.0, customer.as_deref(), after.as_ref(), limit)?))
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Name { domain: name }): At<Name>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<DomainView>, Problem> {
    let name = domain(&name)?;
    let (service, actor) = (api.0.service.clone(), caller.0.clone());
    Ok(Json(blocking(move || service.domain(&actor, &name)).await?))
}

async fn records(
    State(api): State<Api>,
    caller: Caller,
    At(Name { domain: name }): At<Name>,
    Params(Language { lang }): Params<Language>,
) -> Result<Json<Records>, Problem> {
    let lang = Lang::from(lang.unwrap_or_default());
    let name = domain(&name)?;
    let owner = api.0.service.owner(&caller.0, &name)?;
    let site = Site::of_relay(&api.0.service).await?;
    let tables = site.records_of(&caller.0, owner.as_str(), &name).await?;
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let records = tables.rows.iter().map(|row| Record {
        item: word(serde_json::json!(row.item)),
        need: word(serde_json::json!(row.need)),
        kind: row.kind.to_owned(),
        host: row.host.clone(),
        label: row.label.clone(),
        value: row.value.clone(),
        alternative: row.alternative.clone(),
        present: row.present,
        unanswered: row.unanswered,
        remarks: row.remarks(lang).collect(),
    });
    Ok(Json(Records {
        records: records.collect(),
        done: tables.is_done(),
        whole: tables.is_whole(),
        domain: tables.domain,
        zone: tables.zone,
    }))
}

async fn check(
    State(api): State<Api>,
    caller: Caller,
    At(Name { domain: name }): At<Name>,
    Body(options): Body<CheckOptions>,
) -> Result<Accepted, Problem> {
    let name = domain(&name)?;
    let owner = api.0.service.owner(&caller.0, &name)?;
    let site = Site::of_relay(&api.0.service).await?;
    let job = site.begin_check(&api.0.service.jobs, caller.0.clone(), owner, options.probe, options.lang.into())?;
    Ok(job.into())
}
