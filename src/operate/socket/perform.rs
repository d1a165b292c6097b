//! Calls the service's function for each command on the socket, and writes the lines of the answer.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::protocol::{Command, Done};
use crate::operate::queue::{Changed, Command as Do, Progress, Selection};
use crate::operate::{Actor, Error, Service};
use crate::record::trace::Found;

/// The destination of items and progress. An error means that the client no longer reads.
pub(super) trait Output: Send {
    /// Writes an item of the answer.
    fn item(&mut self, item: &(impl Serialize + Sync)) -> impl Future<Output = io::Result<()>> + Send;

    /// Reports the progress.
    fn progress(&mut self, done: &Done) -> impl Future<Output = io::Result<()>> + Send;
}

/// The number of messages of a list that are read at once.
const MESSAGES: usize = 500;
/// The number of entries of a suppression list that are read at once.
const PAGE: usize = 1000;

/// How often work that reports no progress gives a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// The result of a command. The outer error means that the client no longer reads; what was begun stays as it is.
type Answered = io::Result<Result<Done, Error>>;

/// Carries a command out.
pub(super) async fn perform(service: &Service, actor: &Actor, command: Command, out: &mut impl Output) -> Answered {
    let (progress, told) = watch::channel(Changed::default());
    let progress: &Progress = &progress;
    match command {
        Command::List { which, limit } => list(service, actor, &which, limit, out).await,
        Command::Show { id } => items(service.show(actor, &id).await.map(|message| [message]), out).await,
        Command::Events { since, limit, wait_secs } => {
            let (limit, wait) = (usize::try_from(limit).unwrap_or(usize::MAX), Duration::from_secs(wait_secs));
            items(service.events_since(actor, &since, limit, wait).await.map(|page| [page]), out).await
        }
        Command::Trace { query, limit } => {
            let found = service.trace(actor, query, usize::try_from(limit).unwrap_or(usize::MAX)).await;
            let rest = |Found { traces, more, missing }| (traces, Done { more, missing, ..Done::default() });
            part(found.map(rest), out).await
        }
        Command::EraseRecipient { recipient } => {
            let erased = patiently(service.erase_recipient(actor, &recipient), out).await?;
            items(erased.map(|erased| [erased]), out).await
        }
        Command::Stats => items(service.stats(actor).await.map(|stats| [stats]), out).await,
        Command::Alerts => {
            let alerts = service.alerts(actor).await;
            part(alerts.map(|alerts| (alerts.lines(), without(alerts.missing))), out).await
        }
        Command::AcknowledgeAlert { key, note } => {
            Ok(service.acknowledge_alert(actor, &key, &note).await.map(|()| Done::of(1)))
        }
        Command::Routes => {
            let routes = service.routes(actor).await;
            part(routes.map(|(routes, missing)| (routes, without(missing))), out).await
        }
        Command::Signers { customer } => items(service.signers(actor, &customer), out).await,
        Command::Hold { which, reason } => {
            change(service.command(actor, &which, Do::Hold(reason), progress), told, out).await
        }
        Command::Release { which } => change(service.command(actor, &which, Do::Release, progress), told, out).await,
        Command::Retry { which } => change(service.command(actor, &which, Do::Retry, progress), told, out).await,
        Command::Bounce { which, reason } => {
            change(service.command(actor, &which, Do::Bounce(reason), progress), told, out).await
        }
        Command::Remove { which, reason } => {
            change(service.command(actor, &which, Do::Remove(reason), progress), told, out).await
        }
        Command::SuppressionList { customer, address: Some(address), .. } => {
            items(service.find_suppressed(actor, &customer, &address).await.map(|entry| [entry]), out).await
        }
        Command::SuppressionList { customer, address: None, limit } => {
            suppressed(service, actor, &customer, limit, out).await
        }
        Command::SuppressionAdd { customer, address, note, expires_secs } => {
            let expires_in = expires_secs.map(Duration::from_secs);
            Ok(service.suppress(actor, &customer, &address, &note, expires_in).await.map(|()| Done::of(1)))
        }
        Command::SuppressionRemove { customer, address } => {
            Ok(service.unsuppress(actor, &customer, &address).await.map(|()| Done::of(1)))
        }
        Command::SuppressionImport { customer, entries } => {
            Ok(service.import_suppressed(actor, &customer, &entries).await.map(Done::of))
        }
        Command::PausedCustomers => items(service.paused(actor), out).await,
        Command::StuckCustomers => {
            let stuck = service.stuck_customers(actor).await;
            part(stuck.map(|(stuck, missing)| (stuck, without(missing))), out).await
        }
        Command::PauseCustomer { customer, reason, spare_single } => {
            Ok(service.pause(actor, &customer, &reason, spare_single).await.map(|()| Done::of(1)))
        }
        Command::UnpauseCustomer { customer } => Ok(service.unpause(actor, &customer).await.map(|()| Done::of(1))),
        Command::TestSend { customer, to, from } => {
            items(service.test(actor, &customer, &to, from.as_deref()).await.map(|sent| [sent]), out).await
        }
        Command::SuspendRoute { route, reason } => {
            Ok(service.suspend_route(actor, &route, &reason).await.map(|()| Done::of(1)))
        }
        Command::ResumeRoute { route } => Ok(service.resume_route(actor, &route).await.map(|()| Done::of(1))),
        Command::TakeCustomer { customer } => {
            let (service, actor) = (service.clone(), actor.clone());
            let taken = tokio::task::spawn_blocking(move || service.take_customer(&actor, &customer)).await;
            let broken = |error| Error::failed(format!("the work broke off: {error}"), "see the relay's log");
            Ok(taken.map_err(broken).flatten().map(|()| Done::of(1)))
        }
        Command::AddLink { customer, new } => {
            items(service.add_link(actor, &customer, &new).await.map(|added| [added]), out).await
        }
        Command::Links { customer } => items(service.links(actor, customer.as_deref()).await, out).await,
        Command::RevokeLink { id } => Ok(service.revoke_link(actor, None, &id).await.map(|()| Done::of(1))),
        Command::AddToken(new) => items(service.add_token(actor, &new).await.map(|added| [added]), out).await,
        Command::Tokens => items(service.list_tokens(actor), out).await,
        Command::RevokeToken { name } => Ok(service.revoke_token(actor, &name).await.map(|()| Done::of(1))),
        Command::AddOperator(new) => items(service.add_operator(actor, &new).await.map(|added| [added]), out).await,
        Command::Operators => items(service.list_operators(actor), out).await,
        Command::ChangeOperator { name, change } => {
            Ok(service.change_operator(actor, &name, &change).await.map(|()| Done::of(1)))
        }
        Command::RemoveOperator { name } => Ok(service.remove_operator(actor, &name).await.map(|()| Done::of(1))),
    }
}

