//! `/jobs`: work that goes on after the answer. A command that may take long answers at once with a job (202), which is followed by
//! polling, by a poll that waits, or by server-sent events.
//!
//! Jobs are in memory: a restart forgets them, and with them only their reports, because what a command did before is done. Their
//! number is bounded, those that have ended are forgotten first, and each caller may have a few at work.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::caller::Caller;
use super::document::{JOBS, said};
use super::domains::CheckResult;
use super::input::{At, Nothing, Params, wait};
use super::problem::Problem;
use crate::delivery::ProbeReport;
use crate::message::CustomerId;
use crate::operate::Error;
use crate::operate::queue::{Changed, Page};
use crate::time::Timestamp;

/// Jobs that are remembered.
const REMEMBERED: usize = 1_000;
/// Jobs of one caller that may be at work.
const AT_WORK: usize = 20;
/// A sign of life in a stream of events, for proxies that close what is silent.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Work that goes on after the answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Job {
    /// Its id.
    id: String,
    /// What is done.
    kind: JobKind,
    /// The customer that it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<String>,
    /// How it stands.
    state: JobState,
    /// When it began, RFC 3339.
    started: String,
    /// When it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// How many messages a command about the queue has changed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Changed>,
    /// What came of it, where it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<JobResult>,
    /// Why it failed, where it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum JobKind {
    /// Messages are held.
    QueueHold,
    /// Held messages are released.
    QueueRelease,
    /// Messages are made due.
    QueueRetry,
    /// Messages are given up, and their senders told.
    QueueBounce,
    /// Messages are given up.
    QueueRemove,
    /// Domains are checked.
    DomainCheck,
    /// A customer's routes are probed.
    Probe,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum JobState {
    /// It is at work.
    Running,
    /// It is done; `result` says what came of it.
    Done,
    /// It failed; `problem` says why.
    Failed,
}

/// What came of a job.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JobResult {
    /// Of a command about the queue.
    Queue(Changed),
    /// Of a check of domains.
    Check(CheckResult),
    /// Of a probe: a report for each route.
    Probe(Vec<ProbeReport>),
}

/// All jobs. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Jobs(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Mutex<Known>,
    /// Ends the streams of events when the relay stops.
    stopping: CancellationToken,
}

#[derive(Default)]
struct Known {
    next: u64,
    jobs: BTreeMap<u64, Entry>,
}

struct Entry {
    /// The name of whoever began it.
    owner: String,
    customer: Option<CustomerId>,
    seen: watch::Receiver<Job>,
}

impl Entry {
    fn is_running(&self) -> bool {
        self.seen.borrow().state == JobState::Running
    }

    /// Whoever began a job sees it, and so does whoever may see the customer that it is about, or everything.
    fn is_seen_by(&self, caller: &Caller) -> bool {
        match &self.customer {
            Some(customer) => caller.0.may_see(customer),
            None => self.owner == caller.0.to_string() || caller.0.may_see_everything(),
        }
    }
}

impl Jobs {
    /// Jobs whose streams end with `stopping`.
    pub fn new(stopping: CancellationToken) -> Self {
        Jobs(Arc::new(Inner { known: Mutex::default(), stopping }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self, caller: &Caller, id: &str) -> Result<watch::Receiver<Job>, Problem> {
        let known = self.known();
        let number = u64::from_str_radix(id, 16).ok().filter(|number| shown(*number) == id);
        let entry = number.and_then(|number| known.jobs.get(&number)).filter(|entry| entry.is_seen_by(caller));
        entry.map(|entry| entry.seen.clone()).ok_or_else(|| {
            let remedy =
                "jobs are remembered until the relay stops, and the latest 1,000 of them; GET /jobs lists them";
            Error::not_found(format!("there is no job \"{id}\""), remedy).into()
        })
    }
}

fn shown(number: u64) -> String {
    format!("{number:016x}")
}

/// A job that is about to begin, and then at work.
pub(super) struct Task {
    state: watch::Sender<Job>,
}

impl Task {
    /// Makes the job.
    pub fn begin(jobs: &Jobs, caller: &Caller, kind: JobKind, customer: Option<String>) -> Result<Self, Problem> {
        let owner = caller.0.to_string();
        let mut known = jobs.known();
        let at_work = known.jobs.values().filter(|entry| entry.owner == owner && entry.is_running()).count();
        if at_work >= AT_WORK {
            let detail = format!("{AT_WORK} jobs of this token are at work");
            return Err(
                Problem::new(StatusCode::TOO_MANY_REQUESTS, detail, "wait until one of them has ended").after(10)
            );
        }
        if known.jobs.len() >= REMEMBERED {
            let oldest = known.jobs.iter().find(|(_, entry)| !entry.is_running()).map(|(id, _)| *id);
            let Some(oldest) = oldest else {
                let detail = format!("{REMEMBERED} jobs are at work");
                return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail, "wait until some have ended").after(10));
            };
            known.jobs.remove(&oldest);
        }
        // Numbers of a run begin at the time of its first job, so that an id of a run before is not another job's.
        let number = known.next.max(Timestamp::now().as_millis() << 16);
        known.next = number + 1;
        let job = Job {
            id: shown(number),
            kind,
            customer: customer.clone(),
            state: JobState::Running,
            started: Timestamp::now().to_string(),
            ended: None,
            progress: None,
            result: None,
            problem: None,
        };
        let (state, seen) = watch::channel(job);
        let customer = customer.as_deref().map(CustomerId::new);
        known.jobs.insert(number, Entry { owner, customer, seen });
        Ok(Task { state })
    }

