//! Events tell programs what happened: every change of a recipient's state, and alerts.
//!
//! ```text
//! lines about mail ──► the spool, with the fact ──► its outbox ─┐
//! Events::emit ───► buffer (16 MiB) ────────────────────────────┴─► journal ──► webhooks (each with a cursor in a file)
//!       └──► subscribers (bounded)
//! ```
//!
//! Promises:
//!
//! - Events about mail are durable together with the fact that they report. They stay in the spool until the journal has them on disk. So a
//!   crash or a full disk loses none of them, and an event that is written again has the same text.
//! - [`Events::emit`] is for all other events. It never waits for a disk, a server or a subscriber. A crash may lose the events of the last
//!   200 ms, but never one that a reader has already seen.
//! - While the disk refuses writes, mail is still accepted and delivered. Events about mail wait in the spool, as long as its disk has more
//!   free space than `min_free`. Other lines wait in memory, up to 16 MiB. Lines beyond that are lost: they are counted
//!   (`postbud_events_lost_total`), and an alert reports the gap.
//! - The journal keeps events younger than `keep`, as long as they take less than `keep_size`. Each customer has a daily share (`share`),
//!   so that one customer's events do not push out the others'. Final results are always written. Repeated events beyond the share are left
//!   out and counted, and an event `omitted` reports them.
//! - A webhook gets every line that its filter admits at least once, in order, also across restarts. A webhook that stays dead raises
//!   alerts and does not delay the others. It misses only lines that the journal no longer keeps; they are counted, and an alert reports
//!   them.

mod alerts;
mod handle;
mod report;
mod share;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::files;
pub use crate::record::Subject;
pub use crate::record::event::{Action, Event, EventId, EventKind, Mail, RecipientEvent, Submission, Text, Tried};
use crate::record::journal::buffer::Buffer;
use crate::record::journal::feed::Feed;
use crate::record::journal::writer::{Rotation, Writer};
use crate::record::journal::{Journal, Retention};
use crate::spool::Spool;
pub use alerts::{AlertLists, EndedAlert, OpenAlert};
pub use handle::{Counters, Events, PendingEvents};
use report::ToOperators;
use share::Shares;
pub(crate) use webhook::FOLDER as WEBHOOK_CURSORS;
pub use webhook::{Filter, Secret, Webhook, signature};

/// By default, one customer may write a quarter of the log's size a day.
const SHARES: u64 = 4;
/// How often omitted events are reported.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How events are kept and where they go.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The log of JSON lines. Without a log and webhooks, events reach only subscribers and metrics.
    pub log: Option<PathBuf>,
    /// A log file is rotated before it grows beyond this many octets.
    pub rotate_size: u64,
    /// A log file is rotated when its first event is this old.
    pub rotate_every: Duration,
    /// Which rotated files are kept.
    pub retention: Retention,
    /// The octets of the log that one customer's events may use per day. `None` means a quarter of what is kept.
    pub customer_share: Option<u64>,
    /// The folder for the webhooks' cursors, and for the log if none is configured.
    pub state_dir: PathBuf,
    /// The webhooks. Their names are unique.
    pub webhooks: Vec<Webhook>,
}

/// No log and no webhooks; files of 64 MiB or one day.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            log: None,
            rotate_size: 64 << 20,
            rotate_every: Duration::from_secs(86_400),
            retention: Retention::default(),
            customer_share: None,
            state_dir: PathBuf::from("state"),
            webhooks: Vec::new(),
        }
    }
}

