//! The spool: holds accepted messages and what became of each of their recipients, until every recipient is settled.
//!
//! This module is the port: the promises, and the traits that a backend implements. [`embedded`] is the backend that keeps the mail
//! of one process in a folder of its own, [`postgres`] the one that keeps it in a database. The spool *holds*; every decision (when to
//! retry, which lane goes first, when to give up) is the queue's.
//!
//! # States of a message
//!
//! ```text
//!            commit            claim              settle, nobody waits
//!  (absent) ────────► waiting ────────► leased ───────────────────────► settled, forgotten
//!                      ▲ │ ▲              │
//!              release │ │ └──────────────┘  settle, somebody still waits; or the lease is dropped
//!                      │ ▼ hold
//!                      held
//! ```
//!
//! | state | meaning | after a crash |
//! |---|---|---|
//! | waiting | it can be claimed once it is due | waiting, with its last recorded state |
//! | leased | one caller has it for one attempt | waiting: the attempt may be made again. One that was tried before is not due until its next time, which was recorded before the lease |
//! | held | nobody gets it until it is released | held |
//! | settled | every recipient was taken by the next server or given up | settled if that was recorded, else as before |
//! | set aside | it cannot be read; a copy is in the quarantine | set aside |
//!
//! # Promises
//!
//! * **Nothing acknowledged is lost.** [`Commit::commit`] returns a [`Durable`] only once the message would survive a power cut.
//!   Nothing else makes a [`Durable`], and only a [`Durable`] can be answered with 250.
//! * **A record leaves only when all its recipients are settled.** What cannot be read is set aside and reported, never deleted.
//! * **Bytes stay on disk.** The content of waiting messages is never in memory.
//! * **At most one lease.** A record is leased to one caller at a time. A dropped lease gives the record back as if nothing had been
//!   tried; one that is dropped by a panic comes back after five minutes.
//! * **No tight loop.** The next due time of a record that was tried before is durable before its lease is handed out.
//! * **Duplicates are bounded.** A result is written before [`Work::settle`] returns, and synced soon after. So the death of the
//!   process (kill -9) repeats only attempts that were in flight. A power cut also repeats those that were settled since the last
//!   sync, and so does a disk that fails until the spool gives up on it.
//! * **Nothing that is told is lost.** What a commit or a change tells the journal is durable with it, and is kept until the journal
//!   has it on disk ([`Outbox`]).
//! * **Operators' changes last.** [`Intervene`] answers once a change would survive a power cut.
//! * **Order.** [`Work::claim`] hands out expedited records first, then those due longest.
//! * **Bounded answers.** No call returns more than it was asked for.

mod backoff;
mod carried;
mod codec;
mod counters;
mod draft;
pub mod embedded;
mod error;
mod filter;
mod health;
mod index;
mod lease;
mod next_try;
mod outbox;
mod owner;
pub mod postgres;
mod recent;
mod record;
mod stats;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::message::{Lane, QueueId};
use crate::time::Timestamp;

pub use backoff::Backoff;
pub use carried::{Carried, Texts};
pub use counters::Counters;
pub use draft::{Draft, Durable};
pub use error::{Error, is_short_of_means};
pub use filter::Filter;
pub use health::Health;
pub use lease::{Bytes, Lease, LeaseGuard, ReadChunk, Settled, Settlement};
pub use outbox::{LinesById, Outbox, OutboxPage, OutboxPosition};
pub use record::{Expedited, RecipientState, Record};
pub use stats::{DueLane, DuePage, LaneStats, Totals};

/// A future as the port returns it.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future that is there already.
fn ready<T: Send + 'static>(value: T) -> Pending<T> {
    Box::pin(std::future::ready(value))
}

/// Takes new messages. Intake and the writer of notifications need no more than this.
pub trait Commit: Send + Sync + 'static {
    /// A new queue id. Ids go up with time, and no other node that shares this spool makes the same one.
    fn next_id(&self) -> QueueId;

    /// Makes a message durable. The future may be dropped: the commit finishes all the same.
    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>>;
}

