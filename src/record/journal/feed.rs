//! Copies the spool's outbox into the journal: reads the lines behind the last position, waits until the journal has them on disk, and then
//! lets the spool forget them.
//!
//! A start begins at the saved position, which may be a little behind. The first lines may therefore be in the journal already; they are
//! skipped by their ids.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::buffer::{Buffer, FromOutbox};
use super::kept::event_id;
use crate::spool::{Error, Outbox, OutboxPage, OutboxPosition};

/// The shortest pause between two reads, because the journal syncs after each.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause after a failed read.
const RETRY: Duration = Duration::from_secs(1);
/// How long a stop waits for the last lines. Lines that are left stay in the spool, and come at the next start.
const LAST_LINES: Duration = Duration::from_secs(10);

/// Reads one spool's outbox.
pub(crate) struct Feed {
    buffer: Arc<Buffer>,
    /// The position up to which the journal has the outbox.
    position: Option<OutboxPosition>,
    /// The ids of later events that the journal may already have.
    known: HashSet<String>,
    /// When a read began that found all there was, and brought it in.
    caught_up: watch::Sender<Option<Instant>>,
    /// True once the journal has had everything.
    has_caught_up: bool,
}

impl Feed {
    /// Continues behind `position`. Events with an id in `known` are already in the journal. `caught_up` gets the start of each read after
    /// which the journal has everything that was there.
    pub fn new(
        buffer: Arc<Buffer>,
        position: Option<OutboxPosition>,
        known: HashSet<String>,
        caught_up: watch::Sender<Option<Instant>>,
    ) -> Self {
        Feed { buffer, position, known, caught_up, has_caught_up: false }
    }

    /// Runs until `stopping`, and then copies the lines that the spool has at that moment. Returns true if the journal has all of them.
    pub async fn run(mut self, spool: Arc<dyn Outbox>, stopping: CancellationToken) -> bool {
        let filled = spool.filled();
        // The last cause that was logged: each is logged once.
        let mut complained = None;
        loop {
            let (began, is_last) = (Instant::now(), stopping.is_cancelled());
            let too_late = async {
                stopping.cancelled().await;
                tokio::time::sleep(LAST_LINES).await;
            };
            let brought = tokio::select! {
                brought = self.bring(&*spool) => brought,
                () = too_late => {
                    tracing::error!("the event log took no more events before the stop; they come at the next start");
                    return false;
                }
            };
            let is_all = matches!(brought, Ok(false));
            match brought {
                Ok(true) => continue,
                Ok(false) => {
                    complained = None;
                    self.caught_up.send_replace(Some(began));
                }
                Err(error) => {
                    let why = error.to_string();
                    if complained.as_ref() != Some(&why) {
                        tracing::error!("the spool's outbox cannot be read: {why}. It is tried again until it can");
                        complained = Some(why);
                    }
                }
            }
            if is_last {
                return is_all;
            }
            let more = async {
                match is_all {
                    true => {
                        filled.notified().await;
                        tokio::time::sleep_until(began + PAUSE).await;
                    }
                    // The lines that were not read are there already, and nothing tells of them again.
                    false => tokio::time::sleep_until(began + RETRY).await,
                }
            };
            stopping.run_until_cancelled(more).await;
        }
    }

    /// Copies one page. Returns true if there is more.
    async fn bring(&mut self, spool: &dyn Outbox) -> Result<bool, Error> {
        let OutboxPage { mut lines, position, more } = spool.lines(self.position.clone()).await?;
        if !self.known.is_empty() {
            self.leave_out_known(&mut lines);
        }
        if !more {
            // Later lines were written after the start, so they cannot be in the journal.
            self.known = HashSet::new();
        }
        let is_news = self.position.as_ref() != Some(&position) || !lines.is_empty();
        if !is_news && (more || self.has_caught_up) {
            return Ok(more);
        }
        let (synced, is_synced) = oneshot::channel();
        self.buffer.push_outbox(FromOutbox { lines, position: position.clone(), is_all: !more, synced });
        // The next start copies these lines again.
        is_synced.await.map_err(|_| Error::Stopped("the writer of the event log has ended".into()))?;
        spool.confirm(position.clone());
        self.position = Some(position);
        self.has_caught_up |= !more;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::Notify;

    use super::*;
    use crate::spool::Pending;

    /// An outbox with one line, which cannot be read the first time.
    #[derive(Default)]
    struct Away {
        is_back: AtomicBool,
        filled: Arc<Notify>,
    }

    impl Outbox for Away {
        fn lines(&self, _after: Option<OutboxPosition>) -> Pending<Result<OutboxPage, Error>> {
            let read = match self.is_back.swap(true, Ordering::Relaxed) {
                false => Err(Error::Stopped("the database is away".into())),
                true => Ok(OutboxPage { lines: b"{}\n".to_vec(), position: OutboxPosition::new("1"), more: false }),
            };
            Box::pin(std::future::ready(read))
        }

        fn confirm(&self, _position: OutboxPosition) {}

        fn filled(&self) -> Arc<Notify> {
            Arc::clone(&self.filled)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_could_not_be_read_are_read_later_although_no_others_come() {
        let buffer = Arc::new(Buffer::default());
        let feed = Feed::new(Arc::clone(&buffer), None, HashSet::new(), watch::Sender::default());
        let feeding = tokio::spawn(feed.run(Arc::new(Away::default()), CancellationToken::new()));
        let mut read = None;
        for _ in 0..100 {
            tokio::time::sleep(RETRY / 10).await;
            read = read.or(buffer.take(Vec::new(), std::time::Instant::now(), Duration::ZERO).outbox);
        }
        assert_eq!(read.expect("it was read again").lines, b"{}\n");
        feeding.abort();
    }
}
