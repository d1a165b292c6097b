//! `/trace`, `/events` and `/record/erase`: the history of mails, the event log, and the erasure of a recipient from it.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Api;
use super::caller::Caller;
use super::document::{RECORD, said};
use super::input::{Body, Params, limit, time, wait};
use super::jobs::Accepted;
use super::problem::Problem;
use crate::operate::events::EventPage;
use crate::record::trace::Query;

/// The filters of a search for mails. A mail must match all of them, and at least one is required.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Question {
    /// Only the mail with this queue id.
    queue_id: Option<String>,
    /// Only mails to this recipient, and of a mail with several recipients only this recipient's part.
    recipient: Option<String>,
    /// Only mails from this envelope sender.
    sender: Option<String>,
    /// Only mails with this Message-ID, with or without angle brackets.
    message_id: Option<String>,
    /// Only mails with this reference of the submitter.
    reference: Option<String>,
    /// Only mails of this campaign.
    campaign: Option<String>,
    /// Only mails with this tag.
    tag: Option<String>,
    /// Only mails with this ENVID of MAIL, decoded.
    envid: Option<String>,
    /// Only mails of this customer.
    customer: Option<String>,
    /// Only mails with an event at or after this time, RFC 3339.
    since: Option<String>,
    /// Only mails with an event until this time, RFC 3339.
    until: Option<String>,
    /// The position to continue from: `next` of the previous answer to the same question.
    cursor: Option<String>,
    /// The number of mails, from 1 to 500; the default is 50.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
}

/// The history of mails, newest first.
#[derive(Debug, Serialize, JsonSchema)]
struct Traces {
    /// The mails that were found, newest first.
    items: Vec<OneTrace>,
    /// True if more mails match.
    more: bool,
    /// The position of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The nodes whose record is missing, because they did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
}

/// The history of one mail.
#[derive(Debug, Serialize, JsonSchema)]
struct OneTrace {
    /// The queue id; absent if the mail was refused at submission.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_id: Option<String>,
    /// The mail's events, oldest first, as in the event log.
    events: Vec<Value>,
}

/// The parameters of a request for events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct From {
    /// The position to begin at: `cursor` of the previous answer, `oldest`, or `newest`; the default is `newest`.
    cursor: Option<String>,
    /// The number of events, from 1 to 500; the default is 50.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
    /// The longest time in seconds to wait for the first event; at most 25.
    #[schemars(range(max = 25))]
    wait_secs: Option<u64>,
}

/// An erasure from the record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Erasure {
    /// The recipient's address.
    #[schemars(length(min = 3, max = 320))]
    recipient: String,
}

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
    let erase = post_with(
        erase,
        said(
            RECORD,
            "eraseRecipient",
            "Erase a recipient from the record",
            "Its events keep what mail is counted by, and lose the address and all texts. A job, because the whole record is read. Mail that \
             waits in the queue stays. Role admin.",
        ),
    );
    ApiRouter::new().api_route("/events", events).api_route("/record/erase", erase).api_route(
        "/trace",
        get_with(
            trace,
            said(
                RECORD,
                "trace",
                "Tell what became of mails",
                "Every event of each mail that fits, as far back as the record is kept. A question with a customer, a tag or a time \
                 alone reads the record until it has enough mails; every other one reads only what its index names. A page further back reads \
                 all that those before it read. Role read; a customer sees its own.",
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

async fn erase(
    State(api): State<Api>,
    caller: Caller,
    Body(Erasure { recipient }): Body<Erasure>,
) -> Result<Accepted, Problem> {
    Ok(api.0.service.begin_erasure(&caller.0, &recipient)?.into())
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
    let not_a_cursor = |error: crate::record::trace::NotAPosition| {
        Problem::invalid(format!("cursor: {error}"), "give `next` of an answer, or leave it out to begin")
    };
    let query = Query {
        queue_id: question.queue_id.as_deref().map(str::parse).transpose().map_err(not_an_id)?,
        recipient: question.recipient,
        sender: question.sender,
        message_id: question.message_id,
        reference: question.reference,
        campaign: question.campaign,
        tag: question.tag,
        envid: question.envid,
        customer: caller.customer(question.customer)?,
        from: time("since", question.since.as_deref())?,
        until: time("until", question.until.as_deref())?,
        after: question.cursor.as_deref().map(str::parse).transpose().map_err(not_a_cursor)?,
        only_mail: false,
    };
    let found = api.0.service.trace(&caller.0, query, limit).await?;
    let next = found.next().map(|place| place.to_string());
    let items = found.traces.into_iter().map(|it| OneTrace { queue_id: it.queue_id, events: it.events }).collect();
    Ok(Json(Traces { items, more: found.more, next, missing: found.missing }))
}
