//! Routes: their states, their troubles, their caps, and how to suspend one.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::charts::{charts_of_route, spans};
use super::input::{Asked, query, search, segment};
use super::live::{self, Parts};
use super::visitor::Visitor;
use super::{Operators, show};
use crate::operate::Error;
use crate::operate::history::Span;
use crate::operate::microsoft365::PasswordRoute;
use crate::operate::pages::elements::{Field, Mood, badge, select, strange, table};
use crate::operate::pages::forms::Forms;
use crate::operate::pages::{Problem, see};
use crate::route::microsoft::WHEN;
use crate::route::{Caps, RouteState, RouteStatus};

/// The number of routes on a page.
const LINES: usize = 100;

pub(super) async fn list(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let list = list_part(&pages, &visitor, &asked).await?;
    let states = [
        ("", "any"),
        ("trouble", "in trouble"),
        ("ready", "ready"),
        ("throttled", "throttled"),
        ("suspended", "suspended"),
    ];
    let body = html! {
        h1 { "Routes" }
        form.filter method="get" action="/routes" role="search" {
            (search("q", "Route or server", "a part of its name", asked.text("q")).render())
            (select("state", "State", &states, asked.text("state")))
            div.actions { button { "Show" } }
        }
        div data-live=(asked.query("/routes/live")) { (list) }
    };
    Ok(pages.page(&visitor, "/routes", "Routes", body).into_response())
}

pub(super) async fn live_list(
    State(pages): State<Operators>,
    visitor: Visitor,
    asked: Asked,
) -> Result<Response, Problem> {
    live::stream(&pages, &visitor, move |pages, visitor| {
        let asked = asked.clone();
        async move { Ok(Parts { parts: vec![("list", list_part(&pages, &visitor, &asked).await?)], done: None }) }
    })
}

/// Returns the routes that fit.
async fn list_part(pages: &Operators, visitor: &Visitor, asked: &Asked) -> Result<Markup, Problem> {
    let (text, state) = (asked.text("q").to_lowercase(), asked.text("state"));
    let after = asked.text("after");
    let (all, missing) = pages.service().route_statuses(&visitor.actor).await?;
    let total = all.len();
    let fits = |route: &&RouteStatus| {
        let is_meant = match state {
            "trouble" => is_in_trouble(route),
            "" => true,
            state => route.state.as_str() == state,
        };
        is_meant && (route.id.as_str().to_lowercase().contains(&text) || route.server.to_lowercase().contains(&text))
    };
    let mut found: Vec<&RouteStatus> = all.iter().filter(fits).filter(|route| route.id.as_str() > after).collect();
    let has_more = found.len() > LINES;
    found.truncate(LINES);
    let own = [("q", asked.text("q")), ("state", state)];
    let first = query("/routes", &own);
    let next = found.last().filter(|_| has_more).map(|last| {
        let mut all = own.to_vec();
        all.push(("after", last.id.as_str()));
        query("/routes", &all)
    });
    let passwords = pages.service().count_microsoft365(&visitor.actor)?;
    Ok(html! {
        div #list {
            (show::missing(&missing))
            p { (show::number(total as u64)) " routes in all." }
            @if passwords > 0 {
                p.note.wait {
                    a href="/routes/microsoft365" {
                        @if passwords == 1 { "1 route logs in" } @else { (show::number(passwords as u64)) " routes log in" }
                        " at Microsoft 365 with a password"
                    }
                    ", which Microsoft switches off."
                }
            }
            @if found.is_empty() { p { "None fits." } } @else { (table_of(found.iter().copied())) }
            (show::pager((!after.is_empty()).then_some(first.as_str()), next.as_deref()))
        }
    })
}

/// The routes that log in at Microsoft 365 with a password, and what each needs.
pub(super) async fn microsoft365(State(pages): State<Operators>, visitor: Visitor) -> Result<Response, Problem> {
    let found = pages.service().microsoft365(&visitor.actor).await?;
    let body = html! {
        h1 { "Passwords at Microsoft 365" }
        p { (WHEN) ". The login of each of these routes has to be changed to OAuth." }
        @if found.is_empty() { p { "No route logs in there with a password." } } @else { (passwords(&found)) }
        p { a href="/routes" { "Back to the routes" } }
    };
    Ok(pages.page(&visitor, "/routes", "Passwords at Microsoft 365", body).into_response())
}

