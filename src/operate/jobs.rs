//! Jobs: work that goes on after the answer. A command that may take long is begun as a job, and whoever may see it follows it.
//!
//! Jobs are in memory: a restart forgets them, and with them only their reports, because what a command did before is done. Their
//! number is bounded, those that have ended are forgotten first, and each actor may have a few at work.

mod result;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub use result::{Checked, JobResult, TestSent, Unkept};

use super::queue::Changed;
use super::{Actor, Error, ErrorKind};
use crate::message::CustomerId;
use crate::time::Timestamp;

/// Jobs that are remembered.
const REMEMBERED: usize = 1_000;
/// Jobs of one actor that may be at work.
const AT_WORK: usize = 20;

/// Work that goes on after the answer.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub kind: JobKind,
    /// The customer that it is about, where it is about one.
    pub customer: Option<String>,
    pub started: Timestamp,
    /// When it ended, and what came of it. `None`: it is at work.
    pub ended: Option<(Timestamp, Result<JobResult, Error>)>,
    /// How many messages a command about the queue has changed so far.
    pub progress: Option<Changed>,
}

impl Job {
    /// Returns true if it is at work.
    pub fn is_running(&self) -> bool {
        self.ended.is_none()
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    QueueHold,
    /// Held messages are released.
    QueueRelease,
    /// Messages are made due.
    QueueRetry,
    /// Messages are given up, and their senders told.
    QueueBounce,
    /// Messages are given up.
    QueueRemove,
    DomainCheck,
    /// A customer's routes are probed.
    Probe,
    /// A test mail is sent.
    TestSend,
}

/// All jobs. Cheap to clone.
#[derive(Clone, Default)]
pub struct Jobs(Arc<Mutex<Known>>);

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
    /// Whoever began a job sees it, and so does whoever may see the customer that it is about, or everything.
    fn is_seen_by(&self, actor: &Actor) -> bool {
        match &self.customer {
            Some(customer) => actor.may_see(customer),
            None => self.owner == actor.to_string() || actor.may_see_everything(),
        }
    }
}

impl Jobs {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `most` jobs that the actor may see, the latest first.
    pub fn list(&self, actor: &Actor, most: usize) -> Vec<Job> {
        let known = self.known();
        let seen = known.jobs.values().rev().filter(|entry| entry.is_seen_by(actor));
        seen.take(most).map(|entry| entry.seen.borrow().clone()).collect()
    }

    /// A job, as it is now and as it goes on.
    pub fn watched(&self, actor: &Actor, id: &str) -> Result<watch::Receiver<Job>, Error> {
        let known = self.known();
        let number = u64::from_str_radix(id, 16).ok().filter(|number| shown(*number) == id);
        let entry = number.and_then(|number| known.jobs.get(&number)).filter(|entry| entry.is_seen_by(actor));
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
            let oldest = known.jobs.iter().find(|(_, entry)| !is_running(entry)).map(|(id, _)| *id);
            let Some(oldest) = oldest else {
                return too_many(format!("{REMEMBERED} jobs are at work"), "wait until some have ended");
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

fn shown(number: u64) -> String {
    format!("{number:016x}")
}

/// A job that is about to begin, and then at work.
pub struct Task {
    state: watch::Sender<Job>,
}

impl Task {
    /// Says how far the work has come.
    pub fn progress(&self, changed: Changed) {
        self.state.send_modify(|job| job.progress = Some(changed));
    }

    /// Goes on with the work behind the answer. Gives the job as it begins.
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
