//! Connections to PostgreSQL, for all modules that store data there.
//!
//! A failed connection is dropped and never repaired. The server's warnings are kept: a commit with a warning (for example that the server
//! stopped waiting for a synchronous standby) is not known to be safe. Only the warning that the server runs out of transaction numbers
//! says nothing about a commit, and goes to the log.

mod tls;

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::{AsyncMessage, Client, Config, Socket};
use zeroize::Zeroizing;

pub use tls::client_config;
use tls::{Encrypted, Tls};

/// The time limit for connecting.
const CONNECT: Duration = Duration::from_secs(5);
/// The time after which the next server is tried besides one that has not answered.
const NEXT_HOST: Duration = Duration::from_millis(250);

/// Asks for the server process of a session, and whether a client of this program has it already.
const PROCESS: &str = "SELECT pg_backend_pid(), current_setting('postbud.client', true)";
/// Sets back the limit of a transaction's time, which PostgreSQL 17 and later have.
const NO_TRANSACTION_TIMEOUT: &str =
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'";
/// Why a connection is not used that belongs to several clients.
const POOLED: &str = "a connection pooler in front of the server gives one session to several clients. Name the server itself, or set \
                      pool_mode = session in the pooler";

/// The address of a database, and the way to connect to it.
#[derive(Clone)]
pub struct Server {
    /// The servers that may be the primary: names, addresses, or folders of a Unix socket. The first one that accepts writes is used.
    pub hosts: Vec<String>,
    /// The port of every server.
    pub port: u16,
    /// The name of the database.
    pub database: String,
    /// The role to log in as.
    pub user: String,
    /// The password of the role. `None` if the server asks for none.
    pub password: Option<Zeroizing<String>>,
    /// The schema that holds the tables: lower-case letters, digits and underscores.
    pub schema: String,
    /// How the server's certificate is checked; `None` for no TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name of this node, which the server's list of processes shows.
    pub node: String,
    /// How long the server may take for an answer, of a batch or a read. After that the connection is dropped.
    pub timeout: Duration,
    /// How long a silent node keeps its shards. After this time the server also ends a silent client's session, so that its locks are
    /// freed.
    pub lease: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            hosts: vec!["/var/run/postgresql".into()],
            port: 5432,
            database: "postbud".into(),
            user: "postbud".into(),
            password: None,
            schema: "postbud".into(),
            tls: None,
            node: "postbud".into(),
            timeout: Duration::from_secs(10),
            lease: Duration::from_secs(10),
        }
    }
}

/// Describes the address of the database for people, without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { database, schema, hosts, port, .. } = self;
        write!(f, "database {database} (schema {schema}) at {} port {port}", hosts.join(", "))
    }
}

/// Why a request to the database failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The error text of the server or the system.
    pub why: String,
    /// The server's code, if the server answered.
    pub code: Option<SqlState>,
    /// True if the library refused the statement or its answer, or rows make no sense, although the connection is well: a mistake of a
    /// program.
    pub is_mistake: bool,
}

impl Failure {
    /// Makes the failure of a request without an answer.
    pub fn new(why: impl Into<String>) -> Failure {
        Failure { why: why.into(), code: None, is_mistake: false }
    }

    /// Makes the failure of a request that was not answered in time.
    pub fn late(after: Duration) -> Failure {
        Failure::new(format!("no answer after {} s", after.as_secs_f64()))
    }

    /// Returns true if the statement is at fault, and not the server: it would fail again. By the classes of PostgreSQL's error codes.
    pub fn is_of_statement(&self) -> bool {
        let Some(code) = &self.code else { return self.is_mistake };
        // 08 connection, 40 rolled back, 53 no resources, 55 not in this state, 57 told to end, 58 system, F0 configuration, XX internal.
        let is_of_server =
            ["08", "40", "53", "55", "57", "58", "F0", "XX"].iter().any(|class| code.code().starts_with(class));
        !is_of_server && *code != SqlState::READ_ONLY_SQL_TRANSACTION
    }

    /// Returns true if the server answered with an error, so that the connection can still be used.
    pub fn is_answer(&self) -> bool {
        self.code.is_some()
    }

    /// Returns true if the server has no room.
    pub fn is_full(&self) -> bool {
        self.code == Some(SqlState::DISK_FULL)
    }

    /// Returns true if the table does not exist, because its segment was deleted.
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
        Failure { why, code: is_answer.then(|| said.code().clone()), is_mistake: false }
    }
}

/// A connection. It ends when this is dropped.
pub struct Connection {
    /// The library's client, which sends the statements.
    pub client: Client,
    /// The server process of this connection.
    pub process: i32,
    warning: Arc<Mutex<Option<String>>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to the first of the servers that accepts writes. `purpose` is shown in the server's list of processes. Must be called on a
    /// tokio runtime, which the connection then needs.
    pub async fn open(server: &Server, purpose: &str) -> Result<Connection, Failure> {
        let connecting = Connection::connect(server, purpose);
        tokio::time::timeout(CONNECT, connecting).await.map_err(|_| Failure::late(CONNECT))?
    }

