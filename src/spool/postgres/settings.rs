//! The settings of the spool in PostgreSQL.

use std::sync::Arc;

use crate::postgres::Server;
use crate::spool::{Carried, Counters, Notices};

/// Settings of the spool in PostgreSQL.
#[derive(Clone)]
pub struct Settings {
    /// Where the database is, and how to connect to it. Its schema is created if it is missing. After this node's lease has ended, nodes
    /// with other names may take its shards.
    pub server: Server,
    /// The most nodes that may be alive at once. All nodes must have the same number.
    pub nodes: u32,
    /// The number of shards that a new spool gets.
    pub shards: u32,
    /// The size in octets at which a segment is closed. A segment can only be deleted as a whole.
    pub segment_size: u64,
    /// The size of the spool in the database above which new mail is refused. Queued mail still goes out.
    pub max_size: u64,
    /// The number of synchronous standbys that must be present.
    pub standbys: u32,
    /// True if a journal reads the [`Outbox`](crate::spool::Outbox). Then no segment is deleted before the journal has confirmed its lines.
    pub has_journal: bool,
    /// True if the spool is opened to move mail from or to another spool. No node may be alive then, and no node starts with a spool that
    /// takes part in a move.
    pub for_move: bool,
    /// Provides the knowledge that must move with a customer to its next owner.
    pub carried: Option<Arc<dyn Carried>>,
    /// The receiver of messages to the operator.
    pub notices: Notices,
    /// Shared with the metrics registry.
    pub counters: Arc<Counters>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            server: Server::default(),
            nodes: 1,
            shards: 1,
            segment_size: 256 << 20,
            max_size: u64::MAX,
            standbys: 0,
            has_journal: false,
            for_move: false,
            carried: None,
            notices: Notices::default(),
            counters: Arc::default(),
        }
    }
}
