//! The overview: first what needs attention. It says that all is well only if no customer's mail is stuck.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::charts::{charts, spans};
use super::input::{Asked, query};
use super::live::{self, Parts};
use super::show;
use super::visitor::Visitor;
use super::{Operators, alerts, routes};
use crate::operate::alerts::Alerts;
use crate::operate::history::Span;
use crate::operate::overview::{QueueOverview, StuckMail};
use crate::operate::pages::Problem;
use crate::operate::pages::elements::{Mood, badge, strange, table};
use crate::operate::queue::Stats;
use crate::operate::{Error, Service};

/// The maximum number of lines of a list. The rest is summed up.
const LINES: usize = 30;

pub(super) async fn show(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let span = Span::ALL.into_iter().find(|span| span.as_str() == asked.text("span")).unwrap_or_default();
    let parts = parts(&pages, &visitor).await?;
    let counted = pages.service().counted(&visitor.actor, None, span).await;
    let body = html! {
        h1 { (pages.0.surroundings.hostname) }
        div data-live="/live" { @for (_, part) in &parts.parts { (part) } }
        section.card aria-labelledby="charts" {
            h2 #charts { "Over time" }
            (spans("/", span))
            @match &counted {
                Ok(buckets) => {
                    @if pages.service().events.journal().is_none() {
                        p { "Nothing is counted: set " code { "log" } " in the section [events] of the configuration." }
                    } @else if !pages.service().history_is_current() {
                        p.note.wait { "The charts are behind: the event log is still being read." }
                    }
                    (charts(buckets, span))
                }
                Err(error) => p.note.bad { (error.to_string()) },
            }
        }
    };
    let mut page = pages.page(&visitor, "/", "Overview", body);
    page.refresh_secs = Some(30);
    Ok(page.into_response())
}

pub(super) async fn live(State(pages): State<Operators>, visitor: Visitor) -> Result<Response, Problem> {
    live::stream(&pages, &visitor, |pages, visitor| async move { parts(&pages, &visitor).await })
}

async fn parts(pages: &Operators, visitor: &Visitor) -> Result<Parts, Problem> {
    let service: &Service = pages.service();
    let (told, overview) = tokio::join!(service.alerts(&visitor.actor), service.overview(&visitor.actor));
    let reasons = pages.0.surroundings.readiness.reasons();
    let mut parts = vec![("state", state(&reasons, &told, &overview))];
    if let Ok(overview) = &overview {
        parts.push(("queue", queue(&overview.stats)));
        parts.push(("routes", routes_in_trouble(overview)));
    }
    Ok(Parts { parts, done: None })
}

