//! The spool: holds accepted messages with the state of each recipient, until every recipient is settled.
//!
//! This module is the port: the promises, and the traits that a backend implements. [`embedded`] is the backend that keeps the mail of one
//! process in a folder, [`postgres`] the one that keeps it in a database. The spool only stores. All decisions (when to retry, which lane
//! goes first, when to give up) are the queue's.
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
//! | waiting | it can be claimed when it is due | waiting, with its last recorded state |
//! | leased | one caller has it for one attempt | waiting: the attempt may be made again. A record that was tried before waits until its next due time, which was recorded before the lease |
//! | held | nobody can claim it until it is released | held |
//! | settled | every recipient was taken by the next server or given up | settled if that was recorded, otherwise as before |
//! | set aside | it cannot be read; a copy is in the quarantine | set aside |
//!
//! # Promises
//!
//! - **Nothing acknowledged is lost.** [`Commit::commit`] returns a [`Durable`] only after the message would survive a power cut. Nothing
//!   else makes a [`Durable`], and a 250 needs one.
//! - **A record leaves only when all its recipients are settled.** Unreadable records are set aside and reported, never deleted.
//! - **Bytes stay on disk.** The content of waiting messages is not kept in memory. Only a spool in a database keeps that of new messages,
//!   for seconds and up to 16 MiB.
//! - **At most one lease.** A record is leased to one caller at a time. A dropped lease gives the record back as if nothing had been tried.
//!   If a panic dropped it, the record is due again after five minutes.
//! - **No tight loop.** The next due time of a record that was tried before is durable before its lease is returned.
//! - **Duplicates are bounded.** A result is written before [`Work::settle`] returns, and synced soon after. So the death of the process
//!   (kill -9) repeats only attempts that were in progress. A power cut also repeats those settled since the last sync, and so does a disk
//!   that fails until the spool gives up on it.
//! - **No event is lost.** The event lines of a commit or a change are durable with it, and are kept until the journal has them on disk
//!   ([`Outbox`]). A settled message is not deleted before its result is durable, unless the disk has no room for results.
//! - **Operators' changes last.** [`Intervene`] answers after a change would survive a power cut.
//! - **Order.** [`Work::claim`] returns expedited records first, then those that have been due longest.
//! - **Bounded answers.** No call returns more than it was asked for.

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
mod item;
mod lease;
pub mod moving;
mod next_try;
mod notice;
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

use serde::Serialize;
use tokio::sync::{Notify, watch};

use crate::message::{CustomerId, Lane, QueueId};
use crate::time::Timestamp;

pub use backoff::Backoff;
pub use carried::{Carried, Texts};
pub use counters::Counters;
pub use draft::{Draft, Durable};
pub use error::{Error, is_for_now, is_short_of_means};
pub use filter::Filter;
pub use health::Health;
pub use lease::{Bytes, Lease, LeaseGuard, ReadChunk, Settled, Settlement};
pub use notice::{Notice, Notices};
pub use outbox::{LinesById, Outbox, OutboxPage, OutboxPosition};
pub use record::{Expedited, RecipientState, Record};
pub use stats::{DueLane, DuePage, LaneStats, Totals};

/// A future of the port.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Makes a future that is ready at once.
fn ready<T: Send + 'static>(value: T) -> Pending<T> {
    Box::pin(std::future::ready(value))
}

/// Accepts new messages. Intake and the writer of notifications need only this.
pub trait Commit: Send + Sync + 'static {
    /// Returns a new queue id. Ids grow with time, and no other node that shares this spool makes the same one.
    fn next_id(&self) -> QueueId;

    /// Makes a message durable. The future may be dropped: the commit finishes in any case.
    fn commit(&self, draft: Draft) -> Pending<Result<Durable, Error>>;
}

/// Leases messages that are due, and records the results. The queue's workers need this.
pub trait Work: Send + Sync + 'static {
    /// Returns up to `limit` lanes with a record that can be claimed at `now`, those that have waited longest first. `after` is the last
    /// lane of the previous page. The queue calls this whenever it is woken, so it costs only as much as it returns.
    fn due(&self, now: Timestamp, after: Option<DueLane>, limit: usize) -> Pending<Result<DuePage, Error>>;

    /// Leases up to `limit` records of `lane` that are due at `now`. A record that was tried before gets its next due time from `backoff`,
    /// durably, before its lease is returned. Records that cannot be read are held or set aside, and the others are returned. If the
    /// process lacks memory or open files, unread records stay as they are. That is an error only if no record could be read; the caller
    /// asks again later.
    fn claim(&self, lane: &Lane, now: Timestamp, limit: usize, backoff: &Backoff)
    -> Pending<Result<Vec<Lease>, Error>>;

    /// Records the result of an attempt. After an error nothing is recorded, and the lease is given back.
    fn settle(&self, lease: Lease, settlement: Settlement) -> Pending<Result<Settled, Error>>;

    /// Notified when a record may have become due earlier than before (commit, release, expedite). It is only a hint.
    fn changed(&self) -> Arc<Notify>;
}