async fn items<T: Serialize + Sync>(
    found: Result<impl IntoIterator<Item = T, IntoIter: Send>, Error>,
    out: &mut impl Output,
) -> Answered {
    let found = match found {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    let mut count = 0;
    for item in found.into_iter() {
        out.item(&item).await?;
        count += 1;
    }
    Ok(Ok(Done::of(count)))
}

/// Writes items that may be a part of all. The [`Done`] says what is missing.
async fn part<T: Serialize + Sync + Send>(found: Result<(Vec<T>, Done), Error>, out: &mut impl Output) -> Answered {
    match found {
        Ok((found, rest)) => Ok(items(Ok(found), out).await?.map(|Done { count, .. }| Done { count, ..rest })),
        Err(error) => Ok(Err(error)),
    }
}

/// Makes the result of a command to which these nodes did not answer.
fn without(missing: Vec<String>) -> Done {
    Done { missing, ..Done::default() }
}

/// Writes a list at the reader's pace.
async fn list(
    service: &Service,
    actor: &Actor,
    which: &Selection,
    limit: Option<u64>,
    out: &mut impl Output,
) -> Answered {
    let limit = limit.unwrap_or(u64::MAX);
    let (mut count, mut after, mut missing) = (0, None, BTreeSet::new());
    loop {
        let wanted = usize::try_from(limit - count).unwrap_or(MESSAGES).saturating_add(1).min(MESSAGES);
        let page = match service.list(actor, which, after.as_deref(), wanted).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        missing.extend(page.missing);
        for message in page.items {
            if count == limit {
                let missing = missing.into_iter().collect();
                return Ok(Ok(Done { more: true, missing, ..Done::of(count) }));
            }
            out.item(&message).await?;
            count += 1;
        }
        match page.next {
            Some(last) => after = Some(last),
            None => return Ok(Ok(Done { missing: missing.into_iter().collect(), ..Done::of(count) })),
        }
    }
}

/// Writes a suppression list at the reader's pace.
async fn suppressed(
    service: &Service,
    actor: &Actor,
    customer: &str,
    limit: Option<u64>,
    out: &mut impl Output,
) -> Answered {
    let limit = limit.unwrap_or(u64::MAX);
    let (mut count, mut after) = (0, None);
    loop {
        let page = match service.suppressed(actor, customer, after.as_deref(), PAGE).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        let Some(last) = page.last() else { return Ok(Ok(Done::of(count))) };
        after = Some(last.address.clone());
        for entry in page {
            if count == limit {
                return Ok(Ok(Done { more: true, ..Done::of(count) }));
            }
            out.item(&entry).await?;
            count += 1;
        }
    }
}

/// Waits for work that reports no progress, and gives signs of life meanwhile.
async fn patiently<T>(
    work: impl Future<Output = Result<T, Error>>,
    out: &mut impl Output,
) -> io::Result<Result<T, Error>> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(SIGN_OF_LIFE) => out.progress(&Done::default()).await?,
        }
    }
}

/// Waits for a change, and reports its progress meanwhile.
async fn change(
    work: impl Future<Output = Result<Changed, Error>>,
    mut told: watch::Receiver<Changed>,
    out: &mut impl Output,
) -> Answered {
    let mut work = pin!(work);
    loop {
        let ended = tokio::select! {
            ended = &mut work => Some(ended),
            Ok(()) = told.changed() => None,
        };
        if ended.is_none() || told.has_changed().unwrap_or_default() {
            let so_far = *told.borrow_and_update();
            out.progress(&so_far.into()).await?;
        }
        if let Some(ended) = ended {
            return Ok(ended.map(Done::from));
        }
    }
}
