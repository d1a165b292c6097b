//! Carries a command about messages out: counted first, refused if more messages match than expected, and as a job.

use tokio::sync::watch;

use super::command::{Command, check_reason};
use super::{Changed, Progress, Selection};
use crate::operate::jobs::{Job, JobResult};
use crate::operate::nodes::Ask;
use crate::operate::{Actor, Error, ErrorKind, Service};

impl Service {
    /// Carries a command out at every node, each on the messages that it owns.
    pub async fn command(
        &self,
        actor: &Actor,
        which: &Selection,
        command: Command,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        let (own, mut own_told) = watch::channel(Changed::default());
        let (others, mut others_told) = watch::channel(Changed::default());
        let ask = Ask::Change { which: which.clone(), command: command.clone() };
        let work = async {
            tokio::join!(
                self.command_here(actor, which, command, &own),
                self.ask_others::<Changed>(actor, ask, Some(&others))
            )
        };
        let mut work = std::pin::pin!(work);
        let (done, answers) = loop {
            tokio::select! {
                done = &mut work => break done,
                Ok(()) = own_told.changed() => {}
                Ok(()) = others_told.changed() => {}
            }
            progress.send_replace(own_told.borrow_and_update().and(*others_told.borrow_and_update()));
        };
        let changed = answers.parts.iter().copied().fold(*done.as_ref().unwrap_or(&Changed::default()), Changed::and);
        progress.send_replace(changed);
        // What one node does not find another may have.
        let is_done = done.is_ok() || !answers.parts.is_empty();
        let is_absent = |error: &Error| is_done && error.kind == ErrorKind::NotFound;
        let missing = answers.all().err();
        let mut refused = done.err().into_iter().chain(answers.refused).filter(|error| !is_absent(error));
        let Some(mut error) = refused.next().or(missing) else { return Ok(changed) };
        if changed.count > 0 {
            error.message = format!(
                "{} ({} messages were changed at other nodes or here, and stay so)",
                error.message, changed.count
            );
        }
        Err(error)
    }

    /// Carries a command out on the messages that this node owns.
    pub(in crate::operate) async fn command_here(
        &self,
        actor: &Actor,
        which: &Selection,
        command: Command,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        match command {
            Command::Hold(reason) => self.hold(actor, which, &reason, progress).await,
            Command::Release => self.release(actor, which, progress).await,
            Command::Retry => self.retry(actor, which, progress).await,
            Command::Bounce(reason) => self.bounce(actor, which, &reason, progress).await,
            Command::Remove(reason) => self.remove(actor, which, &reason, progress).await,
        }
    }

    /// Begins a command as a job. Messages that are not selected by their ids are counted first: if more than `at_most` match, nothing is
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
            let work = service.command(&actor, &which, command, &progress);
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
