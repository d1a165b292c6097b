//! `/customers`: customers, and the commands about one of them, such as probes and keys.

use aide::axum::ApiRouter;
use aide::axum::routing::{delete_with, get_with, patch_with, post_with};
use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use axum::response::NoContent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::document::{CUSTOMERS, said};
use super::domains::LangName;
use super::input::{At, Body, Nothing, PageQuery, Params, limit};
use super::jobs::Accepted;
use super::problem::Problem;
use super::version::{Created, IfMatch, Versioned, versioned};
use super::{Api, BASE, blocking};
use crate::customers::KeyPlace;
use crate::dkim::Selector;
use crate::onboarding::text::Lang;
use crate::operate::Site;
use crate::operate::customers::{
    CustomerChange, CustomerSummary, Customers, NewCustomer, NewLogin, NewRoute, Password, Removed, TlsName, ViaName,
};
use crate::operate::pauses::Paused;
use crate::operate::queue::Page;
use crate::smtp::Mailbox;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// Only customers with this From domain.
    domain: Option<String>,
    /// The position to continue from: `next` of the previous answer.
    cursor: Option<String>,
    /// The number of customers, from 1 to 500; the default is 50.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Id {
    /// The customer's id.
    customer: String,
}

/// A customer to be added.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewCustomer")]
struct New {
    /// The customer's id: lower case letters, digits, hyphens and underscores.
    #[schemars(length(min = 1, max = 64))]
    id: String,
    /// The customer's name, for people.
    #[schemars(length(min = 1))]
    name: String,
    /// The customer's From domains.
    #[schemars(length(min = 1))]
    domains: Vec<String>,
    /// The name of the key's record below `_domainkey`. The default is `postbud1`, or the first delegated one.
    selector: Option<String>,
    /// The route of the customer's mail.
    route: RouteOfNew,
}

/// The route of a new customer's mail.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewCustomerRoute")]
struct RouteOfNew {
    /// `mailjet`: in the best tier that each domain has earned. `own-server`: to the customer's own server.
    via: ViaName,
    /// Own server: its host name.
    host: Option<String>,
    /// Own server: its port; the default is 465 for `implicit` and 587 otherwise.
    port: Option<u16>,
    /// Own server: how the connection is protected; the default is `required`.
    tls: Option<TlsName>,
    /// Own server: the login; absent if the server accepts our address without one.
    login: Option<Login>,
}

/// A login at a customer's own server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewCustomerLogin")]
struct Login {
    /// The user name.
    username: String,
    /// The password. It is written to its own file, and no answer contains it.
    password: Password,
}

/// The suspension of a customer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CustomerSuspension")]
struct Suspend {
    /// The reason. Senders read it.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// A pause of a customer's mail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CustomerPause")]
struct PauseOrder {
    /// The reason. Lists and the audit show it.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
    /// True if single mail is still sent.
    #[serde(default)]
    spare_single: bool,
}

/// The options of a probe.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ProbeOptions {
    /// MAIL FROM; the default is postmaster@ the customer's first domain.
    from: Option<String>,
    /// RCPT TO; the default is the same as `from`.
    to: Option<String>,
}

/// How an API key at Mailjet is made.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct MailjetKeyOptions {
    /// The tier whose account makes the key; the default is the customer's fixed tier, or the only one with an account.
    tier: Option<String>,
}

/// The options of a key rotation.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RotationOptions {
    /// The key: `main`, or `ed25519` for the second signature.
    key: KeyName,
    /// True if the current key may be known to others. It is then revoked as soon as the new one signs.
    leaked: bool,
    /// The language of the texts: `en` or `da`.
    lang: LangName,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum KeyName {
    /// The key that every customer has.
    #[default]
    Main,
    /// The key of the second signature.
    Ed25519,
}

