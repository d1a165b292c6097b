//! A connection of the spool's, with the statements that were prepared over it.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Mutex;

use tokio_postgres::Statement;

use super::Settings;
use crate::postgres::Connection;
pub(super) use crate::postgres::{Failure, application_name};

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
        Ok(Link { connection, statements: Mutex::default() })
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
