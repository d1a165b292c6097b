//! Customers: a list in pages, and a search.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::Operators;
use super::input::{Asked, query, search};
use super::live::{self, Parts};
use super::show;
use super::visitor::Visitor;
use crate::operate::Error;
use crate::operate::customers::CustomerSummary;
use crate::operate::pages::Problem;
use crate::operate::pages::elements::{Mood, badge, strange, table};
use crate::operate::pauses::Paused;
use crate::operate::queue::Page;

/// The number of customers on a page.
const LINES: usize = 50;
/// The number of domains that are shown for a customer.
const DOMAINS: usize = 3;

pub(super) async fn list(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    let list = part(&pages, &visitor, &asked).await?;
    let body = html! {
        h1 { "Customers" }
        form.filter method="get" action="/customers" role="search" {
            (search("q", "Customer", "a part of its id, its name or one of its domains", asked.text("q")).render())
            div.actions { button { "Show" } }
        }
        div data-live=(asked.query("/live/customers")) { (list) }
    };
    Ok(pages.page(&visitor, "/customers", "Customers", body).into_response())
}

pub(super) async fn live(State(pages): State<Operators>, visitor: Visitor, asked: Asked) -> Result<Response, Problem> {
    live::stream(&pages, &visitor, move |pages, visitor| {
        let asked = asked.clone();
        async move { Ok(Parts { parts: vec![("list", part(&pages, &visitor, &asked).await?)], done: None }) }
    })
}

/// Returns the customers that fit.
async fn part(pages: &Operators, visitor: &Visitor, asked: &Asked) -> Result<Markup, Problem> {
    let (text, after) = (asked.text("q"), asked.given("after"));
    let mut found = pages.service().find_customers(&visitor.actor, text, after.as_deref(), LINES)?;
    found.missing = pages.service().add_stuck(&visitor.actor, &mut found.items).await?;
    let pauses = found.items.iter().map(|it| pages.service().pause_of(&visitor.actor, &it.id));
    let paused: Vec<Paused> = pauses.filter_map(Result::transpose).collect::<Result<_, Error>>()?;
    Ok(html! { div #list { (rows(&found, &paused, text, after.is_some())) } })
}

pub(super) fn rows(found: &Page<CustomerSummary>, paused: &[Paused], text: &str, is_further: bool) -> Markup {
    let rows = found.items.iter().map(|customer| {
        vec![
            html! { (show::customer(&customer.id)) br; span.quiet { (strange(&customer.name)) } },
            html! {
                (strange(&customer.domains.iter().take(DOMAINS).map(String::as_str).collect::<Vec<_>>().join(", ")))
                @if customer.domains.len() > DOMAINS { span.quiet { " and " (customer.domains.len() - DOMAINS) " more" } }
            },
            html! { span.whole { (customer.via.as_str()) } },
            match (&customer.suspended, paused.iter().find(|paused| paused.customer == customer.id), &customer.stuck) {
                (Some(why), ..) => html! { (badge(Mood::Bad, "suspended")) " " (strange(why)) },
                (None, Some(paused), _) => html! { (badge(Mood::Wait, "paused")) " " (strange(&paused.reason)) },
                (None, None, Some(why)) => html! { (badge(Mood::Bad, "stands still")) " " (strange(why)) },
                (None, None, None) => badge(Mood::Good, "in service"),
            },
        ]
    });
    let first = query("/customers", &[("q", text)]);
    let next = found.next.as_deref().map(|next| query("/customers", &[("q", text), ("after", next)]));
    html! {
        (show::missing(&found.missing))
        @if found.items.is_empty() { p { "None fits." } } @else {
            (table("By id", &["Customer", "Domains", "Route", "State"], rows))
        }
        (show::pager(is_further.then_some(first.as_str()), next.as_deref()))
    }
}
