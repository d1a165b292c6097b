//! Suppression lists: show a customer's list, add, remove, import and export addresses.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::{Markup, html};

use super::Operators;
use super::customer::chooser;
use super::input::{Asked, query, search, seconds, segment};
use super::show;
use super::visitor::Visitor;
use crate::customers::suppression::csv;
use crate::operate::Error;
use crate::operate::pages::elements::{Field, strange, table};
use crate::operate::pages::forms::Forms;
use crate::operate::pages::{Problem, see};
use crate::operate::suppression::{MOST, Suppressed};
use crate::time::Timestamp;

/// The number of addresses on a page.
const LINES: usize = 100;
/// The maximum octets of a form with a list in it.
pub(super) const LONGEST_IMPORT: usize = 4 << 20;
/// The number of addresses that an export reads at once.
const EXPORTED: usize = 1_000;

pub(super) async fn show(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let customer = asked.text("customer").to_owned();
    let address = asked.text("address");
    let after = asked.given("after");
    let found = if customer.is_empty() {
        None
    } else if address.is_empty() {
        let found = pages.service().suppressed(&visitor.actor, &customer, after.as_deref(), LINES + 1).await?;
        Some(found)
    } else {
        match pages.service().find_suppressed(&visitor.actor, &customer, address).await {
            Ok(found) => Some(vec![found]),
            Err(error) if error.kind == crate::operate::ErrorKind::NotFound => Some(Vec::new()),
            Err(error) => return Err(error.into()),
        }
    };
    let body = html! {
        h1 { "Suppression" }
        p { "Mail to an address on a customer's list is left out or refused, as the configuration says." }
        form.filter method="get" action="/suppression" role="search" {
            (chooser(&customer))
            (search("address", "Address", "empty: all", address).render())
            div.actions { button { "Show" } }
        }
        @if let Some(found) = &found {
            (list(found, &customer, address, after.is_some(), &visitor, pages.forms()))
            @if visitor.may_operate() { (commands(&customer, &visitor, pages.forms())) }
        }
    };
    Ok(pages.page(&visitor, "/suppression", "Suppression", body).into_response())
}

pub(super) fn list(
    found: &[Suppressed],
    customer: &str,
    address: &str,
    is_further: bool,
    visitor: &Visitor,
    forms: &Forms,
) -> Markup {
    let may = visitor.may_operate();
    let rows = found.iter().take(LINES).map(|entry| {
        vec![
            html! { (strange(&entry.address)) },
            html! { (strange(&entry.reason)) },
            show::written(&entry.since),
            html! { @match &entry.expires { Some(at) => (show::written(at)), None => "never" } },
            html! { (strange(&entry.note)) },
            html! {
                @if may {
                    form.inline method="post" action="/suppression" {
                        (forms.hidden(visitor.key(), "suppression"))
                        input type="hidden" name="customer" value=(customer);
                        input type="hidden" name="address" value=(entry.address);
                        button.plain.small name="do" value="remove" aria-label={ "Take off " (strange(&entry.address)) } { "Take off" }
                    }
                }
            },
        ]
    });
    let next = (found.len() > LINES).then(|| {
        let last = &found[LINES - 1].address;
        query("/suppression", &[("customer", customer), ("after", last)])
    });
    let first = query("/suppression", &[("customer", customer)]);
    html! {
        @if found.is_empty() {
            p { @if address.is_empty() { "The list is empty." } @else { "The address is not on the list." } }
        } @else {
            (table("By address", &["Address", "Reason", "Since", "Ends", "Note", "Do"], rows))
            (show::pager(is_further.then_some(first.as_str()), next.as_deref()))
            p { a href=(query("/suppression/export", &[("customer", customer)])) { "Export the list as CSV" } }
        }
    }
}

