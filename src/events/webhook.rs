//! The webhook: reads the log from its cursor, posts batches, and moves on when the answer is 2xx.
//!
//! ```text
//! POST <url>                         Content-Type: application/json
//! Postbud-Timestamp: 1795458240      seconds since 1970, when this call was made
//! Postbud-Signature: v1=<hex>        HMAC-SHA256(secret, timestamp "." body)
//! Postbud-Batch: 41-120384           where the batch begins in the log
//!
//! {"batch":"41-120384","events":[{"at":…,"event":"delivered",…},…]}
//! ```
//!
//! At least once, in order: after a lost answer or a restart a batch may come again, under the same name where it begins
//! at the same line. A receiver checks the signature over the octets it got, refuses timestamps older than a few minutes,
//! and forgets events it has seen (`id`, `recipient`, `event` and `at` name one). Redirects are failures: a signed body goes to
//! nobody but the configured address.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use rand::Rng;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use super::{Error, Events, Subject};
use crate::causes::with_causes;
use crate::files;
use crate::hex::hex;
use crate::http_client;
use crate::record::journal::{Chunk, Journal, Position};
use crate::time::Timestamp;

/// The cursor's name in the state folder.
pub(super) const CURSOR_FILE: &str = "webhook-cursor.json";
/// How much of an answer's body is read, so that the connection can be used again.
const ANSWER_LIMIT: usize = 64 << 10;
/// The cursor is synced at most this often; what is sent again after a crash is no more than that.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// An alert about trouble that lasts is repeated this often.
const REMIND_EVERY: Duration = Duration::from_secs(6 * 3600);

/// Who is told, and how patiently.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where to post.
    pub url: Url,
    /// What signs.
    pub secret: Secret,
    /// Events in one call.
    pub batch_events: usize,
    /// Octets in one call, about.
    pub batch_bytes: usize,
    /// How long events are gathered before a call.
    pub linger: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Pause after the first failure; doubles with each further one.
    pub retry_first: Duration,
    /// No pause is longer.
    pub retry_longest: Duration,
    /// A webhook dead for this long raises an alert, repeated every six hours.
    pub alert_after: Duration,
}

impl Webhook {
    /// With sane patience: batches of 500 events or 1 MiB a second, retries from 1 s to 5 min, an alert after 10 min.
    pub fn new(url: Url, secret: Secret) -> Self {
        Webhook {
            url,
            secret,
            batch_events: 500,
            batch_bytes: 1 << 20,
            linger: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(300),
            alert_after: Duration::from_secs(600),
        }
    }
}

/// The webhook's shared secret. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Arc<ArcSwap<Zeroizing<Vec<u8>>>>);

impl Secret {
    /// Takes the octets as they are.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Secret(Arc::new(ArcSwap::from_pointee(Zeroizing::new(secret.into()))))
    }

    /// Takes another one's octets; calls from now on are signed with them.
    pub fn replace(&self, with: Secret) {
        self.0.store(with.0.load_full());
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The value of `Postbud-Signature` for a body sent at `timestamp` (seconds since 1970).
pub fn signature(secret: &Secret, timestamp: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0.load());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{timestamp}.").as_bytes());
    context.update(body);
    format!("v1={}", hex(context.sign().as_ref()))
}

/// The number of the log's file that a saved cursor names; 0 where none is saved.
pub(super) fn saved_segment(cursor: &Path) -> u64 {
    match load(cursor) {
        Ok(Some(position)) => position.segment,
        _ => 0,
    }
}

/// The task that calls.
pub(super) struct Caller {
    settings: Webhook,
    client: reqwest::Client,
    journal: Arc<Journal>,
    events: Events,
    cursor: PathBuf,
    position: Position,
    saved: Option<Instant>,
    batch_events: usize,
    trouble: Option<Trouble>,
    gap_alerted: Option<Instant>,
}

/// Failing since when, and when somebody was told.
struct Trouble {
    since: Instant,
    since_time: Timestamp,
    failures: u32,
    alerted: Option<Instant>,
}

/// Why a call failed, and how long the receiver asked to be left alone.
struct Refused {
    why: String,
    retry_after: Option<Duration>,
    too_large: bool,
}

