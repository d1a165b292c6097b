//! Jobs: work that continues after the answer. A command that may take long starts as a job, and every actor that may see the job can
//! follow it.
//!
//! Jobs are kept in memory. A restart loses only their reports, because the effects of a command are already stored. The number of jobs is
//! limited, and each actor may have only a few running. If there are too many, the oldest finished one of the actor that has the most
//! finished ones is forgotten, so that nobody's jobs push out those of others.

mod result;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

pub use result::{Checked, JobResult, RecordErased, TestSent, Unkept};

use super::queue::Changed;
use super::{Actor, Error, ErrorKind};
use crate::message::CustomerId;
use crate::time::Timestamp;

/// The maximum number of jobs that are kept.
const REMEMBERED: usize = 1_000;
/// The maximum number of running jobs of one actor.
const AT_WORK: usize = 20;

/// Work that continues after the answer.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub kind: JobKind,
    /// The customer of the job, if it has one.
    pub customer: Option<String>,
    pub started: Timestamp,
    /// When it ended, and its result. `None` while it is running.
    pub ended: Option<(Timestamp, Result<JobResult, Error>)>,
    /// The number of messages that a queue command has changed so far.
    pub progress: Option<Changed>,
}

impl Job {
    /// Returns true if the job is running.
    pub fn is_running(&self) -> bool {
        self.ended.is_none()
    }
}

/// The kind of work of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Holds the selected messages of the queue.
    QueueHold,
    /// Releases held messages.
    QueueRelease,
    /// Makes messages due.
    QueueRetry,
    /// Gives messages up and informs their senders.
    QueueBounce,
    /// Gives messages up without informing their senders.
    QueueRemove,
    /// Checks the DNS of the customers' domains.
    DomainCheck,
    /// Probes a customer's routes.
    Probe,
    /// Sends a test mail.
    TestSend,
    /// Erases a recipient from the record.
    RecordErase,
}

/// All jobs. Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<JobList>>);

#[derive(Default)]
struct JobList {
    next: u64,
    jobs: BTreeMap<u64, Entry>,
}

struct Entry {
    /// The name of the actor that began it.
    owner: String,
    customer: Option<CustomerId>,
    seen: watch::Receiver<Job>,
}

impl Entry {
    /// Returns true if the actor began the job, or may see the job's customer or everything.
    fn is_seen_by(&self, actor: &Actor) -> bool {
        match &self.customer {
            Some(customer) => actor.may_see(customer),
            None => self.owner == actor.to_string() || actor.may_see_everything(),
        }
    }
}

impl JobList {
    /// Returns the oldest finished job of the actor that has the most finished ones.
    fn to_forget(&self) -> Option<u64> {
        let mut finished: HashMap<&str, (usize, Reverse<u64>)> = HashMap::new();
        for (id, entry) in self.jobs.iter().filter(|(_, entry)| !entry.seen.borrow().is_running()) {
            finished.entry(&entry.owner).or_insert((0, Reverse(*id))).0 += 1;
        }
        finished.into_values().max().map(|(_, Reverse(oldest))| oldest)
    }
}

impl Jobs {
    fn known(&self) -> MutexGuard<'_, JobList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns up to `most` jobs that the actor may see, the latest first; only those that began before the job `before`.
    pub fn list(&self, actor: &Actor, before: Option<&str>, most: usize) -> Result<Vec<Job>, Error> {
        let end = match before {
            None => u64::MAX,
            Some(id) => number(id).ok_or_else(|| {
                let message = format!("cursor: \"{id}\" is the id of no job");
                Error::invalid(message, "give `next` of an answer, or leave it out to begin")
            })?,
        };
        let known = self.known();
        let seen = known.jobs.range(..end).rev().map(|(_, entry)| entry).filter(|entry| entry.is_seen_by(actor));
        Ok(seen.take(most).map(|entry| entry.seen.borrow().clone()).collect())
    }

    /// Returns a job that can be followed.
    pub fn watched(&self, actor: &Actor, id: &str) -> Result<watch::Receiver<Job>, Error> {
        let known = self.known();
        let entry = number(id).and_then(|number| known.jobs.get(&number)).filter(|entry| entry.is_seen_by(actor));
        entry.map(|entry| entry.seen.clone()).ok_or_else(|| {
            let remedy =
                "jobs are remembered until the relay stops, and the latest 1,000 of them; GET /jobs lists them";
            Error::not_found(format!("there is no job \"{id}\""), remedy)
        })
    }

    /// Makes a job of this actor.
    pub fn begin(&self, actor: &Actor, kind: JobKind, customer: Option<String>) -> Result<Task, Error> {
        let owner = actor.to_string();
        let too_many = |message: String, remedy| Err(Error::new(ErrorKind::TooMany, message, remedy));
        let mut known = self.known();
        let is_running = |entry: &&Entry| entry.seen.borrow().is_running();
        let at_work = known.jobs.values().filter(|entry| entry.owner == owner).filter(is_running).count();
        if at_work >= AT_WORK {
            return too_many(format!("{AT_WORK} jobs of {actor} are at work"), "wait until one of them has ended");
        }
        if known.jobs.len() >= REMEMBERED {
            let Some(oldest) = known.to_forget() else {
                return too_many(format!("{REMEMBERED} jobs are at work"), "wait until some have ended");
            };
            known.jobs.remove(&oldest);
        }
        // The first number of a run comes from the time, so that an id from an earlier run never means another job.
        let number = known.next.max(Timestamp::now().as_millis() << 16);
        known.next = number + 1;
        let job = Job {
            id: shown(number),
            kind,
            customer: customer.clone(),
            started: Timestamp::now(),
            ended: None,
            progress: None,
        };
        let (state, seen) = watch::channel(job);
        let customer = customer.as_deref().map(CustomerId::new);
        known.jobs.insert(number, Entry { owner, customer, seen });
        Ok(Task { state })
    }
}

/// Reads the id of a job.
fn number(id: &str) -> Option<u64> {
    u64::from_str_radix(id, 16).ok().filter(|number| shown(*number) == id)
}

fn shown(number: u64) -> String {
    format!("{number:016x}")
}

/// A job that is about to begin, or is running.
pub struct Task {
    state: watch::Sender<Job>,
}

impl Task {
    /// Reports the progress of the work.
    pub fn progress(&self, changed: Changed) {
        self.state.send_modify(|job| job.progress = Some(changed));
    }

    /// Continues the work after the answer. Returns the job as it begins.
    pub fn spawn<F>(self, work: impl FnOnce(Arc<Task>) -> F) -> Job
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
            task.state.send_modify(|job| job.ended = Some((Timestamp::now(), came)));
        });
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::Role;

    #[test]
    fn the_jobs_of_one_actor_do_not_push_out_anothers() {
        let (jobs, one, other) = (Jobs::default(), Actor::new("one", Role::Admin), Actor::new("other", Role::Admin));
        let finished = |actor: &Actor| {
            let task = jobs.begin(actor, JobKind::TestSend, None).unwrap();
            task.state.send_modify(|job| job.ended = Some((Timestamp::now(), Err(Error::failed("x", "y")))));
            task.state.borrow().id.clone()
        };
        let kept: Vec<String> = (0..3).map(|_| finished(&other)).collect();
        let flood: Vec<String> = (0..2 * REMEMBERED).map(|_| finished(&one)).collect();
        assert!(kept.iter().all(|id| jobs.watched(&other, id).is_ok()));
        assert!(jobs.watched(&one, &flood[0]).is_err() && jobs.watched(&one, flood.last().unwrap()).is_ok());
        assert_eq!(jobs.known().jobs.len(), REMEMBERED);
    }
}
