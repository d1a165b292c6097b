//! What the queue's workers call: which lanes have due mail, claims, and settlements.

use std::sync::{Arc, MutexGuard};

use tokio::sync::Notify;

use super::active::Filling;
use super::codec::{State, Status};
use super::index::{Entry, Index};
use super::leasing::{Guard, read_leases};
use super::next_try::NextTry;
use super::note::Change;
use super::{Embedded, ready};
use crate::message::Lane;
use crate::spool::{Backoff, DueLane, DuePage, Error, Lease, Pending, Record, Settled, Settlement, Work};
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
        if let Err(error) = self.shared.may_deliver() {
            return ready(Err(error));
        }
        let mut claimed = Vec::new();
        let must_sync;
        {
            let mut changes = Vec::new();
            let mut index = self.shared.index();
            for entry in index.claimable(lane, now, limit) {
                // The first attempt after a commit needs no write: the commit says when the second is due.
                if !(entry.fresh && entry.untried) {
                    let due = backoff.next_attempt(u32::from(entry.attempts) + 1, now, rand::random());
                    let next = NextTry::at(due);
                    changes.push(Change::due(entry.id, next));
                    index.set_next_try(entry.id, next);
                }
                index.lease(entry.id);
                let Some(mut wanted) = index.wanted(entry.id) else { continue };
                // The caller wants to know when the record was due.
                wanted.entry.set_next_try(entry.next_try());
                claimed.push((wanted, Guard::new(&self.shared, &entry)));
            }
            must_sync = !changes.is_empty();
            if must_sync {
                self.shared.write(&mut index, changes);
            }
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if must_sync {
                shared.synced().await?;
            }
            read_leases(&shared, claimed).await?.any()
        })
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<Result<Settled, Error>> {
        if let Err(error) = self.shared.may_work() {
            return ready(Err(error));
        }
        let (record, mut guard) = lease.into_parts();
        let filling = self.shared.active.try_lock();
        let mut index = self.shared.index();
        guard.settled();
        let Some(entry) = index.get(record.id).copied() else {
            // It was found damaged and set aside meanwhile.
            return ready(Ok(Settled::Written));
        };
        let change = apply(&mut index, &entry, record, settlement);
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
    /// Writes a result to the active segment, here and now.
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

    /// Has the committer write a result behind the changes that wait already.
    fn write_in_turn(&self, index: &mut Index, change: Change) -> Pending<Result<Settled, Error>> {
        let written = self.shared.written(index, change);
        Box::pin(async move { Ok(settled(written.await)) })
    }
}

fn settled(written: Result<(), Error>) -> Settled {
    written.map_or_else(Settled::InTrouble, |()| Settled::Written)
}

/// Changes the index as the settlement says, and returns what is to be written.
fn apply(index: &mut Index, entry: &Entry, mut record: Record, settlement: Settlement) -> Change {
    let id = record.id;
    for (number, state) in settlement.results {
        if let Some(recipient) = record.recipients.get_mut(number) {
            *recipient = state;
        }
    }
    if !record.recipients.iter().any(|state| state.is_waiting()) {
        index.remove(id);
        return Change::done(id);
    }
    let unchanged = NextTry { due: record.due, expedited: record.expedited };
    let status = Status {
        attempts: record.attempts + u32::from(settlement.counts),
        next: settlement.due.map_or(unchanged, NextTry::at),
        delay_notified: record.delay_notified || settlement.delay_notified,
        untried: false,
        hold: settlement.hold.map(Arc::from).or_else(|| index.hold_reason(entry)),
    };
    let state = Arc::new(State {
        status,
        waited_for_caps: record.waited_for_caps + settlement.waited_for_caps,
        recipients: State::compact(&record.recipients),
    });
    index.set_state(id, &state);
    Change::state(id, state)
}
