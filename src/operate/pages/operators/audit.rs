//! The audit: what was done, by whom, and from which address.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Operators;
use super::input::{Asked, query, search};
use super::show;
use super::visitor::Visitor;
use crate::operate::history::{AuditFilter, Entry};
use crate::operate::pages::Problem;
use crate::operate::pages::elements::table;
use crate::operate::queue::Page;

/// The number of lines on a page.
const LINES: usize = 100;

pub(super) async fn show(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let filter =
        AuditFilter { actor: asked.given("actor"), customer: asked.given("customer"), command: asked.given("command") };
    let found = pages.service().audit(&visitor.actor, filter, asked.given("before"), LINES).await?;
    let body = html! {
        h1 { "Audit" }
        (form(&asked))
        (list(&found, &asked))
    };
    Ok(pages.page(&visitor, "/audit", "Audit", body).into_response())
}

fn form(asked: &Asked) -> Markup {
    let field = |name, label, hint| search(name, label, hint, asked.text(name)).render();
    html! {
        form.filter method="get" action="/audit" role="search" {
            (field("actor", "Who", "a part of the name"))
            (field("customer", "Customer", "its id"))
            (field("command", "What", "like queue or customer.suspend"))
            div.actions { button { "Show" } }
        }
    }
}

pub(super) fn list(found: &Page<Entry>, asked: &Asked) -> Markup {
    let rows = found.items.iter().map(|Entry { event, .. }| {
        vec![
            show::written(event["at"].as_str().unwrap_or_default()),
            html! { (show::field(event, "actor")) @if event["peer"].is_string() { br; span.quiet { (show::field(event, "peer")) } } },
            html! { code { (show::field(event, "command")) } },
            html! { (show::field(event, "detail")) },
            show::place(event),
        ]
    });
    let filters = ["actor", "customer", "command"].map(|name| (name, asked.text(name)));
    let first = query("/audit", &filters);
    let next = found.next.as_deref().map(|next| {
        let mut all = filters.to_vec();
        all.push(("before", next));
        query("/audit", &all)
    });
    let is_first = asked.text("before").is_empty();
    html! {
        @if found.items.is_empty() {
            @match &found.next {
                // One page looks at a part of the audit only.
                Some(_) => p { "Nothing of the latest part of the audit fits. The next page looks at older entries." },
                None => p { "Nothing was done that fits." },
            }
        } @else {
            (table("The latest first", &["When", "Who, from where", "What", "Detail", "Where"], rows))
        }
        (show::pager((!is_first).then_some(first.as_str()), next.as_deref()))
    }
}
