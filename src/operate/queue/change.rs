//! Commands that change messages: hold, release, retry, bounce, remove.

use std::io;

use tokio::task::JoinSet;

use super::selection::Plan;
use crate::events::{Event, EventKind};
use crate::message::QueueId;
use crate::operate::socket::protocol::{Done, Refusal, Selection};
use crate::operate::{Output, Relay};
use crate::queue::decide::{self, GiveUp};
use crate::spool::{self, Filter};
use crate::time::Timestamp;

/// Messages in hand at once: their bytes may be in memory.
const AT_ONCE: usize = 64;

/// What is done to a record that the spool finds by a filter.
#[derive(Clone, Debug)]
enum Change {
    Hold(String),
    Release,
    Retry,
}

/// What a command came to; the outer error is the reader's absence.
type Answered = io::Result<Result<Done, Refusal>>;

impl Relay {
    pub(in crate::operate) async fn hold(
        &self,
        which: &Selection,
        reason: &str,
        by: &str,
        out: &mut impl Output,
    ) -> Answered {
        let detail = format!("held by an operator ({by}): {reason}");
        self.change(which, Change::Hold(reason.to_owned()), EventKind::Held, detail, out).await
    }

    pub(in crate::operate) async fn release(&self, which: &Selection, by: &str, out: &mut impl Output) -> Answered {
        let detail = format!("released by an operator ({by})");
        self.change(which, Change::Release, EventKind::Operator, detail, out).await
    }

    pub(in crate::operate) async fn retry(&self, which: &Selection, by: &str, out: &mut impl Output) -> Answered {
        let detail = format!("made due at once by an operator ({by})");
        self.change(which, Change::Retry, EventKind::Operator, detail, out).await
    }

    pub(in crate::operate) async fn bounce(
        &self,
        which: &Selection,
        reason: &str,
        by: &str,
        out: &mut impl Output,
    ) -> Answered {
        tracing::info!("bouncing for {by}: {reason}");
        self.give_up(which, true, format!("bounced by an operator: {reason}"), out).await
    }

    pub(in crate::operate) async fn remove(
        &self,
        which: &Selection,
        reason: &str,
        by: &str,
        out: &mut impl Output,
    ) -> Answered {
        self.give_up(which, false, format!("removed by an operator ({by}): {reason}"), out).await
    }

    /// Applies a change, a batch at a time, and tells of it in one event: a filter may mean a million messages.
    async fn change(
        &self,
        which: &Selection,
        change: Change,
        kind: EventKind,
        detail: String,
        out: &mut impl Output,
    ) -> Answered {
        let plan = match Plan::new(self, which, true, Timestamp::now()).await {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut done = Done::default();
        let failed = self.change_all(&plan, &change, &mut done, out).await?.err();
        let count = done.count;
        if count > 0 {
            self.events.emit(Event {
                id: plan.only_id().map(|id| id.to_string()),
                customer: which.customer.clone(),
                route: which.route.clone(),
                detail: Some(if plan.only_id().is_some() { detail } else { format!("{count} messages {detail}") }),
                ..Event::new(kind, Timestamp::now())
            });
        }
        Ok(failed.map_or(Ok(done), |error| Err(broken_off(error, count))))
    }

    async fn change_all(
        &self,
        plan: &Plan,
        change: &Change,
        done: &mut Done,
        out: &mut impl Output,
    ) -> io::Result<Result<(), spool::Error>> {
        if let Some(batches) = plan.batches() {
            for filter in batches {
                match self.apply(change, filter).await {
                    Ok(count) => done.count += count,
                    Err(error) => return Ok(Err(error)),
                }
                out.progress(done).await?;
            }
            return Ok(Ok(()));
        }
        let mut pages = plan.pages();
        loop {
            let page = match pages.next(self).await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            match self.apply(change, Filter::of(page.iter().map(|record| record.id))).await {
                Ok(count) => done.count += count,
                Err(error) => return Ok(Err(error)),
            }
            out.progress(done).await?;
        }
    }

    async fn apply(&self, change: &Change, filter: Filter) -> Result<u64, spool::Error> {
        match change {
            Change::Hold(reason) => self.spool.hold(filter, reason.clone()).await,
            Change::Release => self.spool.release(filter).await,
            Change::Retry => self.spool.expedite(filter).await,
        }
    }

    /// Gives up the selected messages, each with its events; a page shares one sync.
    async fn give_up(&self, which: &Selection, tells_sender: bool, reason: String, out: &mut impl Output) -> Answered {
        let plan = match Plan::new(self, which, true, Timestamp::now()).await {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let how = GiveUp { tells_sender, reason, only_in: plan.recipient_domain.clone() };
        let mut done = Done::default();
        let mut pages = plan.pages();
        loop {
            let page = match pages.next(self).await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(done)),
                Err(error) => return Ok(Err(broken_off(error, done.count))),
            };
            let ids: Vec<QueueId> = page.iter().map(|record| record.id).collect();
            if let Err(error) = self.give_up_page(&ids, &how, &mut done).await {
                return Ok(Err(broken_off(error, done.count)));
            }
            out.progress(&done).await?;
        }
    }

    async fn give_up_page(&self, ids: &[QueueId], how: &GiveUp, done: &mut Done) -> Result<(), spool::Error> {
        for ids in ids.chunks(AT_ONCE) {
            // What is not seized is being delivered, or has left meanwhile.
            let leases = self.spool.seize(Filter::of(ids.iter().copied()), ids.len()).await?;
            done.busy += (ids.len() - leases.len()) as u64;
            let mut running = JoinSet::new();
            for lease in leases {
                let route = self.route_of(&lease.record.lane);
                let Some(decision) = decide::given_up(&lease.record, route.as_ref(), how, Timestamp::now()) else {
                    // No recipient is meant any more.
                    done.busy += 1;
                    continue;
                };
                let outcomes = self.outcomes.clone();
                running.spawn(async move { outcomes.apply(lease, decision).await });
            }
            while let Some(ended) = running.join_next().await {
                // Where the spool is in trouble, the sync below says so.
                ended.map_err(|error| spool::Error::Stopped(format!("a command's task failed: {error}")))??;
                done.count += 1;
            }
        }
        self.spool.sync().await
    }
}

/// What was done before it failed stays done.
fn broken_off(error: spool::Error, done: u64) -> Refusal {
    let mut refusal = Refusal::from(error);
    if done > 0 {
        refusal.message = format!("{} (after {done} messages, which stay changed)", refusal.message);
    }
    refusal
}