    async fn connect(server: &Server, purpose: &str) -> Result<Connection, Failure> {
        #[cfg(test)]
        if let Some(dialled) = crate::machine::net::database() {
            let stream = dialled.await.map_err(|error| Failure::new(error.to_string()))?;
            let (client, connection) = config(server, purpose).connect_raw(stream, tokio_postgres::NoTls).await?;
            return Connection::begin(server, client, connection).await;
        }
        let (client, connection) = first_that_takes_writes(server, purpose).await?;
        Connection::begin(server, client, connection).await
    }

    /// Polls a new connection in a task, and sets its parameters at the server.
    async fn begin<S, T>(
        server: &Server,
        client: Client,
        mut connection: tokio_postgres::Connection<S, T>,
    ) -> Result<Connection, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let warning = Arc::new(Mutex::new(None));
        let heard = Arc::clone(&warning);
        let mut has_told_of_numbers = false;
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
                let AsyncMessage::Notice(notice) = message else { continue };
                if notice.parsed_severity() != Some(Severity::Warning) {
                    continue;
                }
                if is_of_numbers(&notice) {
                    if !std::mem::replace(&mut has_told_of_numbers, true) {
                        let hint = notice.hint().unwrap_or_default();
                        tracing::warn!(hint, "the database warns: {}", notice.message());
                    }
                } else {
                    *heard.lock().expect("nothing panics while it holds the warning") =
                        Some(notice.message().to_owned());
                }
            }
        });
        let mut opened = Connection { client, process: 0, warning, driver: driver.abort_handle() };
        let known = opened.client.query_one(PROCESS, &[]).await?;
        opened.process = known.get(0);
        // A new session has no such setting. One that has it serves another client, too.
        if known.get::<_, Option<&str>>(1).is_some_and(|other| !other.is_empty()) {
            return Err(Failure::new(POOLED));
        }
        // If the client of a transaction is gone, its locks must end, because the next owner waits for them.
        let patience = server.lease.as_millis();
        // What an administrator may have set for the role or the database is set back where it would break a promise: a log is read for longer
        // than other statements last, an idle connection is meant to stay, and each statement must see what was committed before it.
        let session = format!(
            "SET client_min_messages = warning; SET lock_timeout = {patience}; SET idle_in_transaction_session_timeout = {patience}; \
             SET statement_timeout = 0; SET idle_session_timeout = 0; SET default_transaction_isolation = 'read committed'; \
             SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_user_timeout = {patience}; \
             SET client_connection_check_interval = {patience}; SET postbud.client = 'yes'; {NO_TRANSACTION_TIMEOUT}"
        );
        opened.client.batch_execute(&session).await?;
        opened.take_warning();
        Ok(opened)
    }

    /// Returns the last warning since the previous call, if any.
    pub fn take_warning(&self) -> Option<String> {
        self.warning.lock().expect("nothing panics while it holds the warning").take()
    }

    /// Returns a handle that ends the connection, even while somebody waits for an answer.
    pub fn end(&self) -> AbortHandle {
        self.driver.clone()
    }
}

/// Returns true for the warning that the server runs out of numbers for transactions. It says nothing about the commit, which the server
/// still makes: the warning begins millions of transactions before the server takes no more. The server's function is the only part of a
/// warning that is neither translated nor shared with others.
fn is_of_numbers(warning: &DbError) -> bool {
    matches!(warning.routine(), Some("GetNewTransactionId" | "GetNewMultiXactId"))
}

type Connected = (Client, tokio_postgres::Connection<Socket, Encrypted>);

/// Connects to the servers in their order. A server that does not answer, because its machine is gone, delays the next one only shortly.
async fn first_that_takes_writes(server: &Server, purpose: &str) -> Result<Connected, Failure> {
    let mut hosts = server.hosts.iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed: Vec<String> = Vec::new();
    loop {
        attempts.extend(hosts.next().map(|host| connect_to(host, server, purpose)));
        let ended = match hosts.len() {
            0 => Ok(attempts.next().await),
            _ => tokio::time::timeout(NEXT_HOST, attempts.next()).await,
        };
        match ended {
            Ok(Some(Ok(connected))) => return Ok(connected),
            Ok(Some(Err(failure))) => failed.push(failure.why),
            Ok(None) => return Err(Failure::new(failed.join("; "))),
            Err(_) => {}
        }
    }
}

async fn connect_to(host: &str, server: &Server, purpose: &str) -> Result<Connected, Failure> {
    let mut config = config(server, purpose);
    config.host(host).port(server.port);
    config.connect(Tls(server.tls.clone())).await.map_err(|error| match server.hosts.len() {
        1 => error.into(),
        _ => Failure::new(format!("{host}: {}", Failure::from(error).why)),
    })
}

/// What a connection to any of the servers has.
fn config(server: &Server, purpose: &str) -> Config {
    let mut config = Config::new();
    config
        .dbname(&server.database)
        .user(&server.user)
        .application_name(application_name(&server.node, purpose))
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(CONNECT)
        .tcp_user_timeout(server.timeout)
        .keepalives_idle(server.lease)
        .ssl_mode(if server.tls.is_some() { SslMode::Require } else { SslMode::Disable });
    if let Some(password) = &server.password {
        config.password(password.as_str());
    }
    config
}

/// Returns the name under which the server lists a connection. The server cuts longer names.
pub fn application_name(node: &str, purpose: &str) -> String {
    format!("postbud {purpose} {node}").chars().filter(char::is_ascii).take(63).collect()
}
