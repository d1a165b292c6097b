//! Alerts: open ones first, with their acknowledgements, then ended ones, and notices.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Operators;
use super::input::{Asked, query, segment};
use super::live::{self, Parts};
use super::show;
use super::visitor::Visitor;
use crate::events::Event;
use crate::operate::alerts::{AlertView, Alerts};
use crate::operate::history::PastAlert;
use crate::operate::pages::elements::{Mood, badge, strange, table};
use crate::operate::pages::forms::Forms;
use crate::operate::pages::{Problem, see};
use crate::operate::queue::Page;

/// The number of past alerts on a page.
const PAST: usize = 50;
/// The number of open alerts on a page. Trouble of one server may raise one for each of thousands of customers.
const OPEN: usize = 50;

pub(super) async fn show(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let before = asked.text("before");
    let body = if before.is_empty() {
        let from = asked.text("from").parse().unwrap_or_default();
        let parts = parts(&pages, &visitor, from).await?;
        html! {
            h1 { "Alerts" }
            div data-live={ "/alerts/live?from=" (from) } { @for (_, part) in &parts.parts { (part) } }
        }
    } else {
        let past = pages.service().past_alerts(&visitor.actor, Some(before.to_owned()), PAST).await?;
        html! { h1 { "Alerts" } (history(&past, before)) }
    };
    Ok(pages.page(&visitor, "/alerts", "Alerts", body).into_response())
}

pub(super) async fn live(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let from = asked.text("from").parse().unwrap_or_default();
    live::stream(&pages, &visitor, move |pages, visitor| async move { parts(&pages, &visitor, from).await })
}

/// Returns the open alerts from this place in their list on, and behind the first of them the history.
async fn parts(pages: &Operators, visitor: &Visitor, from: usize) -> Result<Parts, Problem> {
    let alerts = pages.service().alerts(&visitor.actor).await?;
    let open = html! {
        div #open { (show::missing(&alerts.missing)) (current(&alerts, from, visitor, pages.forms())) }
    };
    let mut parts = vec![("open", open)];
    if from == 0 {
        let past = pages.service().past_alerts(&visitor.actor, None, PAST).await?;
        parts.push(("history", html! { div #history { (history(&past, "")) } }));
    }
    Ok(Parts { parts, done: None })
}

pub(super) async fn acknowledge(
    State(pages): State<Operators>,
    visitor: Visitor,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = pages.forms().read(visitor.key(), "alert", &body)?;
    pages.service().acknowledge_alert(&visitor.actor, fields.raw("key"), fields.text("note")).await?;
    Ok(see("/alerts"))
}

/// Shows open alerts, from this place in their list on, and the notices of the last week.
pub(super) fn current(alerts: &Alerts, from: usize, visitor: &Visitor, forms: &Forms) -> Markup {
    let count = alerts.open.len();
    let next = from.saturating_add(OPEN);
    let next = (next < count).then(|| query("/alerts", &[("from", &next.to_string())]));
    html! {
        h2 { "Open" }
        @if alerts.open.is_empty() { p { "None. An alert stays here until its trouble is over, and ends by itself." } }
        @if count > OPEN {
            p { (show::number(count as u64)) " are open. Those that nobody took note of come first, then the newest." }
        }
        @for alert in alerts.open.iter().skip(from).take(OPEN) { (card("open", alert, visitor, forms)) }
        (show::pager((from > 0).then_some("/alerts"), next.as_deref()))
        @if from == 0 && !alerts.notices.is_empty() {
            h2 { "Happened in the last week" }
            @for alert in &alerts.notices { (card("notice", alert, visitor, forms)) }
        }
    }
}

fn card(list: &str, view: &AlertView, visitor: &Visitor, forms: &Forms) -> Markup {
    let AlertView { key, since, alert, acknowledged, nodes } = view;
    // The page is live: a note that somebody is typing stays with its alert, wherever the alert moves.
    let id = format!("{list}-{}", segment(key));
    let mood = if acknowledged.is_some() { Mood::Calm } else { Mood::Bad };
    html! {
        section class={ "card " (mood.class()) } aria-labelledby=(id) {
            div.head {
                h3 #(id) { (strange(key)) }
                @match acknowledged {
                    Some(_) => (badge(Mood::Calm, "acknowledged")),
                    None => (badge(Mood::Bad, "new")),
                }
                span.quiet { "since " (show::moment(*since)) }
            }
            p { (strange(alert.detail.as_deref().unwrap_or_default())) }
            p { (place(alert)) }
            @if !nodes.is_empty() { p.quiet { "At " (strange(&nodes.join(", "))) } }
            @if let Some(noted) = acknowledged {
                p {
                    (strange(&noted.actor)) " acknowledged it at " (show::moment(noted.at))
                    @if !noted.note.is_empty() { ": " (strange(&noted.note)) }
                }
            } @else if visitor.may_operate() {
                form method="post" action="/alerts" {
                    (forms.hidden(visitor.key(), "alert"))
                    input type="hidden" name="key" value=(key);
                    div.field {
                        label for={ (id) "-note" } { "Note for the others (may be empty)" }
                        input id={ (id) "-note" } name="note" maxlength="500" autocomplete="off";
                    }
                    div.actions { button.plain { "Acknowledge" } }
                }
            }
        }
    }
}

/// Links to the subject of an alert.
pub(super) fn place(alert: &Event<'_>) -> Markup {
    html! {
        @if let Some(id) = alert.customer.as_deref() { (show::customer(id)) " " }
        @if let Some(id) = alert.route.as_deref() { (show::route(id)) " " }
        @if let Some(id) = alert.queue_id { (show::message(&id.to_string())) }
    }
}

/// Shows past alerts.
pub(super) fn history(past: &Page<PastAlert>, before: &str) -> Markup {
    let rows = past.items.iter().map(|it| {
        vec![
            show::moment(it.since),
            match it.ended {
                Some(at) => html! { (show::moment(at)) },
                None => html! { "–" },
            },
            html! {
                (show::field(&it.event, "detail"))
                @if let Some(why) = it.ended_detail.as_deref().filter(|why| !why.is_empty()) {
                    br; span.quiet { "Over: " (strange(why)) }
                }
            },
            show::place(&it.event),
        ]
    });
    let next = past.next.as_deref().map(|next| query("/alerts", &[("before", next)]));
    html! {
        h2 { "History" }
        @if past.items.is_empty() { p { "No alert is known." } } @else {
            (table("The latest first", &["From", "Until", "What", "Where"], rows))
        }
        (show::pager((!before.is_empty()).then_some("/alerts"), next.as_deref()))
    }
}
