//! Commands about alerts: what a person must look at, and that somebody took note of it.
//!
//! An acknowledgement is a note: somebody knows, and works on it. The alert stays open until its trouble is over, and the
//! note goes with it. Notes are in the database, because a restart does not end trouble.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::audit::{self, Act};
use super::{Actor, Error, ErrorKind, Service};
use crate::database::{self, Database, Schema, Transaction};
use crate::events::{Action, AlertLists, EndedAlert, Event, OpenAlert};
use crate::time::Timestamp;

/// The table. A subject is an alert's, or `event:ID` for one that tells of something that happened once.
pub const SCHEMA: Schema = Schema {
    owner: "alert",
    steps: &[
        "CREATE TABLE alert_acknowledged (subject TEXT PRIMARY KEY, actor TEXT NOT NULL, note TEXT NOT NULL, at BIGINT NOT NULL)",
    ],
};

/// What happened once is told for a week; its note is kept a little longer.
const NOTES_OF_NOTICES_KEPT: Duration = Duration::from_secs(8 * 86_400);
/// What a note of something that happened once begins with.
const OF_NOTICE: &str = "event:";
/// The longest note, in characters.
const LONGEST_NOTE: usize = 500;

/// Who took note of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Who.
    pub actor: String,
    /// When.
    pub at: Timestamp,
    /// What was said; may be empty.
    pub note: String,
}

/// An alert that is open.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// What it is called by in commands.
    pub key: String,
    /// When it was first told by this process.
    pub since: Timestamp,
    /// As it was last told.
    pub alert: Event<'static>,
    /// Who took note of it.
    pub acknowledged: Option<Acknowledged>,
}

/// What a person must look at.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Trouble that lasts: first what nobody took note of, then the newest.
    pub open: Vec<AlertView>,
    /// Trouble that ended lately.
    pub ended: Vec<EndedAlert>,
    /// What happened in the last week.
    pub notices: Vec<AlertView>,
}

/// An alert for programs and for the command line. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertLine {
    /// What it is called by in commands.
    pub key: String,
    /// True if its trouble lasts; false if it tells of something that happened.
    pub open: bool,
    /// When it was first told.
    pub since: String,
    /// What is wrong, and what to do.
    pub detail: String,
    /// The customer that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The route that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Who took note of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<String>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl AlertView {
    fn line(&self, open: bool) -> AlertLine {
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let noted = self.acknowledged.as_ref();
        AlertLine {
            key: self.key.clone(),
            open,
            since: self.since.to_string(),
            detail: text(&self.alert.detail).unwrap_or_default(),
            customer: text(&self.alert.customer),
            route: text(&self.alert.route),
            acknowledged_by: noted.map(|noted| noted.actor.clone()),
            acknowledged_at: noted.map(|noted| noted.at.to_string()),
            note: noted.map(|noted| noted.note.clone()).filter(|note| !note.is_empty()),
        }
    }
}

impl Alerts {
    /// What is open, and what happened, for programs.
    pub fn lines(&self) -> Vec<AlertLine> {
        let (open, notices) = (self.open.iter(), self.notices.iter());
        open.map(|alert| alert.line(true)).chain(notices.map(|alert| alert.line(false))).collect()
    }

    /// How many alerts nobody took note of.
    pub fn unacknowledged(&self) -> usize {
        self.open.iter().chain(&self.notices).filter(|alert| alert.acknowledged.is_none()).count()
    }
}

/// The notes. Cheap to clone.
#[derive(Clone)]
pub struct Acknowledgements(Database);

impl Acknowledgements {
    /// Those in this database.
    pub fn new(database: Database) -> Self {
        Acknowledgements(database.of(&SCHEMA))
    }
}

impl Service {
    /// What a person must look at.
    pub async fn alerts(&self, actor: &Actor) -> Result<Alerts, Error> {
        actor.may(Need::Read)?;
        let mut notes = self.acknowledgements.0.read(read).await.map_err(|error| {
            Error::failed(format!("it is not known who took note of alerts: {error}"), "see the relay's log")
        })?;
        let AlertLists { open, ended, notices } = self.events.alerts();
        let mut view = |key: String, since, alert| AlertView { acknowledged: notes.remove(&key), key, since, alert };
        let mut open: Vec<AlertView> =
            open.into_iter().map(|OpenAlert { since, alert }| view(key(&alert), since, alert)).collect();
        let notices = notices.into_iter().map(|alert| view(key(&alert), alert.at, alert)).collect();
        open.sort_by_key(|alert| alert.acknowledged.is_some());
        Ok(Alerts { open, ended, notices })
    }

