//! The state of one shard, shared by its tasks and the port's calls.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::oneshot;

use super::inbox::{Inbox, Item, Request};
use super::node::Node;
use super::ownership::TakenShard;
use super::schema;
use crate::message::QueueId;
use crate::spool::index::{Fact, Index, LogEntry, Place};
use crate::spool::owner::Owner;
use crate::spool::recent::Recent;
use crate::spool::{Error, Notice};

/// A shard that this process owns. Locks are taken in the order index, segments, inbox, and never the other way round.
pub(super) struct Shared {
    /// The process that owns the shard.
    pub node: Arc<Node>,
    pub number: u32,
    pub inbox: Inbox,
    /// This process's epoch as the owner. It grows with each new connection of the committer.
    pub epoch: AtomicI64,
    /// The recent lines for the journal, set after the log was read.
    pub outbox: OnceLock<Recent>,
    /// The place up to which a journal had the lines when this process took the shard.
    pub told: Place,
    /// The existing segments with their octets. The last one is active.
    segments: Mutex<BTreeMap<u32, u64>>,
    index: Mutex<Index>,
    /// True if the shard is about to be handed over, so that nothing more is leased.
    is_leaving: AtomicBool,
    is_closed: AtomicBool,
    /// This shard's part of the gauge of records.
    counted: AtomicU64,
}

impl Deref for Shared {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Shared {
    pub fn new(node: Arc<Node>, number: u32, taken: &TakenShard, inbox: Inbox) -> Self {
        Shared {
            node,
            number,
            inbox,
            epoch: AtomicI64::new(taken.epoch),
            outbox: OnceLock::new(),
            told: taken.told,
            segments: Mutex::default(),
            index: Mutex::default(),
            is_leaving: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            counted: AtomicU64::new(0),
        }
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("nothing panics while it holds the index")
    }

    /// Locks the table of segments.
    pub fn segments(&self) -> MutexGuard<'_, BTreeMap<u32, u64>> {
        self.segments.lock().expect("nothing panics while it holds the segments")
    }

    /// Returns the name of a segment's table.
    pub fn table(&self, segment: u32) -> String {
        schema::segment(&self.settings.server.schema, self.number, segment)
    }

    /// Updates the gauge of records.
    pub fn count_records(&self, records: u64) {
        let before = self.counted.swap(records, Ordering::Relaxed);
        self.settings.counters.records.inc_by(records.cast_signed() - before.cast_signed());
    }

    /// Stops leasing, or allows it again. This takes the lock under which records are leased, so no lease is being made when it returns.
    pub fn set_leaving(&self, is_leaving: bool) {
        let _index = self.index();
        self.is_leaving.store(is_leaving, Ordering::Release);
    }

    /// Returns true if the shard is about to be handed over, or this process no longer owns it.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire) || self.is_closed()
    }

    /// Records that everything is written and another node may own the shard.
    pub fn closed(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Returns true if this process no longer owns the shard.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Queues a fact to be written in order, and waits until it is written. The caller holds the index's lock, so that the order there is
    /// the order in the log.
    pub fn written(
        &self,
        _index: &mut Index,
        entry: LogEntry,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let pushed =
            self.inbox.push([Request::Write(Item::Change(entry, Some(reply)))]).map_err(|_| self.stopping_error());
        let stopping = self.stopping_error();
        async move {
            pushed?;
            answer.await.unwrap_or(Err(stopping))
        }
    }

    /// Holds a message that does not match its checksum, and reports it.
    pub fn hold_damaged(&self, id: QueueId, why: &str) {
        let reason: Arc<str> = format!("it cannot be read from the spool: {why}").into();
        let mut index = self.index();
        if index.get(id).is_some_and(|entry| !entry.held()) {
            index.hold(id, &reason);
            self.record(&mut index, vec![LogEntry::silent(id, Fact::Hold(reason))]);
            drop(index);
            self.settings.counters.quarantined.inc();
            let why = format!("its content does not match what was written ({why})");
            self.settings.notices.tell(Notice::Held { id, why });
        }
    }

    /// Returns the recent lines for the journal.
    pub fn outbox(&self) -> &Recent {
        // Before the log is read, there are no lines yet.
        self.outbox.get_or_init(|| Recent::new(self.settings.has_journal, (Place::default(), 0)))
    }
}
