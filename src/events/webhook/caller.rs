//! The task that posts to one webhook.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::cursor::{self, load, save, save_if_changed};
use super::{Webhook, signature};
use crate::causes::with_causes;
use crate::events::handle::WebhookCounters;
use crate::events::{Error, Events, Subject};
use crate::http_client;
use crate::record::journal::{Chunk, Journal, Position};
use crate::time::Timestamp;

/// The octets of an answer's body that are read, so that the connection can be used again.
const ANSWER_LIMIT: usize = 64 << 10;
/// The cursor is synced at most this often. After a crash, the calls since then are repeated.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// An alert about trouble that lasts is repeated this often.
const REMIND_EVERY: Duration = Duration::from_secs(6 * 3600);

/// The task that calls.
pub(in crate::events) struct Caller {
    settings: Webhook,
    client: reqwest::Client,
    journal: Arc<Journal>,
    events: Events,
    counters: WebhookCounters,
    cursor: PathBuf,
    position: Position,
    saved: Option<Instant>,
    batch_events: usize,
    trouble: Option<Outage>,
    gap_alerted: Option<Instant>,
}

/// Since when calls have failed, and when an alert was last raised.
struct Outage {
    since: Instant,
    since_time: Timestamp,
    failures: u32,
    alerted: Option<Instant>,
}

/// Why a call failed, and the pause that the receiver asked for.
struct CallFailed {
    why: String,
    retry_after: Option<Duration>,
    too_large: bool,
}

impl Caller {
    /// Reads the cursor. A new webhook begins at the end of the log. Its cursor is saved at once, so that nothing is skipped if the relay
    /// stops before the first call.
    pub fn new(settings: Webhook, journal: Arc<Journal>, state_dir: &Path, events: Events) -> Result<Self, Error> {
        let cursor = cursor::file(state_dir, &settings.name);
        let refused = |what| {
            let path = cursor.clone();
            move |source| Error::Io { what, path, source }
        };
        let position = match load(&cursor) {
            Ok(Some(position)) => position,
            Ok(None) => {
                let end = journal.end();
                save(&cursor, end).map_err(refused("writing the webhook's cursor"))?;
                end
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                // Mail does not wait for a webhook, so start again with the oldest line in the log.
                events.alert(format!(
                    "the cursor {} of a webhook cannot be understood ({error}); every event still in the log is sent again",
                    cursor.display()
                ));
                journal.oldest().map_err(refused("finding the log's start for"))?
            }
            Err(error) => return Err(refused("reading the webhook's cursor")(error)),
        };
        let client = http_client::builder().timeout(settings.timeout).build().map_err(Error::Client)?;
        let batch_events = settings.batch_events.max(1);
        let counters = events.counters().webhook(&settings.name);
        Ok(Caller {
            settings,
            client,
            journal,
            events,
            counters,
            cursor,
            position,
            saved: None,
            batch_events,
            trouble: None,
            gap_alerted: None,
        })
    }

    /// Makes calls until `stopping`. A running call is then abandoned, and its batch is sent again after the next start.
    pub async fn run(mut self, stopping: CancellationToken) {
        let work = stopping.clone();
        let stopped = work.run_until_cancelled(async {
            loop {
                let pause = self.step().await;
                // Measured after failures, too, because an operator wants to know how far behind a dead webhook is.
                self.measure().await;
                tokio::time::sleep(pause).await;
            }
        });
        stopped.await;
        self.save_cursor(true).await;
    }

    /// Reads and sends one batch. Returns the pause before the next one.
    async fn step(&mut self) -> Duration {
        let end = self.journal.end();
        let chunk = match self.read().await {
            Ok(chunk) => chunk,
            Err(error) => return self.failed(CallFailed::by(format!("the event log cannot be read: {error}"))),
        };
        if chunk.gap {
            self.missed();
        }
        self.position = chunk.start;
        let batch = Batch::cut(&chunk.lines, self.batch_events, &self.settings.filter);
        if batch.octets == 0 {
            self.save_cursor(false).await;
            return self.settings.linger;
        }
        if let Err(refused) = self.post(&batch).await {
            if refused.too_large {
                self.batch_events = (batch.events() / 2).max(1);
            }
            return self.failed(refused);
        }
        self.position.offset += batch.octets as u64;
        self.counters.sent.inc_by(batch.events() as u64);
        if batch.events() > 0 && self.trouble.take().is_some() {
            let detail = format!("the webhook {} takes events again", self.shown());
            let subject = self.subject();
            match self.events.is_open(&subject) {
                true => self.events.resolve(&subject, detail),
                false => tracing::info!("{detail}"),
            }
        }
        // Events that were there before this step need not be gathered any longer.
        let more = self.position < end;
        self.batch_events = (self.batch_events * 2).min(self.settings.batch_events.max(1));
        self.save_cursor(false).await;
        if more { Duration::ZERO } else { self.settings.linger }
    }

    async fn read(&self) -> std::io::Result<Chunk> {
        let (journal, from, max) = (Arc::clone(&self.journal), self.position, self.settings.batch_bytes.max(1));
        tokio::task::spawn_blocking(move || journal.read(from, max)).await?
    }

