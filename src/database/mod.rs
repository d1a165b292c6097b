//! Small relational state, such as data about addresses, reports and links, but never mail.
//!
//! | spool | place of the state | scope |
//! |---|---|---|
//! | embedded | one SQLite file in the state directory, `<state_dir>/postbud.db` | this node |
//! | PostgreSQL | tables beside the spool's | all nodes |
//!
//! Each module with tables here has a [`Schema`] of numbered steps. At a start the missing steps are run. The modules do not depend on the
//! library behind it: they use SQL that both databases understand, parameters `$1`, `$2` …, and the few types of [`Value`]. Changes survive
//! a power cut after [`Database::write`] has returned.
//!
//! The writes of one owner follow one another, whichever node makes them, so a write may decide by what it reads. An owner that keeps a
//! copy in memory announces its changes with [`Transaction::announce`], and learns of other nodes' changes from [`Database::changes`].
//!
//! If the database cannot be used, the start fails with an [`Error`] that says what to do. All calls but the `async` ones block.

mod error;
mod many;
pub mod moving;
mod postgres;
mod row;
mod sqlite;
mod transaction;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::postgres::Shared;
use self::sqlite::File;
use crate::machine::threads;
use crate::postgres::Server;

pub use self::error::Error;
pub use self::many::{list, portions};
pub use self::row::Row;
pub use self::sqlite::{BESIDE, FILE, check_version, snapshot};
pub use self::transaction::Transaction;
pub use self::value::Value;

/// When a read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The tables of one owner. Steps are only ever added at the end: a step that has run anywhere is never changed.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The name of the owner, in lower case letters. The names of its tables begin with it.
    pub owner: &'static str,
    /// Each step is one or more SQL statements, run in one transaction. `TEXT` compares by octets, in both databases.
    pub steps: &'static [&'static str],
}

impl Schema {
    /// Returns how many steps have run, of those that this version knows. `found` is the number in the database at `place`.
    fn steps_done(&self, place: &str, found: i64) -> Result<usize, Error> {
        let (known, done) = (self.steps.len(), usize::try_from(found).unwrap_or_default());
        if done > known {
            return Err(Error::Newer { place: place.to_owned(), owner: self.owner.to_owned(), found, known });
        }
        Ok(done)
    }
}

/// The place of the state.
#[derive(Clone)]
pub enum Home {
    /// In a file in this folder.
    Folder(PathBuf),
    /// In this database, which all nodes share.
    Server(Box<Server>),
}

/// The open database, as one owner of tables uses it. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    backend: Backend,
    owner: &'static str,
}

#[derive(Clone)]
enum Backend {
    File(Arc<File>),
    Shared(Arc<Shared>),
}

/// The number of changes that each owner has announced.
type Versions = Arc<BTreeMap<String, i64>>;

/// Waits for changes of an owner's tables.
pub struct Changes {
    owner: &'static str,
    seen: i64,
    versions: watch::Receiver<Versions>,
}

impl Database {
    /// Opens the file in `state_dir`, or creates it, and runs the missing steps of `schemas`. Reads the whole file to check it for damage.
    pub fn open(state_dir: &Path, schemas: &[Schema]) -> Result<Self, Error> {
        #[cfg(test)]
        if let Some(home) = tests::instead_of(state_dir) {
            return Database::open_at(&home, schemas);
        }
        Ok(Database { backend: Backend::File(Arc::new(File::open(state_dir, schemas)?)), owner: first(schemas) })
    }

    /// Opens the database at its place, and brings its tables up to date.
    pub fn open_at(home: &Home, schemas: &[Schema]) -> Result<Self, Error> {
        match home {
            Home::Folder(state_dir) => Database::open(state_dir, schemas),
            Home::Server(server) => {
                let shared = Shared::open((**server).clone(), schemas)?;
                Ok(Database { backend: Backend::Shared(Arc::new(shared)), owner: first(schemas) })
            }
        }
    }

    /// Returns the same database for the owner of these tables, whose writes follow one another at all nodes.
    #[must_use]
    pub fn of(&self, schema: &Schema) -> Self {
        Database { backend: self.backend.clone(), owner: schema.owner }
    }

    /// Returns true if both are the same open database.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.backend, &other.backend) {
            (Backend::File(one), Backend::File(two)) => Arc::ptr_eq(one, two),
            (Backend::Shared(one), Backend::Shared(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }

    /// Returns the name of this node among those that share the database. Empty if no other node shares it.
    pub fn node(&self) -> &str {
        match &self.backend {
            Backend::File(_) => "",
            Backend::Shared(shared) => shared.node(),
        }
    }

    /// Returns a receiver of changes that this or another node announces from now on. For a file, which has one node, none comes.
    pub fn changes(&self) -> Changes {
        let versions = match &self.backend {
            Backend::File(file) => file.versions(),
            Backend::Shared(shared) => shared.versions(),
        };
        let seen = versions.borrow().get(self.owner).copied().unwrap_or_default();
        Changes { owner: self.owner, seen, versions }
    }

    /// Returns an error if a copy in memory may be older than a few seconds, because the database does not answer.
    pub fn is_current(&self) -> Result<(), Error> {
        match &self.backend {
            Backend::File(_) => Ok(()),
            Backend::Shared(shared) => shared.is_current(),
        }
    }

    /// Runs `work` in one transaction, and rolls back if `work` returns an error. When this returns, the changes are on disk.
    pub fn write_blocking<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(true, work)
    }

    /// Runs `work`, which only reads, on one consistent state of the tables.
    pub fn read_blocking<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(false, work)
    }

    fn transact<T, E: From<Error>>(
        &self,
        writes: bool,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let owner = self.owner;
        match &self.backend {
            Backend::File(file) => file.transact(writes, |inner| work(&Transaction::in_file(inner, owner))),
            Backend::Shared(shared) => {
                shared.transact(owner, writes, |inner| work(&Transaction::shared(inner, owner, shared.node())))
            }
        }
    }

    /// Like [`write_blocking`](Self::write_blocking), on a thread that may block. The work finishes even if the caller is dropped.
    pub async fn write<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let database = self.clone();
        threads::asking(move || database.write_blocking(work)).await
    }

    /// Like [`read_blocking`](Self::read_blocking), on a thread that may block.
    pub async fn read<T, E>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let database = self.clone();
        threads::asking(move || database.read_blocking(work)).await
    }
}

impl Changes {
    /// Has `read_again` read what this process keeps of the tables in memory: at once, and whenever they may have changed. After an error
    /// it is tried again a second later. `what` names in the log what is not known meanwhile. Never ends.
    pub async fn follow<F: Future<Output = Result<(), Error>>>(mut self, what: &str, read_again: impl Fn() -> F) {
        loop {
            match read_again().await {
                Ok(()) => self.next().await,
                Err(error) => {
                    tracing::warn!("{what} is not known anew: {error}");
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
        }
    }

    /// Waits for the next change. Cancel safe. Never ends after the database is closed.
    pub async fn next(&mut self) {
        loop {
            let newest = self.versions.borrow_and_update().get(self.owner).copied().unwrap_or_default();
            if newest != self.seen {
                self.seen = newest;
                return;
            }
            if self.versions.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }
}

fn first(schemas: &[Schema]) -> &'static str {
    schemas.first().map_or("", |schema| schema.owner)
}

#[cfg(test)]
mod tests;
