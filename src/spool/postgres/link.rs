//! A connection of the spool's, with the statements that were prepared over it.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Mutex;
use std::time::Duration;

use tokio_postgres::Statement;

use super::Settings;
use crate::postgres::Connection;
pub(super) use crate::postgres::{Failure, application_name};

/// Limits the time of a request. If it is late, the connection must be dropped, because its answer may still come.
pub(super) async fn in_time<T>(limit: Duration, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(Failure::late(limit)))
}

/// Limits the time of a transaction, and ends it at the server if that answered with an error, so that the connection can be used again.
pub(super) async fn rolled_back<T>(
    link: &Link,
    transaction: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let done = in_time(link.limit, transaction).await;
    if let Err(failure) = &done
        && failure.is_answer()
    {
        in_time(link.limit, async { Ok(link.client.batch_execute("ROLLBACK").await?) }).await?;
    }
    done
}

/// The purpose of a prepared statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    Copy,
    Adopt,
    Front,
    Chunk,
}

pub(super) struct Link {
    connection: Connection,
    /// How long the server may take for an answer.
    pub limit: Duration,
    statements: Mutex<HashMap<(Action, String), Statement>>,
}

impl Deref for Link {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Link {
    /// Connects to the first server that accepts writes. `purpose` appears in the server's list of processes.
    pub async fn open(settings: &Settings, purpose: &str) -> Result<Link, Failure> {
        let connection = Connection::open(&settings.server, purpose).await?;
        Ok(Link { connection, limit: settings.server.timeout, statements: Mutex::default() })
    }

    /// Returns a statement for a table, prepared once.
    pub async fn statement(
        &self,
        action: Action,
        table: &str,
        sql: impl FnOnce() -> String,
    ) -> Result<Statement, Failure> {
        let key = (action, table.to_owned());
        let known = self.statements().get(&key).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(&sql()).await?;
        self.statements().insert(key, statement.clone());
        Ok(statement)
    }

    /// Drops the statements for a deleted table.
    pub fn forget(&self, table: &str) {
        self.statements().retain(|(_, of), _| of != table);
    }

    fn statements(&self) -> std::sync::MutexGuard<'_, HashMap<(Action, String), Statement>> {
        self.statements.lock().expect("nothing panics while it holds the statements")
    }
}
