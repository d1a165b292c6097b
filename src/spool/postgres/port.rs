//! Implements the port with the indexes and logs of the shards that this process owns. Mail for other shards goes into transit.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind;
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::{Notify, oneshot, watch};

use super::inbox::{Item, Request};
use super::rows::Encoded;
use super::shards::Shards;
use super::shared::Shared;
use super::{Postgres, read};
use crate::message::{CustomerId, Lane, QueueId};
use crate::spool::index::{LOOK, LaneNo, calls};
use crate::spool::owner::{self, Owner};
use crate::spool::{
    Backoff, Commit, Configuration, Draft, DueLane, DuePage, Durable, Error, Filter, Health, Inspect, Intervene,
    LaneStats, Lease, LinesById, Pending, Record, Settled, Settlement, Spool, Totals, Work, ready,
};
use crate::time::Timestamp;

impl Commit for Postgres {
    fn next_id(&self) -> QueueId {
        self.node.ids.next()
    }

    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>> {
        let (id, lane) = (draft.id, draft.lane.clone());
        self.commit_encoded(id, &lane, || Encoded::draft(draft))
    }
}

impl Postgres {
    /// Makes a message durable. `encode` returns none if the message is too large.
    pub(super) fn commit_encoded(
        &self,
        id: QueueId,
        lane: &Lane,
        encode: impl FnOnce() -> Option<Encoded>,
    ) -> Pending<Result<Durable, Error>> {
        if let Err(error) = self.node.may_commit() {
            return ready(Err(error));
        }
        let number = self.node.shard_of(lane);
        let refused = |kind: ErrorKind| ready(Err(Error::Io { what: format!("message {id}"), source: kind.into() }));
        let shard = self.node.shard(number).filter(|shard| !shard.is_leaving());
        if shard.as_ref().is_some_and(|shard| shard.index().get(id).is_some()) {
            return refused(ErrorKind::AlreadyExists);
        }
        let Some(encoded) = encode() else { return refused(ErrorKind::FileTooLarge) };
        let (reply, answer) = oneshot::channel();
        let mut request = Request::Write(Item::Draft(Box::new(encoded), reply));
        if let Some(shard) = shard {
            match shard.inbox.push([request]) {
                Ok(()) => return self.answer(answer),
                // The shard is being handed over at this moment.
                Err(refused) => request = refused,
            }
        }
        let Request::Write(Item::Draft(message, reply)) = request else {
            return ready(Err(self.node.stopping_error()));
        };
        match self.node.outgoing.push(number, message, reply) {
            Ok(()) => self.answer(answer),
            Err(_) => ready(Err(self.node.stopping_error())),
        }
    }

    /// Waits until a message is committed.
    fn answer(&self, answer: oneshot::Receiver<Result<Durable, Error>>) -> Pending<Result<Durable, Error>> {
        let stopping = self.node.stopping_error();
        Box::pin(async move { answer.await.unwrap_or(Err(stopping)) })
    }

    /// Returns the shards that may hold records that match a filter.
    fn matching(&self, filter: &Filter) -> Vec<Arc<Shared>> {
        let all = self.node.all();
        match &filter.customer {
            Some(customer) => {
                let number = self.node.shard_of_customer(customer);
                all.into_iter().filter(|shard| shard.number == number).collect()
            }
            None => all,
        }
    }
}

impl Work for Postgres {
    fn due(&self, now: Timestamp, after: Option<DueLane>, limit: usize) -> Pending<Result<DuePage, Error>> {
        ready(Ok(due(&self.node, now, after.as_ref(), limit)))
    }

    fn claim(
        &self,
        lane: &Lane,
        now: Timestamp,
        limit: usize,
        backoff: &Backoff,
    ) -> Pending<Result<Vec<Lease>, Error>> {
        if let Err(error) = self.node.may_deliver() {
            return ready(Err(error));
        }
        // The lane may just have moved to another node.
        let shard = self.node.shard(self.node.shard_of(lane)).filter(|shard| !shard.is_leaving());
        let Some(shard) = shard else { return ready(Ok(Vec::new())) };
        let claimed = owner::claim(&shard, lane, now, limit, backoff);
        Box::pin(async move {
            match claimed.await {
                Err(_) if shard.is_leaving() && shard.node.may_deliver().is_ok() => Ok(Vec::new()),
                claimed => claimed,
            }
        })
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<Result<Settled, Error>> {
        if let Err(error) = self.node.may_work() {
            return ready(Err(error));
        }
        let (record, mut guard) = lease.into_parts();
        let Some(shard) = self.node.shard(self.node.shard_of(&record.lane)) else {
            return ready(Err(self.node.stopping_error()));
        };
        let mut index = shard.index();
        guard.settled();
        let Some(entry) = calls::settle(&mut index, record, settlement) else { return ready(Ok(Settled::Written)) };
        if let Err(error) = self.node.may_deliver() {
            shard.record(&mut index, vec![entry]);
            return ready(Ok(Settled::InTrouble(error)));
        }
        let written = shard.written(&mut index, entry);
        Box::pin(async move { Ok(written.await.map_or_else(Settled::InTrouble, |()| Settled::Written)) })
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.node.changed)
    }
}