/// The result of one step of a rotation.
#[derive(Debug, Serialize, JsonSchema)]
struct RotationStep {
    /// True if the next step must wait until somebody has done something, or until a change is visible in DNS or in the relay.
    waits: bool,
    /// What was done, and what must be done next, in order.
    steps: Vec<StepText>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StepText {
    /// The code of the step, for programs.
    step: String,
    /// The hosts of the step.
    hosts: Vec<String>,
    /// The value of the record to publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The description for people.
    text: String,
}

/// The keys of a customer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CustomerKeys")]
struct Keys {
    /// The keys that sign for each domain now. If the list of selectors is empty, the key cannot be used.
    domains: Vec<crate::operate::signers::Signer>,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/customers",
            get_with(list, said(CUSTOMERS, "listCustomers", "List customers", "By id. Any role; a customer sees its own."))
                .post_with(
                    add,
                    said(
                        CUSTOMERS,
                        "addCustomer",
                        "Add a customer",
                        "Makes its DKIM key, writes its file, and takes it over at once. Then GET /domains/{domain}/records says what the \
                         customer has to publish. Role admin.",
                    ),
                ),
        )
        .api_route(
            "/customers/{customer}",
            get_with(
                show,
                said(
                    CUSTOMERS,
                    "showCustomer",
                    "Show a customer",
                    "As its file has it now. ETag names the version, for a change. No password comes back. Any role; a customer sees its own.",
                ),
            )
            .merge(patch_with(change, |operation: TransformOperation<'_>| {
                versioned(said(
                    CUSTOMERS,
                    "changeCustomer",
                    "Change a customer",
                    "A merge patch (RFC 7396): what is absent stays, what is null is removed. Comments in the file stay. The old version is \
                     kept. Role admin.",
                )(operation))
            }))
            .merge(delete_with(remove, |operation: TransformOperation<'_>| {
                versioned(said(
                    CUSTOMERS,
                    "removeCustomer",
                    "Remove a customer",
                    "Its file is kept among the old versions, and its keys stay. Its mail in the queue waits. Role admin.",
                )(operation))
            })),
        )
        .api_route(
            "/customers/{customer}/suspend",
            post_with(
                suspend,
                said(
                    CUSTOMERS,
                    "suspendCustomer",
                    "Take a customer out of service",
                    "New mail is refused, and mail in the queue waits. Role admin.",
                ),
            ),
        )
        .api_route(
            "/customers/{customer}/resume",
            post_with(resume, said(CUSTOMERS, "resumeCustomer", "Let a suspended customer go on", "Role admin.")),
        )
        .api_route(
            "/customers/{customer}/pause",
            post_with(
                pause,
                said(
                    CUSTOMERS,
                    "pauseCustomer",
                    "Pause a customer's mail",
                    "New mail is accepted, and waits in the queue until it is unpaused. Role operate.",
                ),
            ),
        )
        .api_route(
            "/customers/{customer}/unpause",
            post_with(
                unpause,
                said(CUSTOMERS, "unpauseCustomer", "Let a paused customer's mail go on", "Whatever paused it. Role operate."),
            ),
        )
        .api_route(
            "/paused",
            get_with(
                paused,
                said(CUSTOMERS, "listPaused", "List customers whose mail is paused", "By id, with the cause. Role read."),
            ),
        )
        .api_route(
            "/customers/{customer}/probe",
            post_with(
                probe,
                said(
                    CUSTOMERS,
                    "probeCustomer",
                    "Probe a customer's routes",
                    "Goes the way a delivery would, step by step, and sends nothing. A job. Role read; a customer probes its own.",
                ),
            ),
        )
        .api_route(
            "/customers/{customer}/mailjet-key",
            post_with(
                give_mailjet_key,
                said(
                    CUSTOMERS,
                    "giveMailjetKey",
                    "Give a customer an API key of its own at Mailjet",
                    "Makes a sub-account with the main account of a tier, writes its key and secret into files of their own, and registers \
                     the customer's domains there. Mail moves once that account accepts them. A request that broke off may be repeated: a \
                     key that was made is found. Role admin.",
                ),
            ),
        )
        .api_route(
            "/customers/{customer}/keys",
            get_with(keys, said(CUSTOMERS, "showKeys", "Show what signs", "For each domain. Role read; a customer sees its own.")),
        )
        .api_route(
            "/customers/{customer}/keys/rotate",
            post_with(
                rotate,
                said(
                    CUSTOMERS,
                    "rotateKey",
                    "Take the next step in the change of a key",
                    "Each request takes the next step that can be taken and says what has to be done before the one after. Role admin.",
                ),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(filters): Params<Filters>,
) -> Result<Json<Page<CustomerSummary>>, Problem> {
    let limit = limit(filters.limit)?;
    let customers = Customers::in_relay(&api.0.service)?;
    let mut page = customers.list(&caller.0, filters.domain.as_deref(), filters.cursor.as_deref(), limit)?;
    page.missing = api.0.service.add_stuck(&caller.0, &mut page.items).await?;
    Ok(Json(page))
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Versioned, Problem> {
    let (service, actor) = (api.0.service.clone(), caller.0.clone());
    let (mut view, version) = blocking(move || Customers::in_relay(&service)?.show(&actor, &customer)).await?;
    view.stuck = api.0.service.stuck(&caller.0, &view.id).await?;
    Ok(Versioned::current((view, version)))
}

async fn add(State(api): State<Api>, caller: Caller, Body(new): Body<New>) -> Result<Created, Problem> {
    let selector = new.selector.as_deref().map(Selector::parse).transpose();
    let selector =
        selector.map_err(|error| Problem::invalid(format!("selector: {error}"), "give one like postbud1"))?;
    let route = new.route.route()?;
    let service = api.0.service.clone();
    let added = blocking(move || {
        let customers = Customers::in_relay(&service)?;
        // An actor that may not add customers must not learn which exist.
        caller.0.may_administer()?;
        let domains = new.domains.iter().map(|text| customers.check_domain(text)).collect::<Result<Vec<_>, _>>()?;
        let selector = selector.unwrap_or_else(|| customers.usual_selector());
        let customer = NewCustomer { id: new.id, name: new.name, domains, selector, route };
        customers.add(&caller.0, &customer)?;
        Customers::in_relay(&service)?.show(&caller.0, &customer.id)
    })
    .await?;
    Ok(Created::at(format!("{BASE}/customers/{}", added.0.id), added))
}

impl RouteOfNew {
    fn route(self) -> Result<NewRoute, Problem> {
        let RouteOfNew { via, host, port, tls, login } = self;
        if via == ViaName::Mailjet {
            let given = [
                ("host", host.is_some()),
                ("port", port.is_some()),
                ("tls", tls.is_some()),
                ("login", login.is_some()),
            ];
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => {
                    Err(Problem::invalid(format!("route.{name}: is for \"own-server\" only"), "leave it out"))
                }
                None => Ok(NewRoute::Mailjet),
            };
        }
        let tls = tls.unwrap_or(TlsName::Required);
        let missing = || Problem::invalid("route.host: is missing", "name the customer's server");
        Ok(NewRoute::OwnServer {
            host: host.ok_or_else(missing)?,
            port: port.unwrap_or(if tls == TlsName::Implicit { 465 } else { 587 }),
            tls: tls.into(),
            login: login.map(|Login { username, password }| NewLogin { username, password: password.into_inner() }),
        })
    }
}

async fn change(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    IfMatch(expected): IfMatch,
    Body(change): Body<CustomerChange>,
) -> Result<Versioned, Problem> {
    let service = api.0.service.clone();
    blocking(move || Customers::in_relay(&service)?.change(&caller.0, &customer, &change, expected.as_ref()))
        .await
        .map(Versioned::current)
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    IfMatch(expected): IfMatch,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Removed>, Problem> {
    let service = api.0.service.clone();
    let removed =
        blocking(move || Customers::in_relay(&service)?.remove(&caller.0, &customer, expected.as_ref())).await?;
    Ok(Json(removed))
}

async fn suspend(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(Suspend { reason }): Body<Suspend>,
) -> Result<Versioned, Problem> {
    let service = api.0.service.clone();
    blocking(move || Customers::in_relay(&service)?.suspend(&caller.0, &customer, &reason))
        .await
        .map(Versioned::current)
}

async fn resume(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Versioned, Problem> {
    let service = api.0.service.clone();
    blocking(move || Customers::in_relay(&service)?.resume(&caller.0, &customer)).await.map(Versioned::current)
}

async fn pause(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(PauseOrder { reason, spare_single }): Body<PauseOrder>,
) -> Result<NoContent, Problem> {
    api.0.service.pause(&caller.0, &customer, &reason, spare_single).await?;
    Ok(NoContent)
}

async fn unpause(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<NoContent, Problem> {
    api.0.service.unpause(&caller.0, &customer).await?;
    Ok(NoContent)
}

async fn paused(
    State(api): State<Api>,
    caller: Caller,
    Params(PageQuery { cursor, limit: most }): Params<PageQuery>,
) -> Result<Json<Page<Paused>>, Problem> {
    let most = limit(most)?;
    let mut all = api.0.service.paused(&caller.0)?;
    all.retain(|paused| cursor.as_ref().is_none_or(|after| paused.customer > *after));
    Ok(Json(Page::of(all, most, |last| last.customer.clone())))
}

async fn probe(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(options): Body<ProbeOptions>,
) -> Result<Accepted, Problem> {
    let mailbox = |name: &'static str, text: Option<String>| {
        let refused = |error: crate::smtp::PathError| {
            Problem::invalid(format!("{name}: {error}"), "give an address like ole@test.dk")
        };
        text.map(|text| Mailbox::parse(&text).map_err(refused)).transpose()
    };
    let (from, to) = (mailbox("from", options.from)?, mailbox("to", options.to)?);
    let probe = Site::of_relay(&api.0.service).await?.probe(&caller.0, &customer, from, to)?;
    Ok(probe.begin(&api.0.service.jobs, &caller.0, customer)?.into())
}

async fn give_mailjet_key(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(options): Body<MailjetKeyOptions>,
) -> Result<Versioned, Problem> {
    let site = Site::of_relay(&api.0.service).await?;
    site.give_mailjet_key(&caller.0, &customer, options.tier.as_deref()).await?;
    let service = api.0.service.clone();
    blocking(move || Customers::in_relay(&service)?.show(&caller.0, &customer)).await.map(Versioned::current)
}

async fn keys(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Keys>, Problem> {
    // An actor that may see the customer may learn whether it exists.
    let configured = api.0.service.live()?.configured();
    configured.customer(&caller.0, &customer)?;
    Ok(Json(Keys { domains: api.0.service.signers(&caller.0, &customer)? }))
}

async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Body(options): Body<RotationOptions>,
) -> Result<Json<RotationStep>, Problem> {
    caller.0.may_administer()?;
    let place = match options.key {
        KeyName::Main => KeyPlace::Main,
        KeyName::Ed25519 => KeyPlace::Ed25519,
    };
    let rotated = Site::of_relay(&api.0.service).await?.rotate_key(&caller.0, &customer, place, options.leaked).await?;
    let lang = Lang::from(options.lang);
    let steps = rotated.steps.iter().map(|step| {
        let value = serde_json::to_value(step).unwrap_or_default();
        let hosts = value["hosts"].as_array().into_iter().flatten();
        StepText {
            step: value["step"].as_str().unwrap_or_default().to_owned(),
            hosts: hosts.filter_map(|host| host.as_str().map(str::to_owned)).collect(),
            value: value["value"].as_str().map(str::to_owned),
            text: lang.rotation(step),
        }
    });
    Ok(Json(RotationStep { waits: rotated.waits, steps: steps.collect() }))
}