impl Caller {
    /// Reads the cursor. A webhook that is new begins at the end of the log; its cursor is saved at once, so that nothing is
    /// skipped if the relay stops before the first call.
    pub(super) fn new(
        settings: Webhook,
        journal: Arc<Journal>,
        cursor: PathBuf,
        events: Events,
    ) -> Result<Self, Error> {
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
                // Mail does not wait for a webhook: begin anew with the oldest line there is.
                events.alert(format!(
                    "the webhook's cursor {} cannot be understood ({error}); every event still in the log is sent again",
                    cursor.display()
                ));
                journal.oldest().map_err(refused("finding the log's start for"))?
            }
            Err(error) => return Err(refused("reading the webhook's cursor")(error)),
        };
        let client = http_client::builder().timeout(settings.timeout).build().map_err(Error::Client)?;
        let batch_events = settings.batch_events.max(1);
        Ok(Caller {
            settings,
            client,
            journal,
            events,
            cursor,
            position,
            saved: None,
            batch_events,
            trouble: None,
            gap_alerted: None,
        })
    }

    /// Calls until told to stop. A call in flight is given up then; its batch comes again after the next start.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        let work = stopping.clone();
        let stopped = work.run_until_cancelled(async {
            loop {
                let pause = self.step().await;
                // After failures too: how far behind a dead webhook is, is what an operator wants to know.
                self.measure().await;
                tokio::time::sleep(pause).await;
            }
        });
        stopped.await;
        self.save_cursor(true).await;
    }

    /// Reads and sends one batch. Gives how long to wait before the next.
    async fn step(&mut self) -> Duration {
        let chunk = match self.read().await {
            Ok(chunk) => chunk,
            Err(error) => return self.failed(Refused::by(format!("the event log cannot be read: {error}"))),
        };
        if chunk.gap {
            self.missed();
        }
        self.position = chunk.start;
        let batch = Batch::cut(&chunk.lines, self.batch_events);
        if batch.octets == 0 {
            self.save_cursor(false).await;
            return self.settings.linger;
        }
        if let Err(refused) = self.post(&batch).await {
            if refused.too_large {
                self.batch_events = (batch.events / 2).max(1);
            }
            return self.failed(refused);
        }
        self.position.offset += batch.octets as u64;
        self.events.counters().webhook_sent.inc_by(batch.events as u64);
        if self.trouble.take().is_some() {
            let detail = format!("the webhook {} takes events again", self.host());
            match self.events.is_open(&Subject::Webhook) {
                true => self.events.resolve(&Subject::Webhook, detail),
                false => tracing::info!("{detail}"),
            }
        }
        let full = batch.octets < chunk.lines.len() || batch.events >= self.batch_events;
        self.batch_events = (self.batch_events * 2).min(self.settings.batch_events.max(1));
        self.save_cursor(false).await;
        if full { Duration::ZERO } else { self.settings.linger }
    }

    async fn read(&self) -> std::io::Result<Chunk> {
        let (journal, from, max) = (Arc::clone(&self.journal), self.position, self.settings.batch_bytes.max(1));
        tokio::task::spawn_blocking(move || journal.read(from, max)).await?
    }

    async fn post(&self, batch: &Batch<'_>) -> Result<(), Refused> {
        if batch.events == 0 {
            return Ok(());
        }
        let name = format!("{}-{}", self.position.segment, self.position.offset);
        let body = batch.body(&name);
        let timestamp = Timestamp::now().as_secs();
        let call = self
            .client
            .post(self.settings.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Postbud-Timestamp", timestamp)
            .header("Postbud-Signature", signature(&self.settings.secret, timestamp, &body))
            .header("Postbud-Batch", name)
            .body(body);
        // Without the URL: it may hold a token.
        let mut answer = call.send().await.map_err(|error| Refused::by(with_causes(&error.without_url())))?;
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
        Err(Refused { why: format!("it answered {status}"), retry_after, too_large })
    }

    /// Counts what rotated away, and tells somebody, but not at every file that a webhook dead for days misses.
    fn missed(&mut self) {
        self.events.counters().webhook_gaps.inc();
        if self.gap_alerted.is_some_and(|at| at.elapsed() < REMIND_EVERY) {
            return;
        }
        self.gap_alerted = Some(Instant::now());
        self.events.alert(format!(
            "the webhook {} misses events: they were removed before it took them. `[events] keep` and `keep_size` say how \
             much is kept",
            self.host()
        ));
    }

    /// Notes a failure, tells somebody when it has lasted, and gives the pause.
    fn failed(&mut self, refused: Refused) -> Duration {
        self.events.counters().webhook_failures.inc();
        let host = self.host();
        let trouble = self.trouble.get_or_insert_with(|| Trouble {
            since: Instant::now(),
            since_time: Timestamp::now(),
            failures: 0,
            alerted: None,
        });
        trouble.failures += 1;
        if trouble.failures == 1 {
            tracing::warn!("the webhook {host} failed: {}. It is tried again; events wait in the log", refused.why);
        }
        let due = trouble.alerted.is_none_or(|at| at.elapsed() > REMIND_EVERY);
        if due && trouble.since.elapsed() >= self.settings.alert_after {
            trouble.alerted = Some(Instant::now());
            let detail = format!(
                "the webhook {host} has taken no events since {}: {}. Events wait in the log until it rotates; mail is not affected",
                trouble.since_time, refused.why
            );
            self.events.raise(Subject::Webhook, detail);
        }
        let pause = pause(trouble.failures, self.settings.retry_first, self.settings.retry_longest);
        let asked = refused.retry_after.unwrap_or_default().min(self.settings.retry_longest);
        pause.max(asked).mul_f64(rand::rng().random_range(0.8..1.2))
    }

    async fn measure(&self) {
        let (journal, from) = (Arc::clone(&self.journal), self.position);
        if let Ok(Ok(behind)) = tokio::task::spawn_blocking(move || journal.octets_after(from)).await {
            self.events.counters().webhook_behind_bytes.set(i64::try_from(behind).unwrap_or(i64::MAX));
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
                tracing::error!("the webhook's cursor {} cannot be saved: {error}", self.cursor.display())
            }
            Err(error) => tracing::error!("saving the webhook's cursor: {error}"),
        }
    }

    /// For messages: the URL's path or query may hold a token.
    fn host(&self) -> String {
        self.settings.url.host_str().unwrap_or("without a host").to_owned()
    }
}

