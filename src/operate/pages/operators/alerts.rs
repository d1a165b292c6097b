//! Alerts: open ones first, with their acknowledgements, then ended ones, and notices.

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Operators;
use super::input::{Asked, query};
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

pub(super) async fn show(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let alerts = pages.service().alerts(&visitor.actor).await?;
    let past = pages.service().past_alerts(&visitor.actor, asked.given("before"), PAST).await?;
    let body = html! {
        h1 { "Alerts" }
        (show::missing(&alerts.missing))
        @if asked.text("before").is_empty() { (current(&alerts, &visitor, pages.forms())) }
        (history(&past, asked.text("before")))
    };
    Ok(pages.page(&visitor, "/alerts", "Alerts", body).into_response())
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

/// Shows open alerts and the notices of the last week.
pub(super) fn current(alerts: &Alerts, visitor: &Visitor, forms: &Forms) -> Markup {
    html! {
        h2 { "Open" }
        @if alerts.open.is_empty() { p { "None. An alert stays here until its trouble is over, and ends by itself." } }
        @for (at, alert) in alerts.open.iter().enumerate() { (card(&format!("open-{at}"), alert, visitor, forms)) }
        @if !alerts.notices.is_empty() {
            h2 { "Happened in the last week" }
            @for (at, alert) in alerts.notices.iter().enumerate() { (card(&format!("notice-{at}"), alert, visitor, forms)) }
        }
    }
}

fn card(id: &str, view: &AlertView, visitor: &Visitor, forms: &Forms) -> Markup {
    let AlertView { key, since, alert, acknowledged, nodes } = view;
    let mood = if acknowledged.is_some() { Mood::Calm } else { Mood::Bad };
    html! {
        section class={ "card " (mood.class()) } aria-labelledby=(id) {
            div.head {
                h3 #(id) { (strange(key)) }
                @match acknowledged {
                    Some(_) => (badge(Mood::Calm, "known")),
                    None => (badge(Mood::Bad, "new")),
                }
                span.quiet { "since " (show::moment(*since)) }
            }
            p { (strange(alert.detail.as_deref().unwrap_or_default())) }
            p { (place(alert)) }
            @if !nodes.is_empty() { p.quiet { "At " (strange(&nodes.join(", "))) } }
            @if let Some(noted) = acknowledged {
                p {
                    (strange(&noted.actor)) " took note at " (show::moment(noted.at))
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
                    div.actions { button.plain { "I know, and look after it" } }
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
