//! The types of columns, and how rows are read.

use std::path::Path;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::Error;

/// A parameter of a statement. Times are integers: seconds or milliseconds since 1970, as the owner decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    /// Octets: `BLOB` in SQLite, `BYTEA` in PostgreSQL.
    Octets(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::Octets(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
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

/// A row of a query's result. Columns are numbered from 0. A column of an unexpected type is [`Error::Damaged`], because only this program
/// writes the file.
pub struct Row<'a> {
    inner: &'a rusqlite::Row<'a>,
    path: &'a Path,
}

impl<'a> Row<'a> {
    pub(super) fn new(inner: &'a rusqlite::Row<'a>, path: &'a Path) -> Self {
        Row { inner, path }
    }

    pub fn integer(&self, column: usize) -> Result<i64, Error> {
        self.maybe_integer(column)?.ok_or_else(|| self.unexpected(column))
    }

    /// Reads an integer that may be null.
    pub fn maybe_integer(&self, column: usize) -> Result<Option<i64>, Error> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(value) => Ok(Some(value)),
            _ => Err(self.unexpected(column)),
        }
    }

    pub fn text(&self, column: usize) -> Result<&str, Error> {
        self.maybe_text(column)?.ok_or_else(|| self.unexpected(column))
    }

    /// Reads text that may be null.
    pub fn maybe_text(&self, column: usize) -> Result<Option<&str>, Error> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(value) => std::str::from_utf8(value).map(Some).map_err(|_| self.unexpected(column)),
            _ => Err(self.unexpected(column)),
        }
    }

    pub fn octets(&self, column: usize) -> Result<&[u8], Error> {
        match self.value(column)? {
            ValueRef::Blob(value) => Ok(value),
            _ => Err(self.unexpected(column)),
        }
    }

    fn value(&self, column: usize) -> Result<ValueRef<'_>, Error> {
        self.inner.get_ref(column).map_err(|error| Error::of(self.path, error))
    }

    fn unexpected(&self, column: usize) -> Error {
        let name = self.inner.as_ref().column_name(column).unwrap_or("?");
        Error::Damaged { path: self.path.to_owned(), detail: format!("column {name} has a value of another type") }
    }
}
