//! The spool in PostgreSQL: an append-only log in tables, owned by one node at a time.
//!
//! The owner keeps index, lanes and due times in memory, as the embedded spool does. The database is the log: rows are inserted by COPY,
//! many messages a transaction, and never changed. A row per job that is updated and deleted would bloat as soon as something holds an
//! old snapshot.
//!
//! # States in the database
//!
//! A segment is a table. Its rows are numbered, and the segments are. A message is one row, with its content, or several if its content
//! is longer than a chunk. What happens to it later is a row behind it.
//!
//! | a message is | put there by | a crash at that point leaves | the next start |
//! |---|---|---|---|
//! | absent | | nothing | does nothing |
//! | being written | the committer, before its commit is confirmed | all of it or nothing | takes it as waiting if it is there: the client heard 451, and may send it again |
//! | refused with an unknown outcome | the committer | the message, if the commit came through and was not taken back yet | takes it as waiting |
//! | waiting, never tried | a commit | the message | takes it. It is due when the commit said that the second attempt would be; after a stop in good order at once |
//! | leased, first attempt | a claim, in memory only | the message as before | does as before: the attempt may be made twice |
//! | leased, later attempt | a claim, once the next due time is committed | the message with that due time | waits until then |
//! | settled in part, deferred or settled | a settlement, answered once it is committed | that state | takes it so |
//! | held, released, expedited | an operator's call, answered once it is committed | the row | takes it so |
//! | copied forward | the keeper, when more than half of the space is settled mail | two copies, the later one with the present state | replaces the earlier one by the later |
//! | in a dropped segment | the keeper, oldest segment first, once nobody waits in it and the journal has what it tells | the segment, or nothing | as before |
//! | damaged | the database | rows that do not match their checksum | takes it; it is held as soon as it is read |
//!
//! # Who may write
//!
//! One node owns the spool (`ownership`). A second node is refused until the first has stopped or its lease has ended.
//!
//! # Threads
//!
//! All connections are driven by one thread of the spool's own: the writer's, the reader's, one that renews the lease and one that gives
//! back space.

mod committer;
mod inbox;
mod keeper;
mod link;
mod note;
mod notice;
mod outbox;
mod ownership;
mod port;
mod preflight;
mod read;
mod recovery;
mod rows;
mod schema;
mod settings;
mod shared;
mod tls;

use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use thiserror::Error;

use self::committer::Committer;
use self::inbox::Inbox;
use self::link::{Failure, Link};
use self::shared::Shared;

pub use self::notice::Notice;
pub use self::settings::Settings;
pub use self::tls::client_config;

/// The spool of one node in a database. Dropping it stops it as [`Spool::stop`](super::Spool::stop) does.
pub struct Postgres {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Why a spool cannot be opened. The operator must act.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The database cannot be reached, or refuses something.
    #[error("{what}: {why}")]
    Database {
        /// What was being done.
        what: String,
        /// What the database or the system says.
        why: String,
    },
    /// The database would lose mail, or this program may not use it.
    #[error("{place} cannot hold the spool: {}", wrong.join("; "))]
    Unfit {
        /// Which database.
        place: String,
        /// What is wrong, each with its remedy.
        wrong: Vec<String>,
    },
    /// Another node owns the spool.
    #[error(
        "{place} is owned by node {node}, which is alive: its lease ends in {left:.0} s at the earliest. One node works on a spool at a \
         time; stop that one first, or start this one again once it is dead"
    )]
    InUse {
        /// Which database.
        place: String,
        /// The node that owns it.
        node: String,
        /// Seconds until its lease ends, unless it is renewed.
        left: f64,
    },
    /// The tables are a newer program's.
    #[error(
        "{place} has tables of version {found}, and this program reads version {known}. Start the postbud that wrote them"
    )]
    OtherFormat {
        /// Which database.
        place: String,
        /// The version found there.
        found: i32,
        /// The version of this program.
        known: i32,
    },
    /// The system gives no thread.
    #[error("starting the spool's thread: {0}")]
    Thread(#[source] io::Error),
}

/// What a spool is made of once it is open.
struct Opened {
    shared: Arc<Shared>,
    committer: Committer,
    instance: i64,
}

