//! What the spool's tasks and the port's calls share.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, oneshot, watch};

use super::inbox::{Inbox, Item};
use super::link::Link;
use super::ownership::Taken;
use super::{Notice, Settings, read};
use crate::message::{QueueId, QueueIds};
use crate::spool::index::{Entry, Fact, Index, LogEntry, Place, Wanted};
use crate::spool::owner::{Guard, Leased, Owner};
use crate::spool::recent::Recent;
use crate::spool::{Error, Filter, Health};

/// What keeps the spool from recording results. Each has its own way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// The last batch was not confirmed.
    Writing,
    /// The lease could not be renewed.
    Lease,
    /// The database would not keep what it acknowledges.
    Preflight,
}

/// What keeps new mail out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lack {
    /// The server has no room.
    Disk,
    /// The spool has the size that the operator allows it.
    Quota,
}

/// The spool's common state. Locks are taken in the order index, inbox, and never the other way round.
pub(super) struct Shared {
    pub settings: Settings,
    pub ids: QueueIds,
    pub inbox: Inbox,
    /// This process's epoch as the owner, which goes up with each new connection of the committer.
    pub epoch: AtomicI64,
    /// Notified when something may have become due.
    pub changed: Arc<Notify>,
    /// The lines for the journal, known once the log was read.
    pub outbox: OnceLock<Recent>,
    /// The name of this spool, in positions of its outbox.
    pub name: String,
    /// The connection for reading.
    pub reader: ArcSwapOption<Link>,
    /// The segments that exist, with their octets. The last is the active one.
    pub segments: Mutex<BTreeMap<u32, u64>>,
    /// Octets that the spool takes in the database.
    pub disk_bytes: AtomicU64,
    index: Mutex<Index>,
    troubles: Mutex<BTreeMap<Trouble, String>>,
    lacks: Mutex<BTreeMap<Lack, String>>,
    /// Until when this process may deliver, by its own clock.
    lease_ends: Mutex<Instant>,
    health: watch::Sender<Health>,
    stopped: OnceLock<String>,
}

impl Shared {
    pub fn new(settings: Settings, taken: Taken, inbox: Inbox, lease_ends: Instant) -> Self {
        let Taken { epoch, spool, .. } = taken;
        Shared {
            settings,
            // Two owners that follow each other at once make different ids.
            ids: QueueIds::new(epoch as u16),
            inbox,
            epoch: AtomicI64::new(epoch),
            changed: Arc::default(),
            outbox: OnceLock::new(),
            name: spool,
            reader: ArcSwapOption::empty(),
            segments: Mutex::default(),
            disk_bytes: AtomicU64::new(0),
            index: Mutex::default(),
            troubles: Mutex::default(),
            lacks: Mutex::default(),
            lease_ends: Mutex::new(lease_ends),
            health: watch::Sender::default(),
            stopped: OnceLock::new(),
        }
    }