    async fn post(&self, batch: &Batch<'_>) -> Result<(), CallFailed> {
        if batch.events() == 0 {
            return Ok(());
        }
        let behind = Position { offset: self.position.offset + batch.octets as u64, ..self.position };
        let [name, next] = [self.position, behind].map(|position| self.journal.cursor(position));
        let body = batch.body(&self.settings.name, &name, &next);
        let timestamp = Timestamp::now().as_secs();
        let call = self
            .client
            .post(self.settings.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Postbud-Timestamp", timestamp)
            .header("Postbud-Signature", signature(&self.settings.secret, timestamp, &body))
            .header("Postbud-Batch", name.to_string())
            .body(body);
        // Leave the URL out of the error: it may hold a token.
        let mut answer = call.send().await.map_err(|error| CallFailed::by(with_causes(&error.without_url())))?;
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let mut read = 0;
        while read < ANSWER_LIMIT
            && let Ok(Some(part)) = answer.chunk().await
        {
            read += part.len();
        }
        if status.is_success() {
            return Ok(());
        }
        let too_large = status == reqwest::StatusCode::PAYLOAD_TOO_LARGE;
        Err(CallFailed { why: format!("it answered {status}"), retry_after, too_large })
    }

    /// Counts lines that rotation removed before they were sent, and raises an alert. A webhook that is dead for days does not raise one
    /// for each file.
    fn missed(&mut self) {
        self.counters.gaps.inc();
        if self.gap_alerted.is_some_and(|at| at.elapsed() < REMIND_EVERY) {
            return;
        }
        self.gap_alerted = Some(Instant::now());
        self.events.alert(format!(
            "the webhook {} misses events: they were removed before it took them. `[events] keep` and `keep_size` say how \
             much is kept",
            self.shown()
        ));
    }

    /// Records a failure, raises an alert if failures have lasted, and returns the pause.
    fn failed(&mut self, refused: CallFailed) -> Duration {
        self.counters.failures.inc();
        let (shown, subject) = (self.shown(), self.subject());
        let trouble = self.trouble.get_or_insert_with(|| Outage {
            since: Instant::now(),
            since_time: Timestamp::now(),
            failures: 0,
            alerted: None,
        });
        trouble.failures += 1;
        if trouble.failures == 1 {
            tracing::warn!("the webhook {shown} failed: {}. It is tried again; events wait in the log", refused.why);
        }
        let due = trouble.alerted.is_none_or(|at| at.elapsed() > REMIND_EVERY);
        if due && trouble.since.elapsed() >= self.settings.alert_after {
            trouble.alerted = Some(Instant::now());
            let detail = format!(
                "the webhook {shown} has taken no events since {}: {}. Events wait in the log until it rotates; mail is not affected",
                trouble.since_time, refused.why
            );
            self.events.raise(subject, detail);
        }
        let pause = pause(trouble.failures, self.settings.retry_first, self.settings.retry_longest);
        let asked = refused.retry_after.unwrap_or_default().min(self.settings.retry_longest);
        pause.max(asked).mul_f64(rand::rng().random_range(0.8..1.2))
    }

    async fn measure(&self) {
        let (journal, from) = (Arc::clone(&self.journal), self.position);
        if let Ok(Ok(behind)) = tokio::task::spawn_blocking(move || journal.octets_after(from)).await {
            self.counters.behind_bytes.set(i64::try_from(behind).unwrap_or(i64::MAX));
        }
    }

    async fn save_cursor(&mut self, now: bool) {
        if !now && self.saved.is_some_and(|at| at.elapsed() < SAVE_EVERY) {
            return;
        }
        let (cursor, position) = (self.cursor.clone(), self.position);
        match tokio::task::spawn_blocking(move || save_if_changed(&cursor, position)).await {
            Ok(Ok(())) => self.saved = Some(Instant::now()),
            Ok(Err(error)) => {
                tracing::error!("the cursor {} of a webhook cannot be saved: {error}", self.cursor.display())
            }
            Err(error) => tracing::error!("saving the webhook's cursor: {error}"),
        }
    }

    fn subject(&self) -> Subject {
        Subject::Webhook(self.settings.name.clone())
    }

    /// Returns the name for messages. The URL's path and query are left out, because they may hold a token.
    fn shown(&self) -> String {
        format!("{} ({})", self.settings.name, self.settings.url.host_str().unwrap_or("without a host"))
    }
}

impl CallFailed {
    fn by(why: String) -> Self {
        CallFailed { why, retry_after: None, too_large: false }
    }
}

/// Returns the pause after this number of failures.
fn pause(failures: u32, first: Duration, longest: Duration) -> Duration {
    first.saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(longest)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = |failures| pause(failures, Duration::from_secs(1), Duration::from_secs(300)).as_secs();
        assert_eq!([1, 2, 3, 9, 10, 33, u32::MAX].map(seconds), [1, 2, 4, 256, 300, 300, 300]);
    }
}
