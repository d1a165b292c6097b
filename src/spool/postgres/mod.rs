//! The spool in PostgreSQL: append-only logs in tables, shared by several nodes.
//!
//! The spool has shards. All mail of a customer is in one shard. Each shard has a log and one owner, which keeps the index, lanes and due
//! times in memory, as the embedded spool does. The database stores the log: rows are inserted with COPY, many messages per transaction,
//! and are never changed. A table with one row per job that is updated and deleted would bloat as soon as something holds an old snapshot.
//! A message that is tried soon after it was written is not read back (`fresh`).
//!
//! # States in the database
//!
//! A segment is a table. Its rows are numbered, and so are the segments of a shard. A message is one row with its content, or several rows
//! if its content is longer than a chunk. Each later event of the message is a row behind it.
//!
//! | a message is | by | a crash at that point leaves | the next start |
//! |---|---|---|---|
//! | absent | | nothing | does nothing |
//! | in transit | a node that does not own its shard (`transit`) | the message | the shard's owner moves it to its log |
//! | being written | the committer, before its commit is confirmed | all of it or nothing | treats it as waiting if it is there: the client got 451, and may send it again |
//! | refused with an unknown outcome | the committer | the message, if it was committed and not removed yet | treats it as waiting |
//! | waiting, never tried | a commit | the message | treats it as waiting. It is due at the time of the second attempt, which the commit recorded; after a clean stop it is due at once |
//! | leased, first attempt | a claim, in memory only | the message as before | as before: the attempt may be made twice |
//! | leased, later attempt | a claim, after the next due time is committed | the message with that due time | waits until then |
//! | partly settled, deferred or settled | a settlement, answered after it is committed | that state | applies it |
//! | held, released, expedited | an operator's call, answered after it is committed | the row | applies it |
//! | copied forward | the keeper, when more than half of the space is settled mail | two copies, the later one with the present state | replaces the earlier copy by the later one |
//! | in a dropped segment | the keeper, oldest segment first, after nobody waits in it, the results of its mail are committed, and the journal has its lines | the segment, or nothing | as before |
//! | damaged | the database | rows that do not match their checksum | loads it; it is held when it is read |
//!
//! # Who may write
//!
//! Only a shard's owner writes to its log (`ownership`). The nodes that are alive determine which node owns which shard (`placement`,
//! `membership`). If a node accepts mail for another node's shard, it makes the mail durable in a table of its own (`transit`).
//!
//! # Threads
//!
//! One thread of the spool drives all connections: a writer's for each shard, and for each process one for reading, one that renews the
//! lease, one that deletes segments, one for mail in transit, and one for what moves with customers (`carrier`).

mod carrier;
mod committer;
mod fresh;
mod inbox;
mod keeper;
mod leases;
mod link;
mod mark;
mod membership;
mod moving;
mod node;
mod note;
mod outbox;
mod outgoing;
mod overview;
mod owner;
mod ownership;
mod placement;
mod port;
mod position;
mod preflight;
mod read;
mod recovery;
mod rows;
mod schema;
mod settings;
mod shards;
mod shared;
mod transit;

use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use self::link::{Failure, Link, in_time};
use self::membership::Membership;
use self::node::Node;
use self::outgoing::{Departure, Outgoing};
use self::shards::Shards;
use super::moving::Mark;
use crate::machine;

pub use self::overview::{NodeStatus, Overview, ShardStatus, overview};
pub use self::settings::Settings;

/// A migration may take so many times the time of any other request.
const MIGRATION: u32 = 6;