impl Postgres {
    /// Opens the spool, and makes its tables if they are absent. Blocks while the log is read.
    pub fn open(settings: Settings) -> Result<Arc<Postgres>, OpenError> {
        let (send, opened) = mpsc::sync_channel(1);
        let work = move || match runtime() {
            Err(error) => drop(send.send(Err(OpenError::Thread(error)))),
            Ok(runtime) => runtime.block_on(async move {
                match open(settings).await {
                    Err(error) => drop(send.send(Err(error))),
                    Ok(opened) => {
                        let _ = send.send(Ok(Arc::clone(&opened.shared)));
                        run(opened).await;
                    }
                }
            }),
        };
        let thread =
            std::thread::Builder::new().name("spool-postgres".into()).spawn(work).map_err(OpenError::Thread)?;
        let panicked = || OpenError::Thread(io::Error::other("it ended at once"));
        let shared = opened.recv().map_err(|_| panicked())??;
        Ok(Arc::new(Postgres { shared, thread: Mutex::new(Some(thread)) }))
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().expect("nothing panics while it holds the thread").take()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.shared.inbox.stop();
        self.take_thread().into_iter().for_each(|thread| drop(thread.join()));
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Connects, sees whether the database is fit, takes the spool, and reads the log.
async fn open(settings: Settings) -> Result<Opened, OpenError> {
    let place = settings.to_string();
    let failed =
        |what: &str, failure: Failure| OpenError::Database { what: format!("{what} {place}"), why: failure.why };
    if !is_schema_name(&settings.schema) {
        return Err(failed("using", Failure::new("the schema's name is not one")));
    }
    let link = Link::open(&settings, "writer").await.map_err(|failure| failed("connecting to", failure))?;
    let wrong = preflight::check(&link, &settings).await.map_err(|failure| failed("asking", failure))?;
    if !wrong.is_empty() {
        return Err(OpenError::Unfit { place, wrong });
    }
    schema::migrate(&link, &settings).await?;
    let instance: i64 = rand::random();
    let asked = Instant::now();
    let taken = ownership::take(&link, &settings, instance).await?;
    let was_clean = taken.was_clean;
    let (inbox, receiver) = Inbox::new();
    let lease_end = keeper::lease_end(asked, settings.lease);
    let shared = Arc::new(Shared::new(settings, taken, inbox, lease_end));
    // Reading may take longer than a lease.
    let lease = tokio::spawn(keeper::keep_lease(Arc::clone(&shared), instance));
    let position = recovery::recover(&shared, &link, was_clean).await;
    lease.abort();
    let _ = lease.await;
    let position = position.map_err(|failure| failed("reading", failure))?;
    let reader = Link::open(&shared.settings, "reader").await.map_err(|failure| failed("connecting to", failure))?;
    shared.reader.store(Some(Arc::new(reader)));
    let committer = Committer::new(Arc::clone(&shared), receiver, link, position);
    Ok(Opened { shared, committer, instance })
}

/// Runs until the spool is stopped.
async fn run(opened: Opened) {
    let Opened { shared, mut committer, instance } = opened;
    let _guard = StopsOnPanic(Arc::clone(&shared));
    let background = [
        tokio::spawn(keeper::keep_reader(Arc::clone(&shared))),
        tokio::spawn(keeper::keep_lease(Arc::clone(&shared), instance)),
        tokio::spawn(keeper::keep_space(Arc::clone(&shared))),
    ];
    committer.run().await;
    for task in background {
        task.abort();
        let _ = task.await;
    }
    committer.release(instance).await;
    shared.reader.store(None);
    shared.closed();
}

/// However the thread ends, nobody goes on as if it were there.
struct StopsOnPanic(Arc<Shared>);

impl Drop for StopsOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_with("the committer panicked".into());
        }
        self.0.inbox.stop();
    }
}

/// Returns true if this can be a schema's name: a lower case letter, then letters, digits and underscores, 40 at most. It stands in
/// statements as it is.
pub fn is_schema_name(name: &str) -> bool {
    let is_inner = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_';
    name.len() <= 40 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(is_inner)
}

/// Asks the database what would keep it from holding the spool, without taking it. Each entry says what to do. Blocks meanwhile.
pub fn check(settings: &Settings) -> Vec<String> {
    let ask = || {
        let runtime = runtime().map_err(|error| Failure::new(error.to_string()))?;
        runtime.block_on(async {
            let link = Link::open(settings, "check").await?;
            preflight::check(&link, settings).await
        })
    };
    // On a thread of its own, because the caller may be in a runtime already.
    let asked = std::thread::scope(|scope| scope.spawn(ask).join());
    let asked = asked.unwrap_or_else(|_| Err(Failure::new("asking it panicked")));
    asked.unwrap_or_else(|failure| vec![format!("{settings} cannot be used: {}", failure.why)])
}
