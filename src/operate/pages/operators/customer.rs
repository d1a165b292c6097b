//! One customer: its domains with their verified requirements, its mail, its keys, and commands about it.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::input::{Asked, query, search, segment};
use super::visitor::Visitor;
use super::{Operators, live, show};
use crate::customers::KeyPlace;
use crate::message::CustomerId;
use crate::onboarding::RecordTable;
use crate::onboarding::text::Lang;
use crate::operate::customers::{CustomerDomain, CustomerView, Customers, has_in_name};
use crate::operate::domains::DomainView;
use crate::operate::links::{Link, NewLink};
use crate::operate::pages::elements::{Field, Mood, badge, copyable, select, strange, table};
use crate::operate::pages::forms::{Fields, Forms};
use crate::operate::pages::{Problem, see};
use crate::operate::pauses::Paused;
use crate::operate::queue::LaneStats;
use crate::operate::{Error, Service, Site};
use crate::smtp::Domain;

/// The maximum number of domains that are shown with their requirements.
const DOMAINS: usize = 50;
/// The maximum number of reasons that are shown why mail is stopped.
const REASONS: usize = 10;
/// The number of changes of requirements that are shown for a domain.
const CHANGES: usize = 20;

/// The data of a customer on the page.
pub(super) struct Shown {
    pub view: CustomerView,
    /// The part of a domain's name that is sought; empty for none.
    pub wanted: String,
    /// What is stored about the domains that are shown.
    pub domains: Vec<DomainView>,
    pub lanes: Vec<LaneStats>,
    /// The nodes whose part of its mail is missing.
    pub missing: Vec<String>,
    pub paused: Option<Paused>,
    /// Links to the customer's page; `None` for operators who may not make them.
    pub links: Option<Vec<Link>>,
}

pub(super) async fn show(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let shown = look(pages.service(), &visitor, &id, asked.text("domain").to_lowercase()).await?;
    let body = html! {
        (details(&shown))
        (commands(&shown, &visitor, pages.forms()))
    };
    Ok(pages.page(&visitor, "/customers", &shown.view.id, body).into_response())
}

async fn look(service: &Service, visitor: &Visitor, id: &str, wanted: String) -> Result<Shown, Error> {
    let (lanes, missing) = service.lanes_of(&visitor.actor, id).await?;
    let paused = service.pause_of(&visitor.actor, id)?;
    let stuck = service.stuck(&visitor.actor, id).await?;
    let links = match visitor.may_administer() {
        true => Some(service.links(&visitor.actor, Some(id)).await?),
        false => None,
    };
    let (service, actor, id) = (service.clone(), visitor.actor.clone(), id.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let (view, _) = Customers::in_relay(&service)?.show(&actor, &id)?;
        let view = CustomerView { stuck, ..view };
        let named = fitting(&view, &wanted).take(DOMAINS).filter_map(|it| Domain::parse(&it.domain).ok());
        // A domain that is in the file, but not yet in the running relay, was never checked.
        let domains = named.filter_map(|domain| service.domain(&actor, &domain).ok()).collect();
        Ok::<_, Error>(Shown { view, wanted, domains, lanes, missing, paused, links })
    });
    read.await.map_err(|error| Error::failed(format!("the work broke off: {error}"), "see the relay's log"))?
}

/// Returns the customer's domains in whose name is what is sought.
fn fitting<'a>(view: &'a CustomerView, wanted: &'a str) -> impl Iterator<Item = &'a CustomerDomain> {
    view.domains.iter().filter(move |it| has_in_name(&it.domain, wanted))
}

