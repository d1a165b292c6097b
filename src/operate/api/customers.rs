//! `/customers`: customers, and the commands about one of them, such as probes and keys.

use aide::axum::ApiRouter;
use aide::axum::routing::{delete_with, get_with, patch_with, post_with};
use aide::generate::GenContext;
use aide::openapi::{Operation, Response as Documented};
use aide::transform::TransformOperation;
use aide::{OperationInput, OperationOutput};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::document::{CUSTOMERS, header, said};
use super::domains::LangName;
use super::input::{At, Body, Nothing, Params, limit};
use super::jobs::Accepted;
use super::problem::{Problem, documented};
use super::{Api, BASE, blocking};
use crate::customers::KeyPlace;
use crate::dkim::Selector;
use crate::onboarding::text::Lang;
use crate::operate::Site;
use crate::operate::customers::{
    CustomerChange, CustomerSummary, CustomerView, Customers, NewCustomer, NewLogin, NewRoute, Password, Removed,
    TlsName, Version, ViaName,
};
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
    route: Way,
}

/// The route of a new customer's mail.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Way {
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
struct Login {
    /// The user name.
    username: String,
    /// The password. It is written to its own file, and no answer contains it.
    password: Password,
}

/// The suspension of a customer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Suspend {
    /// The reason. Senders read it.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
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
struct Keys {
    /// The keys that sign for each domain now. If the list of selectors is empty, the key cannot be used.
    domains: Vec<crate::operate::signers::Signer>,
}

/// Returns the paths.
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
            "/customers/{customer}/probe",
            post_with(
                probe,
                said(
                    CUSTOMERS,
                    "probeCustomer",
                    "Probe a customer's routes",
                    "Goes the way a delivery would, step by step, and sends nothing. A job. Role operate; a customer probes its own.",
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

/// Documents that a request names the version that it changes.
fn versioned(mut operation: TransformOperation<'_>) -> TransformOperation<'_> {
    header(operation.inner_mut(), "If-Match", "The ETag of the version that is changed, or * for any.", true);
    operation
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(filters): Params<Filters>,
) -> Result<Json<Page<CustomerSummary>>, Problem> {
    let limit = limit(filters.limit)?;
    let customers = Customers::in_relay(&api.0.service)?;
    Ok(Json(customers.list(&caller.0, filters.domain.as_deref(), filters.cursor.as_deref(), limit)?))
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Id { customer }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Versioned, Problem> {
    let service = api.0.service.clone();
    blocking(move || Customers::in_relay(&service)?.show(&caller.0, &customer)).await.map(Versioned::current)
}

async fn add(State(api): State<Api>, caller: Caller, Body(new): Body<New>) -> Result<Created, Problem> {
    let selector = new.selector.as_deref().map(Selector::parse).transpose();
    let selector =
        selector.map_err(|error| Problem::invalid(format!("selector: {error}"), "give one like postbud1"))?;
    let route = new.route.route()?;
    let service = api.0.service.clone();
    let (view, version) = blocking(move || {
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
    let location = Some(format!("{BASE}/customers/{}", view.id));
    Ok(Created(Versioned { status: StatusCode::CREATED, location, version, view }))
}

impl Way {
    fn route(self) -> Result<NewRoute, Problem> {
        let Way { via, host, port, tls, login } = self;
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

/// The version that a request changes. `None` means any version.
struct IfMatch(Option<Version>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        expected(&parts.headers)
    }
}

impl OperationInput for IfMatch {
    fn inferred_early_responses(context: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        documented(context, [StatusCode::CONFLICT, StatusCode::PRECONDITION_FAILED, StatusCode::PRECONDITION_REQUIRED])
    }
}

fn expected(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let mut given = headers.get_all(IF_MATCH).iter();
    let (first, second) = (given.next(), given.next());
    let Some(first) = first else {
        let remedy = "read the customer, and send its ETag as If-Match; If-Match: * changes any version";
        let detail = "the request has no If-Match";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail, remedy));
    };
    let text = first.to_str().unwrap_or_default().trim();
    let tag = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|tag| !tag.contains('"'));
    match (text, tag, second) {
        ("*", _, None) => Ok(IfMatch(None)),
        (_, Some(tag), None) => Ok(IfMatch(Some(Version::named(tag)))),
        _ => Err(Problem::invalid("If-Match: is not one ETag in double quotes", "send the ETag as it was given")),
    }
}

/// A customer, with the version of its file.
struct Versioned {
    status: StatusCode,
    location: Option<String>,
    version: Version,
    view: CustomerView,
}

impl Versioned {
    /// Makes the answer with the customer as it is now.
    fn current((view, version): (CustomerView, Version)) -> Self {
        Versioned { status: StatusCode::OK, location: None, version, view }
    }
}

impl IntoResponse for Versioned {
    fn into_response(self) -> Response {
        let tag = [(ETAG, format!("\"{}\"", self.version))];
        let location = self.location.map(|location| [(LOCATION, location)]);
        match location {
            Some(location) => (self.status, tag, location, Json(self.view)).into_response(),
            None => (self.status, tag, Json(self.view)).into_response(),
        }
    }
}

impl OperationOutput for Versioned {
    type Inner = CustomerView;

    fn inferred_responses(context: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        Json::<CustomerView>::inferred_responses(context, operation)
    }
}

/// A customer that was just added.
struct Created(Versioned);

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl OperationOutput for Created {
    type Inner = CustomerView;

    fn inferred_responses(context: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let answer = Json::<CustomerView>::operation_response(context, operation);
        answer.map(|answer| (Some(StatusCode::CREATED.as_u16()), answer)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_version_is_one_tag_in_quotes_or_any() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_MATCH, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            expected(&headers)
                .map(|IfMatch(version)| version.map(|it| it.to_string()))
                .map_err(|problem| problem.status)
        };
        assert_eq!(read(&["\"abc\""]), Ok(Some("abc".into())));
        assert_eq!(read(&["*"]), Ok(None));
        assert_eq!(read(&[]), Err(428));
        for wrong in
            [&["abc"][..], &["W/\"abc\""], &["\"abc"], &["\"a\", \"b\""], &["\"a\"", "\"b\""], &["\"æ\""], &[""]]
        {
            assert_eq!(read(wrong), Err(400), "{wrong:?}");
        }
    }
}