/// Returns the due lanes of all shards, those that have waited longest first. Lanes that have waited equally long are ordered by shard.
fn due(node: &Shards, now: Timestamp, after: Option<&DueLane>, limit: usize) -> DuePage {
    let mut lanes = Vec::new();
    let mut all = DuePage::default();
    for shard in node.all().into_iter().filter(|shard| !shard.is_leaving()) {
        let index = shard.index();
        let start = match after {
            None => Bound::Unbounded,
            Some(after) => match shard.number.cmp(&node.shard_of(&after.lane)) {
                std::cmp::Ordering::Less => Bound::Excluded((after.since, LaneNo::MAX)),
                std::cmp::Ordering::Equal => index.behind(after),
                std::cmp::Ordering::Greater => Bound::Included((after.since, 0)),
            },
        };
        let DuePage { lanes: found, more, next_due } = index.due_from(now, start, limit);
        lanes.extend(found.into_iter().map(|lane| (shard.number, lane)));
        all.more |= more;
        all.next_due = [all.next_due, next_due].into_iter().flatten().min();
    }
    // The sort is stable, so the lanes of one shard keep their order.
    lanes.sort_by_key(|(number, lane)| (lane.since, *number));
    all.more |= lanes.len() > limit;
    if all.more {
        all.next_due = None;
    }
    all.lanes = lanes.into_iter().take(limit).map(|(_, lane)| lane).collect();
    all
}

impl Inspect for Postgres {
    fn totals(&self) -> Pending<Result<Totals, Error>> {
        let records = self.node.all().iter().map(|shard| shard.index().len() as u64).sum();
        let disk_bytes = self.node.disk_bytes.load(std::sync::atomic::Ordering::Relaxed);
        ready(Ok(Totals { records, disk_bytes, quarantined: 0 }))
    }

    fn lanes(&self, after: Option<Lane>, limit: usize) -> Pending<Result<Vec<(Lane, LaneStats)>, Error>> {
        let shards = self.node.all();
        Box::pin(async move {
            let mut lanes = Vec::new();
            for shard in shards {
                loop {
                    let found = shard.index().lanes(after.as_ref(), limit);
                    match found {
                        Some(found) => break lanes.extend(found),
                        None => tokio::task::yield_now().await,
                    }
                }
            }
            lanes.sort_by(|(one, _), (other, _)| one.cmp(other));
            lanes.truncate(limit);
            Ok(lanes)
        })
    }

    fn list(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Record>, Error>> {
        let shards = self.matching(&filter);
        Box::pin(async move {
            let mut all = Vec::new();
            for shard in shards {
                all.extend(read::list(&shard, &filter, limit).await?);
            }
            all.sort_by_key(|record| record.id);
            all.truncate(limit);
            Ok(all)
        })
    }

    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>> {
        let shards = self.node.all();
        Box::pin(async move {
            for shard in shards {
                if shard.index().get(id).is_some() {
                    return read::show(&shard, id).await;
                }
            }
            Err(Error::Unknown(id))
        })
    }
}

/// Takes the lines about messages that a shard holds.
fn lines_of(shard: &Shared, lines: &mut LinesById) -> LinesById {
    let ids: BTreeSet<QueueId> = {
        let index = shard.index();
        lines.keys().copied().filter(|id| index.get(*id).is_some()).collect()
    };
    ids.into_iter().filter_map(|id| lines.remove_entry(&id)).collect()
}

/// Returns the oldest `limit` messages of some shards that match a filter and are not leased.
fn oldest(shards: &[Arc<Shared>], filter: &Filter, limit: usize) -> BTreeSet<QueueId> {
    let mut all = BTreeSet::new();
    for shard in shards {
        let (mut found, mut from) = (0, Some(filter.first()));
        while let Some(start) = from.filter(|_| found < limit) {
            let (entries, next) = shard.index().select(filter, 0, start, LOOK, limit);
            let free = entries.into_iter().filter(|entry| !entry.leased).map(|entry| entry.id);
            found += free.map(|id| all.insert(id)).count();
            from = next;
        }
    }
    all.into_iter().take(limit).collect()
}

impl Postgres {
    /// Changes the matching messages of one shard after the other. Returns how many were changed.
    fn change<F>(
        &self,
        filter: &Filter,
        mut one: impl FnMut(Arc<Shared>) -> F + Send + 'static,
    ) -> Pending<Result<u64, Error>>
    where
        F: Future<Output = Result<u64, Error>> + Send + 'static,
    {
        if let Err(error) = self.node.may_work() {
            return ready(Err(error));
        }
        let shards = self.matching(filter);
        Box::pin(async move {
            let mut all = 0;
            for shard in shards {
                all += one(shard).await?;
            }
            Ok(all)
        })
    }
}

impl Intervene for Postgres {
    fn hold(&self, filter: Filter, reason: String, mut lines: LinesById) -> Pending<Result<u64, Error>> {
        self.change(&filter.clone(), move |shard| {
            let lines = lines_of(&shard, &mut lines);
            owner::hold(shard, filter.clone(), reason.clone(), lines)
        })
    }