pub(super) fn details(shown: &Shown) -> Markup {
    let Shown { view, wanted, domains, lanes, paused, .. } = shown;
    let count = fitting(view, wanted).count();
    html! {
        div.head {
            h1 { (strange(&view.name)) }
            code { (strange(&view.id)) }
            @match (&view.suspended, paused, &view.stuck) {
                (Some(_), ..) => (badge(Mood::Bad, "suspended")),
                (None, Some(_), _) => (badge(Mood::Wait, "paused")),
                (None, None, Some(_)) => (badge(Mood::Bad, "stands still")),
                (None, None, None) => (badge(Mood::Good, "in service")),
            }
        }
        @if let Some(why) = &view.suspended {
            p.note.bad { "Suspended: " (strange(why)) ". New mail is refused, and mail in the queue waits." }
        }
        @if let Some(paused) = paused {
            p.note.wait {
                "Its mail is paused (" (paused.cause) ") since " (show::written(&paused.since)) ": " (strange(&paused.reason))
                @if let Some(until) = &paused.until { ". It ends by itself at " (show::written(until)) }
                @if paused.spares_single { ". Single mail goes on" }
                "."
            }
        }
        @if let (None, None, Some(why)) = (&view.suspended, paused, &view.stuck) {
            p.note.bad { "Mail stands still: " (strange(why)) }
        }
        @for remark in &view.remarks { p.note.wait { (strange(remark)) } }
        (route(view))
        (show::missing(&shown.missing))
        (waiting(view, lanes))
        h2 { "Domains" }
        @if view.domains.len() > DOMAINS {
            form.filter method="get" role="search" {
                (search("domain", "Domain", "a part of its name", wanted).render())
                div.actions { button.plain { "Show" } }
            }
            p.quiet { (show::number(count.min(DOMAINS) as u64)) " of its " (show::number(view.domains.len() as u64)) " domains." }
        }
        @if count == 0 { p { "No domain fits." } }
        @for domain in fitting(view, wanted).take(DOMAINS) {
            (domain_card(view, &domain.domain, &domain.selectors, domain.broken.as_deref(), domains))
        }
    }
}

fn route(view: &CustomerView) -> Markup {
    let route = &view.route;
    html! {
        dl.values {
            dt { "Route" }
            dd {
                @match &route.host {
                    Some(host) => {
                        (show::route(&format!("own-server.{}", view.id))) ", "
                        code { (strange(host)) ":" (route.port.unwrap_or_default()) }
                        @if let Some(tls) = route.tls { ", TLS " (tls.as_str()) }
                        @if let Some(username) = &route.username { ", login " code { (strange(username)) } }
                    }
                    None => {
                        "Mailjet"
                        @if let Some(tier) = &route.tier { ", tier " (strange(tier)) }
                        @if route.own_key { ", with an API key of its own: " (show::route(&format!("mailjet-own.{}", view.id))) }
                    }
                }
            }
            @if let Some(caps) = route.caps {
                dt { "Caps" }
                dd {
                    (show::number(caps.concurrency.into())) " connections"
                    @if let Some(cap) = caps.per_minute { ", " (show::number(cap.into())) " messages a minute" }
                    @if let Some(cap) = caps.per_day { ", " (show::number(cap.into())) " recipients a day" }
                    @if caps.per_minute.is_none() && caps.per_day.is_none() { "; no cap a minute or a day" }
                }
            }
            @if !view.bounce_domains.is_empty() { dt { "MAIL FROM besides" } dd { (strange(&view.bounce_domains.join(", "))) } }
            dt { "Bulk mail without one-click unsubscription" } dd { (view.bulk.as_str()) }
        }
    }
}

fn waiting(view: &CustomerView, lanes: &[LaneStats]) -> Markup {
    let messages: u64 = lanes.iter().map(|lane| lane.messages).sum();
    let held: u64 = lanes.iter().map(|lane| lane.held).sum();
    let oldest = lanes.iter().map(|lane| lane.oldest_secs).max().unwrap_or_default();
    let stopped: BTreeSet<&str> = lanes.iter().filter_map(|lane| lane.stopped.as_deref()).collect();
    html! {
        section.card aria-labelledby="mail" {
            h2 #mail { "Mail" }
            @if messages == 0 { p { "Nothing of it waits." } } @else {
                p {
                    a href=(query("/queue", &[("customer", &view.id)])) { (show::messages(messages)) } " waiting, "
                    (show::number(held)) " held, the oldest for " (show::age(oldest)) "."
                }
            }
            @for why in stopped.iter().take(REASONS) { p.note.bad { "Stopped: " (strange(why)) } }
            @if stopped.len() > REASONS { p.note.bad { "Stopped for " (stopped.len() - REASONS) " more reasons" } }
            div.actions {
                a.button.plain href=(query("/trace", &[("customer", &view.id)])) { "Trace its mail" }
                a.button.plain href=(query("/suppression", &[("customer", &view.id)])) { "Suppression list" }
                a.button.plain href={ "/customers/" (segment(&view.id)) "/dmarc" } { "DMARC reports" }
                a.button.plain href=(query("/audit", &[("customer", &view.id)])) { "Audit" }
            }
        }
    }
}