impl Refused {
    fn by(why: String) -> Self {
        Refused { why, retry_after: None, too_large: false }
    }
}

/// Lines of the log that go in one call.
struct Batch<'a> {
    lines: Vec<&'a [u8]>,
    /// Lines that are JSON; a crash may have left a torn one.
    events: usize,
    /// Octets of the log, torn lines included.
    octets: usize,
}

impl<'a> Batch<'a> {
    fn cut(chunk: &'a [u8], most: usize) -> Self {
        let mut batch = Batch { lines: Vec::new(), events: 0, octets: 0 };
        for line in chunk.split_inclusive(|octet| *octet == b'\n') {
            if batch.events == most {
                break;
            }
            batch.octets += line.len();
            let line = line.trim_ascii();
            if serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok() {
                batch.lines.push(line);
                batch.events += 1;
            }
        }
        batch
    }

    fn body(&self, name: &str) -> Vec<u8> {
        let mut body = format!("{{\"batch\":\"{name}\",\"events\":[").into_bytes();
        body.extend(self.lines.join(&b','));
        body.extend_from_slice(b"]}");
        body
    }
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    segment: u64,
    offset: u64,
}

fn load(path: &Path) -> std::io::Result<Option<Position>> {
    let text = match files::read_state(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let cursor: Cursor =
        serde_json::from_slice(&text).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
    Ok(Some(Position { segment: cursor.segment, offset: cursor.offset }))
}

fn save_if_changed(path: &Path, position: Position) -> std::io::Result<()> {
    if load(path).ok().flatten() == Some(position) {
        return Ok(());
    }
    save(path, position)
}

fn save(path: &Path, position: Position) -> std::io::Result<()> {
    files::make_dir(files::folder(path))?;
    files::replace(path, &serde_json::to_vec(&Cursor { segment: position.segment, offset: position.offset })?)
}

/// The pause after failure number `failures`.
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
    fn the_signature_covers_timestamp_and_body() {
        // printf '1795458240.{}' | openssl dgst -sha256 -hmac secret
        let secret = Secret::new("secret");
        let expected = "v1=b027a0410e12c0002a66b2139d42ac744835f4110c98a60c33da9685bba1cd60";
        assert_eq!(signature(&secret, 1_795_458_240, b"{}"), expected);
        assert_ne!(signature(&secret, 1_795_458_241, b"{}"), expected);
        assert_ne!(signature(&secret, 1_795_458_240, b"{ }"), expected);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn a_batch_is_json_and_passes_over_torn_lines() {
        let batch = Batch::cut(b"{\"a\":1}\n{\"torn\n{\"b\":2}\n{\"c\":3}\n", 2);
        assert_eq!((batch.events, batch.octets), (2, 23));
        assert_eq!(batch.body("1-0"), br#"{"batch":"1-0","events":[{"a":1},{"b":2}]}"#);
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = |failures| pause(failures, Duration::from_secs(1), Duration::from_secs(300)).as_secs();
        assert_eq!([1, 2, 3, 9, 10, 33, u32::MAX].map(seconds), [1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn the_cursor_is_read_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/cursor.json");
        assert_eq!(saved_segment(&path), 0);
        save(&path, Position { segment: 41, offset: 7 }).unwrap();
        assert_eq!(load(&path).unwrap(), Some(Position { segment: 41, offset: 7 }));
        assert_eq!(saved_segment(&path), 41);
        std::fs::write(&path, "").unwrap();
        assert!(load(&path).is_err(), "a damaged cursor is told, not guessed");
    }
}
