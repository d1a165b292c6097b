//! The history of a mail: from its submission to the recipient's own server, with every reply.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::Operators;
use super::input::{Asked, query, search};
use super::show;
use super::visitor::Visitor;
use crate::operate::Error;
use crate::operate::pages::Problem;
use crate::operate::pages::elements::{Field, Mood, badge, more_fields, strange, table};
use crate::record::trace::{Found, Query, Trace};
use crate::time::Timestamp;

/// The number of mails on a page.
const MAILS: usize = 20;
/// The maximum number of events of one mail that are shown.
const EVENTS: usize = 500;

/// The number of search fields that are always shown.
const FIRST: usize = 4;
/// The search fields: name, label, hint.
const FIELDS: [(&str, &str, &str); 11] = [
    ("queue_id", "Queue id", "as in “250 … queued as”"),
    ("recipient", "Recipient", "the whole address"),
    ("customer", "Customer", "its id"),
    ("since", "Since", "like 2026-11-29T03:00:00Z or 2026-11-29"),
    ("until", "Until", "like Since"),
    ("message_id", "Message-ID", ""),
    ("sender", "Sender", "the envelope sender's address"),
    ("reference", "Reference", "webCRM's own"),
    ("campaign", "Campaign", ""),
    ("tag", "Tag", ""),
    ("envid", "ENVID", "as MAIL gave it, decoded"),
];

pub(super) async fn show(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let found = match asked_for(&asked)? {
        Some(query) => Some(pages.service().trace(&visitor.actor, query, MAILS).await?),
        None => None,
    };
    let fields: Vec<_> = FIELDS.iter().map(|(name, ..)| (*name, asked.text(name))).collect();
    let first = asked.given("after").map(|_| query("/trace", &fields));
    let body = html! {
        h1 { "Trace" }
        (form(&asked))
        @if let Some(found) = &found {
            (answer(found))
            (show::pager(first.as_deref(), next(found, &fields).as_deref()))
        }
    };
    Ok(pages.page(&visitor, "/trace", "Trace", body).into_response())
}

/// Returns the path of the next page, if there is one.
fn next(found: &Found, fields: &[(&str, &str)]) -> Option<String> {
    let place = found.next()?.to_string();
    Some(query("/trace", &[fields, &[("after", place.as_str())]].concat()))
}

/// Returns the search, or `None` if no field is filled in.
fn asked_for(asked: &Asked) -> Result<Option<Query>, Error> {
    if FIELDS.iter().all(|(name, ..)| asked.text(name).is_empty()) {
        return Ok(None);
    }
    let id = asked.given("queue_id").map(|id| id.parse()).transpose().map_err(
        |error: crate::message::id::NotAQueueId| {
            Error::invalid(error.to_string(), "give it as in “250 … queued as 6H0K9MEFC7721”")
        },
    )?;
    let not_a_cursor = |error: crate::record::trace::NotAPosition| {
        Error::invalid(format!("after: {error}"), "begin again with the first page")
    };
    Ok(Some(Query {
        queue_id: id,
        recipient: asked.given("recipient"),
        message_id: asked.given("message_id"),
        sender: asked.given("sender"),
        reference: asked.given("reference"),
        campaign: asked.given("campaign"),
        tag: asked.given("tag"),
        envid: asked.given("envid"),
        customer: asked.given("customer"),
        from: time("since", asked, "00:00:00Z")?,
        until: time("until", asked, "23:59:59Z")?,
        after: asked.given("after").map(|text| text.parse()).transpose().map_err(not_a_cursor)?,
        only_mail: false,
    }))
}

/// Reads a time, or a day.
fn time(name: &str, asked: &Asked, of_day: &str) -> Result<Option<Timestamp>, Error> {
    let Some(text) = asked.given(name) else { return Ok(None) };
    let whole = if text.len() == 10 { format!("{text}T{of_day}") } else { text.clone() };
    let refused = |_| {
        Error::invalid(format!("{name}: \"{text}\" is no time"), "write one like 2026-11-29 or 2026-11-29T03:00:00Z")
    };
    whole.parse().map(Some).map_err(refused)
}

