//! The state that all shards of this process share: the settings, the lease, the connection for reading, and the health.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Settings;
use super::fresh::Fresh;
use super::link::Link;
use super::outgoing::Outgoing;
use super::ownership::Joined;
use crate::message::{CustomerId, Lane, QueueIds};
use crate::spool::{Configuration, Error, Health, Notice};

/// A trouble that keeps the spool from recording results. Each kind ends in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WritingTrouble {
    /// The last batch of a shard was not confirmed.
    Writing(u32),
    /// The lease could not be renewed.
    Lease,
    /// The database would not keep what it acknowledges.
    Preflight,
}

/// A lack that keeps new mail out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lack {
    /// The server had no room for a shard.
    Disk(u32),
    /// The spool has reached the size that the operator allows.
    Quota,
}

/// The shared state of this process's shards.
pub(super) struct Node {
    pub settings: Arc<Settings>,
    /// A number that distinguishes this process from every other.
    pub instance: i64,
    /// The name of the spool, which is a part of outbox positions.
    pub spool: String,
    /// The number of shards of the spool.
    pub shards: u32,
    pub ids: QueueIds,
    /// Notified when mail may have become due.
    pub changed: Arc<Notify>,
    /// Notified when there may be new lines for the journal.
    pub filled: Arc<Notify>,
    /// The connection for reading.
    pub reader: ArcSwapOption<Link>,
    /// Messages that were written a moment ago.
    pub fresh: Fresh,
    /// Sends mail to shards that other nodes own.
    pub outgoing: Outgoing,
    /// The existing tables of mail in transit.
    pub in_transit: ArcSwap<Vec<i32>>,
    /// Octets that the spool takes in the database.
    pub disk_bytes: AtomicU64,
    /// Notified when this process is to stop.
    pub stopping: Notify,
    /// The other nodes that are alive, by name.
    pub others: ArcSwap<Vec<String>>,
    /// How this node's configuration of customers compares with that of the others.
    pub configuration: ArcSwapOption<Configuration>,
    is_stopping: AtomicBool,
    troubles: Mutex<BTreeMap<WritingTrouble, String>>,
    lacks: Mutex<BTreeMap<Lack, String>>,
    /// Until when this process may deliver, by its own clock.
    lease_ends: Mutex<Instant>,
    health: watch::Sender<Health>,
    stopped: OnceLock<String>,
}

impl Node {
    pub fn new(settings: Settings, instance: i64, joined: Joined, outgoing: Outgoing, lease_ends: Instant) -> Self {
        Node {
            settings: Arc::new(settings),
            instance,
            spool: joined.spool,
            shards: joined.shards.max(1),
            // Two nodes make different ids, and so do two processes of one node that run one after the other.
            ids: QueueIds::new(joined.number),
            changed: Arc::default(),
            filled: Arc::default(),
            reader: ArcSwapOption::empty(),
            fresh: Fresh::default(),
            outgoing,
            in_transit: ArcSwap::default(),
            disk_bytes: AtomicU64::new(0),
            stopping: Notify::new(),
            others: ArcSwap::default(),
            configuration: ArcSwapOption::empty(),
            is_stopping: AtomicBool::new(false),
            troubles: Mutex::default(),
            lacks: Mutex::default(),
            lease_ends: Mutex::new(lease_ends),
            health: watch::Sender::default(),
            stopped: OnceLock::new(),
        }
    }

    /// Returns the shard of a lane. All lanes of a customer are in one shard, so that one node has all of the customer's mail.
    pub fn shard_of(&self, lane: &Lane) -> u32 {
        self.shard_of_customer(&lane.customer)
    }

    /// Returns the shard of a customer.
    pub fn shard_of_customer(&self, customer: &CustomerId) -> u32 {
        crc32fast::hash(customer.as_str().as_bytes()) % self.shards
    }

    /// Returns a receiver of the spool's health.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Begins or ends one kind of trouble. Reports the first trouble that begins and the last that ends.
    pub fn set_trouble(&self, kind: WritingTrouble, why: Option<String>) {
        self.set_reason(
            &self.troubles,
            kind,
            why,
            |health| &mut health.troubled,
            |first| match first {
                Some(why) => self.settings.notices.tell(Notice::Failed { why }),
                None => {
                    self.settings.notices.tell(Notice::Recovered);
                    self.changed.notify_one();
                }
            },
        );
    }

