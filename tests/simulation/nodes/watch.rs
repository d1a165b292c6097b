//! Sees every lease that a node's spool gives to its queue: whether the node may begin an attempt, and what the spool has recorded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::database::Database;
use super::world::SHARDS;
use crate::message::QueueId;
use crate::simulation::book::Book;
use crate::simulation::decoys::InMemory;
use crate::simulation::faults::Fault;
use crate::simulation::machine::Clock;
use crate::spool::{Bytes, Error, Lease, LeaseGuard, Pending, ReadChunk, RecipientState, Settlement};

/// A recipient of a message.
pub type Relayed = (QueueId, String);

pub struct Watch {
    pub node: usize,
    pub book: Arc<Book>,
    pub clock: Arc<Clock>,
    pub database: Arc<Database>,
    pub fault: Option<Fault>,
    /// The spool's leases, while the queue has others in their place.
    pub leases: Mutex<BTreeMap<QueueId, Weak<Mutex<Option<Lease>>>>>,
}

impl Watch {
    fn leases(&self) -> MutexGuard<'_, BTreeMap<QueueId, Weak<Mutex<Option<Lease>>>>> {
        self.leases.lock().expect("nothing panics while it holds the leases")
    }

    /// Makes the lease that the queue gets in place of the spool's.
    pub fn leased(self: &Arc<Self>, mut lease: Lease) -> Lease {
        let record = lease.record.clone();
        let bytes = std::mem::replace(&mut lease.bytes, Bytes::new(Vec::new(), 0, 0, Arc::new(InMemory(Vec::new()))));
        let shard = crc32fast::hash(record.lane.customer.as_str().as_bytes()) % SHARDS;
        let waiting = record.waiting().map(|(_, recipient)| (record.id, recipient.address.to_string())).collect();
        let bytes = match self.fault {
            Some(Fault::SendsAfterLease) => {
                let (prefix, header_len, content_len) = (bytes.prefix.clone(), bytes.header_len, bytes.content_len);
                Bytes::new(prefix, header_len, content_len, Arc::new(Unasked(bytes)))
            }
            _ => bytes,
        };
        let own = Arc::new(Mutex::new(Some(lease)));
        let mut leases = self.leases();
        leases.retain(|_, own| own.strong_count() > 0);
        leases.insert(record.id, Arc::downgrade(&own));
        let watch = Arc::clone(self);
        Lease::new(record, bytes, Box::new(Seen { watch, shard, waiting, own, has_begun: Mutex::new(false) }))
    }

    /// Returns the spool's own lease.
    pub fn given_back(&self, lease: Lease) -> Lease {
        let own = self.leases().remove(&lease.record.id).and_then(|own| own.upgrade());
        own.and_then(|own| own.lock().expect("nothing panics while it holds a lease").take()).unwrap_or(lease)
    }

    /// The recipients whom a settlement says to be relayed.
    pub fn relayed(&self, lease: &Lease, settlement: &Settlement) -> Vec<Relayed> {
        let relayed = settlement.results.iter().filter(|(_, state)| matches!(state, RecipientState::Relayed { .. }));
        let recipients = &lease.record.envelope.recipients;
        relayed.map(|(index, _)| (lease.record.id, recipients[*index].address.to_string())).collect()
    }

    /// The spool has recorded that these were relayed.
    pub fn recorded(&self, relayed: Vec<Relayed>) {
        for (id, address) in relayed {
            self.book.note(self.clock.now(), &format!("node{} has recorded {id} for {address}", self.node));
            self.book.facts().recorded.insert((id, address));
        }
    }

    /// The queue may begin a transaction.
    fn may_begin(&self, seen: &Seen) {
        let (now, node) = (self.clock.now(), self.node);
        let Some((id, _)) = seen.waiting.first() else { return };
        let owner = self.database.server().owner(seen.shard).to_owned();
        let mut has_begun = seen.has_begun.lock().expect("nothing panics while it holds this");
        if !std::mem::replace(&mut *has_begun, true) {
            self.book.note(now, &format!("node{node} tries {id}"));
        }
        if owner != format!("node{node}") {
            let seen = format!("node{node} may try {id}, and \"{owner}\" owns it");
            self.book.wrong(now, "one owner", seen);
        }
        let recorded = |relayed: &&Relayed| self.book.facts().recorded.contains(*relayed);
        if let Some((id, address)) = seen.waiting.iter().find(recorded) {
            let seen = format!("node{node} tries {id} for {address}, which was recorded as relayed");
            self.book.wrong(now, "recorded is recorded", seen);
        }
    }
}

/// Content of which nobody asks whether it may still be sent.
struct Unasked(Bytes);

impl ReadChunk for Unasked {
    fn chunks(&self) -> usize {
        self.0.chunks()
    }

    fn read(self: Arc<Self>, index: usize) -> Pending<Result<Vec<u8>, Error>> {
        Box::pin(async move { self.0.chunk(index).await })
    }
}

/// Guards a lease that the queue has in place of the spool's, which ends with it.
struct Seen {
    watch: Arc<Watch>,
    shard: u32,
    waiting: Vec<Relayed>,
    own: Arc<Mutex<Option<Lease>>>,
    has_begun: Mutex<bool>,
}

impl LeaseGuard for Seen {
    fn settled(&mut self) {}

    fn stands(&self) -> bool {
        let own = self.own.lock().expect("nothing panics while it holds a lease");
        let stands = own.as_ref().is_some_and(Lease::stands) || self.watch.fault == Some(Fault::IgnoresLease);
        if stands {
            self.watch.may_begin(self);
        }
        stands
    }
}
