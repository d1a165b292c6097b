//! The node with the shards that it owns.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, RwLock};

use super::node::{Lack, Node, WritingTrouble};
use super::shared::Shared;

/// The node's common state, and its shards.
pub(super) struct Shards {
    pub node: Arc<Node>,
    open: RwLock<BTreeMap<u32, Arc<Shared>>>,
}

impl Deref for Shards {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Shards {
    pub fn new(node: Arc<Node>) -> Self {
        Shards { node, open: RwLock::default() }
    }

    /// Returns a shard, if this process owns it.
    pub fn shard(&self, number: u32) -> Option<Arc<Shared>> {
        self.open.read().expect("nothing panics while it holds the shards").get(&number).cloned()
    }

    /// Returns the shards that this process owns, in order.
    pub fn all(&self) -> Vec<Arc<Shared>> {
        self.open.read().expect("nothing panics while it holds the shards").values().cloned().collect()
    }

    /// Adds a shard that was taken, after its log was read.
    pub fn opened(&self, shard: Arc<Shared>) {
        self.open.write().expect("nothing panics while it holds the shards").insert(shard.number, shard);
        self.changed.notify_one();
        self.filled.notify_one();
    }

    /// Removes a shard that was given up. After a stop, its state in memory can still be read.
    pub fn gave_up(&self, shard: &Shared) {
        shard.closed();
        self.set_trouble(WritingTrouble::Writing(shard.number), None);
        self.set_lack(Lack::Disk(shard.number), None);
        if !self.is_stopping() {
            self.open.write().expect("nothing panics while it holds the shards").remove(&shard.number);
            shard.count_records(0);
        }
    }

    /// Accepts no more mail. Accepted mail is still written.
    pub fn stop(&self) {
        self.begin_to_stop();
        self.all().iter().for_each(|shard| shard.inbox.stop());
        self.outgoing.stop();
        self.stopping.notify_one();
    }
}
