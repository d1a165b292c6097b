//! Reads the columns of a row, for either database.

use super::{Error, Value, postgres, sqlite};
use crate::time::Timestamp;

/// A row of a query's result. Columns are numbered from 0. A column of an unexpected type is an error, because only this program writes
/// the tables.
pub struct Row<'a>(Of<'a>);

enum Of<'a> {
    File(sqlite::Row<'a>),
    Shared(postgres::Row<'a>),
}

impl<'a> From<sqlite::Row<'a>> for Row<'a> {
    fn from(row: sqlite::Row<'a>) -> Self {
        Row(Of::File(row))
    }
}

impl<'a> From<postgres::Row<'a>> for Row<'a> {
    fn from(row: postgres::Row<'a>) -> Self {
        Row(Of::Shared(row))
    }
}

impl Row<'_> {
    pub fn integer(&self, column: usize) -> Result<i64, Error> {
        self.maybe_integer(column)?.ok_or_else(|| self.unexpected(column))
    }

    /// Reads an integer that may be null.
    pub fn maybe_integer(&self, column: usize) -> Result<Option<i64>, Error> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Integer(value) => Ok(Some(value)),
            _ => Err(self.unexpected(column)),
        }
    }

    pub fn time(&self, column: usize) -> Result<Timestamp, Error> {
        self.integer(column).map(timestamp)
    }

    /// Reads a time that may be null.
    pub fn maybe_time(&self, column: usize) -> Result<Option<Timestamp>, Error> {
        Ok(self.maybe_integer(column)?.map(timestamp))
    }

    pub fn text(&self, column: usize) -> Result<&str, Error> {
        self.maybe_text(column)?.ok_or_else(|| self.unexpected(column))
    }

    /// Reads text that may be null.
    pub fn maybe_text(&self, column: usize) -> Result<Option<&str>, Error> {
        match self.value(column)? {
            Value::Null => Ok(None),
            Value::Text(value) => Ok(Some(value)),
            _ => Err(self.unexpected(column)),
        }
    }

    pub fn octets(&self, column: usize) -> Result<&[u8], Error> {
        match self.value(column)? {
            Value::Octets(value) => Ok(value),
            _ => Err(self.unexpected(column)),
        }
    }

    pub(super) fn value(&self, column: usize) -> Result<Value<'_>, Error> {
        match &self.0 {
            Of::File(row) => row.value(column),
            Of::Shared(row) => row.value(column),
        }
    }

    fn unexpected(&self, column: usize) -> Error {
        match &self.0 {
            Of::File(row) => row.unexpected(column),
            Of::Shared(row) => row.unexpected(column),
        }
    }
}

/// A time before 1970 is in no table of ours.
fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
}