fn form(asked: &Asked) -> Markup {
    let fields: Vec<Field<'_>> =
        FIELDS.iter().map(|(name, label, hint)| search(name, label, hint, asked.text(name))).collect();
    html! {
        form.filter method="get" action="/trace" role="search" {
            @for field in &fields[..FIRST] { (field.render()) }
            div.actions { button { "Trace" } }
            (more_fields("More fields", &fields[FIRST..]))
        }
    }
}

pub(super) fn answer(found: &Found) -> Markup {
    html! {
        (show::missing(&found.missing))
        @if found.traces.is_empty() {
            p { "No mail fits, as far back as the record is kept." }
        }
        @for trace in &found.traces { (mail(trace)) }
    }
}

fn mail(trace: &Trace) -> Markup {
    let first = trace.events.first().cloned().unwrap_or_default();
    // A search for a customer also finds what was done about it, and its alerts. They may name a recipient, too.
    let is_done = matches!(first["event"].as_str(), Some("audit" | "alert"));
    let names_mail = ["sender", "recipient", "message_id"].iter().any(|name| first[*name].is_string());
    let is_mail = trace.queue_id.is_some() || (names_mail && !is_done);
    html! {
        section.card {
            @if is_mail {
                div.head {
                    h2 { (show::field(&first, "sender")) " → " (show::field(&first, "recipient")) }
                    @if let Some(id) = &trace.queue_id { (show::message(id)) }
                }
                p.quiet {
                    "Message-ID " (show::field(&first, "message_id"))
                    @if first["reference"].is_string() { " · reference " (show::field(&first, "reference")) }
                    @if first["campaign"].is_string() { " · campaign " (show::field(&first, "campaign")) }
                }
            } @else {
                h2 { "Not about one mail" }
            }
            (life(if is_mail { "From its submission on" } else { "In its order" }, &trace.events))
        }
    }
}

/// Shows events, oldest first: a mail's, or others.
pub(super) fn life(caption: &str, events: &[Value]) -> Markup {
    let rows = events.iter().take(EVENTS).map(|event| {
        let kind = show::field(event, "event");
        vec![
            show::written(event["at"].as_str().unwrap_or_default()),
            badge(mood(&kind), &kind),
            html! { (show::field(event, "recipient")) },
            html! {
                @if let Some(route) = event["route"].as_str() { (show::route(route)) }
                @if event["server"].is_string() { br; span.quiet { (show::field(event, "server")) } }
            },
            said(event),
        ]
    });
    html! {
        (table(caption, &["When", "What", "Recipient", "Route, server", "What was said"], rows))
        @if events.len() > EVENTS { p { "and " (events.len() - EVENTS) " more events" } }
    }
}

/// Shows the parts of the reply, and the relay's own remarks.
fn said(event: &Value) -> Markup {
    let parts = ["code", "status", "reply"].map(|name| show::field(event, name));
    let reply = parts.iter().filter(|part| !part.is_empty()).map(|part| &**part).collect::<Vec<_>>().join(" ");
    html! {
        @if !reply.is_empty() { code { (reply) } " " }
        @if event["detail"].is_string() { (show::field(event, "detail")) " " }
        @if event["class"].is_string() { span.quiet { "(" (show::field(event, "class")) ") " } }
        @if event["actor"].is_string() { span.quiet { "by " (strange(event["actor"].as_str().unwrap_or_default())) " " } }
        @if let Some(next) = event["next_attempt"].as_str() { span.quiet { "next attempt " (show::written(next)) } }
    }
}

fn mood(kind: &str) -> Mood {
    match kind {
        "delivered" | "relayed" => Mood::Good,
        "bounced" | "expired" | "removed" | "lost" | "rejected" | "complained" => Mood::Bad,
        "deferred" | "delayed" | "held" | "suppressed" => Mood::Wait,
        _ => Mood::Calm,
    }
}
