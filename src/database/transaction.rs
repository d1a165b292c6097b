//! The statements that an owner of tables may run.

use super::{Error, Row, Value, postgres, sqlite};

/// An open transaction. It is committed if the work returns `Ok`.
pub struct Transaction<'a> {
    inner: Of<'a>,
    owner: &'static str,
    node: &'a str,
}

enum Of<'a> {
    File(&'a sqlite::Transaction<'a>),
    Shared(&'a postgres::Transaction<'a>),
}

impl<'a> Transaction<'a> {
    pub(super) fn in_file(inner: &'a sqlite::Transaction<'a>, owner: &'static str) -> Self {
        Transaction { inner: Of::File(inner), owner, node: "" }
    }

    pub(super) fn shared(inner: &'a postgres::Transaction<'a>, owner: &'static str, node: &'a str) -> Self {
        Transaction { inner: Of::Shared(inner), owner, node }
    }

    /// Returns the name of this node, for rows about one node only. Empty if no other node shares the tables.
    pub fn node(&self) -> &'a str {
        self.node
    }

    /// Runs one statement and returns the number of rows that it changed. The parameters are `$1`, `$2` … in the statement, in any order.
    pub fn execute(&self, sql: &str, parameters: &[Value<'_>]) -> Result<usize, Error> {
        match &self.inner {
            Of::File(inner) => inner.execute(sql, parameters),
            Of::Shared(inner) => inner.execute(sql, parameters),
        }
    }

    /// Calls `each` for every row of the query's result, in order. `each` must not run statements.
    pub fn query<E: From<Error>>(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        mut each: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.inner {
            Of::File(inner) => inner.query(sql, parameters, |row| each(row.into())),
            Of::Shared(inner) => inner.query(sql, parameters, |row| each(row.into())),
        }
    }

    /// Returns what `read` makes of the first row, or `None` if there is no row.
    pub fn first<T>(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        read: impl FnOnce(Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match &self.inner {
            Of::File(inner) => inner.first(sql, parameters, |row| read(row.into())),
            Of::Shared(inner) => inner.first(sql, parameters, |row| read(row.into())),
        }
    }

    /// Calls `each` with the name of each table and of each of its columns, in their order.
    pub(super) fn columns(&self, mut each: impl FnMut(&str, &str)) -> Result<(), Error> {
        let sql = match &self.inner {
            Of::File(_) => sqlite::COLUMNS,
            Of::Shared(_) => postgres::COLUMNS,
        };
        self.query(sql, &[], |row| {
            each(row.text(0)?, row.text(1)?);
            Ok(())
        })
    }

    /// Announces to all copies of the owner's tables in memory that the tables change with this write. Returns a number that is higher than
    /// that of every earlier write, and lower than that of every later one.
    pub fn announce(&self) -> Result<i64, Error> {
        let sql = "INSERT INTO changed (owner, version) VALUES ($1, 1) ON CONFLICT (owner) DO UPDATE SET \
                   version = changed.version + 1 RETURNING version";
        let version = self.first(sql, &[self.owner.into()], |row| row.integer(0))?;
        Ok(version.unwrap_or_default())
    }

    /// Returns the number of the last announced write.
    pub fn version(&self) -> Result<i64, Error> {
        let version =
            self.first("SELECT version FROM changed WHERE owner = $1", &[self.owner.into()], |row| row.integer(0))?;
        Ok(version.unwrap_or_default())
    }
}
