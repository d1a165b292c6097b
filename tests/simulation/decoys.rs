//! A spool that does what a deliberate fault says in place of what it was asked. It stands between the queue and the real spool: while
//! such a fault is on, and for a [`Watch`], which sees every lease of a node.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::faults::Fault;
use super::nodes::Watch;
use crate::message::{Lane, QueueId, ReplyText};
use crate::spool::{
    Backoff, Bytes, Commit, Draft, DueLane, DuePage, Durable, Error, Filter, Health, Inspect, Intervene, LaneStats,
    Lease, LeaseGuard, LinesById, Outbox, OutboxPage, OutboxPosition, Pending, ReadChunk, RecipientState, Record,
    Settled, Settlement, Spool, Totals, Work,
};
use crate::time::Timestamp;

pub struct Decoy {
    spool: Arc<dyn Spool>,
    fault: Option<Fault>,
    watch: Option<Arc<Watch>>,
    /// Messages with a second lease, whose first result is the one that counts; or those of which a result was lost.
    known: Arc<Mutex<BTreeSet<QueueId>>>,
    /// Leases that nobody gets.
    kept: Arc<Mutex<Vec<Lease>>>,
}

impl Decoy {
    /// The spool, behind a decoy if a fault needs one.
    pub fn before(spool: Arc<dyn Spool>, fault: Option<Fault>) -> Arc<dyn Spool> {
        match fault {
            Some(
                Fault::LeavesUnsigned
                | Fault::LosesAcknowledged
                | Fault::LosesResult
                | Fault::LeasesTwice
                | Fault::TakesLaterForNow
                | Fault::DeliversHeld
                | Fault::ForgetsDeferred,
            ) => Arc::new(Decoy { spool, fault, watch: None, known: Arc::default(), kept: Arc::default() }),
            _ => spool,
        }
    }

    /// The spool of a node, behind a decoy that lets `watch` see its leases.
    pub fn watched(spool: Arc<dyn Spool>, fault: Option<Fault>, watch: Watch) -> Arc<dyn Spool> {
        let watch = Some(Arc::new(watch));
        Arc::new(Decoy { spool, fault, watch, known: Arc::default(), kept: Arc::default() })
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// What the spool leases, after what a fault does with it.
    fn claimed(&self, claimed: Pending<Result<Vec<Lease>, Error>>) -> Pending<Result<Vec<Lease>, Error>> {
        if self.is(Fault::ForgetsDeferred) {
            let kept = Arc::clone(&self.kept);
            return Box::pin(async move {
                let was_tried = |lease: &mut Lease| lease.record.attempts > 0;
                let mut leases = claimed.await?;
                kept.lock().expect("nothing panics while it holds the leases").extend(leases.extract_if(.., was_tried));
                Ok(leases)
            });
        }
        if !self.is(Fault::LeasesTwice) {
            return claimed;
        }
        let known = Arc::clone(&self.known);
        Box::pin(async move {
            let mut leases = Vec::new();
            for lease in claimed.await? {
                known.lock().expect("nothing panics while it holds the ids").insert(lease.record.id);
                leases.extend(doubled(lease).await?);
            }
            Ok(leases)
        })
    }

    fn settled(&self, lease: Lease, mut settlement: Settlement) -> Pending<Result<Settled, Error>> {
        let mut known = self.known.lock().expect("nothing panics while it holds the ids");
        match self.fault {
            Some(Fault::LosesResult) if known.insert(lease.record.id) => {
                let due = Some(Timestamp::now() + Duration::from_secs(30));
                settlement = Settlement { due, ..Settlement::default() };
            }
            Some(Fault::TakesLaterForNow) => {
                for (_, state) in &mut settlement.results {
                    if let RecipientState::Waiting { .. } = state {
                        *state = RecipientState::Relayed { reply: ReplyText::new("250 2.0.0 taken", None) };
                    }
                }
            }
            Some(Fault::LeasesTwice) if !known.remove(&lease.record.id) => {
                return Box::pin(std::future::ready(Ok(Settled::Written)));
            }
            _ => {}
        }
        self.spool.settle(lease, settlement)
    }
}

/// The header lines without those of signatures.
fn without_signatures(prefix: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut is_signature = false;
    for line in prefix.split_inclusive(|octet| *octet == b'\n') {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            is_signature = line.starts_with(b"DKIM-Signature:");
        }
        if !is_signature {
            kept.extend_from_slice(line);
        }
    }
    kept
}

impl Commit for Decoy {
    fn next_id(&self) -> QueueId {
        self.spool.next_id()
    }

