//! Asks several times a second which owners have announced a change, and thereby finds out whether the database answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::Versions;
use super::{LOOK_EVERY, connect};
use crate::postgres::{Connection, Failure, Server};

/// The age after which the last answer is no longer relied on.
const STALE: Duration = Duration::from_secs(5);
/// The time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The last answer about changes of other nodes, and when it came.
#[derive(Default)]
pub(super) struct Followed {
    versions: watch::Sender<Versions>,
    heard: Mutex<LastAnswer>,
}

#[derive(Default)]
struct LastAnswer {
    /// When the last answered question was asked.
    asked: Option<Instant>,
    /// Why the last question was not answered.
    trouble: Option<String>,
}

impl Followed {
    /// Returns the number of changes that each owner has announced.
    pub fn versions(&self) -> watch::Receiver<Versions> {
        self.versions.subscribe()
    }

    /// Returns an error if it is unknown what has changed in the last seconds.
    pub fn is_current(&self) -> Result<(), String> {
        let heard = self.heard();
        if heard.trouble.is_none() && heard.asked.is_some_and(|asked| asked.elapsed() < STALE) {
            return Ok(());
        }
        Err(heard.trouble.clone().unwrap_or_else(|| "it has not answered for some seconds".into()))
    }

    /// Asks the server once which tables have changed, and tells those who follow them.
    pub async fn look(&self, connection: &Connection) -> Result<(), Failure> {
        let asked = Instant::now();
        let rows = connection.client.query("SELECT owner, version FROM changed", &[]).await?;
        let versions: Versions = Arc::new(rows.iter().map(|row| (row.get(0), row.get(1))).collect());
        self.versions.send_if_modified(|known| {
            let is_news = *known != versions;
            *known = versions;
            is_news
        });
        let mut heard = self.heard();
        heard.asked = Some(asked);
        if let Some(trouble) = heard.trouble.take() {
            tracing::info!(trouble, "the database of what all nodes know answers again");
        }
        Ok(())
    }

    fn failed(&self, failure: Failure) {
        let mut heard = self.heard();
        if heard.trouble.is_none() {
            tracing::warn!(error = failure.why, "the database of what all nodes know does not answer");
        }
        heard.trouble = Some(failure.why);
    }

    fn heard(&self) -> MutexGuard<'_, LastAnswer> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks until the runtime ends.
pub(super) async fn follow(server: Arc<Server>, followed: Arc<Followed>, first: Connection) {
    let mut connection = Some(first);
    let patience = server.timeout.min(PATIENCE);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let looked = tokio::time::timeout(patience, async {
            let open = match &connection {
                Some(open) => open,
                None => connection.insert(connect(&server).await?),
            };
            followed.look(open).await
        });
        if let Err(failure) = looked.await.unwrap_or_else(|_| Err(Failure::late(patience))) {
            connection = None;
            followed.failed(failure);
        }
    }
}