    fn release(&self, filter: Filter, mut lines: LinesById) -> Pending<Result<u64, Error>> {
        self.change(&filter.clone(), move |shard| {
            let lines = lines_of(&shard, &mut lines);
            owner::release(shard, filter.clone(), lines)
        })
    }

    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        self.change(&filter.clone(), move |shard| owner::expedite(shard, filter.clone()))
    }

    fn discard(&self, id: QueueId) -> Pending<Result<bool, Error>> {
        if let Err(error) = self.node.may_work() {
            return ready(Err(error));
        }
        let shards = self.matching(&Filter::one(id));
        Box::pin(async move {
            for shard in shards {
                if owner::discard(shard, id).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>> {
        if let Err(error) = self.node.may_deliver() {
            return ready(Err(error));
        }
        let shards = self.matching(&filter);
        // A caller that pages through much mail continues behind the last id that it got. So the oldest messages of all shards must come
        // first.
        let filter = match shards.len() > 1 && filter.recipient_domain.is_none() {
            true => Filter { ids: Some(Arc::new(oldest(&shards, &filter, limit))), ..filter },
            false => filter,
        };
        Box::pin(async move {
            let mut all = Vec::new();
            for shard in shards {
                if all.len() == limit {
                    break;
                }
                match owner::seize(Arc::clone(&shard), filter.clone(), limit - all.len()).await {
                    Ok(leases) => all.extend(leases),
                    // Mail that moves to another node is left to that node.
                    Err(_) if shard.is_leaving() => {}
                    Err(error) => return Err(error),
                }
            }
            all.sort_by_key(|lease| lease.record.id);
            Ok(all)
        })
    }

    fn sync(&self) -> Pending<Result<(), Error>> {
        if let Err(error) = self.node.may_work() {
            return ready(Err(error));
        }
        let shards = self.node.all();
        Box::pin(async move {
            for shard in shards {
                shard.synced().await?;
            }
            Ok(())
        })
    }
}

impl Spool for Postgres {
    fn health(&self) -> watch::Receiver<Health> {
        self.node.health()
    }

    fn others(&self) -> Vec<String> {
        self.node.others.load().to_vec()
    }

    fn owns(&self, customer: &CustomerId) -> bool {
        self.node.shard(self.node.shard_of_customer(customer)).is_some()
    }

    fn configuration(&self) -> Option<Configuration> {
        self.node.configuration.load().as_deref().cloned()
    }

    // The first shard has one owner, and another one as soon as that is dead.
    fn leads(&self) -> bool {
        self.node.has_lease() && !self.node.is_stopping() && self.node.shard(0).is_some()
    }

    fn stop(&self) -> Pending<()> {
        self.node.stop();
        #[cfg(test)]
        if let Some(task) = self.task.lock().expect("nothing panics while it holds the task").take() {
            return Box::pin(async move { drop(task.await) });
        }
        let thread = self.take_thread();
        Box::pin(async move {
            // A panicked thread has reported that on stderr. The database is in the state that a crash leaves.
            let joined = tokio::task::spawn_blocking(move || thread.map(|thread| drop(thread.join())));
            let _ = joined.await;
        })
    }
}
