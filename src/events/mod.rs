//! What happened, for machines: one event for every change of a recipient's state, and alerts.
//!
//! ```text
//! Events::emit ──► buffer (16 MiB) ──► writer thread ──► events.jsonl, rotated ──► webhook (its cursor is a file)
//!       └──► subscribers (bounded)
//! ```
//!
//! Promises:
//!
//! * [`Events::emit`] never waits for a disk, a server or a subscriber. It costs one to two microseconds.
//! * A line reaches the file within 20 ms and is not synced by itself: kill -9 loses at most those 20 ms, a power cut what the
//!   kernel had not written yet. The spool, not this log, is the truth about mail.
//! * While the disk refuses writes, lines wait in memory up to 16 MiB. What finds no room is counted (`postbud_events_lost_total`)
//!   and an alert in the log stands where lines are missing. Nothing is lost silently.
//! * The log takes at most `rotate_size × (rotate_keep + 1)` octets of disk, and of these each customer at most its share a day
//!   (`share`): no customer's events push out the others'. What became of its mail is told all the same; of what comes again, the
//!   rest is left out, counted, and told by an event `omitted`.
//! * The webhook hears every line of the log at least once, in order; the log is its outbox, so it survives a restart. A webhook
//!   that stays dead raises alerts, and misses only what rotates away; that is counted and raises an alert too.

mod alerts;
mod buffer;
mod handle;
mod journal;
mod share;
mod webhook;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::files;
pub use crate::record::Subject;
pub use crate::record::event::{Action, Event, EventId, EventKind, Mail, Submission, Text, Told, Tried};
pub use alerts::{AlertLists, EndedAlert, OpenAlert};
use buffer::Buffer;
pub use handle::{Counters, Events, Telling};
use journal::Journal;
use share::Shares;
pub use webhook::{Secret, Webhook, signature};

/// One customer writes no more than this part of what the log keeps a day, where nothing else is configured.
const SHARES: u64 = 4;
/// How often is told what was left out of the log.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How events are kept and where they go.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The log, JSON lines. With neither log nor webhook, events only reach subscribers and metrics.
    pub log: Option<PathBuf>,
    /// A file of the log is rotated before it grows over this many octets.
    pub rotate_size: u64,
    /// How many rotated files are kept besides the current one.
    pub rotate_keep: u32,
    /// Octets of the log that one customer's events may take a day; `None`: a quarter of what is kept.
    pub customer_share: Option<u64>,
    /// Where the webhook's cursor is kept, and the log of a webhook for which no log was configured.
    pub state_dir: PathBuf,
    /// Who is told over HTTP.
    pub webhook: Option<Webhook>,
}

/// No log and no webhook; 64 MiB a file, 15 files besides the current one: 1 GiB.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            log: None,
            rotate_size: 64 << 20,
            rotate_keep: 15,
            customer_share: None,
            state_dir: PathBuf::from("state"),
            webhook: None,
        }
    }
}

/// Why the events could not be started. The operator must act.
#[derive(Debug, Error)]
pub enum Error {
    /// The log or the webhook's cursor cannot be opened.
    #[error("events: {what} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// The errno.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("events: the webhook's HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

impl Events {
    /// Opens the log and starts its writer and, inside the current Tokio runtime, the webhook and what tells of events that were
    /// left out. [`Running::stop`] ends all of them.
    pub fn start(settings: Settings) -> Result<(Events, Running), Error> {
        let outbox = || settings.webhook.as_ref().map(|_| settings.state_dir.join("webhook-outbox.jsonl"));
        let Some(path) = settings.log.clone().or_else(outbox) else {
            return Ok((Events::default(), Running::default()));
        };
        let cursor = settings.state_dir.join(webhook::CURSOR_FILE);
        let mode = log_mode(&path, &settings.state_dir);
        let (journal, file) = Journal::open(&path, mode, settings.rotate_keep, webhook::saved_segment(&cursor))?;
        let journal = Arc::new(journal);
        let buffer = Arc::new(Buffer::default());
        let kept = settings.rotate_size.saturating_mul(u64::from(settings.rotate_keep) + 1);
        let shares = Shares::new(settings.customer_share.unwrap_or(kept / SHARES));
        let events = Events::new(Some(Arc::clone(&buffer)), Some(path), Some(shares));
        let stopping = CancellationToken::new();
        tokio::spawn(tell_of_shares(events.clone(), stopping.clone()));
        let webhook = match settings.webhook {
            Some(webhook) => {
                let caller = webhook::Caller::new(webhook, Arc::clone(&journal), cursor, events.clone())?;
                Some(tokio::spawn(caller.run(stopping.clone())))
            }
            None => None,
        };
        let writer = writer::Writer::new(Arc::clone(&buffer), journal, file, settings.rotate_size);
        let writer = std::thread::Builder::new()
            .name("events".into())
            .spawn(move || writer.run())
            .map_err(|source| Error::Io { what: "starting the writer of", path: PathBuf::from("the log"), source })?;
        Ok((events.clone(), Running { events, buffer: Some(buffer), writer: Some(writer), webhook, stopping }))
    }
}

async fn tell_of_shares(events: Events, stopping: CancellationToken) {
    while tokio::time::timeout(TELL_EVERY, stopping.cancelled()).await.is_err() {
        events.tell_of_shares();
    }
}

/// The log holds recipients' addresses: below the state directory it is the relay's alone. An operator who puts it elsewhere has a
/// program read it, which the file's group lets in.
fn log_mode(log: &Path, state_dir: &Path) -> u32 {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if whole(files::folder(log)).starts_with(whole(state_dir)) { 0o600 } else { 0o640 }
}

/// The writer and the webhook at work. Dropped without [`stop`](Self::stop) they end too, but nobody waits for the last lines.
#[derive(Default)]
pub struct Running {
    events: Events,
    buffer: Option<Arc<Buffer>>,
    writer: Option<JoinHandle<()>>,
    webhook: Option<tokio::task::JoinHandle<()>>,
    stopping: CancellationToken,
}

impl Running {
    /// Writes what was emitted so far, syncs the log and saves the webhook's cursor. Events emitted from now on are lost: call it
    /// last.
    pub async fn stop(mut self) {
        self.events.tell_of_shares();
        if let Some(buffer) = &self.buffer {
            buffer.stop();
        }
        if let Some(writer) = self.writer.take() {
            let joined = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the writer of the event log panicked");
            }
        }
        self.stopping.cancel();
        if let Some(webhook) = self.webhook.take()
            && let Err(error) = webhook.await
        {
            tracing::error!("the webhook's task: {error}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(buffer) = &self.buffer {
            buffer.stop();
        }
        self.stopping.cancel();
    }
}