fn domain_card(
    view: &CustomerView,
    domain: &str,
    selectors: &[String],
    broken: Option<&str>,
    known: &[DomainView],
) -> Markup {
    let known = known.iter().find(|known| known.domain == domain);
    let to = format!("/customers/{}/domains/{}", segment(&view.id), segment(domain));
    html! {
        section.card {
            div.head {
                h3 { (strange(domain)) }
                @if let Some(known) = known {
                    @for requirement in &known.requirements {
                        (badge(if requirement.verified { Mood::Good } else { Mood::Bad }, &requirement.requirement))
                    }
                }
                a href=(to) { "Records" }
            }
            @if let Some(why) = broken { p.note.bad { "Its key cannot be used, and its mail waits at webCRM: " (strange(why)) } }
            p.quiet {
                "Signed with " (strange(&selectors.join(", ")))
                @match known.and_then(|it| it.last_checked.as_deref()) {
                    Some(at) => { ". Checked at " (show::written(at)) "." }
                    None => ". It was never checked.",
                }
            }
            @if let Some(known) = known {
                @for requirement in known.requirements.iter().filter(|it| it.vanished.is_some() || !it.faults.is_empty()) {
                    p { strong { (requirement.requirement) } ": " (strange(&requirement.faults.join(", "))) }
                    @if let Some(at) = &requirement.vanished { p { "Its record vanished at " (show::written(at)) "." } }
                }
                @if !known.history.is_empty() { (changes(known)) }
            }
        }
    }
}

fn changes(known: &DomainView) -> Markup {
    let rows = known.history.iter().rev().take(CHANGES).map(|change| {
        vec![
            show::written(&change.at),
            html! { (change.requirement) " " (change.change) },
            html! { (strange(&change.faults.join(", "))) },
        ]
    });
    html! {
        details {
            summary { "What changed when" }
            (table("The latest first", &["When", "What", "Faults"], rows))
        }
    }
}

/// Shows the commands that the visitor's role allows.
pub(super) fn commands(shown: &Shown, visitor: &Visitor, forms: &Forms) -> Markup {
    let Shown { view, paused, .. } = shown;
    let button = |what: &str, words: &str| html! { button.plain name="do" value=(what) { (words) } };
    let hidden = || forms.hidden(visitor.key(), "customer");
    let reason = |id: &str, hint: &str| {
        html! {
            div.field {
                label for=(id) { "Why" }
                p.hint { (hint) }
                input #(id) name="reason" maxlength="500" required autocomplete="off";
            }
        }
    };
    html! {
        @if visitor.may_operate() {
            section.card aria-labelledby="probe" {
                h2 #probe { "Check now" }
                form method="post" {
                    (hidden())
                    div.actions { (button("check", "Check its domains")) (button("probe", "Probe its routes")) }
                }
                p.quiet { "A probe connects and logs in as a delivery would, shows each step, and sends no mail." }
            }
            section.card aria-labelledby="test" {
                h2 #test { "Test mail" }
                p { "One small signed mail goes out over its route now, and shows up in the trace like any other." }
                form method="post" {
                    (hidden())
                    (Field {
                        name: "to",
                        label: "To",
                        hint: "an address that somebody reads",
                        kind: "email",
                        value: "",
                        error: None,
                        autocomplete: "off",
                        required: true,
                    }
                    .render())
                    div.actions { (button("test", "Send a test mail")) }
                }
            }
            section.card aria-labelledby="pause" {
                h2 #pause { "Pause" }
                @if paused.is_some() {
                    form method="post" { (hidden()) div.actions { (button("unpause", "Let its mail go on")) } }
                } @else {
                    p { "Its mail in the queue waits. New mail is accepted." }
                    form method="post" {
                        (hidden())
                        (reason("pause-reason", "One sentence, for the others."))
                        div.choice {
                            input #spares type="checkbox" name="spares";
                            label for="spares" { "single mail goes on" }
                        }
                        div.actions { (button("pause", "Pause its mail")) }
                    }
                }
            }
        }
        @if let Some(links) = &shown.links { (of_links(links, hidden)) }
        @if visitor.may_administer() {
            section.card aria-labelledby="suspend" {
                h2 #suspend { "Suspend" }
                @if view.suspended.is_some() {
                    form method="post" { (hidden()) div.actions { (button("resume", "Resume its mail")) } }
                } @else {
                    p { "New mail is refused, and mail in the queue waits." }
                    form method="post" {
                        (hidden())
                        (reason("suspend-reason", "One sentence: senders read it."))
                        div.actions { button.bad name="do" value="suspend" { "Suspend the customer" } }
                    }
                }
            }
            section.card aria-labelledby="key" {
                h2 #key { "Rotate the DKIM key" }
                p { "A rotation has several steps. Each press takes the next one, and says what must be done before the one after." }
                form method="post" { (hidden()) div.actions { (button("rotate", "Take the next step")) } }
            }
        }
    }
}