/// Hands out messages that are due, and records what became of them. This is what the queue's workers need.
pub trait Work: Send + Sync + 'static {
    /// Up to `limit` lanes with a record that can be claimed at `now`, those waiting longest first. `after` is the last lane of the
    /// page before. The queue asks this whenever it is woken, so it costs only as much as it returns.
    fn due(&self, now: Timestamp, after: Option<DueLane>, limit: usize) -> Pending<Result<DuePage, Error>>;

    /// Hands out up to `limit` records of `lane` that are due at `now`. A record that was tried before is given its next due time
    /// by `backoff`, durably, before its lease is returned. Records that cannot be read are held or set aside, and the others are
    /// handed out. If they cannot be read because the process is short of means (too many open files), they stay as they are;
    /// that is an error if it leaves none to hand out, and the caller asks again later.
    fn claim(&self, lane: &Lane, now: Timestamp, limit: usize, backoff: &Backoff)
    -> Pending<Result<Vec<Lease>, Error>>;

    /// Records what became of an attempt. After an error nothing is recorded, and the lease is given back.
    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<Result<Settled, Error>>;

    /// Notified whenever a record may have become due earlier than before (commit, release, expedite). It is a hint only.
    fn changed(&self) -> Arc<Notify>;
}

/// Shows what the spool holds, to operators, to metrics and to the queue's background tasks.
pub trait Inspect: Send + Sync + 'static {
    /// The counts of the whole spool.
    fn totals(&self) -> Pending<Result<Totals, Error>>;

    /// Up to `limit` lanes that hold records, in order, from the one after `after` on. [`all_lanes`] collects every page.
    fn lanes(&self, after: Option<Lane>, limit: usize) -> Pending<Result<Vec<(Lane, LaneStats)>, Error>>;

    /// Up to `limit` records that match, oldest first. Records that cannot be read are left out and logged.
    fn list(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Record>, Error>>;

    /// One record and its header block, prefix first.
    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>>;
}

/// Changes records from outside their attempts. Each call answers once its changes are durable, and shares one sync among thousands
/// of records.
pub trait Intervene: Send + Sync + 'static {
    /// Holds matching records, and returns how many. A record that is leased at this moment is held once its attempt ends. `lines` are
    /// for the [`Outbox`].
    fn hold(&self, filter: Filter, reason: String, lines: LinesById) -> Pending<Result<u64, Error>>;

    /// Releases matching held records, and returns how many. They are due at once, as [`Expedited::Released`]. `lines` are for the
    /// [`Outbox`].
    fn release(&self, filter: Filter, lines: LinesById) -> Pending<Result<u64, Error>>;

    /// Makes matching records due at once, as [`Expedited::Requested`], and returns how many. A record that is due already keeps its
    /// due time.
    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>>;

    /// Leases up to `limit` matching records, due or not, held or not, so that a decision can be settled on them. Records that
    /// cannot be read are left out, as [`Work::claim`] does.
    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>>;

    /// Waits until everything that was settled so far is durable.
    fn sync(&self) -> Pending<Result<(), Error>>;
}

/// The whole port. Its methods may be called from any thread, and none blocks an async worker for long.
pub trait Spool: Commit + Work + Inspect + Intervene + Outbox {
    /// Whether the spool takes mail, can record results, and works at all; kept up to date.
    fn health(&self) -> watch::Receiver<Health>;

    /// Finishes what was begun, syncs and closes. Later calls answer [`Error::Stopped`], except for those of the [`Outbox`].
    fn stop(&self) -> Pending<()>;
}

/// How many lanes [`all_lanes`] asks for at once.
const LANES_AT_ONCE: usize = 1000;

/// The counts of every lane that holds records.
pub async fn all_lanes(spool: &(impl Inspect + ?Sized)) -> Result<BTreeMap<Lane, LaneStats>, Error> {
    let mut all = BTreeMap::new();
    let mut after = None;
    loop {
        let page = spool.lanes(after, LANES_AT_ONCE).await?;
        let is_last = page.len() < LANES_AT_ONCE;
        after = page.last().map(|(lane, _)| lane.clone());
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}
