//! Pages that change by themselves: server-sent events with the changed parts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::{Markup, html};
use serde_json::json;

use super::Operators;
use super::input::Asked;
use super::visitor::Visitor;
use crate::operate::pages::Problem;
use crate::time::Timestamp;

/// How often the parts are rendered.
const EVERY: Duration = Duration::from_secs(3);
/// How often an idle stream sends a comment, because proxies close silent connections.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// How long a page waits for DNS. What takes longer comes by itself, to a page that is shown without it.
const PATIENCE: Duration = Duration::from_millis(5);

/// The current content of a live page.
pub(super) struct Parts {
    /// The parts, by their ids on the page.
    pub parts: Vec<(&'static str, Markup)>,
    /// Set if the page does not change any more: the address to continue at, or nothing if it stays where it is.
    pub done: Option<String>,
}

/// Makes a stream of the parts that `make` renders for the visitor, until they are complete, the session has ended, or the relay stops.
/// Parts that cannot be rendered now are rendered later.
pub(super) fn stream<F>(
    pages: &Operators,
    visitor: &Visitor,
    make: impl Fn(Operators, Visitor) -> F + Send + 'static,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Parts, Problem>> + Send,
{
    let permit = pages.0.streams.try_take(&visitor.actor.to_string()).ok_or(Problem::Unavailable)?;
    let (pages, visitor) = (pages.clone(), visitor.clone());
    let state = (make, HashMap::<&'static str, String>::new(), permit, true, false);
    let events = stream::unfold(state, move |(make, mut shown, permit, is_first, is_over)| {
        let (pages, visitor) = (pages.clone(), visitor.clone());
        async move {
            if is_over {
                return None;
            }
            let mut wait = !is_first;
            loop {
                if wait {
                    pages.0.surroundings.stopping.run_until_cancelled(tokio::time::sleep(EVERY)).await?;
                }
                wait = true;
                let operators = &pages.service().operators;
                if visitor.session().is_some_and(|session| !operators.is_open(session, Timestamp::now())) {
                    // The page loads again, and the login leads back to it.
                    return Some((vec![last("over")], (make, shown, permit, false, true)));
                }
                let Ok(made) = make(pages.clone(), visitor.clone()).await else { continue };
                let mut events = Vec::new();
                for (id, markup) in made.parts {
                    let html = markup.into_string();
                    if shown.get(id) != Some(&html) {
                        let data = json!({ "id": id, "html": html }).to_string();
                        events.push(Event::default().event("part").data(data));
                        shown.insert(id, html);
                    }
                }
                let is_over = made.done.is_some();
                events.extend(made.done.map(|to| match to.is_empty() {
                    true => last("end"),
                    false => Event::default().event("done").data(to),
                }));
                if !events.is_empty() {
                    return Some((events, (make, shown, permit, false, is_over)));
                }
            }
        }
    });
    let events =
        futures_util::StreamExt::flat_map(events, |events| stream::iter(events.into_iter().map(Ok::<_, Infallible>)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)).into_response())
}

/// An event without a value that ends a stream. Browsers ignore an event that has no data, and would open the stream again.
fn last(event: &str) -> Event {
    Event::default().event(event).data("-")
}

/// Returns the part `id` of the page at `path` once it is made. If that takes long, because DNS is asked, returns a place that is filled by
/// the stream at `path/live`; without scripts, a link to a page that waits.
pub(super) async fn soon(
    id: &str,
    path: &str,
    asked: &Asked,
    made: impl Future<Output = Result<Markup, Problem>>,
) -> Result<Markup, Problem> {
    if asked.given("wait").is_some() {
        return made.await;
    }
    tokio::time::timeout(PATIENCE, made).await.unwrap_or_else(|_| {
        Ok(html! {
            div data-live=(asked.query(&format!("{path}/live"))) {
                div #(id) {
                    p role="status" { "DNS is being asked. Its answer is shown here as soon as it comes." }
                    noscript { p { a href=(asked.with("wait", "1").query(path)) { "Wait for the answer" } } }
                }
            }
        })
    })
}

/// Makes the stream that fills such a place. A problem is shown by the page that waits.
pub(super) fn later<F>(
    id: &'static str,
    path: &str,
    asked: &Asked,
    pages: &Operators,
    visitor: &Visitor,
    make: impl Fn(Operators, Visitor) -> F + Send + 'static,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Markup, Problem>> + Send,
{
    let waits = asked.with("wait", "1").query(path);
    stream(pages, visitor, move |pages, visitor| {
        let (made, waits) = (make(pages, visitor), waits.clone());
        async move {
            Ok(match made.await {
                Ok(part) => Parts { parts: vec![(id, part)], done: Some(String::new()) },
                Err(_) => Parts { parts: Vec::new(), done: Some(waits) },
            })
        }
    })
}