pub(super) fn passwords(found: &[PasswordRoute]) -> Markup {
    let rows = found.iter().map(|it| {
        vec![
            show::customer(&it.customer),
            html! { (show::route(&it.route)) br; span.quiet { (strange(&it.server)) } },
            html! { (strange(&it.username)) },
            html! {
                @match &it.hint {
                    Some(hint) => (strange(hint)),
                    None => span.quiet { "Nothing so far" },
                }
            },
            html! { "A link to the customer's own page, where it enters its application; or " code { (strange(it.needs.trim_matches('`'))) } },
        ]
    });
    table("By customer", &["Customer", "Route, server", "Mailbox", "What the last login heard", "What it needs"], rows)
}

/// Returns true if a route does not carry mail, or did not lately.
pub(super) fn is_in_trouble(route: &RouteStatus) -> bool {
    route.in_trouble_since.is_some() || matches!(route.state, RouteState::Suspended { .. })
}

fn badge_of(route: &RouteStatus) -> Markup {
    match &route.state {
        RouteState::Suspended { .. } => badge(Mood::Bad, "suspended"),
        RouteState::Throttled { .. } if route.in_trouble_since.is_some() => badge(Mood::Bad, "in trouble"),
        RouteState::Throttled { .. } => badge(Mood::Wait, "throttled"),
        RouteState::Ready if route.in_trouble_since.is_some() => badge(Mood::Wait, "tries again"),
        RouteState::Ready => badge(Mood::Good, "ready"),
    }
}

/// Makes a table of routes.
pub(super) fn table_of<'a>(routes: impl Iterator<Item = &'a RouteStatus>) -> Markup {
    let rows = routes.map(|route| {
        vec![
            html! { (show::route(route.id.as_str())) br; span.quiet { (strange(&route.server)) } },
            badge_of(route),
            html! { (route.in_flight) },
            html! {
                (show::number(route.sent_today.into()))
                @if let Some(cap) = route.per_day { " of " (show::number(cap.into())) }
            },
            why(route),
        ]
    });
    table("By name", &["Route, server", "State", "#In flight", "#Recipients today", "Why"], rows)
}

fn why(route: &RouteStatus) -> Markup {
    html! {
        @if let Some(reason) = route.state.reason() { (strange(reason)) " " }
        @match &route.state {
            RouteState::Throttled { until, .. } => span.quiet { "Tried again at " (show::moment(*until)) ". " },
            RouteState::Suspended { since, cause, .. } => {
                span.quiet { "Since " (show::moment(*since)) "; ends by " (cause.lifted_by()) ". " }
            }
            RouteState::Ready => {}
        }
        @if let Some(since) = route.in_trouble_since { span.quiet { "No mail carried since " (show::moment(since)) "." } }
    }
}

pub(super) async fn show(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
    asked: Asked,
) -> Result<Response, Problem> {
    let span = Span::ALL.into_iter().find(|span| span.as_str() == asked.text("span")).unwrap_or_default();
    let parts = parts(&pages, &visitor, &id).await?;
    let counted = pages.service().counted(&visitor.actor, Some(&id), span).await?;
    let body = html! {
        div data-live={ "/routes/" (segment(&id)) "/live" } { @for (_, part) in &parts.parts { (part) } }
        section.card aria-labelledby="charts" {
            h2 #charts { "Over time" }
            (spans(&format!("/routes/{}", segment(&id)), span))
            (charts_of_route(&counted, span))
        }
    };
    Ok(pages.page(&visitor, "/routes", &id, body).into_response())
}

pub(super) async fn live(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    live::stream(&pages, &visitor, move |pages, visitor| {
        let id = id.clone();
        async move { parts(&pages, &visitor, &id).await }
    })
}

