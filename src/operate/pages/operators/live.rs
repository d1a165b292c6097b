//! Pages that change by themselves: server-sent events with the changed parts.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::Markup;
use serde_json::json;

use super::Operators;
use super::visitor::Visitor;
use crate::operate::pages::Problem;
use crate::time::Timestamp;

/// How often the parts are rendered.
const EVERY: Duration = Duration::from_secs(3);
/// How often an idle stream sends a comment, because proxies close silent connections.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// The current content of a live page.
pub(super) struct Parts {
    /// The parts, by their ids on the page.
    pub parts: Vec<(&'static str, Markup)>,
    /// The address to continue at, if the page does not change any more.
    pub done: Option<String>,
}

/// Makes a stream of parts until they are complete, the session has ended, or the relay stops. Parts that cannot be rendered now are
/// rendered later.
pub(super) fn stream<F>(
    pages: &Operators,
    visitor: &Visitor,
    make: impl Fn() -> F + Send + 'static,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Parts, Problem>> + Send,
{
    let permit = pages.0.streams.clone().try_acquire_owned().map_err(|_| Problem::Unavailable)?;
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
                    let event = Event::default().event("done").data("/login?over=1");
                    return Some((vec![event], (make, shown, permit, false, true)));
                }
                let Ok(made) = make().await else { continue };
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
                events.extend(made.done.map(|to| Event::default().event("done").data(to)));
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
