//! Answers the calls of the queue's workers: which lanes have due mail, claims, and settlements.

use std::sync::{Arc, MutexGuard};

use tokio::sync::Notify;

use super::Embedded;
use super::active::Filling;
use super::note::Change;
use crate::message::Lane;
use crate::spool::index::{Index, calls};
use crate::spool::owner;
use crate::spool::{Backoff, DueLane, DuePage, Error, Lease, Pending, Settled, Settlement, Work, ready};
use crate::time::Timestamp;

impl Work for Embedded {
    fn due(&self, now: Timestamp, after: Option<DueLane>, limit: usize) -> Pending<Result<DuePage, Error>> {
        ready(Ok(self.shared.index().due(now, after.as_ref(), limit)))
    }

    fn claim(
        &self,
        lane: &Lane,
        now: Timestamp,
        limit: usize,
        backoff: &Backoff,
    ) -> Pending<Result<Vec<Lease>, Error>> {
        Box::pin(owner::claim(&self.shared, lane, now, limit, backoff))
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<Result<Settled, Error>> {
        if let Err(error) = self.shared.may_work() {
            return ready(Err(error));
        }
        let (record, mut guard) = lease.into_parts();
        let filling = self.shared.active.try_lock();
        let mut index = self.shared.index();
        guard.settled();
        let Some(entry) = calls::settle(&mut index, record, settlement) else {
            // The message was found damaged and set aside meanwhile.
            return ready(Ok(Settled::Written));
        };
        let change = Change::of(entry);
        if let Err(error) = self.shared.may_deliver() {
            self.shared.write(&mut index, vec![change]);
            return ready(Ok(Settled::InTrouble(error)));
        }
        match filling {
            Some(filling) if filling.takes(&change) && !self.shared.inbox.has_ordered() => {
                drop(index);
                self.write_at_once(filling, change)
            }
            _ => self.write_in_turn(&mut index, change),
        }
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.changed)
    }
}

impl Embedded {
    /// Writes a result to the active segment at once.
    fn write_at_once(&self, mut filling: MutexGuard<'_, Filling>, change: Change) -> Pending<Result<Settled, Error>> {
        let is_first = filling.unsynced.is_empty();
        let written = filling.write(change);
        let is_far_behind = filling.is_far_behind();
        drop(filling);
        if is_first || written.is_err() {
            self.shared.inbox.wants_sync();
        }
        match written {
            Ok(()) if is_far_behind => {
                let shared = Arc::clone(&self.shared);
                Box::pin(async move { Ok(settled(shared.synced().await)) })
            }
            Ok(()) => ready(Ok(Settled::Written)),
            Err(source) => {
                let what = "recording a result in the spool".into();
                ready(Ok(Settled::InTrouble(Error::Io { what, source })))
            }
        }
    }

    /// Has the committer write a result, because other changes already wait.
    fn write_in_turn(&self, index: &mut Index, change: Change) -> Pending<Result<Settled, Error>> {
        let written = self.shared.written(index, change);
        Box::pin(async move { Ok(settled(written.await)) })
    }
}

fn settled(written: Result<(), Error>) -> Settled {
    written.map_or_else(Settled::InTrouble, |()| Settled::Written)
}
