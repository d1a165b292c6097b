//! Commands that change messages: hold, release, retry, bounce, remove.

use std::collections::VecDeque;

use tokio::task::JoinSet;

use super::Relay;
use super::protocol::{Done, Refusal, Selection};
use super::selection::Plan;
use crate::bounce::{Action, Content, Report};
use crate::events::{Event, EventKind};
use crate::message::QueueId;
use crate::smtp::Domain;
use crate::spool::{self, Filter, Lease, RecipientState, Record, Settlement};
use crate::time::Timestamp;

/// Messages decided on at once: they share the spool's syncs.
const AT_ONCE: usize = 64;

/// What is done to a record that the spool finds by a filter.
#[derive(Clone, Debug)]
enum Change {
    Hold(String),
    Release,
    Retry,
}

/// How a message is given up.
#[derive(Clone, Debug)]
struct Verdict {
    /// Whether the sender is told.
    told: bool,
    /// What becomes the recipients' last reply.
    reply: String,
    /// Only recipients in this domain.
    domain: Option<Domain>,
}

impl Relay {
    pub(super) async fn hold(&self, which: &Selection, reason: &str, by: &str) -> Result<Done, Refusal> {
        let detail = format!("held by an operator ({by}): {reason}");
        self.change(which, Change::Hold(reason.to_owned()), EventKind::Held, detail).await
    }

    pub(super) async fn release(&self, which: &Selection, by: &str) -> Result<Done, Refusal> {
        self.change(which, Change::Release, EventKind::Operator, format!("released by an operator ({by})")).await
    }

    pub(super) async fn retry(&self, which: &Selection, by: &str) -> Result<Done, Refusal> {
        let detail = format!("made due at once by an operator ({by})");
        self.change(which, Change::Retry, EventKind::Operator, detail).await
    }

    pub(super) async fn bounce(&self, which: &Selection, reason: &str, by: &str) -> Result<Done, Refusal> {
        tracing::info!("bouncing for {by}: {reason}");
        self.give_up(which, true, format!("bounced by an operator: {reason}")).await
    }

    pub(super) async fn remove(&self, which: &Selection, reason: &str, by: &str) -> Result<Done, Refusal> {
        self.give_up(which, false, format!("removed by an operator ({by}): {reason}")).await
    }

    /// Applies a change, and tells of it in one event: a filter may mean a million messages.
    async fn change(
        &self,
        which: &Selection,
        change: Change,
        kind: EventKind,
        detail: String,
    ) -> Result<Done, Refusal> {
        let plan = Plan::new(self, which, true, Timestamp::now())?;
        let mut count = 0;
        if let Some(filters) = plan.filters_alone() {
            for filter in filters {
                count += self.apply(&change, filter.clone()).await?;
            }
        } else {
            let mut pages = plan.pages();
            while let Some(page) = pages.next(self).await? {
                count += self.apply_each(&change, page.iter().map(|record| record.id).collect()).await?;
            }
        }
        if count > 0 {
            self.events.emit(Event {
                id: plan.only_id().map(|id| id.to_string()),
                customer: which.customer.clone(),
                route: which.route.clone(),
                detail: Some(if plan.only_id().is_some() { detail } else { format!("{count} messages {detail}") }),
                ..Event::new(kind, Timestamp::now())
            });
        }
        Ok(Done { count, ..Done::default() })
    }

    async fn apply_each(&self, change: &Change, ids: VecDeque<QueueId>) -> Result<u64, spool::Error> {
        let work = |relay: Relay, id| {
            let change = change.clone();
            async move { relay.apply(&change, Filter { id: Some(id), ..Filter::default() }).await }
        };
        let results = self.side_by_side(ids, work).await;
        results.into_iter().sum()
    }

    async fn apply(&self, change: &Change, filter: Filter) -> Result<u64, spool::Error> {
        match change {
            Change::Hold(reason) => self.spool.hold(filter, reason.clone()).await,
            Change::Release => self.spool.release(filter).await,
            Change::Retry => self.spool.expedite(filter).await,
        }
    }

