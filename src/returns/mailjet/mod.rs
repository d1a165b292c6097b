//! Reads Mailjet's events: the fate of mail after Mailjet accepted it.
//!
//! ```text
//! Mailjet ─POST─► endpoint ─► inbox (database) ──► 200
//!                              │                          ┌──► record: delivered, bounced, complained …
//!                              └──► settle: match, judge ─┼──► suppression lists, pauses
//!                                     ▲                   └──► the state of each recipient
//! journal ──► relayed (new mails) ────┤
//! Mailjet's API ◄──► gaps (silence) ──┘
//! ```
//!
//! Promises:
//!
//! - Events that were answered with 200 are on disk. A crash or a power cut loses none of them.
//! - An event that Mailjet repeats, alone or in another group, is reported once. After a crash an event may be emitted again with the same
//!   id, and the journal skips it.
//! - Reports may come in any order, and never turn a bounce into a delivery (`state`).
//! - While the disk is full or the database fails, requests get 503, and Mailjet repeats them.
//! - If Mailjet reports nothing within `ask_after`, its API is asked (`gaps`).
//! - The path of a message does no work for this: the mails that Mailjet took are read from the journal (`relayed`).

mod counters;
mod endpoint;
mod gaps;
mod inbox;
mod matching;
mod payload;
mod reason;
mod relayed;
mod report;
mod settle;
mod state;
mod store;
mod telling;
mod unmatched;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;
use zeroize::Zeroizing;

pub use counters::Counters;
pub use store::SCHEMA;

use crate::customers::Routing;
use crate::customers::suppression::Suppression;
use crate::database::{self, Database};
use crate::events::Events;
use crate::onboarding;
use crate::queue::Outcomes;
use crate::submission;
use crate::time::Timestamp;
use crate::web;
use endpoint::EventEndpoint;
use inbox::Inbox;

/// The path of Mailjet's requests below the endpoint's address. The secret follows it.
pub const PATH: &str = "/mailjet/";
/// How often old mails are removed.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// The number of mails that one statement removes.
const TIDY_ROWS: i64 = 5_000;

/// The credentials for sending events. Never shown, and wiped when dropped.
#[derive(Clone)]
pub struct Access {
    /// The last part of the path: letters, digits, `-` and `_`.
    pub secret: Zeroizing<String>,
    /// The user name for basic authentication.
    pub username: String,
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({})", self.username)
    }
}

impl Access {
    /// Returns the URL to enter at Mailjet: below `base`, with name and password.
    pub fn url_below(&self, base: &Url) -> Zeroizing<String> {
        let mut url = base.clone();
        let path = format!("{}{PATH}{}", url.path().trim_end_matches('/'), *self.secret);
        url.set_path(&path);
        // Only a URL without a host cannot have a login, and the configuration refuses such URLs.
        let _ = url.set_username(&self.username);
        let _ = url.set_password(Some(&self.password));
        Zeroizing::new(url.into())
    }
}

/// The limits of one request, and of all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most octets of a request.
    pub request_size: usize,
    /// The most events in a request.
    pub events_per_request: usize,
    /// The most events per second, on average over some seconds.
    pub events_per_second: u32,
    /// The most accepted events that are not in the log yet.
    pub waiting_events: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_size: 4 << 20,
            events_per_request: 10_000,
            events_per_second: 5_000,
            waiting_events: 5_000_000,
        }
    }
}

/// The settings for Mailjet's events.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the endpoint listens.
    pub web: web::Settings,
    /// The credentials for sending events.
    pub access: Access,
    /// The endpoint's URL for Mailjet, without the path.
    pub url: Url,
    /// True if openings are reported.
    pub opens: bool,
    /// True if clicks are reported.
    pub clicks: bool,
    /// After this time without a report, Mailjet's API is asked about a mail. `None` means never.
    pub ask_after: Option<Duration>,
    /// How long a mail that Mailjet took is remembered.
    pub keep: Duration,
    pub limits: Limits,
}

/// The other stages that this one uses.
pub struct Parts {
    pub database: Database,
    pub events: Events,
    /// The customers and routes.
    pub routing: Routing,
    /// The suppression lists.
    pub suppression: Suppression,
    /// Counts bounces and complaints, which may pause customers.
    pub outcomes: Outcomes,
    /// The present Mailjet accounts.
    pub accounts: watch::Receiver<Arc<onboarding::Settings>>,
}

/// The state that all tasks share.
struct Shared {
    settings: Settings,
    parts: Parts,
    counters: Counters,
    /// The number of the next row of the inbox.
    next: AtomicI64,
    arrived: Notify,
    /// When the journal was last read to its end, in milliseconds since 1970.
    caught_up: AtomicU64,
}

impl Shared {
    /// Returns the time before which all relayed mails are known.
    fn caught_up(&self) -> Timestamp {
        Timestamp::from_millis(self.caught_up.load(Ordering::Relaxed))
    }