/// Shows the links to the customer's own page, and the form for a new one.
fn of_links(links: &[Link], hidden: impl Fn() -> Markup) -> Markup {
    let rows = links.iter().filter(|link| !link.expired).map(|link| {
        vec![
            html! { code { (strange(&link.id)) } },
            show::written(&link.created),
            show::written(&link.expires),
            html! { @match &link.last_used { Some(at) => (show::written(at)), None => "never" } },
            html! {
                form.inline method="post" {
                    (hidden())
                    input type="hidden" name="link" value=(link.id);
                    button.plain.small name="do" value="revoke" aria-label={ "Revoke " (strange(&link.id)) } { "Revoke" }
                }
            },
        ]
    });
    html! {
        section.card aria-labelledby="links" {
            h2 #links { "The customer's own page" }
            p {
                "A link opens it without a login. Whoever has the link sees what this customer has to publish, and may have its mail sent through \
                 another server. Send it to the customer only."
            }
            @if links.iter().any(|link| !link.expired) {
                (table("Links that count", &["Link", "Made", "Expires", "Last used", "Do"], rows))
            }
            form method="post" {
                (hidden())
                (select("language", "Language", &[("", "the installation's"), ("da", "Danish"), ("en", "English")], ""))
                div.actions { button.plain name="do" value="link" { "Make a link" } }
            }
        }
    }
}

/// Makes a link, and shows it this one time.
async fn link(pages: &Operators, visitor: &Visitor, id: &str, fields: &Fields) -> Result<Response, Problem> {
    let language = Some(fields.text("language").to_owned()).filter(|language| !language.is_empty());
    let added = pages.service().add_link(&visitor.actor, id, &NewLink { days: None, language }).await?;
    let body = html! {
        h1 { "A link for the customer" }
        p { "It is shown this once. It expires at " (show::written(&added.link.expires)) "." }
        (copyable(Lang::En, "link", "the link", &added.url))
        p { a href={ "/customers/" (segment(id)) } { "Back to the customer" } }
    };
    Ok(pages.page(visitor, "/customers", "A link for the customer", body).into_response())
}

pub(super) async fn command(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = pages.forms().read(visitor.key(), "customer", &body)?;
    let here = format!("/customers/{}", segment(&id));
    let (service, actor) = (pages.service(), &visitor.actor);
    match fields.text("do") {
        "check" => {
            visitor.actor.may_operate()?;
            let site = Site::of_relay(service).await?;
            let job = site.begin_check(&service.jobs, actor.clone(), CustomerId::new(&id), false, Lang::En)?;
            return Ok(see(&format!("/work/{}", job.id)));
        }
        "probe" => {
            visitor.actor.may_operate()?;
            let probe = Site::of_relay(service).await?.probe(actor, &id, None, None)?;
            let job = probe.begin(&service.jobs, actor, id)?;
            return Ok(see(&format!("/work/{}", job.id)));
        }
        "test" => {
            let job = service.begin_test(actor, &id, fields.text("to"), None).await?;
            return Ok(see(&format!("/work/{}", job.id)));
        }
        "pause" => service.pause(actor, &id, fields.text("reason"), fields.is_ticked("spares")).await?,
        "unpause" => service.unpause(actor, &id).await?,
        "rotate" => return rotate(&pages, &visitor, &id).await,
        "link" => return link(&pages, &visitor, &id, &fields).await,
        "revoke" => service.revoke_link(actor, Some(&id), fields.text("link")).await?,
        _ => suspend_or_resume(service, &visitor, id, &fields).await?,
    }
    Ok(see(&here))
}

async fn suspend_or_resume(service: &Service, visitor: &Visitor, id: String, fields: &Fields) -> Result<(), Error> {
    let (service, actor) = (service.clone(), visitor.actor.clone());
    let (what, reason) = (fields.text("do").to_owned(), fields.text("reason").to_owned());
    let done = tokio::task::spawn_blocking(move || {
        let customers = Customers::in_relay(&service)?;
        match what.as_str() {
            "suspend" => customers.suspend(&actor, &id, &reason).map(drop),
            "resume" => customers.resume(&actor, &id).map(drop),
            _ => Err(Error::invalid("the form names no command", "go back, and choose one")),
        }
    });
    done.await.map_err(|error| Error::failed(format!("the work broke off: {error}"), "see the relay's log"))?
}