fn commands(customer: &str, visitor: &Visitor, forms: &Forms) -> Markup {
    let field = |name: &'static str, label: &'static str, hint: &'static str, required: bool| {
        Field { name, label, hint, kind: "text", value: "", error: None, autocomplete: "off", required }.render()
    };
    html! {
        section.card aria-labelledby="add" {
            h2 #add { "Put an address on the list" }
            form method="post" action="/suppression" {
                (forms.hidden(visitor.key(), "suppression"))
                input type="hidden" name="customer" value=(customer);
                div.field {
                    label for="new" { "Address" }
                    input #new name="address" type="email" required autocomplete="off";
                }
                (field("note", "Note", "why, for the others", false))
                (field("expires", "For how long", "like 30d; empty: for good", false))
                div.actions { button name="do" value="add" { "Put it on the list" } }
            }
        }
        section.card aria-labelledby="import" {
            h2 #import { "Import" }
            p {
                "One address a line, or CSV with the columns address, reason, since, expires and note. At most "
                (show::number(MOST as u64)) " addresses at once; for more use " code { "postbud suppression import" } "."
            }
            form method="post" action="/suppression/import" {
                (forms.hidden(visitor.key(), "import"))
                input type="hidden" name="customer" value=(customer);
                div.field {
                    label for="csv" { "Addresses" }
                    textarea #csv name="csv" rows="6" required spellcheck="false" {}
                }
                div.actions { button { "Import" } }
            }
        }
    }
}

pub(super) async fn change(State(pages): State<Operators>, visitor: Visitor, body: Bytes) -> Result<Response, Problem> {
    let fields = pages.forms().read(visitor.key(), "suppression", &body)?;
    let (customer, address) = (fields.text("customer"), fields.text("address"));
    match fields.text("do") {
        "add" => {
            let expires = Some(fields.text("expires")).filter(|text| !text.is_empty());
            let expires = expires.map(|text| seconds("expires", text)).transpose()?;
            let expires = expires.map(std::time::Duration::from_secs);
            pages.service().suppress(&visitor.actor, customer, address, fields.text("note"), expires).await?;
        }
        "remove" => pages.service().unsuppress(&visitor.actor, customer, address).await?,
        _ => return Err(Error::invalid("the form names no command", "go back, and choose one").into()),
    }
    Ok(see(&query("/suppression", &[("customer", customer)])))
}

pub(super) async fn import(State(pages): State<Operators>, visitor: Visitor, body: Bytes) -> Result<Response, Problem> {
    let fields = pages.forms().read(visitor.key(), "import", &body)?;
    let customer = fields.text("customer");
    let read = csv::read(fields.raw("csv").as_bytes(), Timestamp::now());
    let bad = |bad: csv::BadLine| Error::invalid(bad.to_string(), "nothing of the import was taken");
    let entries: Vec<Suppressed> = read.map_err(bad)?.into_iter().map(|(_, entry)| entry.into()).collect();
    pages.service().import_suppressed(&visitor.actor, customer, &entries).await?;
    Ok(see(&query("/suppression", &[("customer", customer)])))
}

/// Exports the whole list, a part at a time.
pub(super) async fn export(
    State(pages): State<Operators>,
    visitor: Visitor,
    asked: Asked,
) -> Result<Response, Problem> {
    let customer = asked.text("customer").to_owned();
    // An operator who may not see the list gets a refusal, and not a file that breaks off.
    let first = pages.service().suppressed(&visitor.actor, &customer, None, EXPORTED).await?;
    let name = format!("attachment; filename=\"suppression-{}.csv\"", segment(&customer));
    let state = (pages, visitor, customer, Some(first));
    let parts = stream::unfold(state, |(pages, visitor, customer, part)| async move {
        let part = part?;
        let mut text = String::new();
        for Suppressed { address, reason, since, expires, note } in &part {
            text.push_str(&csv::record([address, reason, since, expires.as_deref().unwrap_or_default(), note]));
        }
        let next = match part.last() {
            Some(last) if part.len() == EXPORTED => {
                let after = Some(last.address.as_str());
                match pages.service().suppressed(&visitor.actor, &customer, after, EXPORTED).await {
                    Ok(next) => Some(next),
                    Err(error) => {
                        return Some((Err(std::io::Error::other(error.to_string())), (pages, visitor, customer, None)));
                    }
                }
            }
            _ => None,
        };
        Some((Ok(text), (pages, visitor, customer, next)))
    });
    let header = stream::iter([Ok(csv::header())]);
    let body = Body::from_stream(futures_util::StreamExt::chain(header, parts));
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)], body).into_response())
}
