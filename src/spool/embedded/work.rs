//! What the queue's workers call: which lanes have due mail, claims, and settlements.

use std::sync::Arc;

use tokio::sync::Notify;

use super::codec::{State, Status};
use super::footer::Note;
use super::inbox::{Change, NOTES};
use super::index::{Entry, Index};
use super::leasing::{Guard, read_leases};
use super::next_try::NextTry;
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
                    changes.push(Change::new(Note::Due { id: entry.id, next }, None));
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
        let mut waiting_notes = 0;
        {
            let mut index = self.shared.index();
            guard.settled();
            // Without an entry it was found damaged and set aside meanwhile.
            if let Some(entry) = index.get(record.id).copied() {
                let change = apply(&mut index, &entry, record, settlement);
                waiting_notes = self.shared.write(&mut index, vec![change]);
            }
        }
        let settled = |written: Result<(), Error>| Ok(written.map_or_else(Settled::InTrouble, |()| Settled::Written));
        let may_go_on = self.shared.may_deliver();
        if waiting_notes < NOTES || may_go_on.is_err() {
            return ready(settled(may_go_on));
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { settled(shared.synced().await) })
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.changed)
    }
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
        return Change::new(Note::Done { id }, None);
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
        status: status.clone(),
        waited_for_caps: record.waited_for_caps + settlement.waited_for_caps,
        recipients: State::compact(&record.recipients),
    });
    index.set_state(id, &state);
    Change::new(Note::State { id, at: 0, status }, Some(state))
}