async fn rotate(pages: &Operators, visitor: &Visitor, id: &str) -> Result<Response, Problem> {
    visitor.actor.may_administer()?;
    let site = Site::of_relay(pages.service()).await?;
    let rotated = site.rotate_key(&visitor.actor, id, KeyPlace::Main, false).await?;
    let body = html! {
        h1 { "Rotation of the DKIM key" }
        @for step in &rotated.steps { p { (strange(&Lang::En.rotation(step))) } }
        @if rotated.waits { p.note.wait { "The next step has to wait for this." } }
        p { a href={ "/customers/" (segment(id)) } { "Back to the customer" } }
    };
    Ok(pages.page(visitor, "/customers", "Rotation of the DKIM key", body).into_response())
}

fn path_of(customer: &str, domain: &str) -> String {
    format!("/customers/{}/domains/{}", segment(customer), segment(domain))
}

pub(super) async fn records(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path((id, domain)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let records =
        live::soon("records", &path_of(&id, &domain), &asked, records_of(&pages, &visitor, &id, &domain)).await?;
    let body = html! {
        h1 { "Records of " (strange(&domain)) }
        (records)
        p { a href={ "/customers/" (segment(&id)) } { "Back to the customer" } }
    };
    Ok(pages.page(&visitor, "/customers", &format!("Records of {domain}"), body).into_response())
}

pub(super) async fn live_records(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path((id, domain)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Problem> {
    let path = path_of(&id, &domain);
    live::later("records", &path, &asked, &pages, &visitor, move |pages, visitor| {
        let (id, domain) = (id.clone(), domain.clone());
        async move { records_of(&pages, &visitor, &id, &domain).await }
    })
}

/// Asks DNS which records of a domain are published.
async fn records_of(pages: &Operators, visitor: &Visitor, id: &str, domain: &str) -> Result<Markup, Problem> {
    let wrong = |error: crate::smtp::PathError| Error::invalid(error.to_string(), "give a domain like test.dk");
    let domain = Domain::parse(domain).map_err(wrong)?;
    let found = Site::of_relay(pages.service()).await?.records_of(&visitor.actor, id, &domain).await?;
    Ok(html! { div #records { (published(&found)) } })
}

/// Shows the records that a customer must publish for a domain, and which are published.
pub(super) fn published(found: &RecordTable) -> Markup {
    html! {
        div.head {
            @if found.is_done() { (badge(Mood::Good, "all published")) }
            @else if found.is_lacking() { (badge(Mood::Wait, "not all published")) }
            @else { (badge(Mood::Calm, "not all known")) }
        }
        @if let Some(zone) = &found.zone { p { "They belong into the zone " code { (strange(zone)) } "." } }
        @if !found.is_whole() {
            p.note.wait { "Records are missing from this list: DNS gave no usable answer, or something has to be configured first." }
        }
        @for (at, row) in found.rows.iter().enumerate() {
            section.card {
                div.head {
                    h2 { (serde_json::json!(row.item).as_str().unwrap_or_default()) }
                    @if row.present { (badge(Mood::Good, "published")) }
                    @else if row.unanswered { (badge(Mood::Calm, "DNS did not answer")) }
                    @else { (badge(Mood::Wait, "missing")) }
                    span.quiet { (serde_json::json!(row.need).as_str().unwrap_or_default()) }
                }
                dl.values {
                    dt { "Type" } dd { (row.kind) }
                    dt { "Host" } dd { (copyable(Lang::En, &format!("host-{at}"), "the host", &row.host)) }
                    dt { "In the panel" } dd { code { (strange(&row.label)) } }
                    dt { "Value" } dd { (copyable(Lang::En, &format!("value-{at}"), "the value", &row.value)) }
                }
                @for remark in row.remarks(Lang::En) { p { (strange(&remark)) } }
            }
        }
    }
}

/// Makes a field that asks for a customer.
pub(super) fn chooser(value: &str) -> Markup {
    let field = Field {
        name: "customer",
        label: "Customer",
        hint: "its id",
        kind: "search",
        value,
        error: None,
        autocomplete: "off",
        required: true,
    };
    field.render()
}
