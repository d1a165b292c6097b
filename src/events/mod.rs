//! What happened, for machines: one event for every change of a recipient's state, and alerts.
//!
//! ```text
//! lines of mail ──► the spool, with the fact ──► its outbox ─┐
//! Events::emit ───► buffer (16 MiB) ─────────────────────────┴─► journal ──► webhooks (each with a cursor in a file)
//!       └──► subscribers (bounded)
//! ```
//!
//! Promises:
//!
//! * What is told of mail is durable with the fact that it tells of, and stays in the spool until the journal has it on disk. So a
//!   crash or a full disk loses none of it, and it is told again in the same words.
//! * [`Events::emit`] is for everything else. It never waits for a disk, a server or a subscriber. A crash may lose what it
//!   was given in the last 200 ms, but nothing that a reader was shown.
//! * While the disk refuses writes, mail is taken and delivered on: what the spool tells waits there, as far as its disk has room
//!   above `min_free`. Other lines wait in memory up to 16 MiB. What finds no room is counted (`postbud_events_lost_total`)
//!   and an alert stands where lines are missing.
//! * The journal keeps what is younger than `keep`, as long as all of it takes less than `keep_size`. Each customer has a
//!   share a day (`share`), so that no customer's events push out the others'. What became of its mail is told all the same; of
//!   what comes again, the rest is left out, counted, and told by an event `omitted`.
//! * A webhook hears every line of the journal that its filter admits at least once, in order, also after a restart. A webhook that
//!   stays dead raises alerts, holds no other up, and misses only what is not kept any more; that is counted and raises an alert too.

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
use tokio_util::sync::CancellationToken;

use crate::files;
pub use crate::record::Subject;
pub use crate::record::event::{Action, Event, EventId, EventKind, Mail, Submission, Text, Told, Tried};
use crate::record::journal::buffer::Buffer;
use crate::record::journal::feed::Feed;
use crate::record::journal::writer::{Rotation, Writer};
use crate::record::journal::{Journal, Retention};
use crate::spool::Spool;
pub use alerts::{AlertLists, EndedAlert, OpenAlert};
pub use handle::{Counters, Events, Telling};
use report::ToOperators;
use share::Shares;
pub(crate) use webhook::FOLDER as WEBHOOK_CURSORS;
pub use webhook::{Filter, Secret, Webhook, signature};

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
    /// A file of the log is rotated once its first event is this old.
    pub rotate_every: Duration,
    /// What is kept of rotated files.
    pub retention: Retention,
    /// Octets of the log that one customer's events may take a day; `None`: a quarter of what is kept.
    pub customer_share: Option<u64>,
    /// Where webhooks' cursors are kept, and their log if none was configured.
    pub state_dir: PathBuf,
    /// Who is told over HTTP. No two have the same name.
    pub webhooks: Vec<Webhook>,
}

/// No log and no webhooks; 64 MiB or a day a file.
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

/// Why the events could not be started. The operator must act.
#[derive(Debug, Error)]
pub enum Error {
    /// The log or a webhook's cursor cannot be opened.
    #[error("events: {what} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("events: a webhook's HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

impl Events {
    /// Opens the log and starts its writer and, inside the current Tokio runtime, the webhooks and what tells of events that were
    /// left out. [`Running::stop`] ends all of them.
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
        let feed = Feed::new(Arc::clone(&buffer), open.kept.outbox.clone(), known);
        let shares = Shares::new(settings.customer_share.unwrap_or(settings.retention.size / SHARES));
        let events = Events::new(Some(Arc::clone(&buffer)), Some(Arc::clone(&journal)), Some(shares), reported);
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

/// The log holds recipients' addresses: below the state directory it is the relay's alone. An operator who puts it elsewhere has a
/// program read it, which the file's group lets in.
fn log_mode(log: &Path, state_dir: &Path) -> u32 {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if whole(files::folder(log)).starts_with(whole(state_dir)) { 0o600 } else { 0o640 }
}

/// The writer and the webhooks at work. Dropped without [`stop`](Self::stop) they end too, but nobody waits for the last lines.
#[derive(Default)]
pub struct Running {
    events: Events,
    buffer: Option<Arc<Buffer>>,
    writer: Option<JoinHandle<()>>,
    /// What will bring the spool's outbox into the journal, until it does.
    feed: Option<Feed>,
    feeding: Option<tokio::task::JoinHandle<()>>,
    fed: CancellationToken,
    webhooks: Vec<tokio::task::JoinHandle<()>>,
    stopping: CancellationToken,
}

impl Running {
    /// Returns true if there is a journal that a spool's outbox can go to.
    pub fn has_journal(&self) -> bool {
        self.feed.is_some()
    }

    /// Brings the outbox of a spool into the journal from now on. There can be one such spool.
    pub fn follow(&mut self, spool: Arc<dyn Spool>) {
        if let Some(feed) = self.feed.take() {
            self.feeding = Some(tokio::spawn(feed.run(spool, self.fed.clone())));
        }
    }

    /// Writes what was told so far, syncs the log and saves the webhooks' cursors. Events emitted from now on are lost: call it
    /// last, after the stop of the spool.
    pub async fn stop(mut self) {
        self.fed.cancel();
        if let Some(feeding) = self.feeding.take()
            && let Err(error) = feeding.await
        {
            tracing::error!("the task that brings events into the log: {error}");
        }
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
