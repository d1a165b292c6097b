//! The state of all nodes, in tables of a PostgreSQL database.
//!
//! A write first locks the row of its owner in `schema_step`, so the writes of one owner follow one another at all nodes. A read sees one
//! consistent state of the tables.
//!
//! A separate thread drives the connections, and asks several times a second which owners have announced a change (`follow`). While it gets
//! no answer, calls fail at once instead of waiting.

mod follow;
mod schema;
mod transaction;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_postgres::error::SqlState;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::follow::Followed;
use self::transaction::Session;
pub(super) use self::transaction::{Row, Transaction};
use super::{Error, Schema, Versions};
use crate::machine::threads;
use crate::postgres::{Connection, Failure, Server};

/// The maximum number of connections of one process. Further calls wait.
const MOST: usize = 4;
/// The purpose that the server's list of processes shows.
const PURPOSE: &str = "state";

/// The query for the tables and their columns.
pub(super) const COLUMNS: &str = "SELECT table_name::text, column_name::text FROM information_schema.columns \
                                  WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position";

/// The open database. Dropping it closes its connections.
pub(super) struct Shared {
    server: Arc<Server>,
    place: String,
    runtime: Handle,
    pool: Mutex<Pool>,
    returned: Condvar,
    followed: Arc<Followed>,
    /// Ends the thread of the connections when this is dropped.
    _stop: DropGuard,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Session>,
    /// The number of connections in use.
    lent: usize,
}

impl Shared {
    /// Connects, and makes the tables or brings them up to date.
    pub fn open(server: Server, schemas: &[Schema]) -> Result<Self, Error> {
        let (place, server) = (server.to_string(), Arc::new(server));
        let stop = CancellationToken::new();
        let followed = Arc::new(Followed::default());
        let away = |detail: String| Error::Away { place: place.clone(), detail };
        let runtime = threads::drive("state", stop.clone().cancelled_owned());
        let runtime = runtime.map_err(|error| away(error.to_string()))?;
        let shared = Shared {
            server,
            place,
            runtime,
            pool: Mutex::default(),
            returned: Condvar::new(),
            followed,
            _stop: stop.clone().drop_guard(),
        };
        let (server, schemas) = (Arc::clone(&shared.server), schemas.to_vec());
        shared.run(async move {
            let connection = connect(&server).await?;
            Ok(schema::bring_up_to_date(&connection, &server, &schemas).await)
        })??;
        let (server, followed) = (Arc::clone(&shared.server), Arc::clone(&shared.followed));
        // Subscribers must know the state before their first change.
        shared.run(async move {
            let connection = connect(&server).await?;
            followed.look(&connection).await?;
            tokio::spawn(follow::follow(server, followed, connection));
            Ok(())
        })?;
        Ok(shared)
    }

    /// Returns the name of this node.
    pub fn node(&self) -> &str {
        &self.server.node
    }

    /// Returns the number of changes that each owner has announced.
    pub fn versions(&self) -> watch::Receiver<Versions> {
        self.followed.versions()
    }

    /// Returns an error if it is unknown what has changed in the last seconds.
    pub fn is_current(&self) -> Result<(), Error> {
        self.followed.is_current().map_err(|detail| Error::Away { place: self.place.clone(), detail })
    }