    /// Says how far the work has come.
    pub fn progress(&self, changed: Changed) {
        self.state.send_modify(|job| job.progress = Some(changed));
    }

    /// Goes on with the work behind the answer. Gives the answer.
    pub fn spawn<F>(self, work: impl FnOnce(Arc<Task>) -> F) -> Accepted
    where
        F: Future<Output = Result<JobResult, Error>> + Send + 'static,
    {
        let task = Arc::new(self);
        let begun = task.state.borrow().clone();
        let work = tokio::spawn(work(Arc::clone(&task)));
        tokio::spawn(async move {
            let came = match work.await {
                Ok(came) => came,
                Err(error) => Err(Error::failed(format!("the work broke off: {error}"), "see the relay's log")),
            };
            task.state.send_modify(|job| {
                job.ended = Some(Timestamp::now().to_string());
                match came {
                    Ok(result) => (job.state, job.result) = (JobState::Done, Some(result)),
                    Err(error) => (job.state, job.problem) = (JobState::Failed, Some(error.into())),
                }
            });
        });
        Accepted(begun)
    }
}

/// The answer to a request whose work has begun: 202, the job, and where it is.
pub(super) struct Accepted(Job);

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let location = format!("{}/jobs/{}", super::BASE, self.0.id);
        (StatusCode::ACCEPTED, [(LOCATION, location)], Json(self.0)).into_response()
    }
}

impl OperationOutput for Accepted {
    type Inner = Job;

    fn inferred_responses(context: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Documented)> {
        let answer = Json::<Job>::operation_response(context, operation);
        answer.map(|answer| (Some(StatusCode::ACCEPTED.as_u16()), answer)).into_iter().collect()
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
    /// Wait up to so many seconds for the end of the job; at most 25.
    #[schemars(range(max = 25))]
    wait_secs: Option<u64>,
}

/// The paths.
pub(super) fn routes() -> ApiRouter<Api> {
    ApiRouter::new()
        .api_route(
            "/jobs",
            get_with(list, said(JOBS, "listJobs", "List jobs", "The latest first: those that the token may see, at most 100.")),
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
                     after five minutes at the latest; ask again then.",
                ),
            ),
        )
}

async fn list(
    State(api): State<Api>,
    caller: Caller,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Json<Page<Job>>, Problem> {
    let known = api.0.jobs.known();
    let seen = known.jobs.values().rev().filter(|entry| entry.is_seen_by(&caller));
    Ok(Json(Page { items: seen.take(100).map(|entry| entry.seen.borrow().clone()).collect(), next: None }))
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    At(Id { id }): At<Id>,
    Params(Wait { wait_secs }): Params<Wait>,
) -> Result<Json<Job>, Problem> {
    let mut seen = api.0.jobs.watched(&caller, &id)?;
    let ended = seen.wait_for(|job| job.state != JobState::Running);
    let _ = tokio::time::timeout(wait(wait_secs)?, ended).await;
    let job = seen.borrow().clone();
    Ok(Json(job))
}

async fn follow(
    State(api): State<Api>,
    caller: Caller,
    At(Id { id }): At<Id>,
    Params(Nothing {}): Params<Nothing>,
) -> Result<Stream, Problem> {
    let seen = api.0.jobs.watched(&caller, &id)?;
    let stopping = api.0.jobs.0.stopping.clone();
    let events = stream::unfold((seen, true, false), move |(mut seen, is_first, is_over)| {
        let stopping = stopping.clone();
        async move {
            if is_over {
                return None;
            }
            if !is_first {
                stopping.run_until_cancelled(seen.changed()).await?.ok()?;
            }
            let job = seen.borrow_and_update().clone();
            let is_over = job.state != JobState::Running;
            let event = Event::default().event("job").json_data(job).unwrap_or_default();
            Some((Ok::<_, Infallible>(event), (seen, false, is_over)))
        }
    });
    Ok(Stream(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)).into_response()))
}

/// An answer of server-sent events.
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