/// Why the events' stage cannot start. The operator must act.
#[derive(Debug, Error)]
pub enum Error {
    /// The log or a webhook's cursor cannot be opened.
    #[error("events: {what} {path}: {source}", path = path.display())]
    Io {
        /// The operation that failed.
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client cannot be built.
    #[error("events: a webhook's HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

impl Events {
    /// Opens the log and starts its writer, the webhooks and the task that reports omitted events. Must be called within a Tokio runtime.
    /// [`Running::stop`] ends all of them.
    pub fn start(settings: Settings) -> Result<(Events, Running), Error> {
        let has_webhook = !settings.webhooks.is_empty();
        let outbox = || has_webhook.then(|| settings.state_dir.join("webhook-outbox.jsonl"));
        let Some(path) = settings.log.clone().or_else(outbox) else {
            return Ok((Events::default(), Running::default()));
        };
        let mode = log_mode(&path, &settings.state_dir);
        let failed = |what: &'static str| {
            let path = path.clone();
            move |source| Error::Io { what, path, source }
        };
        let saved = settings.webhooks.iter().map(|hook| webhook::saved_segment(&settings.state_dir, &hook.name));
        let open = Journal::open(&path, mode, saved.max().unwrap_or_default()).map_err(failed("opening"))?;
        let journal = Arc::clone(&open.journal);
        let known = open.kept.ids_behind(&journal).map_err(failed("reading"))?;
        let reported = known.iter().filter(|id| EventId::is_reported(id)).cloned().collect();
        let buffer = Arc::new(Buffer::default());
        let caught_up = watch::Sender::default();
        let feed = Feed::new(Arc::clone(&buffer), open.kept.outbox.clone(), known, caught_up.clone());
        let shares = Shares::new(settings.customer_share.unwrap_or(settings.retention.size / SHARES));
        let events =
            Events::new(Some(Arc::clone(&buffer)), Some(Arc::clone(&journal)), Some(shares), reported, caught_up);
        let stopping = CancellationToken::new();
        tokio::spawn(tell_of_shares(events.clone(), stopping.clone()));
        let mut callers = Vec::with_capacity(settings.webhooks.len());
        for webhook in settings.webhooks {
            callers.push(webhook::Caller::new(webhook, Arc::clone(&journal), &settings.state_dir, events.clone())?);
        }
        let webhooks = callers.into_iter().map(|caller| tokio::spawn(caller.run(stopping.clone()))).collect();
        let rotation =
            Rotation { size: settings.rotate_size, age: settings.rotate_every, retention: settings.retention };
        let writer = Writer::new(Arc::clone(&buffer), open, rotation, ToOperators(events.clone()));
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(|source| Error::Io { what: "starting the writer of", path: PathBuf::from("the log"), source })?;
        let feed = Some(feed);
        let running = Running {
            events: events.clone(),
            buffer: Some(buffer),
            writer: Some(writer),
            feed,
            feeding: None,
            fed: CancellationToken::new(),
            webhooks,
            stopping,
        };
        Ok((events, running))
    }
}

async fn tell_of_shares(events: Events, stopping: CancellationToken) {
    while tokio::time::timeout(TELL_EVERY, stopping.cancelled()).await.is_err() {
        events.tell_of_shares();
    }
}

/// Returns the mode of the log's files. The log holds recipients' addresses, so below the state directory only the relay may read it. If an
/// operator puts it elsewhere, a program of theirs reads it through the group's permission.
fn log_mode(log: &Path, state_dir: &Path) -> u32 {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if whole(files::folder(log)).starts_with(whole(state_dir)) { 0o600 } else { 0o640 }
}

/// The running writer and webhooks. If this is dropped without [`stop`](Self::stop), they end too, but the last lines may be lost.
#[derive(Default)]
pub struct Running {
    events: Events,
    buffer: Option<Arc<Buffer>>,
    writer: Option<JoinHandle<()>>,
    /// The task that will copy the spool's outbox into the journal, until it is started.
    feed: Option<Feed>,
    feeding: Option<tokio::task::JoinHandle<bool>>,
    fed: CancellationToken,
    webhooks: Vec<tokio::task::JoinHandle<()>>,
    stopping: CancellationToken,
}

impl Running {
    /// Returns true if there is a journal for the spool's outbox.
    pub fn has_journal(&self) -> bool {
        self.feed.is_some()
    }

    /// Starts to copy a spool's outbox into the journal. Only the first spool is followed.
    pub fn follow(&mut self, spool: Arc<dyn Spool>) {
        if let Some(feed) = self.feed.take() {
            self.feeding = Some(tokio::spawn(feed.run(spool, self.fed.clone())));
        }
    }

    /// Writes the events so far, syncs the log and saves the webhooks' cursors. Later events are lost, so call this last, after the spool
    /// has stopped. Returns true if the log has everything from the spool.
    pub async fn stop(mut self) -> bool {
        self.fed.cancel();
        let has_all = match self.feeding.take() {
            None => true,
            Some(feeding) => feeding.await.unwrap_or_else(|error| {
                tracing::error!("the task that brings events into the log: {error}");
                false
            }),
        };
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
        for webhook in std::mem::take(&mut self.webhooks) {
            if let Err(error) = webhook.await {
                tracing::error!("a webhook's task: {error}");
            }
        }
        has_all
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(buffer) = &self.buffer {
            buffer.stop();
        }
        self.fed.cancel();
        self.stopping.cancel();
    }
}