/// Returns how a route stands, and the commands that it takes now.
async fn parts(pages: &Operators, visitor: &Visitor, id: &str) -> Result<Parts, Problem> {
    let (route, caps, missing) = pages.service().route(&visitor.actor, id).await?;
    let customer = id.strip_prefix("own-server.").or_else(|| id.strip_prefix("mailjet-own."));
    let state = html! { div #route { (show::missing(&missing)) (details(&route, caps.as_ref(), customer)) } };
    let mut parts = vec![("route", state)];
    if visitor.may_operate() {
        parts.push(("commands", html! { div #commands { (commands(&route, visitor, pages.forms())) } }));
    }
    Ok(Parts { parts, done: None })
}

pub(super) fn details(route: &RouteStatus, caps: Option<&Caps>, customer: Option<&str>) -> Markup {
    let id = route.id.as_str();
    html! {
        div.head { h1 { (strange(id)) } (badge_of(route)) }
        @if route.state.reason().is_some() || route.in_trouble_since.is_some() { div.note.wait { p { (why(route)) } } }
        @if let Some(hint) = &route.password_hint { p.note.wait { (strange(hint)) } }
        dl.values {
            dt { "Server" } dd { code { (strange(&route.server)) } }
            @if let Some(customer) = customer { dt { "Customer" } dd { (show::customer(customer)) } }
            dt { "In flight" } dd { (route.in_flight) @if let Some(caps) = caps { " of " (caps.concurrency) } }
            dt { "Recipients today" }
            dd { (show::number(route.sent_today.into())) @if let Some(cap) = route.per_day { " of " (show::number(cap.into())) } }
            @if let Some(caps) = caps {
                dt { "Messages a minute" } dd { (caps.per_minute.map_or("no cap".to_owned(), |cap| show::number(cap.into()))) }
                dt { "Transaction" } dd { "at most " (caps.recipients_per_transaction) " recipients" }
                dt { "Connection" } dd { "at most " (caps.messages_per_connection) " messages" }
            }
        }
        div.actions {
            a.button.plain href=(query("/queue", &[("route", id)])) { "Its mail in the queue" }
            @if let Some(customer) = customer {
                a.button.plain href={ "/customers/" (segment(customer)) "#probe" } { "Probe it" }
            }
        }
    }
}

fn commands(route: &RouteStatus, visitor: &Visitor, forms: &Forms) -> Markup {
    let is_suspended = matches!(route.state, RouteState::Suspended { .. });
    let reason = Field {
        name: "reason",
        label: "Why",
        hint: "One sentence. Lists and the audit show it.",
        kind: "text",
        value: "",
        error: None,
        autocomplete: "off",
        required: true,
    };
    html! {
        @if is_suspended || is_in_trouble(route) || matches!(route.state, RouteState::Throttled { .. }) {
            section.card aria-labelledby="resume" {
                h2 #resume { "Resume" }
                p { "Its mail is tried at once. If what was wrong is not mended, the next attempt says so." }
                form method="post" {
                    (forms.hidden(visitor.key(), "route"))
                    div.actions { button name="do" value="resume" { "Resume the route" } }
                }
            }
        }
        @if !is_suspended {
            section.card aria-labelledby="suspend" {
                h2 #suspend { "Suspend" }
                p {
                    "Its mail waits until somebody resumes the route, also over restarts. Attempts under way end by themselves."
                }
                form method="post" {
                    (forms.hidden(visitor.key(), "route"))
                    (reason.render())
                    div.actions { button.bad name="do" value="suspend" { "Suspend the route" } }
                }
            }
        }
    }
}

pub(super) async fn switch(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = pages.forms().read(visitor.key(), "route", &body)?;
    match fields.text("do") {
        "resume" => pages.service().resume_route(&visitor.actor, &id).await?,
        "suspend" => pages.service().suspend_route(&visitor.actor, &id, fields.text("reason")).await?,
        _ => return Err(Error::invalid("the form names no command", "go back, and choose one").into()),
    }
    Ok(see(&format!("/routes/{}", segment(&id))))
}
