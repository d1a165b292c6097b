//! Small relational state: facts about addresses, reports and links, but never mail on its way.
//!
//! There is one SQLite file in the state directory, `<state_dir>/postbud.db`, with mode 0600. It uses a write-ahead log and `synchronous =
//! FULL`, so changes survive a power cut once [`Database::write`] has returned. Each module with tables here has a [`Schema`]: numbered
//! steps. At the start, the steps that the file lacks are run.
//!
//! PostgreSQL could serve the same interface: SQL that both understand, parameters `$1`, `$2` …, and the few types of [`Value`]. The owners
//! of tables do not see the library behind it.
//!
//! If the file is damaged, locked by another process, on a full disk or from a newer version, the start fails with an [`Error`] that says
//! what to do. All calls but the `async` ones block.

mod error;
mod open;
mod snapshot;
mod transaction;
mod value;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::TransactionBehavior;

pub use error::Error;
pub use snapshot::{BESIDE, snapshot};
pub use transaction::Transaction;
pub use value::{Row, Value};

/// The name of the file in the state directory.
pub const FILE: &str = "postbud.db";

/// The tables of one owner. Steps are only ever added at the end: a step that has run anywhere is never changed.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The name of the owner. The names of its tables begin with it.
    pub owner: &'static str,
    /// Each step is one or more SQL statements, run in one transaction.
    pub steps: &'static [&'static str],
}

/// The open database. Clones share one connection: calls wait for each other.
#[derive(Clone)]
pub struct Database {
    path: Arc<PathBuf>,
    connection: Arc<Mutex<rusqlite::Connection>>,
}

impl Database {
    /// Opens the file in `state_dir`, or creates it, and runs the missing steps of `schemas`. Reads the whole file to check it for damage.
    pub fn open(state_dir: &Path, schemas: &[Schema]) -> Result<Self, Error> {
        let path = state_dir.join(FILE);
        let connection = open::open(&path, schemas)?;
        Ok(Database { path: Arc::new(path), connection: Arc::new(Mutex::new(connection)) })
    }

    /// Runs `work` in one transaction, and rolls back if `work` returns an error. When this returns, the changes are on disk.
    pub fn write_blocking<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(TransactionBehavior::Immediate, work)
    }

    /// Runs `work`, which only reads, on one consistent state of the tables.
    pub fn read_blocking<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(TransactionBehavior::Deferred, work)
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
        on_blocking_thread(move || database.write_blocking(work)).await
    }

    /// Like [`read_blocking`](Self::read_blocking), on a thread that may block.
    pub async fn read<T, E>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let database = self.clone();
        on_blocking_thread(move || database.read_blocking(work)).await
    }

    fn transact<T, E: From<Error>>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = |error| E::from(Error::of(&self.path, error));
        // If other work panicked, its transaction was rolled back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(behavior).map_err(failed)?;
        let result = work(&Transaction::new(&transaction, &self.path))?;
        transaction.commit().map_err(failed)?;
        Ok(result)
    }
}

async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