    /// Takes note of an alert.
    pub async fn acknowledge_alert(&self, actor: &Actor, key: &str, note: &str) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        if note.chars().count() > LONGEST_NOTE || note.chars().any(char::is_control) {
            let message = format!("the note is longer than {LONGEST_NOTE} characters, or no single line");
            return Err(Error::invalid(message, "write one short sentence"));
        }
        let lists = self.events.alerts();
        let known =
            lists.open.iter().map(|open| &open.alert).chain(&lists.notices).find(|alert| self::key(alert) == key);
        let Some(alert) = known else {
            return Err(Error::not_found(format!("no alert is called \"{key}\""), "it may be over: look at the list"));
        };
        let told = alert.detail.as_deref().unwrap_or_default().to_owned();
        let (row_key, row_actor, row_note) = (key.to_owned(), actor.to_string(), note.to_owned());
        let now = Timestamp::now();
        let written = self.acknowledgements.0.write(move |tables| {
            let oldest = millis(now - NOTES_OF_NOTICES_KEPT);
            let sql = "DELETE FROM alert_acknowledged WHERE at < $1 AND subject LIKE $2";
            tables.execute(sql, &[oldest.into(), format!("{OF_NOTICE}%").as_str().into()])?;
            self::note(tables, &row_key, &row_actor, &row_note, now)
        });
        written.await.map_err(|error: database::Error| {
            Error::new(ErrorKind::Unavailable, format!("the note cannot be kept: {error}"), "try again")
        })?;
        let said = if note.is_empty() { String::new() } else { format!(" and noted: {note}") };
        let act = Act {
            customer: alert.customer.as_deref().map(str::to_owned),
            route: alert.route.as_deref().map(str::to_owned),
            ..Act::new(Action::AlertAcknowledge, format!("acknowledged the alert {key} ({told}){said}"))
        };
        audit::tell(&self.events, actor, act);
        Ok(())
    }
}

/// What an alert is called by.
fn key(alert: &Event<'_>) -> String {
    match &alert.subject {
        Some(subject) => subject.to_string(),
        None => format!("{OF_NOTICE}{}", alert.event_id),
    }
}

/// Keeps a note.
pub(super) fn note(
    tables: &Transaction<'_>,
    subject: &str,
    actor: &str,
    note: &str,
    at: Timestamp,
) -> Result<(), database::Error> {
    let sql = "INSERT INTO alert_acknowledged (subject, actor, note, at) VALUES ($1, $2, $3, $4) ON CONFLICT (subject) DO UPDATE SET \
               actor = excluded.actor, note = excluded.note, at = excluded.at";
    tables.execute(sql, &[subject.into(), actor.into(), note.into(), millis(at).into()]).map(drop)
}

/// Forgets the note of trouble that was over at `at`. A note that is younger is about new trouble.
pub(super) fn forget(tables: &Transaction<'_>, subject: &str, at: Timestamp) -> Result<(), database::Error> {
    let sql = "DELETE FROM alert_acknowledged WHERE subject = $1 AND at <= $2";
    tables.execute(sql, &[subject.into(), millis(at).into()]).map(drop)
}

/// The subjects of lasting trouble that somebody took note of.
pub(super) fn acknowledged(tables: &Transaction<'_>) -> Result<Vec<String>, database::Error> {
    let all = read(tables)?.into_keys();
    Ok(all.filter(|subject| !subject.starts_with(OF_NOTICE)).collect())
}

fn read(tables: &Transaction<'_>) -> Result<HashMap<String, Acknowledged>, database::Error> {
    let mut found = HashMap::new();
    tables.query("SELECT subject, actor, note, at FROM alert_acknowledged", &[], |row| {
        let at = Timestamp::from_millis(u64::try_from(row.integer(3)?).unwrap_or_default());
        let noted = Acknowledged { actor: row.text(1)?.to_owned(), note: row.text(2)?.to_owned(), at };
        found.insert(row.text(0)?.to_owned(), noted);
        Ok::<_, database::Error>(())
    })?;
    Ok(found)
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}
