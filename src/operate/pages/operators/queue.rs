//! The queue: waiting messages, with the filters of the command line, and commands about them. The messages that a command will affect are
//! counted and shown before it runs.

use std::fmt::Write as _;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Operators;
use super::input::{Asked, query, search, seconds};
use super::live::{self, Parts};
use super::show;
use super::visitor::Visitor;
use crate::operate::Error;
use crate::operate::pages::elements::{Field, Mood, badge, more_fields, select, strange, table};
use crate::operate::pages::forms::{Fields, Forms};
use crate::operate::pages::{Problem, see};
use crate::operate::queue::{Command, Message, MessageState, Page, Selection};

/// The number of messages on a page.
const LINES: usize = 50;
/// The number of affected messages that are shown before a command.
const SAMPLE: usize = 20;

/// The commands: the name in forms, the words on the button, and the effect.
pub(super) const ACTIONS: [(&str, &str, &str); 5] = [
    ("hold", "Hold", "They are kept back until somebody releases them. Time on hold does not make them older."),
    ("release", "Release", "Held ones go on. Each gets at least one attempt. Others stay as they are."),
    ("retry", "Retry now", "They are due at once, whatever their next attempt was. A suspended route stays suspended."),
    ("bounce", "Bounce", "They are given up, and their senders are told the reason. This cannot be undone."),
    ("remove", "Remove", "They are given up without a word to their senders. This cannot be undone."),
];

/// The number of text filters that are always shown. On a phone the list must not be far below.
const FIRST: usize = 2;
/// The text filters: the name, the label and a hint.
const FILTERS: [(&str, &str, &str); 9] = [
    ("customer", "Customer", "its id"),
    ("route", "Route", "like own-server.test-as"),
    ("recipient_domain", "Recipient domain", "like gmail.com"),
    ("older", "Older than", "like 30m, 4h or 2d"),
    ("sender", "Envelope sender", ""),
    ("reference", "Reference", "webCRM's own"),
    ("campaign", "Campaign", ""),
    ("tag", "Tag", ""),
    ("envid", "ENVID", "as MAIL gave it, decoded"),
];

const STATES: [(&str, &str); 6] = [
    ("", "any"),
    ("waiting", "waiting: not tried yet"),
    ("deferred", "deferred: tried before"),
    ("held", "held"),
    ("stopped", "stopped: not tried for now"),
    ("delivering", "being delivered"),
];

pub(super) async fn show(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let list = part(&pages, &visitor, &asked).await?;
    let body = html! {
        h1 { "Queue" }
        (filters(&|name: &str| asked.text(name).to_owned()))
        div data-live=(asked.query("/queue/live")) { (list) }
    };
    Ok(pages.page(&visitor, "/queue", "Queue", body).into_response())
}

pub(super) async fn live(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    live::stream(&pages, &visitor, move |pages, visitor| {
        let asked = asked.clone();
        async move { Ok(Parts { parts: vec![("list", part(&pages, &visitor, &asked).await?)], done: None }) }
    })
}

