//! Commands that change messages: hold, release, retry, bounce, remove.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Selection;
use super::selection::{Plan, Walk};
use crate::events::{Action, EventKind, Mail, PendingEvents, RecipientEvent};
use crate::message::QueueId;
use crate::operate::audit::{self, Act};
use crate::operate::{Actor, Error, ErrorKind, Service};
use crate::queue::decide::{self, GiveUp};
use crate::record::unread::{self, End};
use crate::spool::{self, Filter, Record};
use crate::time::Timestamp;

/// The number of messages that are handled at once, because their content may be in memory.
const AT_ONCE: usize = 64;

/// The number of messages that a command has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The number of changed messages.
    pub count: u64,
    /// The number of messages that were left alone because they were being delivered, or were already gone.
    pub busy: u64,
}

impl Changed {
    /// Returns the sum of both counts.
    #[must_use]
    pub fn and(self, other: Changed) -> Changed {
        Changed { count: self.count + other.count, busy: self.busy + other.busy }
    }
}

/// Reports the progress of a long command.
pub type Progress = watch::Sender<Changed>;

/// A change of the records that match a filter.
#[derive(Clone, Debug)]
enum Change {
    Hold(String),
    Release,
    Retry,
}

/// The additional fields of the events of held and released mail.
struct ToldByOperator {
    actor: Arc<str>,
    detail: Arc<str>,
}

/// Returns the actor's name for events.
fn named(actor: &Actor) -> Arc<str> {
    actor.to_string().into()
}

impl Service {
    /// Holds messages until they are released.
    pub(super) async fn hold(
        &self,
        actor: &Actor,
        which: &Selection,
        reason: &str,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        let detail = format!("held by an operator ({actor}): {reason}");
        self.change(actor, which, Change::Hold(reason.to_owned()), Act::new(Action::QueueHold, detail), progress).await
    }

    /// Releases held messages. They are due at once.
    pub(super) async fn release(
        &self,
        actor: &Actor,
        which: &Selection,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        let detail = format!("released by an operator ({actor})");
        self.change(actor, which, Change::Release, Act::new(Action::QueueRelease, detail), progress).await
    }

    /// Makes messages due at once.
    pub(super) async fn retry(&self, actor: &Actor, which: &Selection, progress: &Progress) -> Result<Changed, Error> {
        let detail = format!("made due at once by an operator ({actor})");
        self.change(actor, which, Change::Retry, Act::new(Action::QueueRetry, detail), progress).await
    }

    /// Gives messages up and informs their senders, as if the receiving server had refused them.
    pub(super) async fn bounce(
        &self,
        actor: &Actor,
        which: &Selection,
        reason: &str,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        let act = Act::new(Action::QueueBounce, format!("bounced by an operator ({actor}): {reason}"));
        // The sender reads this text.
        let reason = format!("bounced by an operator: {reason}");
        let how = GiveUp { tells_sender: true, reason, actor: named(actor), only_in: None };
        self.give_up(actor, which, how, act, progress).await
    }

    /// Gives messages up without informing their senders.
    pub(super) async fn remove(
        &self,
        actor: &Actor,
        which: &Selection,
        reason: &str,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        let reason = format!("removed by an operator ({actor}): {reason}");
        let act = Act::new(Action::QueueRemove, reason.clone());
        let how = GiveUp { tells_sender: false, reason, actor: named(actor), only_in: None };
        self.give_up(actor, which, how, act, progress).await
    }

    /// Applies a change in batches.
    async fn change(
        &self,
        actor: &Actor,
        which: &Selection,
        change: Change,
        act: Act,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        let plan = Plan::to_change(self, actor, which, Timestamp::now()).await?;
        let only_id = plan.only_id();
        let mut changed = Changed::default();
        let failed = match &change {
            Change::Hold(_) | Change::Release => {
                let told = ToldByOperator { actor: named(actor), detail: act.detail.as_str().into() };
                self.hold_or_release(plan, &change, &told, &mut changed, progress).await.err()
            }
            Change::Retry => self.expedite_all(plan, &mut changed, progress).await.err(),
        };
        let failed = failed.map(Error::from);
        self.end(actor, which, only_id, changed, act, failed)
    }

