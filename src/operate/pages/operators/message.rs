//! One message in the queue: its data, its recipients, and every attempt.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::input::{query, segment};
use super::live::{self, Parts};
use super::queue::{ACTIONS, badge_of};
use super::visitor::Visitor;
use super::{Operators, show, trace};
use crate::onboarding::Lang;
use crate::operate::ErrorKind;
use crate::operate::pages::elements::{copyable, strange, table};
use crate::operate::pages::forms::Forms;
use crate::operate::pages::{Problem, see};
use crate::operate::queue::{Message, Recipient};
use crate::visible::visible_lines;

pub(super) async fn show(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let message = match pages.service().show(&visitor.actor, &id).await {
        Ok(message) => message,
        // A message that has left the queue is in the record.
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(see(&query("/trace", &[("queue_id", &id)]))),
        Err(error) => return Err(error.into()),
    };
    let body = html! {
        div data-live={ "/queue/" (segment(&id)) "/live" } { (part(&message, &visitor, pages.forms())) }
    };
    Ok(pages.page(&visitor, "/queue", &format!("Message {}", message.id), body).into_response())
}

pub(super) async fn live(
    State(pages): State<Operators>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    live::stream(&pages, &visitor, move |pages, visitor| {
        let id = id.clone();
        async move {
            match pages.service().show(&visitor.actor, &id).await {
                Ok(message) => {
                    Ok(Parts { parts: vec![("message", part(&message, &visitor, pages.forms()))], done: None })
                }
                // It has left the queue.
                Err(error) if error.kind == ErrorKind::NotFound => {
                    Ok(Parts { parts: Vec::new(), done: Some(query("/trace", &[("queue_id", &id)])) })
                }
                Err(error) => Err(error.into()),
            }
        }
    })
}

fn part(message: &Message, visitor: &Visitor, forms: &Forms) -> Markup {
    html! { div #message { (details(message, visitor, forms)) } }
}

pub(super) fn details(message: &Message, visitor: &Visitor, forms: &Forms) -> Markup {
    let recipients = message.recipients.iter().map(|Recipient { address, state, reply }| {
        vec![
            html! { (strange(address)) },
            html! { (state) },
            html! { @if let Some(reply) = reply { code { (strange(reply)) } } },
        ]
    });
    html! {
        div.head { h1 { "Message" } (badge_of(message)) }
        @if let Some(why) = message.held.as_ref().or(message.stopped.as_ref()) { p.note.wait { (strange(why)) } }
        dl.values {
            dt { "Queue id" } dd { (copyable(Lang::En, "queue-id", "the queue id", &message.id)) }
            dt { "Customer" } dd { (show::customer(&message.customer)) }
            dt { "Route" } dd { @match &message.route { Some(route) => (show::route(route)), None => "none" } }
            dt { "From" } dd { (strange(&message.from_domain)) ", envelope sender " code { "<" (strange(&message.sender)) ">" } }
            dt { "Message-ID" } dd { (strange(&message.message_id)) }
            @if let Some(reference) = &message.reference { dt { "Reference" } dd { (strange(reference)) } }
            @if let Some(envid) = &message.envid { dt { "ENVID" } dd { (strange(envid)) } }
            @if let Some(campaign) = &message.campaign { dt { "Campaign" } dd { (strange(campaign)) } }
            @if !message.tags.is_empty() { dt { "Tags" } dd { (strange(&message.tags.join(", "))) } }
            dt { "Accepted" } dd { (show::written(&message.arrived)) ", " (show::age(message.age_secs)) " ago" }
            dt { "Attempts" } dd { (message.attempts) ", the next is due " (show::written(&message.due)) }
            dt { "Size" } dd { (show::octets(message.size)) ", " (message.urgency) " " (message.kind) }
        }
        @if visitor.may_operate() { (commands(&message.id, visitor, forms)) }
        h2 { "Recipients" }
        p { (message.waiting_count) " of " (message.recipient_count) " wait." }
        (table("All recipients", &["Address", "State", "Last reply"], recipients))
        h2 { "What happened" }
        (trace::life("From its submission on", &message.history))
        @if let Some(header) = &message.header {
            h2 { "Header" }
            pre tabindex="0" { (visible_lines(header)) }
        }
    }
}

/// Buttons for this message.
fn commands(id: &str, visitor: &Visitor, forms: &Forms) -> Markup {
    html! {
        form method="post" action="/queue/confirm" {
            (forms.hidden(visitor.key(), "confirm"))
            input type="hidden" name={ "id-" (id) } value="on";
            div.actions { @for (action, words, _) in ACTIONS { button.plain name="action" value=(action) { (words) } } }
        }
    }
}
