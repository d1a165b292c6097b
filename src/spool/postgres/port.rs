//! The port, served from the index and the log.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::sync::{Notify, oneshot, watch};

use super::inbox::Item;
use super::rows::Encoded;
use super::{Postgres, read};
use crate::message::{Lane, QueueId};
use crate::spool::index::calls;
use crate::spool::owner::{self, Owner};
use crate::spool::{
    Backoff, Commit, Draft, DueLane, DuePage, Durable, Error, Filter, Health, Inspect, Intervene, LaneStats, Lease,
    LinesById, Pending, Record, Settled, Settlement, Spool, Totals, Work, ready,
};
use crate::time::Timestamp;

impl Commit for Postgres {
    fn next_id(&self) -> QueueId {
        self.shared.ids.next()
    }

    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>> {
        if let Err(error) = self.shared.may_commit() {
            return ready(Err(error));
        }
        let id = draft.id;
        let refused = |kind: ErrorKind| ready(Err(Error::Io { what: format!("message {id}"), source: kind.into() }));
        if self.shared.index().get(id).is_some() {
            return refused(ErrorKind::AlreadyExists);
        }
        let Some(encoded) = Encoded::draft(draft) else { return refused(ErrorKind::FileTooLarge) };
        let (reply, answer) = oneshot::channel();
        let stopping = self.shared.stopping();
        match self.shared.inbox.push([Item::Draft(Box::new(encoded), reply)]) {
            Ok(()) => Box::pin(async move { answer.await.unwrap_or(Err(stopping)) }),
            Err(_) => ready(Err(stopping)),
        }
    }
}

impl Work for Postgres {
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
        let mut index = self.shared.index();
        guard.settled();
        let Some(entry) = calls::settle(&mut index, record, settlement) else { return ready(Ok(Settled::Written)) };
        if let Err(error) = self.shared.may_deliver() {
            self.shared.record(&mut index, vec![entry]);
            return ready(Ok(Settled::InTrouble(error)));
        }
        let written = self.shared.written(&mut index, entry);
        Box::pin(async move { Ok(written.await.map_or_else(Settled::InTrouble, |()| Settled::Written)) })
    }

    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.changed)
    }
}

impl Inspect for Postgres {
    fn totals(&self) -> Pending<Result<Totals, Error>> {
        let records = self.shared.index().len() as u64;
        ready(Ok(Totals { records, disk_bytes: self.shared.disk_bytes(), quarantined: 0 }))
    }

    fn lanes(&self, after: Option<Lane>, limit: usize) -> Pending<Result<Vec<(Lane, LaneStats)>, Error>> {
        ready(Ok(self.shared.index().lanes(after.as_ref(), limit)))
    }

    fn list(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Record>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { read::list(&shared, &filter, limit).await })
    }

    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { read::show(&shared, id).await })
    }
}

impl Intervene for Postgres {
    fn hold(&self, filter: Filter, reason: String, lines: LinesById) -> Pending<Result<u64, Error>> {
        Box::pin(owner::hold(Arc::clone(&self.shared), filter, reason, lines))
    }

    fn release(&self, filter: Filter, lines: LinesById) -> Pending<Result<u64, Error>> {
        Box::pin(owner::release(Arc::clone(&self.shared), filter, lines))
    }

    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        Box::pin(owner::expedite(Arc::clone(&self.shared), filter))
    }

    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>> {
        Box::pin(owner::seize(Arc::clone(&self.shared), filter, limit))
    }

    fn sync(&self) -> Pending<Result<(), Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.synced().await })
    }
}

impl Spool for Postgres {
    fn health(&self) -> watch::Receiver<Health> {
        self.shared.health()
    }

    fn stop(&self) -> Pending<()> {
        self.shared.inbox.stop();
        let thread = self.take_thread();
        Box::pin(async move {
            // A thread that panicked has said so on stderr; what it left is what a crash leaves.
            let joined = tokio::task::spawn_blocking(move || thread.map(|thread| drop(thread.join())));
            let _ = joined.await;
        })
    }
}