    /// Locks the index.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("nothing panics while it holds the index")
    }

    /// Locks the table of segments.
    pub fn segments(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.segments.lock().expect("nothing panics while it holds the segments")
    }

    /// The spool's health, kept up to date.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Begins or ends one kind of trouble, and tells of it if it is the first or the last.
    pub fn set_trouble(&self, kind: Trouble, why: Option<String>) {
        let mut troubles = self.troubles.lock().expect("nothing panics while it holds the troubles");
        let had_some = !troubles.is_empty();
        match why {
            Some(why) => drop(troubles.insert(kind, why)),
            None => drop(troubles.remove(&kind)),
        }
        let now = troubles.values().next().cloned();
        self.health.send_if_modified(|health| {
            let is_news = health.troubled != now;
            health.troubled.clone_from(&now);
            is_news
        });
        match now {
            Some(why) if !had_some => self.settings.tell(Notice::Failed { why }),
            None if had_some => {
                self.settings.tell(Notice::Recovered);
                self.changed.notify_one();
            }
            _ => {}
        }
    }

    /// Begins or ends one reason to refuse new mail.
    pub fn set_lack(&self, kind: Lack, why: Option<String>) {
        let mut lacks = self.lacks.lock().expect("nothing panics while it holds the lacks");
        let had_some = !lacks.is_empty();
        match why {
            Some(why) => drop(lacks.insert(kind, why)),
            None => drop(lacks.remove(&kind)),
        }
        let now = lacks.values().next().cloned();
        self.health.send_if_modified(|health| {
            let is_news = health.full != now;
            health.full.clone_from(&now);
            is_news
        });
        match now {
            Some(lack) if !had_some => self.settings.tell(Notice::Full { lack }),
            None if had_some => self.settings.tell(Notice::Roomy),
            _ => {}
        }
    }

    /// Refuses new mail while it cannot be written.
    pub fn may_commit(&self) -> Result<(), Error> {
        self.may_work()?;
        let health = self.health.borrow();
        match (&health.full, &health.troubled) {
            (Some(lack), _) => Err(Error::Full { lack: lack.clone() }),
            (None, Some(why)) => Err(unwritten(why)),
            (None, None) => Ok(()),
        }
    }

    /// Sets until when this process may deliver.
    pub fn set_lease(&self, ends: Instant) {
        *self.lease_ends.lock().expect("nothing panics while it holds the lease") = ends;
    }

    /// Returns true as long as no other node can own the spool.
    pub fn has_lease(&self) -> bool {
        Instant::now() < *self.lease_ends.lock().expect("nothing panics while it holds the lease")
    }

    /// Why the spool takes no more work, if that is so.
    pub fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned()
    }

    /// Takes no more work until a restart.
    pub fn stop_with(&self, why: String) {
        if self.stopped.set(why.clone()).is_ok() {
            self.health.send_modify(|health| health.stopped = Some(why.clone()));
            self.settings.tell(Notice::Stopped { why });
        }
    }

    /// Everything is written, and the connections are closed.
    pub fn closed(&self) {
        let _ = self.stopped.set("it was closed".into());
    }

    /// Has a fact written, in order, and waits until that is done. The caller holds the index, so that the order there is the order in
    /// the log.
    pub fn written(
        &self,
        _index: &mut Index,
        entry: LogEntry,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let pushed = self.inbox.push([Item::Fact(entry, Some(reply))]).map_err(|_| self.stopping());
        let stopping = self.stopping();
        async move {
            pushed?;
            answer.await.unwrap_or(Err(stopping))
        }
    }

    /// Holds a message that does not match its checksum, and tells of it.
    pub fn hold_damaged(&self, id: QueueId, why: &str) {
        let reason: Arc<str> = format!("it cannot be read from the spool: {why}").into();
        let mut index = self.index();
        if index.get(id).is_some_and(|entry| !entry.held()) {
            index.hold(id, &reason);
            self.record(&mut index, vec![LogEntry::silent(id, Fact::Hold(reason))]);
            drop(index);
            self.settings.counters.quarantined.inc();
            self.settings.tell(Notice::Damaged { id, why: why.to_owned() });
        }
    }

    /// What a call hears once the spool is stopping.
    pub fn stopping(&self) -> Error {
        Error::Stopped(self.stopped().unwrap_or_else(|| "it is stopping".into()))
    }

    /// The lines for the journal.
    pub fn outbox(&self) -> &Recent {
        // Whoever asks before the log is read has nothing to hear yet.
        self.outbox.get_or_init(|| Recent::new(self.settings.has_journal, (Place::default(), 0)))
    }

    /// Octets that the spool takes in the database.
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }
}

/// What is refused while the database cannot be written.
fn unwritten(why: &str) -> Error {
    Error::Io { what: "the spool's database cannot be written".into(), source: io::Error::other(why.to_owned()) }
}

impl Owner for Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        Shared::index(self)
    }

    fn changed(&self) -> &Notify {
        &self.changed
    }

    fn may_work(&self) -> Result<(), Error> {
        self.stopped().map_or(Ok(()), |why| Err(Error::Stopped(why)))
    }

    fn may_deliver(&self) -> Result<(), Error> {
        self.may_work()?;
        match &self.health.borrow().troubled {
            Some(why) => Err(unwritten(why)),
            None if !self.has_lease() => Err(unwritten("the lease has ended, and another node may own the spool")),
            None => Ok(()),
        }
    }

    fn record(&self, _index: &mut Index, facts: Vec<LogEntry>) {
        let items = facts.into_iter().map(|entry| Item::Fact(entry, None));
        if self.inbox.push(items).is_err() {
            // This happens only after stop(). Nothing is delivered any more by then.
            tracing::error!("changes came after the spool was stopped and are not recorded");
        }
    }

    async fn synced(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.inbox.push([Item::Barrier(reply)]).map_err(|_| self.stopping())?;
        answer.await.unwrap_or_else(|_| Err(self.stopping()))
    }

    async fn in_domain(self: &Arc<Self>, filter: &Filter, found: Vec<Entry>) -> Result<Vec<QueueId>, Error> {
        read::in_domain(self, filter, found).await
    }

    async fn read_leases(self: &Arc<Self>, wanted: Vec<(Wanted, Guard<Self>)>) -> Result<Leased, Error> {
        read::leases(self, wanted).await
    }
}
