//! `/queue`: lists waiting messages, and runs commands about them.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::caller::Caller;
use super::document::{QUEUE, said};
use super::input::{At, Body, Nothing, Params, limit};
use super::jobs::Accepted;
use super::problem::Problem;
use crate::operate::queue::{Command as Do, Message, MessageState, Page, Selection, Stats};

/// The filters of a list. A message must match all of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// Only messages of this customer.
    customer: Option<String>,
    /// Only messages that take this route.
    route: Option<String>,
    /// Only messages with a waiting recipient in this domain.
    recipient_domain: Option<String>,
    /// Only messages with this reference of the submitter's.
    reference: Option<String>,
    /// Only messages of this campaign of the submitter's.
    campaign: Option<String>,
    /// Only messages with this tag of the submitter's.
    tag: Option<String>,
    /// Only messages with this ENVID of MAIL, decoded.
    envid: Option<String>,
    /// Only messages from this envelope sender; empty for the null sender.
    sender: Option<String>,
    /// Only messages that were accepted at least this number of seconds ago.
    older_than_secs: Option<u64>,
    /// Only messages in this state.
    state: Option<MessageState>,
    /// The position to continue from: `next` of the previous answer.
    cursor: Option<String>,
    /// The number of messages, from 1 to 500; the default is 50.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u16>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Id {
    /// The queue id, as in "250 … queued as 6H0K9MEFC7721".
    id: String,
}

/// A command about messages.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QueueCommand")]
struct Command {
    /// The messages that the command is about.
    which: Selection,
    /// The maximum number of messages, as counted by `POST /queue/count`. If more match now, nothing is done. Required unless `which` has
    /// ids.
    at_most: Option<u64>,
}

/// A command about messages, with a reason.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QueueCommandWithReason")]
struct CommandWithReason {
    /// The messages that the command is about.
    which: Selection,
    /// The maximum number of messages, as counted by `POST /queue/count`. If more match now, nothing is done. Required unless `which` has
    /// ids.
    at_most: Option<u64>,
    /// The reason, which is kept in the audit. If the command bounces mail, the sender reads it.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// The number of matching messages.
#[derive(Debug, Serialize, JsonSchema)]
struct Counted {
    /// The number of messages.
    count: u64,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/queue",
            get_with(list, said(
                    QUEUE,
                    "listQueue",
                    "List messages",
                    "Oldest first. A filter that fits few of many messages is searched for some seconds; then the answer has what was found so \
                     far, and next to go on with. Role read; a customer sees its own.",
                )),
        )
        .api_route(
            "/queue/stats",
            get_with(stats, said(QUEUE, "queueStats", "Count what waits", "In all and by lane. Role read.")),
        )
        .api_route(
            "/queue/messages/{id}",
            get_with(
                show,
                said(
                    QUEUE, "showMessage",
                    "Show one message",
                    "With all recipients, its header, and what the record remembers. Role read; a customer sees its own.",
                )
            ),
        )
        .api_route(
            "/queue/count",
            post_with(
                count,
                said(QUEUE, "countMessages", "Count the messages that a command would change", "Changes nothing. Role operate."),
            ),
        )
        .api_route("/queue/hold", post_with(hold, said(QUEUE, "holdMessages", "Keep messages back", COMMAND)))
        .api_route("/queue/release", post_with(release, said(QUEUE, "releaseMessages", "Let held messages go", COMMAND)))
        .api_route("/queue/retry", post_with(retry, said(QUEUE, "retryMessages", "Make messages due at once", COMMAND)))
        .api_route(
            "/queue/bounce",
            post_with(bounce, said(QUEUE, "bounceMessages", "Give messages up and tell their senders", COMMAND)),
        )
        .api_route(
            "/queue/remove",
            post_with(remove, said(QUEUE, "removeMessages", "Give messages up and tell nobody", COMMAND)),
        )
}

const COMMAND: &str = "Count first, and pass the count as at_most: where more messages fit by then, nothing is done. The command is \
                       carried out as a job. Role operate.";

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(filters): Params<Filters>,
) -> Result<Json<Page<Message>>, Problem> {
    let limit = limit(filters.limit)?;
    let which = Selection {
        customer: caller.customer(filters.customer)?,
        route: filters.route,
        recipient_domain: filters.recipient_domain,
        reference: filters.reference,
        campaign: filters.campaign,
        tag: filters.tag,
        envid: filters.envid,
        sender: filters.sender,
        older_than_secs: filters.older_than_secs,
        state: filters.state,
        ..Selection::default()
    };
    Ok(Json(api.0.service.list(&caller.0, &which, filters.cursor.as_deref(), limit).await?))
}

async fn stats(
    State(api): State<Api>,
    caller: Caller,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Stats>, Problem> {
    Ok(Json(api.0.service.stats(&caller.0).await?))
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Id { id }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Message>, Problem> {
    Ok(Json(api.0.service.show(&caller.0, &id).await?))
}

async fn count(State(api): State<Api>, caller: Caller, Body(which): Body<Selection>) -> Result<Json<Counted>, Problem> {
    Ok(Json(Counted { count: api.0.service.count(&caller.0, &which).await? }))
}

async fn hold(
    State(api): State<Api>,
    caller: Caller,
    Body(command): Body<CommandWithReason>,
) -> Result<Accepted, Problem> {
    let CommandWithReason { which, at_most, reason } = command;
    begin(&api, &caller, which, at_most, Do::Hold(reason)).await
}

async fn release(State(api): State<Api>, caller: Caller, Body(command): Body<Command>) -> Result<Accepted, Problem> {
    begin(&api, &caller, command.which, command.at_most, Do::Release).await
}

async fn retry(State(api): State<Api>, caller: Caller, Body(command): Body<Command>) -> Result<Accepted, Problem> {
    begin(&api, &caller, command.which, command.at_most, Do::Retry).await
}

async fn bounce(
    State(api): State<Api>,
    caller: Caller,
    Body(command): Body<CommandWithReason>,
) -> Result<Accepted, Problem> {
    let CommandWithReason { which, at_most, reason } = command;
    begin(&api, &caller, which, at_most, Do::Bounce(reason)).await
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Body(command): Body<CommandWithReason>,
) -> Result<Accepted, Problem> {
    let CommandWithReason { which, at_most, reason } = command;
    begin(&api, &caller, which, at_most, Do::Remove(reason)).await
}

/// Counts the messages, and starts the command as a job if no more of them match than `at_most`.
async fn begin(
    api: &Api,
    caller: &Caller,
    which: Selection,
    at_most: Option<u64>,
    command: Do,
) -> Result<Accepted, Problem> {
    Ok(api.0.service.begin_command(&caller.0, which, at_most, command).await?.into())
}
