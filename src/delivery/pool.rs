//! The connections of one route: kept ones are used first, and new ones are made when there is none. The queue decides
//! how many there may be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::addresses::Failed;
use super::auth::oauth::{RouteTokens, Tokens};
use super::connection::Connection;
use super::counters::Counters;
use super::dial::{Dialler, Failure};
use super::outcome::Trouble;
use super::settings::Settings;
use super::step::{Step, StepLog};
use super::tls::{PolicyError, TlsClient};
use crate::machine::threads;
use crate::message::FailureClass;
use crate::route::Route;
use crate::smtp::Mechanism;

/// How long commands go one by one to a server whose replies did not fit them. A server that PIPELINING confuses would
/// otherwise fail with each message. The time is limited, so that one slip does not make a server slow for ever.
const ONE_BY_ONE: Duration = Duration::from_secs(3600);

/// The connections of one route. A reload that changes the route makes a new pool.
pub struct Pool {
    /// The route, as it is configured now.
    pub route: Arc<Route>,
    idle: Mutex<Vec<Connection>>,
    closed: AtomicBool,
    tls: OnceCell<Result<Option<TlsClient>, PolicyError>>,
    tokens: Tokens,
    logins: Logins,
    failed: Failed,
    out_of_step: Mutex<Option<Instant>>,
}

/// Ensures that a wrong password is tried once, and not by all connections at once. Until one login has succeeded,
/// connections log in one after the other. A connection that waited while another one was refused takes that refusal as
/// its own.
#[derive(Default)]
struct Logins {
    proven: AtomicBool,
    one_at_a_time: AsyncMutex<()>,
    refusals: AtomicU64,
    last_refusal: Mutex<Option<Failure>>,
    /// The mechanism of the last login that succeeded.
    usual: Mutex<Option<Mechanism>>,
}

impl Pool {
    /// A pool without connections.
    pub fn new(route: Arc<Route>) -> Self {
        Pool {
            route,
            idle: Mutex::default(),
            closed: AtomicBool::new(false),
            tls: OnceCell::new(),
            tokens: Tokens::default(),
            logins: Logins::default(),
            failed: Failed::default(),
            out_of_step: Mutex::default(),
        }
    }

    /// Records that the server's replies did not fit the commands of a transaction.
    pub fn note_out_of_step(&self) {
        *lock(&self.out_of_step) = Some(Instant::now());
    }

    /// Returns true if commands must go one by one, so that each reply can belong to one command only.
    pub fn goes_one_by_one(&self) -> bool {
        lock(&self.out_of_step).is_some_and(|since| since.elapsed() < ONE_BY_ONE)
    }

    /// Takes a kept connection that can still be used, beginning with the one used last.
    pub async fn take(&self, quit_within: Duration) -> Option<Connection> {
        loop {
            let mut connection = self.idle().pop()?;
            if connection.used.elapsed() < self.route.caps.idle && connection.is_quiet().await {
                return Some(connection);
            }
            retire(connection, quit_within);
        }
    }

    /// Keeps a connection for the next transaction, unless it has served enough, the pool is closed, or as many are kept
    /// as the route may have.
    pub fn put(&self, mut connection: Connection, quit_within: Duration) {
        let caps = &self.route.caps;
        connection.rest();
        if connection.served < caps.messages_per_connection && !self.closed.load(Ordering::Acquire) {
            let mut idle = self.idle();
            if idle.len() < caps.concurrency as usize {
                idle.push(connection);
                return;
            }
        }
        retire(connection, quit_within);
    }

    /// Makes a new connection.
    pub async fn dial(
        &self,
        settings: &Settings,
        counters: &Counters,
        log: &mut StepLog,
    ) -> Result<Connection, Failure> {
        if self.route.login.is_none() || self.logins.proven.load(Ordering::Acquire) {
            return self.dial_now(settings, counters, log).await;
        }
        let before = self.logins.refusals.load(Ordering::Acquire);
        let _logging_in = self.logins.one_at_a_time.lock().await;
        if self.logins.refusals.load(Ordering::Acquire) != before
            && let Some(refusal) = lock(&self.logins.last_refusal).clone()
        {
            return Err(refusal);
        }
        self.dial_now(settings, counters, log).await
    }

    async fn dial_now(
        &self,
        settings: &Settings,
        counters: &Counters,
        log: &mut StepLog,
    ) -> Result<Connection, Failure> {
        let tls = self.tls().await.as_ref().map_err(|error| Failure {
            step: Step::Policy,
            reason: error.to_string(),
            trouble: Trouble::BackOff {
                reason: error.to_string(),
                at_least: None,
                advice: Some("correct the file that the route names, and reload".to_owned()),
            },
            class: FailureClass::Network,
            everywhere: true,
        })?;
        let tokens = RouteTokens { tokens: &self.tokens, settings, route: &self.route };
        let (route, failed) = (&*self.route, &self.failed);
        let usual = *lock(&self.logins.usual);
        let dialler = Dialler { settings, route, tls: tls.as_ref(), tokens: &tokens, usual, failed, counters };
        let dialled = dialler.dial(log).await;
        match &dialled {
            Ok(connection) => {
                self.logins.proven.store(true, Ordering::Release);
                *lock(&self.logins.usual) = connection.mechanism;
            }
            Err(failure) if matches!(failure.trouble, Trouble::Suspend { .. }) => {
                self.logins.proven.store(false, Ordering::Release);
                *lock(&self.logins.last_refusal) = Some(failure.clone());
                self.logins.refusals.fetch_add(1, Ordering::AcqRel);
            }
            Err(_) => {}
        }
        dialled
    }

    /// The route's TLS client. Its files are read once in the life of the pool.
    async fn tls(&self) -> &Result<Option<TlsClient>, PolicyError> {
        self.tls
            .get_or_init(|| async {
                let route = Arc::clone(&self.route);
                let read = threads::blocking(move || TlsClient::of(&route)).await;
                read.unwrap_or_else(|_| TlsClient::of(&self.route))
            })
            .await
    }

    /// Takes out the connections that have been idle too long.
    pub fn expired(&self) -> Vec<Connection> {
        let limit = self.route.caps.idle;
        self.idle().extract_if(.., |connection| connection.used.elapsed() >= limit).collect()
    }

    /// Takes out all idle connections. Connections in use are closed when they come back.
    pub fn close(&self) -> Vec<Connection> {
        self.closed.store(true, Ordering::Release);
        std::mem::take(&mut *self.idle())
    }

    /// The number of idle connections.
    pub fn idle_count(&self) -> usize {
        self.idle().len()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        lock(&self.idle)
    }
}

/// Closes a connection with QUIT in the background, so that nobody waits for it.
pub fn retire(connection: Connection, within: Duration) {
    tokio::spawn(connection.quit(within));
}

/// Locks even if a thread panicked with the lock. No change under these locks can be left half made.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
