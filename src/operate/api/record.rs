//! `/trace` and `/events`: what became of mails, and what happens.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Api;
use super::caller::Caller;
use super::document::{RECORD, said};
use super::input::{Params, limit, time, wait};
use super::problem::Problem;
use crate::operate::events::EventPage;
use crate::record::trace::Query;

/// Which mails. All that is given must fit, and something must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// With this queue id.
    queue_id: Option<String>,
    /// To this recipient; its part of a mail with several.
    recipient: Option<String>,
    /// From this envelope sender.
    sender: Option<String>,
    /// With this Message-ID, with or without angle brackets.
    message_id: Option<String>,
    /// Of this customer.
    customer: Option<String>,
    /// With an event since then, RFC 3339.
    since: Option<String>,
    /// With an event until then, RFC 3339.
    until: Option<String>,
    /// How many mails, from 1 to 500; 50 where not given.
    limit: Option<u16>,
}

/// What became of mails, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
struct Traces {
    /// The mails.
    items: Vec<OneTrace>,
    /// True if more mails fit: narrow the question, or ask for more.
    more: bool,
}

/// What became of one mail.
#[derive(Debug, Serialize, JsonSchema)]
struct OneTrace {
    /// Its queue id; absent for what was refused at submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_id: Option<String>,
    /// Its events, oldest first, as the event log has them.
    events: Vec<Value>,
}

/// Which events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct From {
    /// Where to begin: `cursor` of the answer before, or `oldest`, or `newest`; `newest` where not given.
    cursor: Option<String>,
    /// How many events, from 1 to 500; 50 where not given.
    limit: Option<u16>,
    /// Wait up to so many seconds for the first event; at most 25.
    #[schemars(range(max = 25))]
    wait_secs: Option<u64>,
}

/// The paths.
pub(super) fn routes() -> ApiRouter<Api> {
    let events = get_with(
        events,
        said(
            RECORD,
            "listEvents",
            "List events from a cursor on",
            "In the order of the event log. Every answer has the cursor to go on with; it stays valid as long as its events are kept. With \
             wait_secs an empty answer waits for the first event. Role read; a customer hears of its own mail, and an answer may be \
             empty though more is true.",
        ),
    );
    ApiRouter::new().api_route("/events", events).api_route(
        "/trace",
        get_with(
            trace,
            said(
                RECORD,
                "trace",
                "Tell what became of mails",
                "Every event of each mail that fits, as far back as the record is kept. A question with a recipient, a Message-ID or a \
                 queue id is fast; one with a customer or a time alone reads everything. Role read; a customer sees its own.",
            ),
        ),
    )
}

async fn events(
    State(api): State<Api>,
    caller: Caller,
    Params(From { cursor, limit: most, wait_secs }): Params<From>,
) -> Result<Json<EventPage>, Problem> {
    let (most, wait) = (limit(most)?, wait(wait_secs)?);
    let cursor = cursor.as_deref().unwrap_or("newest");
    Ok(Json(api.0.service.events_since(&caller.0, cursor, most, wait).await?))
}

async fn trace(
    State(api): State<Api>,
    caller: Caller,
    Params(question): Params<Question>,
) -> Result<Json<Traces>, Problem> {
    let limit = limit(question.limit)?;
    let not_an_id = |error: crate::message::id::NotAQueueId| {
        Problem::invalid(format!("queue_id: {error}"), "give it as in \"250 … queued as 6H0K9MEFC7721\"")
    };
    let query = Query {
        queue_id: question.queue_id.as_deref().map(str::parse).transpose().map_err(not_an_id)?,
        recipient: question.recipient,
        sender: question.sender,
        message_id: question.message_id,
        customer: caller.customer(question.customer)?,
        from: time("since", question.since.as_deref())?,
        until: time("until", question.until.as_deref())?,
        ..Query::default()
    };
    let found = api.0.service.trace(&caller.0, query, limit).await?;
    let items = found.traces.into_iter().map(|it| OneTrace { queue_id: it.queue_id, events: it.events }).collect();
    Ok(Json(Traces { items, more: found.more }))
}
