//! Brings the spool's outbox into the journal: reads what is behind the journal's position there, waits until the journal has it on
//! disk, and lets the spool forget it.
//!
//! A start begins at the position that was kept. That may be a little behind, so the first lines that come may stand in the
//! journal already; they are left out by their ids.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::buffer::{Buffer, FromOutbox};
use super::kept::event_id;
use crate::spool::{Error, OutboxPage, OutboxPosition, Spool};

/// The shortest time between two reads: the journal syncs each of them.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause after a read that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long a stop waits for the last lines. They are in the spool, and come at the next start.
const LAST_LINES: Duration = Duration::from_secs(10);

/// The reader of one spool's outbox.
pub(crate) struct Feed {
    buffer: Arc<Buffer>,
    /// Up to where the journal has the outbox.
    position: Option<OutboxPosition>,
    /// What the journal may have of what follows.
    known: HashSet<String>,
}

impl Feed {
    /// Goes on behind `position`. Events with an id of `known` are in the journal already.
    pub fn new(buffer: Arc<Buffer>, position: Option<OutboxPosition>, known: HashSet<String>) -> Self {
        Feed { buffer, position, known }
    }

    /// Runs until told to stop. What the spool has at that moment still comes in.
    pub async fn run(mut self, spool: Arc<dyn Spool>, stopping: CancellationToken) {
        let filled = spool.filled();
        loop {
            let (began, is_last) = (Instant::now(), stopping.is_cancelled());
            let too_late = async {
                stopping.cancelled().await;
                tokio::time::sleep(LAST_LINES).await;
            };
            let brought = tokio::select! {
                brought = self.bring(&*spool) => brought,
                () = too_late => {
                    return tracing::error!("the event log took no more events before the stop; they come at the next start");
                }
            };
            let pause = match brought {
                Ok(true) => continue,
                Ok(false) => PAUSE,
                Err(error) => {
                    tracing::error!("the spool's outbox cannot be read: {error}. It is tried again");
                    RETRY
                }
            };
            if is_last {
                return;
            }
            let more = async {
                filled.notified().await;
                tokio::time::sleep_until(began + pause).await;
            };
            stopping.run_until_cancelled(more).await;
        }
    }

    /// Brings one page. Returns true if there is more.
    async fn bring(&mut self, spool: &dyn Spool) -> Result<bool, Error> {
        let OutboxPage { mut lines, position, more } = spool.lines(self.position.clone()).await?;
        if !self.known.is_empty() {
            self.leave_out_known(&mut lines);
        }
        if !more {
            // Whatever comes now was told after the start.
            self.known = HashSet::new();
        }
        if self.position.as_ref() == Some(&position) && lines.is_empty() {
            return Ok(more);
        }
        let (synced, is_synced) = oneshot::channel();
        self.buffer.push_outbox(FromOutbox { lines, position: position.clone(), synced });
        // An error means that the writer stopped: the next start brings these lines again.
        if is_synced.await.is_err() {
            return Ok(false);
        }
        spool.confirm(position.clone());
        self.position = Some(position);
        Ok(more)
    }

    fn leave_out_known(&mut self, lines: &mut Vec<u8>) {
        let mut left = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|octet| *octet == b'\n') {
            if !event_id(line).is_some_and(|id| self.known.remove(&id)) {
                left.extend_from_slice(line);
            }
        }
        *lines = left;
    }
}