/// Shows the spool's content to operators, to metrics and to the queue's background tasks.
pub trait Inspect: Send + Sync + 'static {
    /// Returns the counts of the whole spool.
    fn totals(&self) -> Pending<Result<Totals, Error>>;

    /// Returns up to `limit` lanes that hold records, in order, starting after `after`. [`all_lanes`] collects all pages.
    fn lanes(&self, after: Option<Lane>, limit: usize) -> Pending<Result<Vec<(Lane, LaneStats)>, Error>>;

    /// Returns up to `limit` matching records, oldest first. Unreadable records are left out and logged.
    fn list(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Record>, Error>>;

    /// Returns one record and its header block, prefix first.
    fn show(&self, id: QueueId) -> Pending<Result<(Record, Vec<u8>), Error>>;
}

/// Changes records outside of attempts. Each call answers after its changes are durable, and one sync serves thousands of records.
pub trait Intervene: Send + Sync + 'static {
    /// Holds matching records, and returns their number. A leased record is held when its attempt ends. `lines` are for the [`Outbox`].
    fn hold(&self, filter: Filter, reason: String, lines: LinesById) -> Pending<Result<u64, Error>>;

    /// Releases matching held records, and returns their number. They are due at once, as [`Expedited::Released`]. `lines` are for the
    /// [`Outbox`].
    fn release(&self, filter: Filter, lines: LinesById) -> Pending<Result<u64, Error>>;

    /// Makes matching records due at once, as [`Expedited::Requested`], and returns their number. A record that is already due keeps its
    /// due time.
    fn expedite(&self, filter: Filter) -> Pending<Result<u64, Error>>;

    /// Leases up to `limit` matching records, whether or not they are due or held, so that a decision about them can be settled. Unreadable
    /// records are left out, as in [`Work::claim`].
    fn seize(&self, filter: Filter, limit: usize) -> Pending<Result<Vec<Lease>, Error>>;

    /// Ends a record without reading it, for all its recipients: for a record that cannot be read any more. Returns false if the record is
    /// leased or absent. The caller records the events about its end before the call.
    fn discard(&self, id: QueueId) -> Pending<Result<bool, Error>>;

    /// Waits until everything settled so far is durable.
    fn sync(&self) -> Pending<Result<(), Error>>;
}

/// A node's configuration of customers, beside that of the other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// The hash of its customers, domains, keys, routes and tiers.
    pub digest: String,
    /// True if most nodes have another one.
    pub differs: bool,
}

/// The whole port. Its methods may be called from any thread, and none blocks an async worker for long.
pub trait Spool: Commit + Work + Inspect + Intervene + Outbox {
    /// Returns a receiver of the spool's health.
    fn health(&self) -> watch::Receiver<Health>;

    /// Returns the names of the other nodes that are alive. Each has a part of what waits.
    fn others(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns true if this node delivers the customer's mail.
    fn owns(&self, _customer: &CustomerId) -> bool {
        true
    }

    /// Returns how this node's configuration of customers compares with that of the others. `None` if there can be no others, or it is not
    /// known yet.
    fn configuration(&self) -> Option<Configuration> {
        None
    }

    /// Returns true at one node at a time: at the one that does what a single node does for all.
    fn leads(&self) -> bool {
        true
    }

    /// Finishes running work, syncs and closes. Later calls return [`Error::Stopped`], except for those of the [`Outbox`].
    fn stop(&self) -> Pending<()>;
}

/// The number of lanes that [`all_lanes`] asks for at once.
const LANES_AT_ONCE: usize = 1000;

/// Returns the counts of every lane that holds records.
pub async fn all_lanes(spool: &(impl Inspect + ?Sized)) -> Result<BTreeMap<Lane, LaneStats>, Error> {
    // Lanes in their order become a map at once.
    Ok(lanes_in_order(spool).await?.into_iter().collect())
}

/// Returns the counts of every lane that holds records, in the order of the lanes.
pub async fn lanes_in_order(spool: &(impl Inspect + ?Sized)) -> Result<Vec<(Lane, LaneStats)>, Error> {
    let mut all = Vec::new();
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
