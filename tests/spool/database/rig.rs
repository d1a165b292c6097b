//! A server of a test's own, the spool in it, and what was acknowledged of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postbud::message::QueueId;
use postbud::spool::postgres::{Postgres, Settings};
use postbud::spool::{Commit, Error, Filter, Inspect, Notice, Notices, Spool};

use crate::drafts::draft;
use crate::postgres::Server;
use crate::skip::skip;

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of a test's own. Says that the test is skipped where there can be none.
pub fn server(test: &str, settings: &[(&str, &str)]) -> Option<Server> {
    match Server::start(settings) {
        Ok(server) => Some(server),
        Err(why) => {
            skip(test, &why);
            None
        }
    }
}

/// Settings with which trouble shows and ends soon.
pub fn quick(server: &Server) -> Settings {
    let mut settings = server.settings("s");
    (settings.server.timeout, settings.server.lease) = (Duration::from_secs(2), Duration::from_secs(4));
    settings
}

/// What an operator heard of a spool.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Notice>>>);

impl Heard {
    /// Settings whose notices come here.
    pub fn with(&self, settings: Settings) -> Settings {
        let heard = Arc::clone(&self.0);
        Settings { notices: Notices::to(move |notice| heard.lock().unwrap().push(notice)), ..settings }
    }

    /// Whether there was such a notice.
    pub fn has(&self, is_it: impl Fn(&Notice) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(is_it)
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the spool takes mail and delivers again.
pub async fn recovered(spool: &Postgres) {
    let health = spool.health();
    until("the spool recovers", || {
        let health = health.borrow();
        assert_eq!(health.stopped, None);
        health.may_deliver() && health.full.is_none()
    })
    .await;
}

/// Senders that commit one message after the other, and what came of that.
pub struct Senders {
    stop: Arc<std::sync::atomic::AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<(BTreeSet<QueueId>, u64)>>,
}

impl Senders {
    /// Starts so many, each with messages of its own.
    pub fn start(spool: &Arc<Postgres>, senders: u64) -> Senders {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let send = |sender: u64| {
            let (spool, stop) = (Arc::clone(spool), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
                for seed in (sender..).step_by(100) {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    match spool.commit(draft("x", &["a@b.dk"], seed, 2_000)).await {
                        Ok(durable) => drop(acknowledged.insert(durable.id())),
                        Err(Error::Io { .. } | Error::Full { .. }) => {
                            refused += 1;
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                (acknowledged, refused)
            })
        };
        let tasks = (0..senders).map(send).collect();
        Senders { stop, tasks }
    }

    /// What was acknowledged, and how many were refused.
    pub async fn stop(self) -> (BTreeSet<QueueId>, u64) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
        for task in self.tasks {
            let (more, other) = task.await.unwrap();
            acknowledged.extend(more);
            refused += other;
        }
        (acknowledged, refused)
    }
}

/// What waits in a spool. Readers have a connection of their own, which may come back a moment after the writers'.
pub async fn waiting(spool: &Postgres) -> BTreeSet<QueueId> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        match spool.list(Filter::default(), 1_000_000).await {
            Ok(records) => return records.into_iter().map(|record| record.id).collect(),
            Err(error) => assert!(Instant::now() < patience, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
