//! The statements that an owner of tables may run.

use std::path::Path;

use super::{Error, Row, Value};

/// An open transaction. It is committed if the work returns `Ok`.
pub struct Transaction<'a> {
    inner: &'a rusqlite::Transaction<'a>,
    path: &'a Path,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(inner: &'a rusqlite::Transaction<'a>, path: &'a Path) -> Self {
        Transaction { inner, path }
    }

    /// Runs one statement and returns the number of rows that it changed. The parameters `$1`, `$2` … must first appear in this order.
    pub fn execute(&self, sql: &str, parameters: &[Value<'_>]) -> Result<usize, Error> {
        let mut statement = self.inner.prepare_cached(sql).map_err(|error| self.failed(error))?;
        statement.execute(rusqlite::params_from_iter(parameters)).map_err(|error| self.failed(error))
    }

    /// Calls `each` for every row of the query's result, in order.
    pub fn query<E: From<Error>>(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        mut each: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error| E::from(self.failed(error));
        let mut statement = self.inner.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(rusqlite::params_from_iter(parameters)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            each(Row::new(row, self.path))?;
        }
        Ok(())
    }

    /// Returns what `read` makes of the first row, or `None` if there is no row.
    pub fn first<T>(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        read: impl FnOnce(Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.inner.prepare_cached(sql).map_err(|error| self.failed(error))?;
        let mut rows = statement.query(rusqlite::params_from_iter(parameters)).map_err(|error| self.failed(error))?;
        match rows.next().map_err(|error| self.failed(error))? {
            Some(row) => read(Row::new(row, self.path)).map(Some),
            None => Ok(None),
        }
    }

    fn failed(&self, error: rusqlite::Error) -> Error {
        Error::of(self.path, error)
    }
}
