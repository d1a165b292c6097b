//! Commands that change messages: hold, release, retry, bounce, remove.

use std::io;

use tokio::task::JoinSet;

use super::protocol::{Done, Refusal, Selection};
use super::selection::Plan;
use super::{Output, Relay};
use crate::bounce::{Action, Content, Report};
use crate::events::{Event, EventKind};
use crate::message::QueueId;
use crate::queue::decide::record_event;
use crate::smtp::Domain;
use crate::spool::{self, Filter, Lease, RecipientState, Record, Settlement};
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

/// What a command came to; the outer error is the reader's absence.
type Answered = io::Result<Result<Done, Refusal>>;

impl Relay {
    pub(super) async fn hold(&self, which: &Selection, reason: &str, by: &str, out: &mut impl Output) -> Answered {
        let detail = format!("held by an operator ({by}): {reason}");
        self.change(which, Change::Hold(reason.to_owned()), EventKind::Held, detail, out).await
    }

    pub(super) async fn release(&self, which: &Selection, by: &str, out: &mut impl Output) -> Answered {
        let detail = format!("released by an operator ({by})");
        self.change(which, Change::Release, EventKind::Operator, detail, out).await
    }

    pub(super) async fn retry(&self, which: &Selection, by: &str, out: &mut impl Output) -> Answered {
        let detail = format!("made due at once by an operator ({by})");
        self.change(which, Change::Retry, EventKind::Operator, detail, out).await
    }

    pub(super) async fn bounce(&self, which: &Selection, reason: &str, by: &str, out: &mut impl Output) -> Answered {
        tracing::info!("bouncing for {by}: {reason}");
        self.give_up(which, true, format!("bounced by an operator: {reason}"), out).await
    }

    pub(super) async fn remove(&self, which: &Selection, reason: &str, by: &str, out: &mut impl Output) -> Answered {
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
        let plan = match Plan::new(self, which, true, Timestamp::now()) {
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
    async fn give_up(&self, which: &Selection, told: bool, reply: String, out: &mut impl Output) -> Answered {
        let plan = match Plan::new(self, which, true, Timestamp::now()) {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let verdict = Verdict { told, reply, domain: plan.recipient_domain.clone() };
        let mut done = Done::default();
        let mut pages = plan.pages();
        loop {
            let page = match pages.next(self).await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(done)),
                Err(error) => return Ok(Err(broken_off(error, done.count))),
            };
            let ids: Vec<QueueId> = page.iter().map(|record| record.id).collect();
            if let Err(error) = self.give_up_page(&ids, &verdict, &mut done).await {
                return Ok(Err(broken_off(error, done.count)));
            }
            out.progress(&done).await?;
        }
    }

    async fn give_up_page(&self, ids: &[QueueId], verdict: &Verdict, done: &mut Done) -> Result<(), spool::Error> {
        for ids in ids.chunks(AT_ONCE) {
            // What is not seized is being delivered, or has left meanwhile.
            let leases = self.spool.seize(Filter::of(ids.iter().copied()), ids.len()).await?;
            done.busy += (ids.len() - leases.len()) as u64;
            let mut running = JoinSet::new();
            for lease in leases {
                let (relay, verdict) = (self.clone(), verdict.clone());
                running.spawn(async move { relay.give_up_one(lease, &verdict).await });
            }
            while let Some(ended) = running.join_next().await {
                let failed = |error| spool::Error::Stopped(format!("a command's task failed: {error}"));
                match ended.map_err(failed)?? {
                    true => done.count += 1,
                    false => done.busy += 1,
                }
            }
        }
        self.spool.sync().await
    }

    /// `false` where no recipient was meant any more.
    async fn give_up_one(&self, lease: Lease, verdict: &Verdict) -> Result<bool, spool::Error> {
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
            attempt: None,
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
            recipient: Some(record.envelope.recipients[index].address.to_string()),
            route: self.way_out(&record.lane).map(|route| route.to_string()),
            reply: Some(verdict.reply.clone()),
            ..record_event(kind, record, Timestamp::now())
        }
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
