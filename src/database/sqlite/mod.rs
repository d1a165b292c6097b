//! The state of one node, in a SQLite file. Calls wait for each other.
//!
//! The file has mode 0600. It runs with a write-ahead log and `synchronous = FULL`. A file that is damaged, locked by another process, on
//! a full disk or from a newer version stops the start.

mod open;
mod snapshot;

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, ErrorCode, ToSql, TransactionBehavior};
use tokio::sync::watch;

use super::{Error, Schema, Value, Versions};

pub use snapshot::snapshot;

/// The name of the file in the state directory.
pub const FILE: &str = "postbud.db";

/// The ends of the names of SQLite's additional files. A copy does not need them, and must not be used with another file's.
pub const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How long a call waits for another process's lock.
const LOCK_WAIT: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5000 });

/// The query for the tables and their columns.
pub(super) const COLUMNS: &str = "SELECT tables.name, columns.name FROM sqlite_master tables JOIN pragma_table_info(tables.name) columns \
                                  WHERE tables.type = 'table' ORDER BY tables.name, columns.cid";

pub(super) struct File {
    place: String,
    pub(super) connection: Mutex<rusqlite::Connection>,
    versions: watch::Sender<Versions>,
}

/// Refuses the file in `state_dir` if a newer version has changed its tables. Only reads.
pub fn check_version(state_dir: &Path, schemas: &[Schema]) -> Result<(), Error> {
    open::check_version(&state_dir.join(FILE), schemas)
}

impl File {
    pub fn open(state_dir: &Path, schemas: &[Schema]) -> Result<Self, Error> {
        let path = state_dir.join(FILE);
        let connection = Mutex::new(open::open(&path, schemas)?);
        let (versions, _) = watch::channel(Versions::default());
        Ok(File { place: path.display().to_string(), connection, versions })
    }

    /// Returns a version that never changes, because only this process changes the file.
    pub fn versions(&self) -> watch::Receiver<Versions> {
        self.versions.subscribe()
    }

    /// Runs `work` in a transaction.
    pub fn transact<T, E: From<Error>>(
        &self,
        writes: bool,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let behavior = if writes { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
        let failed = |error| E::from(self::failed(&self.place, error));
        // If other work panicked, its transaction was rolled back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(behavior).map_err(failed)?;
        let result = work(&Transaction { inner: &transaction, place: &self.place })?;
        transaction.commit().map_err(failed)?;
        Ok(result)
    }
}

/// Converts an error of the SQLite library.
fn failed(place: &str, error: rusqlite::Error) -> Error {
    let (place, detail) = (place.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Damaged { place, detail },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Locked { place },
        Some(ErrorCode::DiskFull) => Error::Full { place },
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NoLargeFileSupport,
        ) => Error::Io { place, detail },
        _ => Error::Statement { place, detail },
    }
}

pub(super) struct Transaction<'a> {
    inner: &'a rusqlite::Transaction<'a>,
    place: &'a str,
}

impl Transaction<'_> {
    pub fn execute(&self, sql: &str, parameters: &[Value<'_>]) -> Result<usize, Error> {
        let mut statement = self.prepare(sql, parameters)?;
        statement.raw_execute().map_err(|error| self.failed(error))
    }

    pub fn query<E: From<Error>>(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        mut each: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error| E::from(self.failed(error));
        let mut statement = self.prepare(sql, parameters)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(failed)? {
            each(Row { inner: row, place: self.place })?;
        }
        Ok(())
    }

    pub fn first<T>(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        read: impl FnOnce(Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.prepare(sql, parameters)?;
        let mut rows = statement.raw_query();
        match rows.next().map_err(|error| self.failed(error))? {
            Some(row) => read(Row { inner: row, place: self.place }).map(Some),
            None => Ok(None),
        }
    }

    fn prepare(&self, sql: &str, parameters: &[Value<'_>]) -> Result<CachedStatement<'_>, Error> {
        let mut statement = self.inner.prepare_cached(sql).map_err(|error| self.failed(error))?;
        bind(&mut statement, parameters).map_err(|error| self.failed(error))?;
        Ok(statement)
    }

    fn failed(&self, error: rusqlite::Error) -> Error {
        failed(self.place, error)
    }
}

/// Binds `$1` to the first parameter, `$2` to the second, and so on, as PostgreSQL does. For SQLite `$2` is only a name, and parameters
/// are numbered in the order in which the statement first names them.
fn bind(statement: &mut CachedStatement<'_>, parameters: &[Value<'_>]) -> rusqlite::Result<()> {
    let expected = statement.parameter_count();
    if expected != parameters.len() {
        return Err(rusqlite::Error::InvalidParameterCount(parameters.len(), expected));
    }
    for index in 1..=expected {
        let name = statement.parameter_name(index).unwrap_or_default();
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        let value = number.and_then(|number| parameters.get(number.checked_sub(1)?));
        let Some(value) = value else { return Err(rusqlite::Error::InvalidParameterName(name.to_owned())) };
        statement.raw_bind_parameter(index, value)?;
    }
    Ok(())
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(value),
            Value::Text(value) => ValueRef::Text(value.as_bytes()),
            Value::Octets(value) => ValueRef::Blob(value),
        }))
    }
}

/// A row that a query found.
pub(super) struct Row<'a> {
    inner: &'a rusqlite::Row<'a>,
    place: &'a str,
}

impl Row<'_> {
    pub fn value(&self, column: usize) -> Result<Value<'_>, Error> {
        match self.inner.get_ref(column).map_err(|error| failed(self.place, error))? {
            ValueRef::Null => Ok(Value::Null),
            ValueRef::Integer(value) => Ok(Value::Integer(value)),
            ValueRef::Text(value) => std::str::from_utf8(value).map(Value::Text).map_err(|_| self.unexpected(column)),
            ValueRef::Blob(value) => Ok(Value::Octets(value)),
            ValueRef::Real(_) => Err(self.unexpected(column)),
        }
    }

    pub fn unexpected(&self, column: usize) -> Error {
        let name = self.inner.as_ref().column_name(column).unwrap_or("?");
        Error::Damaged { place: self.place.to_owned(), detail: format!("column {name} has a value of another type") }
    }
}