    /// Begins or ends one reason to refuse new mail. Reports the first reason that begins and the last that ends.
    pub fn set_lack(&self, kind: Lack, why: Option<String>) {
        self.set_reason(
            &self.lacks,
            kind,
            why,
            |health| &mut health.full,
            |first| {
                self.settings.notices.tell(first.map_or(Notice::Roomy, |lack| Notice::Full { lack }));
            },
        );
    }

    /// Begins or ends one of several reasons, and shows the first of those that last in `part` of the health. Calls `report` with the
    /// first reason when it begins, and with `None` when the last has ended. The lock keeps reports in order.
    fn set_reason<K: Ord>(
        &self,
        reasons: &Mutex<BTreeMap<K, String>>,
        kind: K,
        why: Option<String>,
        part: fn(&mut Health) -> &mut Option<String>,
        report: impl FnOnce(Option<String>),
    ) {
        let mut reasons = reasons.lock().expect("nothing panics while it holds the reasons");
        let had_some = !reasons.is_empty();
        match why {
            Some(why) => drop(reasons.insert(kind, why)),
            None => drop(reasons.remove(&kind)),
        }
        let now = reasons.values().next().cloned();
        self.health.send_if_modified(|health| {
            let shown = part(health);
            let is_news = *shown != now;
            shown.clone_from(&now);
            is_news
        });
        if had_some != now.is_some() {
            report(now);
        }
    }

    /// Returns an error while new mail cannot be written.
    pub fn may_commit(&self) -> Result<(), Error> {
        self.may_work()?;
        let health = self.health.borrow();
        match (&health.full, &health.troubled) {
            (Some(lack), _) => Err(Error::Full { lack: lack.clone() }),
            (None, Some(why)) => Err(unwritten(why)),
            (None, None) => Ok(()),
        }
    }

    /// Returns an error if the spool has stopped.
    pub fn may_work(&self) -> Result<(), Error> {
        self.stopped().map_or(Ok(()), |why| Err(Error::Stopped(why)))
    }

    /// Returns an error while results cannot be recorded, or while another node may own this one's shards.
    pub fn may_deliver(&self) -> Result<(), Error> {
        self.may_work()?;
        match &self.health.borrow().troubled {
            Some(why) => Err(unwritten(why)),
            None if !self.has_lease() => Err(unwritten("the lease has ended, and another node may own the spool")),
            None => Ok(()),
        }
    }

    /// Sets until when this process may deliver.
    pub fn set_lease(&self, ends: Instant) {
        *self.lease_ends() = ends;
    }

    /// Returns true as long as no other node can own this node's shards.
    pub fn has_lease(&self) -> bool {
        Instant::now() < *self.lease_ends()
    }

    fn lease_ends(&self) -> MutexGuard<'_, Instant> {
        self.lease_ends.lock().expect("nothing panics while it holds the lease")
    }

    /// Returns why the spool has stopped, if it has.
    pub fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned()
    }

    /// Stops the spool until a restart.
    pub fn stop_with(&self, why: String) {
        if self.stopped.set(why.clone()).is_ok() {
            self.health.send_modify(|health| health.stopped = Some(why.clone()));
            self.settings.notices.tell(Notice::Stopped { why });
        }
    }

    /// Notes that this process is to stop.
    pub fn begin_to_stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Returns true if this process is to stop.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Records that everything is written and the connections are closed.
    pub fn closed(&self) {
        let _ = self.stopped.set("it was closed".into());
    }

    /// Returns the error of calls while the spool is stopping.
    pub fn stopping_error(&self) -> Error {
        Error::Stopped(self.stopped().unwrap_or_else(|| "it is stopping".into()))
    }
}

/// Returns the error of calls while the database cannot be written.
fn unwritten(why: &str) -> Error {
    Error::Io { what: "the spool's database cannot be written".into(), source: std::io::Error::other(why.to_owned()) }
}