/// The spool of one node in a database. Dropping it stops it like [`Spool::stop`](super::Spool::stop).
pub struct Postgres {
    node: Arc<Shards>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// In a simulation a task takes the thread's place.
    #[cfg(test)]
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// Why a spool cannot be opened. The operator must act.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The database cannot be reached, or refused a request.
    #[error("{what}: {why}")]
    Database {
        /// The operation that failed.
        what: String,
        /// The error of the database or the system.
        why: String,
    },
    /// The database might lose mail, or this program may not use it.
    #[error("{place} cannot hold the spool: {}", wrong.join("; "))]
    Unfit {
        /// The database, as its host, port and name.
        place: String,
        /// The problems, each with its remedy.
        wrong: Vec<String>,
    },
    /// The maximum number of nodes already works on the spool.
    #[error(
        "{place} is in use: {nodes} is alive, and its lease ends in {left:.0} s at the earliest. [spool.postgres] nodes allows {most} at a \
         time; stop one, or start this one again once one is dead"
    )]
    InUse {
        /// The database, as its host, port and name.
        place: String,
        /// The nodes that are alive.
        nodes: String,
        /// Seconds until the first of their leases ends, unless it is renewed.
        left: f64,
        /// The maximum number of nodes.
        most: u32,
    },
    /// Another node has another number of nodes in its configuration. The caps of shared routes are divided by that number.
    #[error(
        "{place}: node {node} is alive and has [spool.postgres] nodes = {theirs}, and this one has {ours}. The caps of routes that \
         customers share are divided by it, so all nodes must have the same; stop them all, change it everywhere, and start them"
    )]
    OtherCount {
        /// The database, as its host, port and name.
        place: String,
        /// The node with the other number.
        node: String,
        /// The number of nodes that the other one expects.
        theirs: u32,
        /// The number of nodes that this one expects.
        ours: u32,
    },
    /// The spool is to be moved, but nodes work on it.
    #[error(
        "{place} is in use: {nodes} is alive. Stop every node before its mail is moved. One that died counts until its lease ends, in \
         {left:.0} s"
    )]
    Running {
        /// The database, as its host, port and name.
        place: String,
        /// The nodes that are alive.
        nodes: String,
        /// Seconds until the last of their leases ends, unless it is renewed.
        left: f64,
    },
    /// The spool takes part in a move.
    #[error("{place} cannot be used now: {mark}")]
    Moving {
        /// The database, as its host, port and name.
        place: String,
        /// What it says of the move.
        mark: Box<Mark>,
    },
    /// Somebody begins or ends a move of the spool at this moment.
    #[error("{place} cannot be used now: `postbud spool move` works on it. Wait until it has ended")]
    InMove {
        /// The database, as its host, port and name.
        place: String,
    },
    /// The tables are from a newer version of this program.
    #[error(
        "{place} has tables of version {found}, and this program reads version {known}. Start the postbud that wrote them"
    )]
    OtherFormat {
        /// The database, as its host, port and name.
        place: String,
        /// The version found there.
        found: i32,
        /// The version of this program.
        known: i32,
    },
    /// The system cannot start a thread.
    #[error("starting the spool's thread: {0}")]
    Thread(#[source] io::Error),
}

/// The parts of a process after the spool is open.
struct Opened {
    node: Arc<Shards>,
    membership: Arc<Membership>,
    outgoing: UnboundedReceiver<Departure>,
}

impl Postgres {
    /// Opens the spool, and creates its tables if they are missing. Blocks while the logs of this node's shards are read.
    pub fn open(settings: Settings) -> Result<Arc<Postgres>, OpenError> {
        let (send, opened) = mpsc::sync_channel(1);
        let work = move || match runtime() {
            Err(error) => drop(send.send(Err(OpenError::Thread(error)))),
            Ok(runtime) => runtime.block_on(async move {
                match open(settings).await {
                    Err(error) => drop(send.send(Err(error))),
                    Ok(opened) => {
                        let _ = send.send(Ok(Arc::clone(&opened.node)));
                        run(opened).await;
                    }
                }
            }),
        };
        let thread =
            std::thread::Builder::new().name("spool-postgres".into()).spawn(work).map_err(OpenError::Thread)?;
        let panicked = || OpenError::Thread(io::Error::other("it ended at once"));
        let node = opened.recv().map_err(|_| panicked())??;
        Ok(Arc::new(Postgres {
            node,
            thread: Mutex::new(Some(thread)),
            #[cfg(test)]
            task: Mutex::default(),
        }))
    }

