//! How the spool in PostgreSQL is set up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use zeroize::Zeroizing;

use super::Notice;
use crate::spool::{Carried, Counters};

/// Settings of the spool in PostgreSQL.
#[derive(Clone)]
pub struct Settings {
    /// The servers that may be the primary: names, addresses, or folders of a unix socket. The first that takes writes is used.
    pub hosts: Vec<String>,
    /// The port of every server.
    pub port: u16,
    /// The name of the database.
    pub database: String,
    /// The role to log in as.
    pub user: String,
    /// Its password. None where the server asks for none.
    pub password: Option<Zeroizing<String>>,
    /// The schema that holds the spool's tables: lower case letters, digits and underscores. It is made if it is absent.
    pub schema: String,
    /// How the server's certificate is checked. `None`: without TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name of this node. What it owns goes to nodes of other names once its lease has ended.
    pub node: String,
    /// How many nodes may be alive at once. All must say the same.
    pub nodes: u32,
    /// How many shards the spool gets when it is made.
    pub shards: u32,
    /// How long a node that is silent keeps its shards.
    pub lease: Duration,
    /// How long the server may take for a batch or a read before the connection is given up.
    pub timeout: Duration,
    /// The size in octets at which a segment is closed. A segment is given back as a whole.
    pub segment_size: u64,
    /// Above this size of the spool in the database new mail is refused. Queued mail still goes out.
    pub max_size: u64,
    /// How many synchronous standbys there must be.
    pub standbys: u32,
    /// True if a journal reads the [`Outbox`](crate::spool::Outbox). Then no segment is given back before the journal has confirmed what
    /// stands in it.
    pub has_journal: bool,
    /// Knows what must go from one owner of a customer to the next.
    pub carried: Option<Arc<dyn Carried>>,
    /// Hears what an operator must know, besides the log. It is called from the spool's thread, so it must not block.
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
            carried: None,
            notices: None,
            counters: Arc::default(),
        }
    }
}

/// Where the spool is, for people: never with the password.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { database, schema, hosts, port, .. } = self;
        write!(f, "database {database} (schema {schema}) at {} port {port}", hosts.join(", "))
    }
}

impl Settings {
    /// Tells whoever listens; the log only where nobody does, so that it says a thing once.
    pub(super) fn tell(&self, notice: Notice) {
        match &self.notices {
            Some(hear) => hear(notice),
            None => tracing::warn!("{notice}"),
        }
    }
}
