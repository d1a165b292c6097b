//! The owner of an index: the common part of all backends that keep their index in memory, wherever their log is.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::index::{Entry, Fact, Index, LOOK, LogEntry, MessageToRead, bits, calls, enough};
use super::next_try::NextTry;
use super::{Backoff, Error, Filter, Lease, LeaseGuard, LinesById};
use crate::message::{Lane, QueueId};
use crate::time::Timestamp;

/// After a panic dropped a lease, the record is due again after this time.
const AFTER_PANIC: Duration = Duration::from_secs(300);

/// A backend that owns an index. Changes reach the log in the order in which they are made in the index, because both happen under the
/// index's lock.
pub(super) trait Owner: Send + Sync + Sized + 'static {
    fn index(&self) -> MutexGuard<'_, Index>;

    /// Notified when mail may have become due.
    fn changed(&self) -> &Notify;

    /// Returns an error if the spool has stopped.
    fn may_work(&self) -> Result<(), Error>;

    /// Returns an error while results cannot be recorded, because further attempts would only make duplicates.
    fn may_deliver(&self) -> Result<(), Error>;

    /// Returns true if an attempt for a leased record may begin. Only a shared spool can lose it to another node.
    fn owns_leases(&self) -> bool {
        true
    }

    /// Queues facts for the log, in order. The caller holds the index's lock.
    fn record(&self, index: &mut Index, facts: Vec<LogEntry>);

    /// Waits until everything recorded so far is durable.
    fn synced(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns the entries that have a waiting recipient in the filter's domain, if the filter names one.
    fn in_domain(
        self: &Arc<Self>,
        filter: &Filter,
        found: Vec<Entry>,
    ) -> impl Future<Output = Result<Vec<QueueId>, Error>> + Send;

    /// Reads leased messages. A message that cannot be read is set aside or held. If the process or system lacks memory or open files, that
    /// says nothing about the message, and it is given back.
    fn read_leases(
        self: &Arc<Self>,
        wanted: Vec<(MessageToRead, Guard<Self>)>,
    ) -> impl Future<Output = Result<Leased, Error>> + Send;
}

/// Gives a leased message back when it is dropped, unless the message was settled.
pub(super) struct Guard<O: Owner> {
    owner: Arc<O>,
    id: QueueId,
    /// When the message was due before it was leased.
    before: NextTry,
    settled: bool,
}

impl<O: Owner> Guard<O> {
    /// Makes the guard for a message that the caller leases. `entry` is its entry from before.
    fn new(owner: &Arc<O>, entry: &Entry) -> Self {
        Guard { owner: Arc::clone(owner), id: entry.id, before: entry.next_try(), settled: false }
    }
}

impl<O: Owner> LeaseGuard for Guard<O> {
    fn settled(&mut self) {
        self.settled = true;
    }

    fn stands(&self) -> bool {
        self.owner.owns_leases()
    }
}

impl<O: Owner> Drop for Guard<O> {
    fn drop(&mut self) {
        if !self.settled {
            // A message that made the program panic must not do so again at once.
            let panicking = std::thread::panicking();
            let next = if panicking { NextTry::at(Timestamp::now() + AFTER_PANIC) } else { self.before };
            self.owner.index().give_back(self.id, next);
            self.owner.changed().notify_one();
        }
    }
}

/// The result of reading leased messages.
pub(super) struct Leased {
    pub leases: Vec<Lease>,
    /// Why some messages were not read that may be readable later.
    pub failed: Option<Error>,
}

impl Leased {
    /// Returns the leases. A message that cannot be read at the moment is an error only if there is no other.
    pub fn any(self) -> Result<Vec<Lease>, Error> {
        match self.failed {
            Some(error) if self.leases.is_empty() => Err(error),
            _ => Ok(self.leases),
        }
    }
}

/// Implements [`Work::claim`](super::Work::claim). The records are leased before the future is polled.
pub(super) fn claim<O: Owner>(
    owner: &Arc<O>,
    lane: &Lane,
    now: Timestamp,
    limit: usize,
    backoff: &Backoff,
) -> impl Future<Output = Result<Vec<Lease>, Error>> + Send + use<O> {
    // Check this under the index's lock. A shard that is handed over forbids delivery under the same lock, so nothing is leased after that.
    let mut index = owner.index();
    let claimed = owner.may_deliver().map(|()| {
        let claim = calls::claim(&mut index, lane, now, limit, backoff);
        let must_sync = !claim.facts.is_empty();
        if must_sync {
            owner.record(&mut index, claim.facts);
        }
        drop(index);
        let guarded = |(wanted, before): (MessageToRead, Entry)| (wanted, Guard::new(owner, &before));
        (claim.leased.into_iter().map(guarded).collect::<Vec<_>>(), must_sync)
    });
    let owner = Arc::clone(owner);
    async move {
        let (leased, must_sync) = claimed?;
        if must_sync {
            owner.synced().await?;
        }
        owner.read_leases(leased).await?.any()
    }
}