/// Shows that all is well, or what is not.
pub(super) fn state(
    reasons: &[(&'static str, String)],
    told: &Result<Alerts, Error>,
    overview: &Result<QueueOverview, Error>,
) -> Markup {
    let none = Alerts::default();
    let of_alerts = told.as_ref().unwrap_or(&none);
    let stuck = overview.as_ref().map(|overview| &*overview.stuck).unwrap_or_default();
    let stuck_count = overview.as_ref().map_or(0, |overview| overview.stuck_count);
    let (new, known): (Vec<_>, Vec<_>) =
        of_alerts.open.iter().chain(&of_alerts.notices).partition(|alert| alert.acknowledged.is_none());
    let unknown = [told.as_ref().err(), overview.as_ref().err()];
    let mut missing = overview.as_ref().map(|overview| overview.stats.missing.clone()).unwrap_or_default();
    missing.extend(of_alerts.missing.iter().filter(|node| !missing.contains(node)).cloned().collect::<Vec<_>>());
    let is_unknown = unknown.iter().any(Option::is_some) || !missing.is_empty();
    let (mood, word) = if !reasons.is_empty() {
        (Mood::Bad, "Takes no mail")
    } else if !stuck.is_empty() {
        (Mood::Bad, "Takes mail, but not all of it leaves")
    } else if is_unknown {
        (Mood::Bad, "How it stands is not known")
    } else if !new.is_empty() {
        (Mood::Wait, "Takes mail and sends it, but somebody has to look")
    } else if !known.is_empty() {
        (Mood::Calm, "Takes mail and sends it; all alerts are acknowledged")
    } else {
        (Mood::Good, "Takes mail and sends it")
    };
    html! {
        section #state class={ "card " (mood.class()) } aria-labelledby="needs" {
            div.head { h2 #needs { "What needs a person" } (badge(mood, word)) }
            @for error in unknown.into_iter().flatten() { p.note.bad { (error.to_string()) } }
            (show::missing(&missing))
            @if mood == Mood::Good { p { "Nothing." } }
            @if !reasons.is_empty() {
                ul { @for (check, reason) in reasons { li { strong { (check) } ": " (strange(reason)) } } }
            }
            @if !new.is_empty() {
                h3 { "Alerts" }
                ul {
                    @for alert in new.iter().take(LINES) {
                        li {
                            (alerts::place(&alert.alert))
                            (strange(alert.alert.detail.as_deref().unwrap_or_default()))
                            span.quiet { " since " (show::moment(alert.since)) }
                        }
                    }
                }
                (more(new.len()))
                p { a href="/alerts" { "Look at the alerts, and acknowledge them" } }
            }
            @if !stuck.is_empty() {
                h3 { "Mail that stands still" }
                (stuck_mail(stuck, stuck_count))
            }
            @if !known.is_empty() {
                p.quiet { (known.len()) " acknowledged: " a href="/alerts" { "somebody works on it" } }
            }
        }
    }
}

/// Shows stuck mail, with links to it.
fn stuck_mail(stuck: &[StuckMail], count: usize) -> Markup {
    let rows = stuck.iter().take(LINES).map(|line| {
        let state = if line.held { "held" } else { "" };
        let route = line.route.as_deref().unwrap_or_default();
        let to = query("/queue", &[("customer", &line.customer), ("state", state), ("route", route)]);
        vec![
            show::customer(&line.customer),
            html! { a href=(to) { (show::number(line.messages)) } },
            html! { (strange(&line.why)) @if let Some(route) = &line.route { " " (show::route(route)) } },
        ]
    });
    html! { (table("By customer and reason", &["Customer", "#Messages", "Why"], rows)) (more(count)) }
}

fn more(count: usize) -> Markup {
    html! { @if count > LINES { p { "and " (count - LINES) " more" } } }
}

/// Shows the numbers of the queue.
pub(super) fn queue(stats: &Stats) -> Markup {
    let line = |name: &str, state: &str, count: u64| {
        html! {
            dt { (name) }
            dd { @if count > 0 { a href=(query("/queue", &[("state", state)])) { (show::number(count)) } } @else { "0" } }
        }
    };
    html! {
        section #queue .card aria-labelledby="waits" {
            div.head { h2 #waits { "Queue" } span { (show::messages(stats.messages)) } }
            dl.values.numbers {
                (line("Held", "held", stats.held))
                (line("Stopped", "stopped", stats.stopped))
                (line("Tried before", "deferred", stats.deferred))
                (line("Being delivered", "delivering", stats.delivering))
                dt { "Oldest" }
                dd { (stats.oldest_secs.map_or("–".to_owned(), show::age)) }
                dt { "Mail, and on disk" }
                dd { (show::octets(stats.bytes)) ", " (show::octets(stats.disk_bytes)) }
                @if stats.quarantined > 0 {
                    dt { "Unreadable" }
                    dd { (badge(Mood::Bad, &format!("{} records set aside", stats.quarantined))) }
                }
            }
        }
    }
}

fn routes_in_trouble(overview: &QueueOverview) -> Markup {
    let count = overview.in_trouble.len();
    html! {
        section #routes .card aria-labelledby="trouble" {
            div.head {
                h2 #trouble { "Routes in trouble" }
                span { (show::number(count as u64)) " of " a href="/routes" { (show::number(overview.route_count as u64)) } }
            }
            @if count > 0 {
                (routes::table_of(overview.routes_in_trouble.iter().take(LINES)))
                @if count > LINES {
                    p { a href="/routes?state=trouble" { "and " (show::number((count - LINES) as u64)) " more" } }
                }
            }
        }
    }
}