    /// The same on this thread's runtime, for a simulation of several nodes.
    #[cfg(test)]
    pub async fn open_here(settings: Settings) -> Result<Arc<Postgres>, OpenError> {
        let opened = open(settings).await?;
        let node = Arc::clone(&opened.node);
        let task = Mutex::new(Some(tokio::spawn(run(opened))));
        Ok(Arc::new(Postgres { node, thread: Mutex::default(), task }))
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().expect("nothing panics while it holds the thread").take()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.node.stop();
        self.take_thread().into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Connects, checks the database, joins the nodes, and takes this node's shards.
async fn open(mut settings: Settings) -> Result<Opened, OpenError> {
    if settings.for_move {
        settings.server.node = mark::NODE.into();
    }
    let place = settings.server.to_string();
    let failed =
        |what: &str, failure: Failure| OpenError::Database { what: format!("{what} {place}"), why: failure.why };
    if !is_schema_name(&settings.server.schema) {
        return Err(failed("using", Failure::new("the schema's name is not one")));
    }
    let link = Link::open(&settings, "start").await.map_err(|failure| failed("connecting to", failure))?;
    let limit = settings.server.timeout;
    let wrong =
        in_time(limit, preflight::check(&link, &settings)).await.map_err(|failure| failed("asking", failure))?;
    if !wrong.is_empty() {
        return Err(OpenError::Unfit { place, wrong });
    }
    let late = |_| failed("preparing", Failure::late(limit * MIGRATION));
    tokio::time::timeout(limit * MIGRATION, schema::migrate(&link, &settings)).await.map_err(late)??;
    let instance: i64 = machine::random();
    let asked = Instant::now();
    let late = |_| failed("joining", Failure::late(limit));
    let joined = tokio::time::timeout(limit, ownership::join(&link, &settings, instance)).await.map_err(late)??;
    let (way, outgoing) = Outgoing::new();
    let lease_end = leases::lease_end(asked, settings.server.lease);
    let node = Node::new(settings, instance, joined, way, lease_end);
    let node = Arc::new(Shards::new(Arc::new(node)));
    let reader = Link::open(&node.settings, "reader").await.map_err(|failure| failed("connecting to", failure))?;
    node.reader.store(Some(Arc::new(reader)));
    let membership = Membership::new(Arc::clone(&node));
    let first = in_time(limit, membership.first(&link)).await.map_err(|failure| failed("reading", failure))?;
    // Reading may take longer than a lease, so the lease is renewed meanwhile.
    let lease = tokio::spawn(Arc::clone(&membership).keep());
    let begun = membership.begin(first).await;
    lease.abort();
    let _ = lease.await;
    begun.map_err(|failure| failed("reading", failure))?;
    Ok(Opened { node, membership, outgoing })
}

/// Runs until the spool is stopped.
async fn run(opened: Opened) {
    let Opened { node, membership, outgoing } = opened;
    let _guard = StopsOnPanic(Arc::clone(&node));
    let background = [
        tokio::spawn(keeper::keep_reader(Arc::clone(&node.node))),
        tokio::spawn(Arc::clone(&membership).keep()),
        tokio::spawn(keeper::keep_space(Arc::clone(&node))),
        tokio::spawn(transit::watch(Arc::clone(&node.node))),
        tokio::spawn(carrier::run(Arc::clone(&node))),
    ];
    let departures = tokio::spawn(transit::write(Arc::clone(&node.node), outgoing));
    node.stopping.notified().await;
    // Both end after everything on its way is written.
    let _ = departures.await;
    membership.end().await;
    for task in background {
        task.abort();
        let _ = task.await;
    }
    node.reader.store(None);
    node.closed();
}

/// Stops the spool if its thread panics, so that nobody waits for the thread.
struct StopsOnPanic(Arc<Shards>);

impl Drop for StopsOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_with("the spool's thread panicked".into());
        }
        self.0.stop();
    }
}

/// Returns true if this is a legal schema name: a lower-case letter, then letters, digits and underscores, 40 characters at most. The name
/// is inserted into SQL without quotes.
pub fn is_schema_name(name: &str) -> bool {
    let is_inner = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_';
    name.len() <= 40 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(is_inner)
}

/// Checks the database without joining the spool. Returns the problems, each with its remedy. Blocks.
pub fn check(settings: &Settings) -> Vec<String> {
    let asked = block_on(settings, async {
        let link = Link::open(settings, "check").await?;
        let mut wrong = preflight::check(&link, settings).await?;
        // A pooler that shares sessions shows only at a second connection.
        let _second = Link::open(settings, "check").await?;
        if wrong.is_empty() {
            wrong.extend(schema::check_version(&link, settings).await?.map(|error| error.to_string()));
        }
        Ok(wrong)
    });
    asked.unwrap_or_else(|failure| vec![format!("{} cannot be used: {}", settings.server, failure.why)])
}

/// Runs a future on a thread of its own, because the caller may be inside a runtime. A server that does not answer makes it fail.
fn block_on<T: Send>(settings: &Settings, ask: impl Future<Output = Result<T, Failure>> + Send) -> Result<T, Failure> {
    let ask = in_time(settings.server.timeout * 2, ask);
    let run = || runtime().map_err(|error| Failure::new(error.to_string()))?.block_on(ask);
    let asked = std::thread::scope(|scope| scope.spawn(run).join());
    asked.unwrap_or_else(|_| Err(Failure::new("asking it panicked")))
}