    fn next_number(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// The stage before it runs.
pub struct Mailjet {
    shared: Arc<Shared>,
    inbox: Inbox,
    requests: mpsc::Receiver<inbox::Request>,
}

impl Mailjet {
    /// Reads the state from the database.
    pub async fn open(settings: Settings, parts: Parts) -> Result<Mailjet, database::Error> {
        let parts = Parts { database: parts.database.of(&SCHEMA), ..parts };
        let waiting = parts.database.read(store::waiting).await?;
        let counters = Counters::default();
        counters.waiting.set(waiting);
        let (next, arrived, caught_up) = (AtomicI64::new(first_number()), Notify::new(), AtomicU64::new(0));
        let shared = Arc::new(Shared { settings, parts, counters, next, arrived, caught_up });
        let (inbox, requests) = Inbox::new(Arc::clone(&shared));
        Ok(Mailjet { shared, inbox, requests })
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Returns the router that answers Mailjet. The `login_…` settings of `limits` slow down wrong secrets.
    pub fn router(&self, limits: &submission::Limits) -> axum::Router {
        EventEndpoint::new(Arc::clone(&self.shared), self.inbox.clone(), limits).router()
    }

    pub fn start(self, tasks: &TaskTracker, stopping: &CancellationToken) {
        let Mailjet { shared, inbox, requests } = self;
        // The committer ends when the last sender is dropped.
        drop(inbox);
        tasks.spawn(inbox::commit(Arc::clone(&shared), requests, stopping.clone()));
        tasks.spawn(relayed::follow(Arc::clone(&shared), stopping.clone()));
        tasks.spawn(settle::run(Arc::clone(&shared), stopping.clone()));
        tasks.spawn(gaps::run(Arc::clone(&shared), stopping.clone()));
        tasks.spawn(tidy(shared, stopping.clone()));
    }
}

/// The first number of a process: higher than those of earlier ones, and not one of another node's that starts at the same moment.
fn first_number() -> i64 {
    let millis = i64::try_from(Timestamp::now().as_millis()).unwrap_or_default();
    (millis << 20) | i64::from(rand::random::<u32>() >> 12)
}

/// Takes over the reports of nodes that no longer run, and removes mails that are too old to be reported on.
async fn tidy(shared: Arc<Shared>, stopping: CancellationToken) {
    while tokio::time::timeout(TIDY_EVERY, stopping.cancelled()).await.is_err() {
        let keep = shared.settings.keep;
        let left = Timestamp::now() - TIDY_EVERY;
        match shared.parts.database.write(move |tables| store::adopt(tables, left)).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "Mailjet's events are taken over from a node that is gone"),
            Err(error) => tracing::warn!("Mailjet's events of other nodes are not looked at: {error}"),
        }
        loop {
            let now = Timestamp::now();
            match shared.parts.database.write(move |tables| store::forget(tables, now, keep, TIDY_ROWS)).await {
                Ok(true) if !stopping.is_cancelled() => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!("mails that Mailjet took long ago stay in the database: {error}");
                    break;
                }
            }
        }
    }
}

/// For `tests/fuzz` only (feature `fuzzing`).
#[cfg(feature = "fuzzing")]
pub mod fuzz {
    use super::report::{Kind, Report};
    use super::state::State;
    use super::{gaps, payload, reason};

    /// Reads `body` as the body of a request.
    ///
    /// # Panics
    /// Panics if the content exceeds its limits, if a stored report changes when it is read back, or if a bounce becomes a delivery.
    pub fn payload(body: &[u8]) {
        let Ok(read) = payload::read(body, 100) else { return };
        assert!(read.reports.len() as u64 + read.unknown <= 100);
        judge(&read.reports);
    }

    /// Reads `answers` as two answers of Mailjet's API with a NUL between them: a list of messages, and the history of one.
    ///
    /// # Panics
    /// Panics if a report exceeds its limits, changes when it is read back, or if a bounce becomes a delivery.
    pub fn answers(answers: &[u8]) {
        let mut parts = answers.splitn(2, |octet| *octet == 0);
        let (messages, history) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        judge(&gaps::judged(messages, history));
    }

    fn judge(reports: &[Report]) {
        let mut state = State::default();
        let mut has_bounced = false;
        for report in reports {
            let kept = serde_json::to_string(report).expect("reports have texts and numbers");
            assert!(kept.len() <= 64 << 10, "{} octets", kept.len());
            assert_eq!(&serde_json::from_str::<Report>(&kept).expect("what is kept is read"), report);
            let reason = reason::reason(report);
            let _ = reason::taken_with(report);
            let is_told = state.hear(report.kind, reason.for_good);
            assert!(!(is_told && has_bounced && report.kind == Kind::Sent));
            has_bounced |= matches!(report.kind, Kind::Bounce | Kind::Blocked);
        }
    }
}
