//! The history: the past data that charts, the audit and the list of alerts show.
//!
//! ```text
//! the spool ──► outbox ──► journal ──► follow (its cursor is a row) ──► counts: by minute, hour and day
//!                                                                  └──► entries: audit events and alerts
//! ```
//!
//! A task reads the journal, outside the path of a message, counts its events and stores the counts in the database, together with the
//! position up to which it has read. So a restart neither repeats nor loses counts. Shown counts are the sum over all nodes. All data is
//! limited in time and number. Without an event log there is no history.

mod counts;
mod entries;
mod follow;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::database::{self, Database, Schema};
use crate::operate::actor::Need;
use crate::operate::queue::Page;
use crate::operate::{Actor, Error, Service};
use crate::time::Timestamp;

pub use counts::{Bucket, Counts, Span};
pub use entries::{AuditFilter, Entry, PastAlert};

/// The tables. Times are milliseconds since 1970, or seconds in columns named so. Each node has its own rows of counts and alerts.
pub const SCHEMA: Schema = Schema {
    owner: "history",
    steps: &[
        concat!(
            "CREATE TABLE history_count (width BIGINT NOT NULL, route TEXT NOT NULL, start_secs BIGINT NOT NULL, ",
            "accepted BIGINT NOT NULL, relayed BIGINT NOT NULL, delivered BIGINT NOT NULL, deferred BIGINT NOT NULL, ",
            "bounced BIGINT NOT NULL, waiting BIGINT NOT NULL, oldest_secs BIGINT NOT NULL, PRIMARY KEY (width, route, start_secs)); ",
            "CREATE TABLE history_place (reader TEXT PRIMARY KEY, place TEXT NOT NULL); ",
            "CREATE TABLE history_entry (id TEXT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT, at BIGINT NOT NULL, ended BIGINT, ",
            "ended_detail TEXT, told TEXT NOT NULL); ",
            "CREATE INDEX history_entry_kind ON history_entry (kind, id)"
        ),
        concat!(
            "CREATE TABLE history_sum (node TEXT NOT NULL, width BIGINT NOT NULL, route TEXT NOT NULL, start_secs BIGINT NOT NULL, ",
            "accepted BIGINT NOT NULL, relayed BIGINT NOT NULL, delivered BIGINT NOT NULL, deferred BIGINT NOT NULL, ",
            "bounced BIGINT NOT NULL, waiting BIGINT NOT NULL, oldest_secs BIGINT NOT NULL, ",
            "PRIMARY KEY (node, width, route, start_secs)); ",
            "CREATE INDEX history_sum_route ON history_sum (width, route, start_secs); ",
            "INSERT INTO history_sum SELECT '', width, route, start_secs, accepted, relayed, delivered, deferred, bounced, waiting, ",
            "oldest_secs FROM history_count; DROP TABLE history_count; ",
            "ALTER TABLE history_entry ADD COLUMN node TEXT NOT NULL DEFAULT ''"
        ),
        // Each node reads its own journal.
        concat!(
            "CREATE TABLE history_read (node TEXT PRIMARY KEY, place TEXT NOT NULL); ",
            "INSERT INTO history_read SELECT CASE WHEN reader = 'history' THEN '' ELSE substr(reader, 9) END, place FROM history_place; ",
            "DROP TABLE history_place"
        ),
        // Each alert looks for its open entry.
        "CREATE INDEX history_entry_open ON history_entry (kind, subject) WHERE ended IS NULL",
        // How often somebody was erased. Lines that were read before an erasure are not written after it.
        "CREATE TABLE history_erasure (one BIGINT PRIMARY KEY, count BIGINT NOT NULL)",
    ],
};

/// The history of a relay. Cheap to clone.
#[derive(Clone)]
pub struct History {
    database: Database,
    /// True after the task has reached the end of the journal.
    is_current: Arc<AtomicBool>,
}

impl History {
    /// Erases a recipient from the audit events that are kept here. Blocks.
    pub(super) fn erase_blocking(&self, recipient: &str) -> Result<(), database::Error> {
        self.database.write_blocking(|tables| entries::erase(tables, recipient))
    }

    /// Uses the history in this database.
    pub fn new(database: Database) -> Self {
        History { database: database.of(&SCHEMA), is_current: Arc::default() }
    }
}

fn not_read(error: database::Error) -> Error {
    Error::failed(format!("the history cannot be read: {error}"), "see the relay's log")
}

impl Service {
    /// Returns the counts of a period that ends now, oldest first and without gaps, in total or of one route.
    pub async fn counted(&self, actor: &Actor, route: Option<&str>, span: Span) -> Result<Vec<Bucket>, Error> {
        actor.may(Need::Read)?;
        let route = route.unwrap_or_default().to_owned();
        let now = Timestamp::now();
        let read = move |tables: &database::Transaction<'_>| counts::read(tables, &route, span, now);
        self.history.database.read(read).await.map_err(not_read)
    }

    /// Returns true if the history has every event that the journal had a few seconds ago.
    pub fn history_is_current(&self) -> bool {
        self.history.is_current.load(Ordering::Relaxed)
    }

    /// Returns the audit, the latest first, after the entry `before`.
    pub async fn audit(
        &self,
        actor: &Actor,
        filter: AuditFilter,
        before: Option<String>,
        limit: usize,
    ) -> Result<Page<Entry>, Error> {
        actor.may(Need::Read)?;
        let read = move |tables: &database::Transaction<'_>| entries::audit(tables, &filter, before.as_deref(), limit);
        self.history.database.read(read).await.map_err(not_read)
    }

    /// Returns past and open alerts, the latest first, after the entry `before`.
    pub async fn past_alerts(
        &self,
        actor: &Actor,
        before: Option<String>,
        limit: usize,
    ) -> Result<Page<PastAlert>, Error> {
        actor.may(Need::Read)?;
        let read = move |tables: &database::Transaction<'_>| entries::alerts(tables, before.as_deref(), limit);
        self.history.database.read(read).await.map_err(not_read)
    }
}