/// Implements [`Intervene::seize`](super::Intervene::seize).
pub(super) async fn seize<O: Owner>(owner: Arc<O>, filter: Filter, limit: usize) -> Result<Vec<Lease>, Error> {
    owner.may_deliver()?;
    let bits = bits(&filter);
    let mut all = Leased { leases: Vec::new(), failed: None };
    let mut from = Some(filter.first());
    while let Some(start) = from.filter(|_| all.leases.len() < limit) {
        let most = enough(&filter, limit - all.leases.len());
        let (found, next) = owner.index().select(&filter, bits, start, LOOK, most);
        from = next;
        let found = owner.in_domain(&filter, found).await?;
        let seized: Vec<_> = {
            let mut index = owner.index();
            owner.may_deliver()?;
            let mut seize = |id| {
                let entry = *index.get(id)?;
                if entry.leased || !index.matches(&entry, &filter, bits) {
                    return None;
                }
                index.lease(id);
                Some((index.wanted(id)?, Guard::new(&owner, &entry)))
            };
            found.into_iter().filter_map(&mut seize).take(limit - all.leases.len()).collect()
        };
        let Leased { leases, failed } = owner.read_leases(seized).await?;
        all.leases.extend(leases);
        all.failed = all.failed.or(failed);
    }
    all.any()
}

/// Changes every matching record for which `change` returns a fact, and returns their number after all facts are durable. `lines` are for
/// the outbox.
async fn change_matching<O: Owner>(
    owner: Arc<O>,
    filter: Filter,
    mut lines: LinesById,
    change: impl Fn(&mut Index, &Entry) -> Option<Fact> + Send + Sync,
) -> Result<u64, Error> {
    owner.may_work()?;
    let mut changed = 0;
    let mut from = Some(filter.first());
    let bits = bits(&filter);
    while let Some(start) = from {
        let (found, next) = owner.index().select(&filter, bits, start, LOOK, usize::MAX);
        from = next;
        let found = owner.in_domain(&filter, found).await?;
        {
            let mut index = owner.index();
            let mut facts = Vec::new();
            for id in found {
                let Some(entry) = index.get(id).copied() else { continue };
                if index.matches(&entry, &filter, bits)
                    && let Some(fact) = change(&mut index, &entry)
                {
                    facts.push(LogEntry { id, fact, lines: lines.remove(&id).unwrap_or_default() });
                }
            }
            changed += facts.len() as u64;
            if facts.is_empty() {
                continue;
            }
            owner.record(&mut index, facts);
        }
        owner.synced().await?;
    }
    owner.changed().notify_one();
    Ok(changed)
}

/// Implements [`Intervene::hold`](super::Intervene::hold).
pub(super) async fn hold<O: Owner>(
    owner: Arc<O>,
    filter: Filter,
    reason: String,
    lines: LinesById,
) -> Result<u64, Error> {
    let reason: Arc<str> = reason.into();
    change_matching(owner, filter, lines, move |index, entry| calls::hold(index, entry, &reason)).await
}

/// Implements [`Intervene::release`](super::Intervene::release).
pub(super) fn release<O: Owner>(
    owner: Arc<O>,
    filter: Filter,
    lines: LinesById,
) -> impl Future<Output = Result<u64, Error>> + Send {
    let now = Timestamp::now();
    change_matching(owner, filter, lines, move |index, entry| calls::release(index, entry, now))
}

/// Implements [`Intervene::discard`](super::Intervene::discard).
pub(super) async fn discard<O: Owner>(owner: Arc<O>, id: QueueId) -> Result<bool, Error> {
    owner.may_work()?;
    {
        let mut index = owner.index();
        if index.get(id).is_none_or(|entry| entry.leased) {
            return Ok(false);
        }
        index.remove(id);
        owner.record(&mut index, vec![LogEntry::silent(id, Fact::Done)]);
    }
    owner.synced().await?;
    Ok(true)
}

/// Implements [`Intervene::expedite`](super::Intervene::expedite).
pub(super) fn expedite<O: Owner>(owner: Arc<O>, filter: Filter) -> impl Future<Output = Result<u64, Error>> + Send {
    let now = Timestamp::now();
    change_matching(owner, filter, LinesById::new(), move |index, entry| calls::expedite(index, entry, now))
}

/// Returns every message with the octets that it takes, oldest first.
pub(super) fn holdings<O: Owner>(owner: &O) -> Vec<(QueueId, u64)> {
    let (mut all, mut from) = (Vec::new(), Some(QueueId::from_u64(0)));
    while let Some(start) = from {
        let (found, next) = owner.index().select(&Filter::default(), 0, start, LOOK, usize::MAX);
        all.extend(found.into_iter().map(|entry| (entry.id, entry.disk_len.into())));
        from = next;
    }
    all
}

/// Forgets messages as if they were settled. Answers once that is durable.
pub(super) async fn forget<O: Owner>(owner: &O, ids: &[QueueId]) -> Result<(), Error> {
    owner.may_work()?;
    {
        let mut index = owner.index();
        let gone: Vec<QueueId> = ids.iter().copied().filter(|id| index.remove(*id).is_some()).collect();
        owner.record(&mut index, gone.into_iter().map(|id| LogEntry::silent(id, Fact::Done)).collect());
    }
    owner.synced().await
}