    /// Gives up the selected messages one by one, each with its events.
    async fn give_up(&self, which: &Selection, told: bool, reply: String) -> Result<Done, Refusal> {
        let plan = Plan::new(self, which, true, Timestamp::now())?;
        let verdict = Verdict { told, reply, domain: plan.recipient_domain.clone() };
        let mut done = Done::default();
        let mut pages = plan.pages();
        while let Some(page) = pages.next(self).await? {
            let ids = page.iter().map(|record| record.id).collect();
            let work = |relay: Relay, id| {
                let verdict = verdict.clone();
                async move { relay.give_up_one(id, &verdict).await }
            };
            for result in self.side_by_side(ids, work).await {
                if result? {
                    done.count += 1;
                } else {
                    done.busy += 1;
                }
            }
        }
        Ok(done)
    }

    /// `false` where the message is being delivered or has left meanwhile.
    async fn give_up_one(&self, id: QueueId, verdict: &Verdict) -> Result<bool, spool::Error> {
        let filter = Filter { id: Some(id), ..Filter::default() };
        let Some(lease) = self.spool.seize(filter, 1).await?.pop() else { return Ok(false) };
        let record = lease.record.clone();
        let given_up: Vec<usize> = record
            .waiting()
            .filter(|(_, to)| verdict.domain.is_none() || to.address.domain() == verdict.domain.as_ref())
            .map(|(index, _)| index)
            .collect();
        if given_up.is_empty() {
            return Ok(false);
        }
        if verdict.told {
            self.tell(&lease, &given_up, verdict).await;
        }
        let failed = |index: &usize| (*index, RecipientState::Failed { reply: verdict.reply.clone() });
        let settlement = Settlement {
            results: given_up.iter().map(failed).collect(),
            due: record.due,
            counts: false,
            waited_for_caps: std::time::Duration::ZERO,
            delay_notified: record.delay_notified,
            // Recipients elsewhere stay as they were: held, if they were held.
            hold: record.held.clone(),
        };
        self.spool.settle(lease, settlement).await?;
        for index in given_up {
            self.events.emit(self.given_up_event(&record, index, verdict));
        }
        Ok(true)
    }

    /// Before the failure is recorded: a crash in between tells the sender twice, never not at all.
    async fn tell(&self, lease: &Lease, given_up: &[usize], verdict: &Verdict) {
        let record = &lease.record;
        let report = |index: &usize| Report {
            index: *index,
            reply: verdict.reply.clone(),
            advice: None,
            remote_mta: None,
            expired: false,
        };
        let reports: Vec<Report> = given_up.iter().map(report).collect();
        let told = match Content::read(&lease.bytes).await {
            Ok(content) => {
                let now = Timestamp::now();
                let told = self.postmaster.notify(record, content.original(), Action::Failed, &reports, now).await;
                told.map(|_| ()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = told {
            let detail = format!("the sender of {} is not told that it bounced: {why}", record.id);
            let customer = Some(record.lane.customer.to_string());
            self.events.emit(Event { customer, id: Some(record.id.to_string()), ..Event::alert(detail) });
        }
    }

    fn given_up_event(&self, record: &Record, index: usize, verdict: &Verdict) -> Event {
        let kind = if verdict.told { EventKind::Bounced } else { EventKind::Operator };
        Event {
            id: Some(record.id.to_string()),
            message_id: Some(record.message_id.clone()),
            customer: Some(record.lane.customer.to_string()),
            recipient: Some(record.envelope.recipients[index].address.to_string()),
            route: self.route_of(record).map(|route| route.to_string()),
            reply: Some(verdict.reply.clone()),
            ..Event::new(kind, Timestamp::now())
        }
    }

    /// Runs `work` for every id, [`AT_ONCE`] at a time.
    async fn side_by_side<T, F>(
        &self,
        mut ids: VecDeque<QueueId>,
        work: impl Fn(Relay, QueueId) -> F,
    ) -> Vec<Result<T, spool::Error>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, spool::Error>> + Send + 'static,
    {
        let mut running = JoinSet::new();
        let mut results = Vec::with_capacity(ids.len());
        loop {
            while running.len() < AT_ONCE
                && let Some(id) = ids.pop_front()
            {
                running.spawn(work(self.clone(), id));
            }
            match running.join_next().await {
                None => return results,
                Some(Ok(result)) => results.push(result),
                Some(Err(error)) => {
                    results.push(Err(spool::Error::Stopped(format!("a command's task failed: {error}"))))
                }
            }
        }
    }
}