    /// Holds or releases the selected messages a page at a time, and emits an event for each recipient.
    async fn hold_or_release(
        &self,
        plan: Plan,
        change: &Change,
        told: &ToldByOperator,
        changed: &mut Changed,
        progress: &Progress,
    ) -> Result<(), spool::Error> {
        let holds = matches!(change, Change::Hold(_));
        let mut walk = Walk::new(plan, None);
        while let Some(mut page) = walk.next(self).await? {
            page.retain(|record| record.held.is_some() != holds);
            let these = Filter::of(page.iter().map(|record| record.id));
            let mut pending: BTreeMap<QueueId, PendingEvents> =
                page.iter().map(|record| (record.id, self.written(record, holds, told))).collect();
            // The spool stores the event lines only of the messages that it changes.
            let lines = pending.iter_mut().map(|(id, pending)| (*id, pending.take_lines())).collect();
            let count = match change {
                Change::Hold(reason) => self.spool.hold(these.clone(), reason.clone(), lines).await?,
                _ => self.spool.release(these.clone(), lines).await?,
            };
            if count < page.len() as u64 {
                // Some messages have left meanwhile, or another command has changed them.
                let now = self.spool.list(Filter { held: Some(holds), ..these }, page.len()).await?;
                page.retain(|record| now.iter().any(|now| now.id == record.id));
            }
            page.iter()
                .filter_map(|record| pending.remove(&record.id))
                .for_each(|pending| self.events.announce(pending));
            changed.count += count;
            progress.send_replace(*changed);
        }
        Ok(())
    }

    /// Makes the events of a message that is held or released.
    fn written(&self, record: &Record, holds: bool, by: &ToldByOperator) -> PendingEvents {
        let event = if holds { EventKind::Held } else { EventKind::Released };
        let (route, now) = (self.route_of(&record.lane), Timestamp::now());
        let told = |(index, _)| {
            RecipientEvent::new(event, index, now).on(route.as_ref()).because(Arc::clone(&by.detail)).by(&by.actor)
        };
        let told: Vec<RecipientEvent> = record.waiting().map(told).collect();
        self.events.write(&Mail::of(record), &told)
    }

    async fn expedite_all(&self, plan: Plan, changed: &mut Changed, progress: &Progress) -> Result<(), spool::Error> {
        if let Some(batches) = plan.batches() {
            for filter in batches {
                changed.count += self.spool.expedite(filter).await?;
                progress.send_replace(*changed);
            }
            return Ok(());
        }
        let mut walk = Walk::new(plan, None);
        while let Some(page) = walk.next(self).await? {
            let these = Filter::of(page.iter().map(|record| record.id));
            changed.count += self.spool.expedite(these).await?;
            progress.send_replace(*changed);
        }
        Ok(())
    }

    /// Gives the selected messages up, each with its events. A page shares one sync.
    async fn give_up(
        &self,
        actor: &Actor,
        which: &Selection,
        how: GiveUp,
        act: Act,
        progress: &Progress,
    ) -> Result<Changed, Error> {
        let plan = Plan::to_change(self, actor, which, Timestamp::now()).await?;
        let (only_id, how) = (plan.only_id(), GiveUp { only_in: plan.recipient_domain.clone(), ..how });
        let mut changed = Changed::default();
        let failed = self.give_up_all(plan, &how, &mut changed, progress).await.err();
        self.end(actor, which, only_id, changed, act, failed)
    }

    async fn give_up_all(
        &self,
        plan: Plan,
        how: &GiveUp,
        changed: &mut Changed,
        progress: &Progress,
    ) -> Result<(), Error> {
        let only_ids = plan.only_ids();
        let mut named = only_ids.clone().unwrap_or_default();
        let mut not_leased = BTreeSet::new();
        let mut walk = Walk::new(plan, None);
        while let Some(page) = walk.next(self).await? {
            let ids: Vec<QueueId> = page.iter().map(|record| record.id).collect();
            named.retain(|id| !ids.contains(id));
            let left = self.give_up_page(&ids, how, changed).await?;
            not_leased.extend(left);
            progress.send_replace(*changed);
        }
        // Somebody who names a message means it also if it cannot be read: then it is not listed, or cannot be leased.
        for id in only_ids.into_iter().flatten().filter(|id| named.contains(id) || not_leased.contains(id)) {
            if self.give_up_unread(id, how).await? {
                changed.count += 1;
                changed.busy -= u64::from(not_leased.contains(&id));
                progress.send_replace(*changed);
            }
        }
        Ok(())
    }

