//! Changes from outside of an attempt: hold, release, expedite, seize.

use std::sync::Arc;

use super::Embedded;
use super::index::{Entry, Index, LOOK};
use super::inspect::{bits, enough, in_domain};
use super::leasing::{Guard, Leased, read_leases};
use super::next_try::NextTry;
use super::note::Change;
use crate::spool::{Error, Expedited, Filter, Intervene, Lease, Pending};
use crate::time::Timestamp;

impl Intervene for Embedded {
    fn hold(&self, filter: Filter, reason: String) -> Pending<Result<u64, Error>> {
        let reason: Arc<str> = reason.into();
        self.change_matching(filter, move |index, entry| {
            if entry.held() {
                return None;
            }
            index.hold(entry.id, &reason);
            Some(Change::hold(entry.id, Arc::clone(&reason)))
        })
    }

    fn release(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        let now = Timestamp::now();
        self.change_matching(filter, move |index, entry| {
            if !entry.held() {
                return None;
            }
            let before = entry.next_try();
            let kept_back = before.expedited.map(Expedited::kept_back).unwrap_or_default() + now.since(before.due);
            let next = NextTry { due: now, expedited: Some(Expedited::Released { kept_back }) };
            index.release(entry.id, next);
            Some(Change::release(entry.id, next))
        })
    }

    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        let now = Timestamp::now();
        self.change_matching(filter, move |index, entry| {
            if entry.held() || entry.leased {
                return None;
            }
            // A message that is due already has waited since then, for our own caps or for a server's trouble. The queue tells these
            // apart by its due time.
            let expedited = NextTry { due: now, expedited: Some(Expedited::Requested) };
            let next = if entry.due <= now { entry.next_try() } else { expedited };
            index.set_next_try(entry.id, next);
            Some(Change::due(entry.id, next))
        })
    }

    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>> {
        let may_deliver = self.shared.may_deliver();
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            may_deliver?;
            let bits = bits(&filter);
            let mut all = Leased { leases: Vec::new(), failed: None };
            let mut from = Some(filter.first());
            while let Some(start) = from.filter(|_| all.leases.len() < limit) {
                let most = enough(&filter, limit - all.leases.len());
                let (found, next) = shared.index().select(&filter, bits, start, LOOK, most);
                from = next;
                let found = in_domain(&shared, &filter, found).await?;
                let seized: Vec<_> = {
                    let mut index = shared.index();
                    let mut seize = |id| {
                        let entry = *index.get(id)?;
                        if entry.leased || !index.matches(&entry, &filter, bits) {
                            return None;
                        }
                        index.lease(id);
                        Some((index.wanted(id)?, Guard::new(&shared, &entry)))
                    };
                    found.into_iter().filter_map(&mut seize).take(limit - all.leases.len()).collect()
                };
                let Leased { leases, failed } = read_leases(&shared, seized).await?;
                all.leases.extend(leases);
                all.failed = all.failed.or(failed);
            }
            all.any()
        })
    }

    fn sync(&self) -> Pending<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.synced().await })
    }
}

impl Embedded {
    /// Changes every matching record for which `change` returns a change. Answers once all of it is durable.
    fn change_matching(
        &self,
        filter: Filter,
        change: impl Fn(&mut Index, &Entry) -> Option<Change> + Send + Sync + 'static,
    ) -> Pending<Result<u64, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            shared.may_work()?;
            let mut changed = 0;
            let mut from = Some(filter.first());
            let bits = bits(&filter);
            while let Some(start) = from {
                let (found, next) = shared.index().select(&filter, bits, start, LOOK, usize::MAX);
                from = next;
                let found = in_domain(&shared, &filter, found).await?;
                {
                    let mut index = shared.index();
                    let mut changes = Vec::new();
                    for id in found {
                        let Some(entry) = index.get(id).copied() else { continue };
                        if index.matches(&entry, &filter, bits)
                            && let Some(change) = change(&mut index, &entry)
                        {
                            changes.push(change);
                        }
                    }
                    changed += changes.len() as u64;
                    if changes.is_empty() {
                        continue;
                    }
                    shared.write(&mut index, changes);
                }
                shared.synced().await?;
            }
            shared.changed.notify_one();
            Ok(changed)
        })
    }
}
