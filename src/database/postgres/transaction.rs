//! A connection, and the statements of one transaction on it. If a statement is not answered in time, the connection is closed.

use std::cell::Cell;
use std::collections::HashMap;
use std::error;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio::time::Instant;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

use super::super::{Error, Value};
use super::failed;
use crate::machine::threads;
use crate::postgres::{Connection, Failure};

/// How often to check whether a statement takes too long.
const LOOK: Duration = Duration::from_millis(200);

/// A connection with the statements that were prepared over it.
pub(super) struct Session {
    connection: Connection,
    statements: Mutex<HashMap<String, Statement>>,
    limit: Arc<Limit>,
}

/// The time limit of the running statement.
struct Limit {
    began: Instant,
    patience: Duration,
    /// Its end in milliseconds since `began`; 0 while no statement is running.
    ends: AtomicU64,
}

impl Limit {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Session {
    /// Must be called on the runtime of the connection.
    pub fn new(connection: Connection, patience: Duration) -> Self {
        let limit = Arc::new(Limit { began: Instant::now(), patience, ends: AtomicU64::new(0) });
        let (watched, connected) = (Arc::downgrade(&limit), connection.end());
        tokio::spawn(async move {
            while let Some(limit) = watched.upgrade() {
                let ends = limit.ends.load(Ordering::Acquire);
                if ends > 0 && limit.now() > ends {
                    return connected.abort();
                }
                drop(limit);
                tokio::time::sleep(LOOK).await;
            }
        });
        Session { connection, statements: Mutex::default(), limit }
    }

    pub fn client(&self) -> &Client {
        &self.connection.client
    }

    /// Returns the last warning of the server since the previous call, if there is one.
    pub fn take_warning(&self) -> Option<String> {
        self.connection.take_warning()
    }

    /// Waits for an answer, up to the time limit.
    pub fn run<T>(&self, asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Failure> {
        let patience = u64::try_from(self.limit.patience.as_millis()).unwrap_or(u64::MAX);
        self.limit.ends.store(self.limit.now().saturating_add(patience).max(1), Ordering::Release);
        let answer = threads::wait(asked);
        self.limit.ends.store(0, Ordering::Release);
        answer.map_err(|error| {
            if error.as_db_error().is_some() {
                return Failure::from(error);
            }
            if self.client().is_closed() {
                return Failure::new("the connection broke, or the answer took too long");
            }
            // If the connection works, the parameters were wrong, for example too few.
            let cause = error::Error::source(&error);
            let is_of_connection = error.is_closed() || cause.is_some_and(<dyn error::Error>::is::<std::io::Error>);
            Failure { is_mistake: !is_of_connection, ..Failure::from(error) }
        })
    }

    fn statement(&self, sql: &str) -> Result<Statement, Failure> {
        let known = self.statements().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.run(self.client().prepare(sql))?;
        self.statements().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn statements(&self) -> std::sync::MutexGuard<'_, HashMap<String, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(in crate::database) struct Transaction<'a> {
    session: &'a Session,
    place: &'a str,
    /// True after a statement has failed: the server no longer commits the transaction.
    is_broken: Cell<bool>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(session: &'a Session, place: &'a str) -> Self {
        Transaction { session, place, is_broken: Cell::new(false) }
    }

    /// Returns true if the transaction cannot be committed.
    pub fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    pub fn execute(&self, sql: &str, parameters: &[Value<'_>]) -> Result<usize, Error> {
        let executed = self
            .session
            .statement(sql)
            .and_then(|statement| self.session.run(self.session.client().execute_raw(&statement, given(parameters))));
        let changed = executed.map_err(|failure| self.failed(failure))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub fn query<E: From<Error>>(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        mut each: impl FnMut(Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |failure| E::from(self.failed(failure));
        let statement = self.session.statement(sql).map_err(failed)?;
        let rows = self.session.run(self.session.client().query_raw(&statement, given(parameters))).map_err(failed)?;
        let mut rows = pin!(rows);
        while let Some(row) = self.session.run(rows.try_next()).map_err(failed)? {
            each(Row { inner: &row, place: self.place })?;
        }
        Ok(())
    }

    pub fn first<T>(
        &self,
        sql: &str,
        parameters: &[Value<'_>],
        read: impl FnOnce(Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut read = Some(read);
        let mut found = None;
        self.query(sql, parameters, |row| {
            if let Some(read) = read.take() {
                found = Some(read(row)?);
            }
            Ok::<_, Error>(())
        })?;
        Ok(found)
    }

    fn failed(&self, failure: Failure) -> Error {
        self.is_broken.set(true);
        failed(self.place, failure)
    }
}

fn given<'a>(parameters: &'a [Value<'a>]) -> impl ExactSizeIterator<Item = &'a (dyn ToSql + Sync)> {
    parameters.iter().map(|value| value as &(dyn ToSql + Sync))
}

/// A row that a query found.
pub(in crate::database) struct Row<'a> {
    inner: &'a tokio_postgres::Row,
    place: &'a str,
}

impl Row<'_> {
    pub fn value(&self, column: usize) -> Result<Value<'_>, Error> {
        self.inner.try_get(column).map_err(|_| self.unexpected(column))
    }

    pub fn unexpected(&self, column: usize) -> Error {
        let name = self.inner.columns().get(column).map_or("?", |column| column.name());
        let detail = format!("column {name} has a value of another type");
        Error::Statement { place: self.place.to_owned(), detail }
    }
}

type BoxedError = Box<dyn error::Error + Sync + Send>;

impl ToSql for Value<'_> {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Result<IsNull, BoxedError> {
        match (self, wanted) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(value), &Type::INT8) => value.to_sql(wanted, out),
            (Value::Integer(value), &Type::INT4) => i32::try_from(*value)?.to_sql(wanted, out),
            (Value::Integer(value), &Type::INT2) => i16::try_from(*value)?.to_sql(wanted, out),
            // PostgreSQL's text cannot contain this character.
            (Value::Text(value), _) if value.contains('\0') => value.replace('\0', "\u{fffd}").to_sql(wanted, out),
            (Value::Text(value), &Type::TEXT) => value.to_sql(wanted, out),
            (Value::Octets(value), &Type::BYTEA) => value.to_sql(wanted, out),
            _ => Err(format!("{self:?} is no {wanted}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(found: &Type, octets: &'a [u8]) -> Result<Self, BoxedError> {
        Ok(match *found {
            Type::INT8 => Value::Integer(i64::from_sql(found, octets)?),
            Type::INT4 => Value::Integer(i32::from_sql(found, octets)?.into()),
            Type::INT2 => Value::Integer(i16::from_sql(found, octets)?.into()),
            Type::BYTEA => Value::Octets(octets),
            _ => Value::Text(<&str>::from_sql(found, octets)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxedError> {
        Ok(Value::Null)
    }

    fn accepts(found: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::INT2, Type::BYTEA, Type::TEXT, Type::VARCHAR].contains(found)
    }
}