    fn commit(&self, mut draft: Draft) -> Pending<Result<Durable, Error>> {
        if self.is(Fault::LeavesUnsigned) && draft.content.len() % 2 == 1 {
            draft.prefix = without_signatures(&draft.prefix);
        }
        let (spool, loses) = (Arc::clone(&self.spool), self.is(Fault::LosesAcknowledged));
        Box::pin(async move {
            let durable = spool.commit(draft).await?;
            if loses {
                for lease in spool.seize(Filter::one(durable.id()), 1).await? {
                    let reply = ReplyText::new("250 2.0.0 taken", None);
                    let all = 0..lease.record.recipients.len();
                    let results = all.map(|index| (index, RecipientState::Relayed { reply: reply.clone() })).collect();
                    let _ = spool.settle(lease, Settlement { results, ..Settlement::default() }).await?;
                }
            }
            Ok(durable)
        })
    }
}

/// Content in memory.
pub struct InMemory(pub Vec<Vec<u8>>);

impl ReadChunk for InMemory {
    fn chunks(&self) -> usize {
        self.0.len()
    }

    fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>> {
        Box::pin(std::future::ready(Ok(self.0[index].clone())))
    }
}

struct NoGuard;

impl LeaseGuard for NoGuard {
    fn settled(&mut self) {}
}

/// The lease, and another one of the same message.
async fn doubled(lease: Lease) -> Result<[Lease; 2], Error> {
    let mut chunks = Vec::new();
    for index in 0..lease.bytes.chunks() {
        chunks.push(lease.bytes.chunk(index).await?);
    }
    let Bytes { prefix, header_len, content_len, .. } = &lease.bytes;
    let bytes = Bytes::new(prefix.clone(), *header_len, *content_len, Arc::new(InMemory(chunks)));
    let second = Lease::new(lease.record.clone(), bytes, Box::new(NoGuard));
    Ok([lease, second])
}

impl Work for Decoy {
    fn due(&self, now: Timestamp, after: Option<DueLane>, limit: usize) -> Pending<Result<DuePage, Error>> {
        self.spool.due(now, after, limit)
    }

    fn claim(
        &self,
        lane: &Lane,
        now: Timestamp,
        limit: usize,
        backoff: &Backoff,
    ) -> Pending<Result<Vec<Lease>, Error>> {
        let claimed = self.claimed(self.spool.claim(lane, now, limit, backoff));
        let Some(watch) = self.watch.clone() else { return claimed };
        Box::pin(async move { Ok(claimed.await?.into_iter().map(|lease| watch.leased(lease)).collect()) })
    }

    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<Result<Settled, Error>> {
        let Some(watch) = self.watch.clone() else { return self.settled(lease, settlement) };
        let relayed = watch.relayed(&lease, &settlement);
        let settled = self.settled(watch.given_back(lease), settlement);
        Box::pin(async move {
            let settled = settled.await?;
            if let Settled::Written = settled {
                watch.recorded(relayed);
            }
            Ok(settled)
        })
    }

    fn changed(&self) -> Arc<Notify> {
        self.spool.changed()
    }
}

impl Inspect for Decoy {
    fn totals(&self) -> Pending<Result<Totals, Error>> {
        self.spool.totals()
    }

    fn lanes(&self, after: Option<Lane>, limit: usize) -> Pending<Result<Vec<(Lane, LaneStats)>, Error>> {
        self.spool.lanes(after, limit)
    }

    fn list(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Record>, Error>> {
        self.spool.list(filter, limit)
    }

    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>> {
        self.spool.show(id)
    }
}

impl Intervene for Decoy {
    fn hold(&self, filter: Filter, reason: String, lines: LinesById) -> Pending<Result<u64, Error>> {
        if self.is(Fault::DeliversHeld) {
            return Box::pin(std::future::ready(Ok(1)));
        }
        self.spool.hold(filter, reason, lines)
    }

    fn release(&self, filter: Filter, lines: LinesById) -> Pending<Result<u64, Error>> {
        self.spool.release(filter, lines)
    }

    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>> {
        self.spool.expedite(filter)
    }

    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>> {
        self.spool.seize(filter, limit)
    }

    fn discard(&self, id: QueueId) -> Pending<Result<bool, Error>> {
        self.spool.discard(id)
    }

    fn sync(&self) -> Pending<Result<(), Error>> {
        self.spool.sync()
    }
}

impl Outbox for Decoy {
    fn lines(&self, after: Option<OutboxPosition>) -> Pending<Result<OutboxPage, Error>> {
        self.spool.lines(after)
    }

    fn confirm(&self, position: OutboxPosition) {
        self.spool.confirm(position);
    }

    fn filled(&self) -> Arc<Notify> {
        self.spool.filled()
    }
}

impl Spool for Decoy {
    fn health(&self) -> watch::Receiver<Health> {
        self.spool.health()
    }

    fn stop(&self) -> Pending<()> {
        self.spool.stop()
    }
}
