//! A connection to the database, and the reasons why a request fails.
//!
//! A failed connection is dropped and never repaired. The server's warnings are kept: a commit with a warning (for example that the server
//! stopped waiting for a synchronous standby) is not known to be safe.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::{AsyncMessage, Client, Config, Statement};

use super::Settings;
use super::tls::Tls;

/// The time limit for connecting.
const CONNECT: Duration = Duration::from_secs(5);

/// Why a request to the database failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub why: String,
    /// The server's code, if the server answered.
    pub code: Option<SqlState>,
}

impl Failure {
    pub fn new(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), code: None }
    }

    /// The server did not answer in time.
    pub fn late(after: Duration) -> Failure {
        Failure::new(format!("no answer after {} s", after.as_secs_f64()))
    }

    /// Returns true if the server has no room.
    pub fn is_full(&self) -> bool {
        self.code == Some(SqlState::DISK_FULL)
    }

    /// Returns true if there is no such table, because its segment was deleted.
    pub fn is_gone(&self) -> bool {
        self.code == Some(SqlState::UNDEFINED_TABLE)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            return Failure::new(format!("{error}{cause}"));
        };
        // When the server ends a connection, it also sends an error. That error says nothing about the request.
        let is_answer = said.parsed_severity() == Some(Severity::Error);
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let why = format!("{}{detail}", said.message());
        Failure { why, code: is_answer.then(|| said.code().clone()) }
    }
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
    pub client: Client,
    /// The server process of this connection.
    pub process: i32,
    warning: Arc<Mutex<Option<String>>>,
    statements: Mutex<HashMap<(Action, String), Statement>>,
    driver: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects to the first server that accepts writes. `purpose` appears in the server's list of processes.
    pub async fn open(settings: &Settings, purpose: &str) -> Result<Link, Failure> {
        tokio::time::timeout(CONNECT, Link::connect(settings, purpose)).await.map_err(|_| Failure::late(CONNECT))?
    }

    async fn connect(settings: &Settings, purpose: &str) -> Result<Link, Failure> {
        let mut config = Config::new();
        for host in &settings.hosts {
            config.host(host);
        }
        config
            .port(settings.port)
            .dbname(&settings.database)
            .user(&settings.user)
            .application_name(application_name(&settings.node, purpose))
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(CONNECT)
            .tcp_user_timeout(settings.timeout)
            .keepalives_idle(settings.lease)
            .ssl_mode(if settings.tls.is_some() { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = &settings.password {
            config.password(password.as_str());
        }
        let (client, mut connection) = config.connect(Tls(settings.tls.clone())).await?;
        let warning = Arc::new(Mutex::new(None));
        let heard = Arc::clone(&warning);
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.parsed_severity() == Some(Severity::Warning)
                {
                    *heard.lock().expect("nothing panics while it holds the warning") =
                        Some(notice.message().to_owned());
                }
            }
        });
        let mut link =
            Link { client, process: 0, warning, statements: Mutex::default(), driver: driver.abort_handle() };
        // If the client of a transaction is gone, its locks must end, because the next owner waits for them.
        let patience = settings.lease.as_millis();
        let session = format!(
            "SET client_min_messages = warning; SET lock_timeout = {patience}; SET idle_in_transaction_session_timeout = {patience}; \
             SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_user_timeout = {patience}; \
             SET client_connection_check_interval = {patience}"
        );
        link.client.batch_execute(&session).await?;
        link.process = link.client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        link.take_warning();
        Ok(link)
    }

    /// Returns the last warning since the previous call, if any.
    pub fn take_warning(&self) -> Option<String> {
        self.warning.lock().expect("nothing panics while it holds the warning").take()
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

/// Returns the name under which the server lists a connection. The server cuts longer names.
pub(super) fn application_name(node: &str, purpose: &str) -> String {
    format!("postbud {purpose} {node}").chars().filter(char::is_ascii).take(63).collect()
}
