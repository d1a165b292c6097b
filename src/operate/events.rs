//! Events from a cursor on: for whoever was away, and for whoever waits for what comes. A customer hears what became of its own mail;
//! the cursor is a place among all events, so it stays valid whoever asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::actor::Need;
use super::error::ErrorKind;
use super::{Actor, Error, Role, Service};
use crate::message::CustomerId;
use crate::record::journal::Journal;
use crate::record::journal::cursor::{Cursor, CursorError, Page};

/// The most events of one page.
pub const MOST: usize = 10_000;
/// How long is looked for events of a customer among those of others before an empty page says how far that has come.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// The longest that an empty page is waited with.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A part of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventPage {
    /// In the order of the journal.
    pub events: Vec<Value>,
    /// Where to go on.
    pub cursor: String,
    /// True if there are more already.
    pub more: bool,
}

impl From<Page> for EventPage {
    fn from(Page { events, next, more }: Page) -> Self {
        EventPage { events, cursor: next.to_string(), more }
    }
}

impl Service {
    /// Up to `limit` events behind the cursor `since`, which may also be `oldest` or `newest`. Waits up to `wait` for the first one.
    pub async fn events_since(
        &self,
        actor: &Actor,
        since: &str,
        limit: usize,
        wait: Duration,
    ) -> Result<EventPage, Error> {
        let audience = Audience::of(actor)?;
        let journal = self.events.journal().ok_or_else(|| {
            Error::not_found("no events are recorded", "set `log` in the section [events] of the configuration")
        })?;
        let began = Instant::now();
        let (until, patience) = (began + wait.min(LONGEST_WAIT), began + LONGEST_LOOK);
        let mut end = journal.watch_end();
        let mut from = begin(journal, since)?;
        loop {
            end.borrow_and_update();
            let mut page = read(Arc::clone(journal), from, limit.clamp(1, MOST)).await?;
            page.events.retain(|event| audience.hears(event));
            let is_enough = !page.events.is_empty() || (page.more && Instant::now() >= patience);
            if is_enough || (!page.more && timeout_at(until, end.changed()).await.is_err()) {
                return Ok(page.into());
            }
            from = page.next;
        }
    }
}

/// Who hears which events.
enum Audience<'a> {
    /// Everything.
    Everybody,
    /// What became of these customers' mail.
    Customers(&'a BTreeSet<CustomerId>),
}

impl<'a> Audience<'a> {
    fn of(actor: &'a Actor) -> Result<Self, Error> {
        match actor.role() {
            Role::Customer(own) => Ok(Audience::Customers(own)),
            _ => actor.may(Need::Read).map(|()| Audience::Everybody),
        }
    }

    /// Alerts and the audit are the operators' affair, also where they are about a customer.
    fn hears(&self, event: &Value) -> bool {
        let Audience::Customers(own) = self else { return true };
        let is_own = event["customer"].as_str().is_some_and(|id| own.iter().any(|own| own.as_str() == id));
        is_own && !["alert", "audit"].iter().any(|kind| event["event"] == *kind)
    }
}

fn begin(journal: &Journal, since: &str) -> Result<Cursor, Error> {
    match since {
        "oldest" => journal.oldest().map(|position| journal.cursor(position)).map_err(|error| refused(error.into())),
        "newest" => Ok(journal.cursor(journal.end())),
        cursor => cursor.parse().map_err(refused),
    }
}

async fn read(journal: Arc<Journal>, from: Cursor, most: usize) -> Result<Page, Error> {
    let page = tokio::task::spawn_blocking(move || journal.page(&from, most)).await;
    let page = page.map_err(|_| Error::new(ErrorKind::Unavailable, "the relay is stopping", "ask again"))?;
    page.map_err(refused)
}

fn refused(error: CursorError) -> Error {
    match &error {
        CursorError::Unknown => Error::invalid(
            error.to_string(),
            "use a cursor that this relay gave with its events, or \"oldest\" or \"newest\"",
        ),
        CursorError::Gone { oldest } => Error::new(
            ErrorKind::NotFound,
            error.to_string(),
            format!(
                "go on at {oldest} and look up elsewhere what became of older mail; [events] keep and keep_size say how long \
                 events are kept"
            ),
        ),
        CursorError::Io(_) => {
            Error::failed(format!("the event log cannot be read: {error}"), "see the relay's log and the log's disk")
        }
    }
}