    /// Runs `work` in a transaction.
    pub fn transact<T, E: From<Error>>(
        &self,
        owner: &'static str,
        writes: bool,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let begin = match writes {
            true => format!("BEGIN; SELECT FROM schema_step WHERE owner = '{owner}' FOR UPDATE"),
            false => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned(),
        };
        let lent = self.begin(&begin)?;
        let session = lent.session();
        let transaction = Transaction::new(session, &self.place);
        let done = work(&transaction);
        let is_broken = transaction.is_broken();
        if done.is_err() || is_broken {
            // If this fails, the connection is dropped, and the server ends the transaction.
            if session.run(session.client().batch_execute("ROLLBACK")).is_ok() {
                lent.give_back();
            }
            return match done {
                Ok(_) => Err(Error::Statement {
                    place: self.place.clone(),
                    detail: "nothing was written, because a statement had failed".into(),
                }
                .into()),
                Err(error) => Err(error),
            };
        }
        session.run(session.client().batch_execute("COMMIT")).map_err(|failure| failed(&self.place, failure))?;
        if let Some(warning) = session.take_warning() {
            // The server stopped waiting for a standby, so the commit is not known to be safe.
            return Err(Error::Away { place: self.place.clone(), detail: warning }.into());
        }
        lent.give_back();
        done
    }

    /// Begins a transaction on an existing or a new connection.
    fn begin(&self, begin: &str) -> Result<Lent<'_>, Error> {
        loop {
            let (lent, is_new) = self.lend()?;
            let session = lent.session();
            match session.run(session.client().batch_execute(begin)) {
                Ok(()) => return Ok(lent),
                // The server may have closed it while it was idle.
                Err(_) if !is_new && session.client().is_closed() => {}
                Err(failure) => return Err(failed(&self.place, failure)),
            }
        }
    }

    /// Returns a connection, and whether it is new.
    fn lend(&self) -> Result<(Lent<'_>, bool), Error> {
        // Do not wait for a server that does not answer.
        self.is_current()?;
        let mut pool = self.pool();
        while pool.lent >= MOST {
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        pool.lent += 1;
        let idle = pool.idle.pop();
        drop(pool);
        let mut lent = Lent { shared: self, session: None };
        let is_new = idle.is_none();
        lent.session = Some(match idle {
            Some(session) => session,
            None => {
                let server = Arc::clone(&self.server);
                self.run(async move { Ok(Session::new(connect(&server).await?, server.timeout)) })?
            }
        });
        Ok((lent, is_new))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a future on the thread of the connections, and waits for it.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Error> {
        let (send, receive) = oneshot::channel();
        self.runtime.spawn(async move { drop(send.send(work.await)) });
        let ended = || Failure::new("the thread of its connections has ended");
        threads::wait(receive).map_err(|_| ended()).flatten().map_err(|failure| failed(&self.place, failure))
    }
}

/// A connection in use by a call. It is closed when dropped.
struct Lent<'a> {
    shared: &'a Shared,
    session: Option<Session>,
}

impl Lent<'_> {
    fn session(&self) -> &Session {
        self.session.as_ref().expect("it was lent, and is not given back yet")
    }

    /// Keeps the connection for the next call.
    fn give_back(mut self) {
        if let Some(session) = self.session.take() {
            self.shared.pool().idle.push(session);
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.shared.pool().lent -= 1;
        self.shared.returned.notify_one();
    }
}

/// Makes a connection that finds the tables without a schema in their names.
async fn connect(server: &Server) -> Result<Connection, Failure> {
    let connection = Connection::open(server, PURPOSE).await?;
    let session = format!("SET search_path = {}", server.schema);
    tokio::time::timeout(server.timeout, connection.client.batch_execute(&session))
        .await
        .map_err(|_| Failure::late(server.timeout))??;
    Ok(connection)
}

/// Makes the error of a failure: the disk is full, the statement is wrong, or the tables cannot be reached now.
fn failed(place: &str, failure: Failure) -> Error {
    let (place, is_of_statement) = (place.to_owned(), failure.is_of_statement());
    let Failure { why: detail, code, .. } = failure;
    match code {
        Some(code) if code == SqlState::DISK_FULL => Error::Full { place },
        Some(code) if code == SqlState::LOCK_NOT_AVAILABLE => {
            Error::Away { place, detail: "another node keeps its tables locked".into() }
        }
        _ if is_of_statement => Error::Statement { place, detail },
        _ => Error::Away { place, detail },
    }
}

/// How often to ask for the owners' changes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
