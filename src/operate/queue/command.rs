//! A command about messages as a whole: counted first, refused where more fit than were meant, and carried out as a job.

use tokio::sync::watch;

use super::{Changed, Progress, Selection};
use crate::operate::jobs::{Job, JobKind, JobResult};
use crate::operate::{Actor, Error, Service};

/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// What is done to messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// They are kept back until they are released, with a reason.
    Hold(String),
    /// Held ones go on, and are due at once.
    Release,
    /// They are due at once.
    Retry,
    /// They are given up, and their senders told the reason.
    Bounce(String),
    /// They are given up without a word to their senders; the audit keeps the reason.
    Remove(String),
}

impl Command {
    fn job(&self) -> JobKind {
        match self {
            Command::Hold(_) => JobKind::QueueHold,
            Command::Release => JobKind::QueueRelease,
            Command::Retry => JobKind::QueueRetry,
            Command::Bounce(_) => JobKind::QueueBounce,
            Command::Remove(_) => JobKind::QueueRemove,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Command::Hold(reason) | Command::Bounce(reason) | Command::Remove(reason) => Some(reason),
            Command::Release | Command::Retry => None,
        }
    }

    async fn apply(
        self,
        service: &Service,
        actor: &Actor,
        which: &Selection,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        match self {
            Command::Hold(reason) => service.hold(actor, which, &reason, progress).await,
            Command::Release => service.release(actor, which, progress).await,
            Command::Retry => service.retry(actor, which, progress).await,
            Command::Bounce(reason) => service.bounce(actor, which, &reason, progress).await,
            Command::Remove(reason) => service.remove(actor, which, &reason, progress).await,
        }
    }
}

/// A reason becomes a part of replies, events and pages: one line, and not a long one.
pub(in crate::operate) fn check_reason(reason: &str) -> Result<(), Error> {
    let is_one_line = !reason.chars().any(char::is_control);
    if !reason.trim().is_empty() && reason.chars().count() <= LONGEST_REASON && is_one_line {
        return Ok(());
    }
    let message = "reason: is empty, longer than 500 characters, or no single line";
    Err(Error::invalid(message, "write one short sentence"))
}

impl Service {
    /// Begins a command as a job. Messages that are not named by their ids are counted first: where more fit than `at_most`, nothing is
    /// done.
    pub async fn begin_command(
        &self,
        actor: &Actor,
        which: Selection,
        at_most: Option<u64>,
        command: Command,
    ) -> Result<Job, Error> {
        command.reason().map_or(Ok(()), check_reason)?;
        let found = self.count(actor, &which).await?;
        match at_most {
            None if which.ids.is_empty() => {
                let remedy =
                    "count with POST /queue/count, look whether that is what you mean, and pass the count as at_most";
                return Err(Error::invalid("at_most: is missing, and the messages are not named by their ids", remedy));
            }
            Some(most) if found > most => {
                let message = format!("{found} messages fit now, more than at_most ({most}); nothing was done");
                return Err(Error::conflict(message, "count again, and look whether all of them are meant"));
            }
            _ => {}
        }
        let task = self.jobs.begin(actor, command.job(), which.customer.clone())?;
        let (service, actor) = (self.clone(), actor.clone());
        Ok(task.spawn(|task| async move {
            let (progress, mut told) = watch::channel(Changed::default());
            let work = command.apply(&service, &actor, &which, &progress);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    ended = &mut work => return Ok(JobResult::Queue(ended?)),
                    Ok(()) = told.changed() => task.progress(*told.borrow_and_update()),
                }
            }
        }))
    }
}