/// Returns the messages that fit, and the commands about them.
async fn part(pages: &Operators, visitor: &Visitor, asked: &Asked) -> Result<Markup, Problem> {
    let value = |name: &str| asked.text(name).to_owned();
    let after = asked.given("after");
    let found = pages.service().list(&visitor.actor, &selection(&value)?, after.as_deref(), LINES).await?;
    Ok(html! { div #list { (list(&found, &value, after.is_some(), visitor, pages.forms())) } })
}

/// Makes the selection of the filters.
pub(super) fn selection(value: &impl Fn(&str) -> String) -> Result<Selection, Error> {
    let given = |name: &str| Some(value(name)).filter(|text| !text.is_empty());
    let state = match value("state").as_str() {
        "" => None,
        "waiting" => Some(MessageState::Waiting),
        "deferred" => Some(MessageState::Deferred),
        "held" => Some(MessageState::Held),
        "stopped" => Some(MessageState::Stopped),
        "delivering" => Some(MessageState::Delivering),
        other => return Err(Error::invalid(format!("state: there is no state \"{other}\""), "choose one of the list")),
    };
    let older_than_secs = given("older").map(|text| seconds("older", &text)).transpose()?;
    Ok(Selection {
        customer: given("customer"),
        route: given("route"),
        recipient_domain: given("recipient_domain"),
        reference: given("reference"),
        campaign: given("campaign"),
        tag: given("tag"),
        envid: given("envid"),
        sender: given("sender"),
        older_than_secs,
        state,
        ..Selection::default()
    })
}

/// Returns the names and values of the filters.
fn values(value: &impl Fn(&str) -> String) -> Vec<(&'static str, String)> {
    let names = FILTERS.into_iter().map(|(name, ..)| name).chain(["state"]);
    names.map(|name| (name, value(name))).filter(|(_, value)| !value.is_empty()).collect()
}

fn filters(value: &impl Fn(&str) -> String) -> Markup {
    let values = FILTERS.map(|(name, ..)| value(name));
    let fields: Vec<Field<'_>> =
        FILTERS.iter().zip(&values).map(|((name, label, hint), value)| search(name, label, hint, value)).collect();
    html! {
        form.filter method="get" action="/queue" role="search" {
            (select("state", "State", &STATES, &value("state")))
            @for field in &fields[..FIRST] { (field.render()) }
            div.actions { button { "Show" } a.button.plain href="/queue" { "All" } }
            (more_fields("More filters", &fields[FIRST..]))
        }
    }
}

/// Shows the state of a message.
pub(super) fn badge_of(message: &Message) -> Markup {
    match message.state {
        MessageState::Held => badge(Mood::Bad, "held"),
        _ if message.stopped.is_some() => badge(Mood::Bad, "stopped"),
        MessageState::Deferred => badge(Mood::Wait, "deferred"),
        state => badge(Mood::Calm, state.as_str()),
    }
}

/// Shows messages, each with a checkbox, and commands about the ticked messages or about all matching ones.
pub(super) fn list(
    found: &Page<Message>,
    value: &impl Fn(&str) -> String,
    is_further: bool,
    visitor: &Visitor,
    forms: &Forms,
) -> Markup {
    let given = values(value);
    let own: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let first = query("/queue", &own);
    let next = found.next.as_deref().map(|next| {
        let mut all = own.clone();
        all.push(("after", next));
        query("/queue", &all)
    });
    html! {
        (show::missing(&found.missing))
        @if found.items.is_empty() {
            p { @if given.is_empty() { "Nothing waits." } @else { "Nothing that waits fits." } }
        } @else if visitor.may_operate() {
            form method="post" action="/queue/confirm" {
                (forms.hidden(visitor.key(), "confirm"))
                @for (name, value) in &given { input type="hidden" name=(name) value=(value); }
                (rows(found, true))
                (choice(if given.is_empty() { "all that wait" } else { "all that fit the filters, on every page" }))
            }
        } @else {
            (rows(found, false))
        }
        (show::pager(is_further.then_some(first.as_str()), next.as_deref()))
    }
}

/// Shows the choice of messages and the commands.
fn choice(all: &str) -> Markup {
    html! {
        fieldset {
            legend { "Do something with messages" }
            div.choice {
                input #those type="radio" name="those" value="ticked" checked;
                label for="those" { "those that are ticked" }
            }
            div.choice {
                input #all type="radio" name="those" value="all";
                label for="all" { (all) }
            }
            p.quiet { "They are counted and shown before anything is done." }
            div.actions { @for (action, words, _) in ACTIONS { button.plain name="action" value=(action) { (words) } } }
        }
    }
}

fn rows(found: &Page<Message>, with_boxes: bool) -> Markup {
    let mut headings = vec!["Message", "Customer", "To", "Age", "State", "Why, or the last reply"];
    if with_boxes {
        headings.insert(0, "Tick");
    }
    let rows = found.items.iter().map(|message| {
        let first = message.recipients.first();
        let why = message.held.as_ref().or(message.stopped.as_ref()).or(first.and_then(|it| it.reply.as_ref()));
        let mut row = vec![
            html! { (show::message(&message.id)) br; span.quiet { (strange(&message.sender)) } },
            html! { (show::customer(&message.customer)) @if let Some(route) = &message.route { br; (show::route(route)) } },
            html! {
                @if let Some(first) = first { (strange(&first.address)) }
                @if message.waiting_count > 1 { span.quiet { " and " (message.waiting_count - 1) " more" } }
            },
            html! { span.whole { (show::age(message.age_secs)) } },
            badge_of(message),
            html! { @if let Some(why) = why { (strange(why)) } },
        ];
        if with_boxes {
            let name = format!("id-{}", message.id);
            // The page is live: a tick stays with its message.
            row.insert(0, html! { input #(name) type="checkbox" name=(name) aria-label={ "message " (message.id) }; });
        }
        row
    });
    table("Oldest first", &headings, rows)
}

/// Returns the selection of a form: the ticked messages, or the filters.
fn meant(fields: &Fields) -> Result<Selection, Error> {
    let mut ids: Vec<String> = fields.names().filter_map(|name| name.strip_prefix("id-")).map(str::to_owned).collect();
    ids.extend(fields.text("ids").split_whitespace().map(str::to_owned));
    if fields.text("those") != "all" && fields.text("all").is_empty() {
        if ids.is_empty() {
            let remedy = "tick the messages that are meant, or choose all that fit";
            return Err(Error::invalid("no message is ticked", remedy));
        }
        return Ok(Selection { ids, ..Selection::default() });
    }
    let which = selection(&|name: &str| fields.text(name).to_owned())?;
    let all = which == Selection::default();
    Ok(Selection { all, ..which })
}

fn action(fields: &Fields) -> Result<(&'static str, &'static str, &'static str), Error> {
    let named = fields.text("action");
    let found = ACTIONS.into_iter().find(|(action, ..)| *action == named);
    found.ok_or_else(|| Error::invalid("the form names no command", "go back, and choose one"))
}

fn needs_reason(action: &str) -> bool {
    matches!(action, "hold" | "bounce" | "remove")
}

/// Counts and shows the messages that a command will affect, and asks for confirmation.
pub(super) async fn confirm(
    State(pages): State<Operators>,
    visitor: Visitor,
    body: Bytes,
) -> Result<Response, Problem> {
    let fields = pages.forms().read(visitor.key(), "confirm", &body)?;
    let (which, action) = (meant(&fields)?, action(&fields)?);
    let count = pages.service().count(&visitor.actor, &which).await?;
    let sample = pages.service().list(&visitor.actor, &which, None, SAMPLE).await?;
    let body = asking(&which, action, count, &sample, &visitor, pages.forms());
    Ok(pages.page(&visitor, "/queue", action.1, body).into_response())
}

pub(super) fn asking(
    which: &Selection,
    (action, words, effect): (&str, &str, &str),
    count: u64,
    sample: &Page<Message>,
    visitor: &Visitor,
    forms: &Forms,
) -> Markup {
    let is_final = matches!(action, "bounce" | "remove");
    html! {
        h1 { (words) " " (show::messages(count)) "?" }
        p { (effect) }
        p { "This covers " (said(which)) "." }
        @if count == 0 {
            p { a href="/queue" { "Back to the queue" } }
        } @else {
            form method="post" action="/queue/do" {
                (forms.hidden(visitor.key(), "do"))
                input type="hidden" name="action" value=(action);
                input type="hidden" name="at_most" value=(count);
                @if !which.ids.is_empty() {
                    input type="hidden" name="ids" value=(which.ids.join(" "));
                } @else {
                    input type="hidden" name="all" value="1";
                    @for (name, value) in filters_of(which) { input type="hidden" name=(name) value=(value); }
                }
                @if needs_reason(action) {
                    (Field {
                        name: "reason", label: "Why", kind: "text", value: "", error: None, autocomplete: "off", required: true,
                        hint: if action == "bounce" { "One sentence. The senders read it, and it is kept in the audit." }
                            else { "One sentence. It is kept in the audit." },
                    }.render())
                }
                div.actions {
                    button.bad[is_final] { (words) " " (show::messages(count)) }
                    a.button.plain href="/queue" { "No, go back" }
                }
            }
            h2 { @if count > SAMPLE as u64 { "The first " (SAMPLE) " of them" } @else { "These" } }
            (rows(sample, false))
        }
    }
}

/// Returns the filters of a selection as fields of a form.
fn filters_of(which: &Selection) -> Vec<(&'static str, String)> {
    let text = |name, value: &Option<String>| value.clone().map(|value| (name, value));
    let all = [
        text("customer", &which.customer),
        text("route", &which.route),
        text("recipient_domain", &which.recipient_domain),
        text("sender", &which.sender),
        text("reference", &which.reference),
        text("campaign", &which.campaign),
        text("tag", &which.tag),
        text("envid", &which.envid),
        which.older_than_secs.map(|secs| ("older", format!("{secs}s"))),
        which.state.map(|state| ("state", state.as_str().to_owned())),
    ];
    all.into_iter().flatten().collect()
}

/// Describes a selection in words.
fn said(which: &Selection) -> String {
    if which.all {
        return "all messages in the queue".to_owned();
    }
    if !which.ids.is_empty() {
        return "those that were ticked".to_owned();
    }
    let mut said = "all messages".to_owned();
    for (name, value) in filters_of(which) {
        let name = match name {
            "recipient_domain" => "recipient domain",
            "older" => "older than",
            name => name,
        };
        let _ = write!(said, ", {name} {}", strange(&value));
    }
    said
}

/// Starts a command that was confirmed.
pub(super) async fn begin(State(pages): State<Operators>, visitor: Visitor, body: Bytes) -> Result<Response, Problem> {
    let fields = pages.forms().read(visitor.key(), "do", &body)?;
    let which = meant(&fields)?;
    let (action, ..) = action(&fields)?;
    let reason = fields.text("reason").to_owned();
    let command = match action {
        "hold" => Command::Hold(reason),
        "release" => Command::Release,
        "retry" => Command::Retry,
        "bounce" => Command::Bounce(reason),
        _ => Command::Remove(reason),
    };
    let wrong = |_| Error::invalid("the form does not say how many were counted", "go back, and begin again");
    let at_most: u64 = fields.text("at_most").parse().map_err(wrong)?;
    let job = pages.service().begin_command(&visitor.actor, which, Some(at_most), command).await?;
    Ok(see(&format!("/work/{}", job.id)))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn filters_come_back_from_the_form_that_asks() {
        let asked = Asked::of(&[("customer", " a "), ("older", "2h"), ("state", "held"), ("tag", "x")]);
        let which = selection(&|name: &str| asked.text(name).to_owned()).unwrap();
        assert_eq!(
            (which.customer.as_deref(), which.older_than_secs, which.state),
            (Some("a"), Some(7200), Some(MessageState::Held))
        );
        let again: std::collections::BTreeMap<_, _> = filters_of(&which).into_iter().collect();
        let back = selection(&|name: &str| again.get(name).cloned().unwrap_or_default()).unwrap();
        assert_eq!(back, which);
        for wrong in [[("state", "odd")], [("older", "soon")]] {
            let asked = Asked::of(&wrong);
            assert!(selection(&|name: &str| asked.text(name).to_owned()).is_err());
        }
    }
}
