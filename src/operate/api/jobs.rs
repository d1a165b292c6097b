//! `/jobs`: work that continues after the answer. A command that may take long is answered at once with a job (202). A client follows the
//! job by polling, by a poll that waits, or by server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use aide::OperationOutput;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, Response as Documented};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::caller::Caller;
use super::checked::CheckResult;
use super::document::{JOBS, answer_header, said};
use super::input::{At, Nothing, PageQuery, Params, limit, wait};
use super::problem::Problem;
use crate::delivery::ProbeReport;
use crate::operate::jobs::{self, JobKind, RecordErased, TestSent};
use crate::operate::queue::{Changed, Page};

/// How often a stream of events sends a comment, because proxies close silent connections.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Work that continues after the answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Job {
    /// The job's id.
    id: String,
    /// The kind of work.
    kind: JobKind,
    /// The customer of the job, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<String>,
    /// The state of the job.
    state: JobState,
    /// When it began, RFC 3339.
    started: String,
    /// When it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// The number of messages that a queue command has changed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Changed>,
    /// The result of a finished job.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<JobResult>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum JobState {
    /// The job is running.
    Running,
    /// The job has finished; `result` has its result.
    Done,
    /// The job has failed; `problem` has the reason.
    Failed,
}

/// The result of a job.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JobResult {
    /// The result of a queue command.
    Queue(Changed),
    /// The result of a check of domains.
    Check(CheckResult),
    /// The result of a probe: a report for each route.
    Probe(Vec<ProbeReport>),
    /// The result of a test mail.
    TestSend(TestSent),
    /// The result of an erasure of a recipient.
    Erased(RecordErased),
}

impl From<&jobs::Job> for Job {
    fn from(job: &jobs::Job) -> Self {
        let (ended, came) = match job.ended.clone() {
            Some((at, came)) => (Some(at), Some(came)),
            None => (None, None),
        };
        let (state, result, problem) = match came {
            None => (JobState::Running, None, None),
            Some(Ok(result)) => (JobState::Done, Some(result.into()), None),
            Some(Err(error)) => (JobState::Failed, None, Some(error.into())),
        };
        Job {
            id: job.id.clone(),
            kind: job.kind,
            customer: job.customer.clone(),
            state,
            started: job.started.to_string(),
            ended: ended.map(|at| at.to_string()),
            progress: job.progress,
            result,
            problem,
        }
    }
}

impl From<jobs::JobResult> for JobResult {
    fn from(result: jobs::JobResult) -> Self {
        match result {
            jobs::JobResult::Queue(changed) => JobResult::Queue(changed),
            jobs::JobResult::Check(checked, lang) => JobResult::Check(CheckResult::of(&checked, lang)),
            jobs::JobResult::Probe(reports) => JobResult::Probe(reports),
            jobs::JobResult::TestSend(sent) => JobResult::TestSend(sent),
            jobs::JobResult::Erased(erased) => JobResult::Erased(erased),
        }
    }
}

/// The answer to a request that started a job: 202, the job, and its address.
pub(super) struct Accepted(Job);

impl From<jobs::Job> for Accepted {
    fn from(begun: jobs::Job) -> Self {
        Accepted(Job::from(&begun))
    }
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let location = format!("{}/jobs/{}", super::BASE, self.0.id);
        (StatusCode::ACCEPTED, [(LOCATION, location)], Json(self.0)).into_response()
    }
}

impl OperationOutput for Accepted {
    type Inner = Job;

    fn inferred_responses(context: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let Some(mut answer) = Json::<Job>::operation_response(context, operation) else { return Vec::new() };
        answer_header(&mut answer, "Location", "The path of the job.", true);
        vec![(Some(StatusCode::ACCEPTED.as_u16()), answer)]
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Id {
    /// The job's id.
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wait {
    /// The longest time in seconds to wait for the end of the job; at most 25.
    #[schemars(range(max = 25))]
    wait_secs: Option<u64>,
}

pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/jobs",
            get_with(list, said(JOBS, "listJobs", "List jobs", "The latest first: those that the token may see.")),
        )
        .api_route(
            "/jobs/{id}",
            get_with(show, said(JOBS, "showJob", "Show a job", "With wait_secs the answer comes once the job has ended, or then.")),
        )
        .api_route(
            "/jobs/{id}/events",
            get_with(
                follow,
                said(
                    JOBS,
                    "followJob",
                    "Follow a job",
                    "Server-sent events: an event `job` with the job at once and whenever it changes, until it has ended. The stream ends \
                     after five minutes at the latest, and once the token no longer counts; ask again then.",
                ),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(PageQuery { cursor, limit: most }): Params<PageQuery>,
) -> Result<Json<Page<Job>>, Problem> {
    let most = limit(most)?;
    let found = api.0.service.jobs.list(&caller.0, cursor.as_deref(), most + 1)?;
    Ok(Json(Page::of(found.iter().map(Job::from), most, |last| last.id.clone())))
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Id { id }): At<Id>,
    Params(Wait { wait_secs }): Params<Wait>,
) -> Result<Json<Job>, Problem> {
    let mut seen = api.0.service.jobs.watched(&caller.0, &id)?;
    let ended = seen.wait_for(|job| !job.is_running());
    let _ = tokio::time::timeout(wait(wait_secs)?, ended).await;
    let job = Job::from(&*seen.borrow());
    Ok(Json(job))
}

async fn follow(
    State(api): State<Api>,
    caller: Caller,
    At(Id { id }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Stream, Problem> {
    let seen = api.0.service.jobs.watched(&caller.0, &id)?;
    let events = stream::unfold((seen, true, false), move |(mut seen, is_first, is_over)| {
        let (stopping, revoked) = (api.0.stopping.clone(), caller.clone().ended(api.clone()));
        async move {
            if is_over {
                return None;
            }
            if !is_first {
                tokio::select! {
                    changed = stopping.run_until_cancelled(seen.changed()) => changed?.ok()?,
                    () = revoked => return None,
                }
            }
            let job = Job::from(&*seen.borrow_and_update());
            let is_over = job.state != JobState::Running;
            let event = Event::default().event("job").json_data(job).unwrap_or_default();
            Some((Ok::<_, Infallible>(event), (seen, false, is_over)))
        }
    });
    Ok(Stream(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)).into_response()))
}

/// An answer with server-sent events.
pub(super) struct Stream(Response);

impl IntoResponse for Stream {
    fn into_response(self) -> Response {
        self.0
    }
}

impl OperationOutput for Stream {
    type Inner = String;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let answer = Documented {
            description: "Server-sent events.".to_owned(),
            content: [("text/event-stream".to_owned(), MediaType::default())].into_iter().collect(),
            ..Documented::default()
        };
        vec![(Some(StatusCode::OK.as_u16()), answer)]
    }
}
