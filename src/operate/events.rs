//! Returns events from a cursor on, to clients that were away or that wait for new events. A customer gets the events about its own mail.
//! The cursor is a position among all events, so it is valid for every client.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::actor::Need;
use super::error::ErrorKind;
use super::readings::{Reading, Sort};
use super::{Actor, Error, Role, Service};
use crate::message::CustomerId;
use crate::record::journal::Journal;
use crate::record::journal::cursor::{Cursor, CursorError, Page};

/// The maximum number of events in one page.
pub const MOST: usize = 10_000;
/// How long to search for a customer's events among those of others before an empty page with the new position is returned.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// The longest time that a request waits for events.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A part of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventPage {
    /// The events, in the order of the journal.
    pub events: Vec<Value>,
    /// The position to continue from.
    pub cursor: String,
    /// True if there are more events already.
    pub more: bool,
}

impl From<Page> for EventPage {
    fn from(Page { events, next, more }: Page) -> Self {
        EventPage { events, cursor: next.to_string(), more }
    }
}

impl Service {
    /// Returns up to `limit` events after the cursor `since`, which may also be `oldest` or `newest`. Waits up to `wait` for the first one.
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
            let reading = self.readings.begin(actor, Sort::Page).await?;
            let mut page = read(Arc::clone(journal), from, limit.clamp(1, MOST), reading).await?;
            page.events.retain(|event| audience.hears(event));
            let is_enough = !page.events.is_empty() || (page.more && Instant::now() >= patience);
            if is_enough || (!page.more && timeout_at(until, end.changed()).await.is_err()) {
                return Ok(page.into());
            }
            from = page.next;
        }
    }
}

/// The events that a client may see.
enum Audience<'a> {
    /// The reader sees the events of all customers.
    Everybody,
    /// The events about these customers' mail.
    Customers(&'a BTreeSet<CustomerId>),
}

impl<'a> Audience<'a> {
    fn of(actor: &'a Actor) -> Result<Self, Error> {
        match actor.role() {
            Role::Customer(own) => Ok(Audience::Customers(own)),
            _ => actor.may(Need::Read).map(|()| Audience::Everybody),
        }
    }

    /// Returns true if the client may see this event. Alerts and the audit are for operators only, even if they are about a customer.
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

async fn read(journal: Arc<Journal>, from: Cursor, most: usize, reading: Reading) -> Result<Page, Error> {
    let page = tokio::task::spawn_blocking(move || {
        let _reading = reading;
        journal.page(&from, most)
    })
    .await;
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
