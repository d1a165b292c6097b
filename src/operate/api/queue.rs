//! `/queue`: what waits, and commands about it.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Api;
use super::caller::Caller;
use super::document::{QUEUE, said};
use super::input::{At, Body, Nothing, Params, limit};
use super::jobs::{Accepted, JobKind, JobResult, Task};
use super::problem::Problem;
use crate::operate::queue::{Changed, Message, MessageState, Page, Selection, Stats};
use crate::operate::{Actor, Error, Service};

/// What a list is narrowed by. All filters must fit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// Of this customer.
    customer: Option<String>,
    /// Whose mail takes this route.
    route: Option<String>,
    /// With a waiting recipient in this domain.
    recipient_domain: Option<String>,
    /// Accepted at least so many seconds ago.
    older_than_secs: Option<u64>,
    /// In this state.
    state: Option<MessageState>,
    /// Where to go on: `next` of the answer before.
    cursor: Option<String>,
    /// How many messages, from 1 to 500; 50 where not given.
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
struct Command {
    /// Which messages.
    which: Selection,
    /// At most so many: what `POST /queue/count` answered. Where more fit by now, nothing is done. Needed unless `which` has ids.
    at_most: Option<u64>,
}

/// A command about messages, and why it is given.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CommandWithReason {
    /// Which messages.
    which: Selection,
    /// At most so many: what `POST /queue/count` answered. Where more fit by now, nothing is done. Needed unless `which` has ids.
    at_most: Option<u64>,
    /// Why. It is kept in the audit; where the command bounces mail, its sender reads it.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// How many messages fit.
#[derive(Debug, Serialize, JsonSchema)]
struct Counted {
    /// Messages.
    count: u64,
}

/// The paths.
pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/queue",
            get_with(list, said(QUEUE, "listQueue", "List messages", "Oldest first. Role read; a customer sees its own.")),
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
    begin(&api, &caller, JobKind::QueueHold, which, at_most, Change::Hold(checked(reason)?)).await
}

async fn release(State(api): State<Api>, caller: Caller, Body(command): Body<Command>) -> Result<Accepted, Problem> {
    begin(&api, &caller, JobKind::QueueRelease, command.which, command.at_most, Change::Release).await
}

async fn retry(State(api): State<Api>, caller: Caller, Body(command): Body<Command>) -> Result<Accepted, Problem> {
    begin(&api, &caller, JobKind::QueueRetry, command.which, command.at_most, Change::Retry).await
}

async fn bounce(
    State(api): State<Api>,
    caller: Caller,
    Body(command): Body<CommandWithReason>,
) -> Result<Accepted, Problem> {
    let CommandWithReason { which, at_most, reason } = command;
    begin(&api, &caller, JobKind::QueueBounce, which, at_most, Change::Bounce(checked(reason)?)).await
}

async fn remove(
    State(api): State<Api>,
    caller: Caller,
    Body(command): Body<CommandWithReason>,
) -> Result<Accepted, Problem> {
    let CommandWithReason { which, at_most, reason } = command;
    begin(&api, &caller, JobKind::QueueRemove, which, at_most, Change::Remove(checked(reason)?)).await
}

/// What is done to messages.
enum Change {
    Hold(String),
    Release,
    Retry,
    Bounce(String),
    Remove(String),
}

impl Change {
    async fn apply(
        self,
        service: &Service,
        actor: &Actor,
        which: &Selection,
        progress: &watch::Sender<Changed>,
    ) -> Result<Changed, Error> {
        match self {
            Change::Hold(reason) => service.hold(actor, which, &reason, progress).await,
            Change::Release => service.release(actor, which, progress).await,
            Change::Retry => service.retry(actor, which, progress).await,
            Change::Bounce(reason) => service.bounce(actor, which, &reason, progress).await,
            Change::Remove(reason) => service.remove(actor, which, &reason, progress).await,
        }
    }
}

/// A reason becomes a part of replies, events and pages: one line, and not a long one.
pub(super) fn checked(reason: String) -> Result<String, Problem> {
    let is_one_line = !reason.chars().any(char::is_control);
    if !reason.trim().is_empty() && reason.chars().count() <= 500 && is_one_line {
        return Ok(reason);
    }
    Err(Problem::invalid("reason: is empty, longer than 500 characters, or no single line", "write one short sentence"))
}

/// Counts, and carries the command out as a job where no more messages fit than were counted before.
async fn begin(
    api: &Api,
    caller: &Caller,
    kind: JobKind,
    which: Selection,
    at_most: Option<u64>,
    change: Change,
) -> Result<Accepted, Problem> {
    let service = &api.0.service;
    let found = service.count(&caller.0, &which).await?;
    match at_most {
        None if which.ids.is_empty() => {
            let remedy =
                "count with POST /queue/count, look whether that is what you mean, and pass the count as at_most";
            return Err(Problem::invalid("at_most: is missing, and the messages are not named by their ids", remedy));
        }
        Some(most) if found > most => {
            let message = format!("{found} messages fit now, more than at_most ({most}); nothing was done");
            return Err(Error::conflict(message, "count again, and look whether all of them are meant").into());
        }
        _ => {}
    }
    let (service, actor) = (service.clone(), caller.0.clone());
    let customer = which.customer.clone();
    let task = Task::begin(&api.0.jobs, caller, kind, customer)?;
    Ok(task.spawn(|task| async move {
        let (progress, mut told) = watch::channel(Changed::default());
        let work = change.apply(&service, &actor, &which, &progress);
        tokio::pin!(work);
        loop {
            tokio::select! {
                ended = &mut work => return Ok(JobResult::Queue(ended?)),
                Ok(()) = told.changed() => task.progress(*told.borrow_and_update()),
            }
        }
    }))
}