    /// Gives up a message that cannot be read, for all of its recipients that the record knows. Returns false if it is not there, or can
    /// be read.
    async fn give_up_unread(&self, id: QueueId, how: &GiveUp) -> Result<bool, Error> {
        match self.spool.show(id).await {
            Ok(_) | Err(spool::Error::Unknown(_)) => return Ok(false),
            Err(spool::Error::Corrupt { .. }) => {}
            Err(error @ spool::Error::Io { .. }) if !spool::is_short_of_means(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if how.tells_sender {
            return Err(Error::conflict(
                format!("message {id} cannot be read, so its sender cannot be told"),
                format!("mend the disk or the database and release it, or end it with `postbud queue remove {id}`"),
            ));
        }
        if let Some(log) = self.events.log().map(ToOwned::to_owned) {
            let busy = || {
                Error::new(
                    ErrorKind::Unavailable,
                    "the event log does not take its end now",
                    "nothing was changed; try again",
                )
            };
            if !self.events.catch_up(&*self.spool).await {
                return Err(busy());
            }
            let read = tokio::task::spawn_blocking(move || unread::lives(&log, [id])).await;
            let failed =
                |why: String| Error::failed(format!("the event log cannot be read: {why}"), "nothing was changed");
            let lives = read.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
            let (event, at) = (EventKind::Removed, Timestamp::now());
            let end = End { event, at, detail: &how.reason, actor: Some(&how.actor) };
            let ends = lives.get(&id).map(|life| life.ends(id, &end)).unwrap_or_default();
            if !self.events.emit_synced(ends).await {
                return Err(busy());
            }
        }
        Ok(self.spool.discard(id).await?)
    }

    /// Returns those that could not be leased.
    async fn give_up_page(
        &self,
        ids: &[QueueId],
        how: &GiveUp,
        changed: &mut Changed,
    ) -> Result<Vec<QueueId>, spool::Error> {
        let mut left = Vec::new();
        for ids in ids.chunks(AT_ONCE) {
            // A message that cannot be leased is being delivered, has left meanwhile, or cannot be read.
            let leases = self.spool.seize(Filter::of(ids.iter().copied()), ids.len()).await?;
            let is_leased = |id: &QueueId| leases.iter().any(|lease| lease.record.id == *id);
            left.extend(ids.iter().copied().filter(|id| !is_leased(id)));
            changed.busy += (ids.len() - leases.len()) as u64;
            let mut running = JoinSet::new();
            for lease in leases {
                let route = self.route_of(&lease.record.lane);
                let Some(decision) = decide::given_up(&lease.record, route.as_ref(), how, Timestamp::now()) else {
                    // None of its recipients matches any more.
                    changed.busy += 1;
                    continue;
                };
                let outcomes = self.outcomes.clone();
                running.spawn(async move { outcomes.apply(lease, decision).await });
            }
            while let Some(ended) = running.join_next().await {
                // A failure of the spool is reported by the sync below.
                ended.map_err(|error| spool::Error::Stopped(format!("a command's task failed: {error}")))??;
                changed.count += 1;
            }
        }
        self.spool.sync().await?;
        Ok(left)
    }

    /// Reports the command to the audit, even if it failed in the middle.
    fn end(
        &self,
        actor: &Actor,
        which: &Selection,
        only_id: Option<QueueId>,
        changed: Changed,
        act: Act,
        failed: Option<Error>,
    ) -> Result<Changed, Error> {
        let count = changed.count;
        if count > 0 {
            let act = Act {
                queue_id: only_id.map(|id| id.to_string()),
                customer: which.customer.clone(),
                route: which.route.clone(),
                changed: Some(count),
                detail: counted(&act.detail, only_id, count),
                ..act
            };
            audit::tell(&self.events, actor, act);
        }
        let Some(mut error) = failed else { return Ok(changed) };
        if count > 0 {
            error.message = format!("{} (after {count} messages, which stay changed)", error.message);
        }
        Err(error)
    }
}

fn counted(detail: &str, only_id: Option<QueueId>, count: u64) -> String {
    if only_id.is_some() { detail.to_owned() } else { format!("{count} messages {detail}") }
}
