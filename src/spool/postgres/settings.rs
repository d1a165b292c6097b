//! The settings of the spool in PostgreSQL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use zeroize::Zeroizing;

use super::Notice;
use crate::postgres::Server;
use crate::spool::{Carried, Counters};

/// Settings of the spool in PostgreSQL.
#[derive(Clone)]
pub struct Settings {
    /// The servers, one of which is the primary: names, addresses, or folders of Unix sockets. The first one that accepts writes is used.
    pub hosts: Vec<String>,
    /// The port of every server.
    pub port: u16,
    /// The name of the database.
    pub database: String,
    /// The database role that logs in.
    pub user: String,
    /// The role's password; `None` if the server asks for none.
    pub password: Option<Zeroizing<String>>,
    /// The schema for the spool's tables: lower-case letters, digits and underscores. It is created if it is missing.
    pub schema: String,
    /// How the server's certificate is checked; `None` for no TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name of this node. After its lease has ended, nodes with other names may take its shards.
    pub node: String,
    /// The most nodes that may be alive at once. All nodes must have the same number.
    pub nodes: u32,
    /// The number of shards that a new spool gets.
    pub shards: u32,
    /// How long a silent node keeps its shards.
    pub lease: Duration,
    /// The time limit for a batch or a read. After that the connection is dropped.
    pub timeout: Duration,
    /// The size in octets at which a segment is closed. A segment can only be deleted as a whole.
    pub segment_size: u64,
    /// The size of the spool in the database above which new mail is refused. Queued mail still goes out.
    pub max_size: u64,
    /// The number of synchronous standbys that must be present.
    pub standbys: u32,
    /// True if a journal reads the [`Outbox`](crate::spool::Outbox). Then no segment is deleted before the journal has confirmed its lines.
    pub has_journal: bool,
    /// True for whoever moves the mail to another spool or here: no node may be alive then. No node starts with a spool that takes part
    /// in a move.
    pub for_move: bool,
    /// Provides the knowledge that must move with a customer to its next owner.
    pub carried: Option<Arc<dyn Carried>>,
    /// Called with messages to the operator; `None` writes them to the log. It is called from the spool's thread, so it must not block.
    pub notices: Option<Arc<dyn Fn(Notice) + Send + Sync>>,
    /// Shared with the metrics registry.
    pub counters: Arc<Counters>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            hosts: vec!["/var/run/postgresql".into()],
            port: 5432,
            database: "postbud".into(),
            user: "postbud".into(),
            password: None,
            schema: "postbud".into(),
            tls: None,
            node: "postbud".into(),
            nodes: 1,
            shards: 1,
            lease: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
            segment_size: 256 << 20,
            max_size: u64::MAX,
            standbys: 0,
            has_journal: false,
            for_move: false,
            carried: None,
            notices: None,
            counters: Arc::default(),
        }
    }
}

/// Shows where the spool is, never with the password.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server().fmt(f)
    }
}

impl Settings {
    /// Returns the part of these settings that a connection needs.
    pub fn server(&self) -> Server {
        Server {
            hosts: self.hosts.clone(),
            port: self.port,
            database: self.database.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            schema: self.schema.clone(),
            tls: self.tls.clone(),
            node: self.node.clone(),
            timeout: self.timeout,
            lease: self.lease,
        }
    }

    /// Passes a notice to the listener, or to the log if there is none, so that it appears once.
    pub(super) fn tell(&self, notice: Notice) {
        match &self.notices {
            Some(hear) => hear(notice),
            None => tracing::warn!("{notice}"),
        }
    }
}
