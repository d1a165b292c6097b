//! Commands about alerts: list what needs attention, and acknowledge an alert.
//!
//! An acknowledgement is a note that somebody knows of the alert and works on it. The alert stays open until its cause is gone, and then
//! the note is deleted too. Notes are in the database, because an alert may outlast a restart.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::audit::{self, Act};
use super::nodes::Ask;
use super::queue::together;
use super::{Actor, Error, ErrorKind, Service};
use crate::database::{self, Database, Schema, Transaction};
use crate::events::{Action, EndedAlert, Event, OpenAlert};
use crate::time::Timestamp;

/// The table. A subject is an alert's, or `event:ID` for a notice of a single event.
pub const SCHEMA: Schema = Schema {
    owner: "alert",
    steps: &[
        "CREATE TABLE alert_acknowledged (subject TEXT PRIMARY KEY, actor TEXT NOT NULL, note TEXT NOT NULL, at BIGINT NOT NULL)",
    ],
};

/// How long notes of notices are kept. Notices are shown for a week, and their notes are kept a little longer.
const NOTES_OF_NOTICES_KEPT: Duration = Duration::from_secs(8 * 86_400);
/// The prefix of the subject of a notice.
const OF_NOTICE: &str = "event:";
/// The longest note, in characters.
const LONGEST_NOTE: usize = 500;

/// Who acknowledged an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The name of the actor.
    pub actor: String,
    /// When it was acknowledged.
    pub at: Timestamp,
    /// The note. It may be empty.
    pub note: String,
}

/// An open alert, or a notice.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// The key that commands use.
    pub key: String,
    /// When it was first raised by a process that still runs.
    pub since: Timestamp,
    /// Its latest event.
    pub alert: Event<'static>,
    /// Its acknowledgement, if there is one.
    pub acknowledged: Option<Acknowledged>,
    /// The nodes that raised it, where several share the spool.
    pub nodes: Vec<String>,
}

/// Everything that needs attention.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Open alerts: first those without an acknowledgement, then the newest.
    pub open: Vec<AlertView>,
    /// Alerts of this node that ended recently.
    pub ended: Vec<EndedAlert>,
    /// Notices of the last week.
    pub notices: Vec<AlertView>,
    /// The nodes whose part is missing, because they did not answer.
    pub missing: Vec<String>,
}

/// The alerts of one node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AlertsHere {
    node: String,
    open: Vec<Raised>,
    notices: Vec<Raised>,
}

/// An alert as one node raised it.
#[derive(Debug, Serialize, Deserialize)]
struct Raised {
    key: String,
    since: Timestamp,
    at: Timestamp,
    detail: String,
    customer: Option<String>,
    route: Option<String>,
    queue_id: Option<String>,
}

impl Raised {
    fn of(since: Timestamp, alert: &Event<'_>) -> Self {
        Raised {
            key: key(alert),
            since,
            at: alert.at,
            detail: alert.detail.as_deref().unwrap_or_default().to_owned(),
            customer: alert.customer.as_deref().map(str::to_owned),
            route: alert.route.as_deref().map(str::to_owned),
            queue_id: alert.queue_id.map(|id| id.to_string()),
        }
    }

    fn view(self, node: &str) -> AlertView {
        let alert = Event {
            at: self.at,
            customer: self.customer.map(Cow::Owned),
            route: self.route.map(Cow::Owned),
            queue_id: self.queue_id.and_then(|id| id.parse().ok()),
            ..Event::alert(self.detail)
        };
        let nodes = Some(node.to_owned()).filter(|node| !node.is_empty()).into_iter().collect();
        AlertView { key: self.key, since: self.since, alert, acknowledged: None, nodes }
    }
}

/// The alerts of several nodes. One that several nodes raised is one alert: with the first beginning, the latest words, and all their names.
fn merged(mut alerts: Vec<AlertView>) -> Vec<AlertView> {
    let mut all: Vec<AlertView> = Vec::new();
    let mut places = HashMap::new();
    alerts.sort_by_key(|alert| std::cmp::Reverse(alert.alert.at));
    for alert in alerts {
        let place = *places.entry(alert.key.clone()).or_insert(all.len());
        match all.get_mut(place) {
            Some(known) => {
                known.since = known.since.min(alert.since);
                known.nodes.extend(alert.nodes);
            }
            None => all.push(alert),
        }
    }
    all.sort_by_key(|alert| std::cmp::Reverse(alert.since));
    all.iter_mut().for_each(|alert| alert.nodes.sort());
    all
}

/// An alert, for programs and for the command line. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertLine {
    /// The key that commands use.
    pub key: String,
    /// True if the alert is open; false if it is a notice of a single event.
    pub open: bool,
    /// When it was first raised.
    pub since: String,
    /// What is wrong, and what to do.
    pub detail: String,
    /// The customer of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// The route of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Who acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When it was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<String>,
    /// The note of the acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The nodes that raised it, where several share the spool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
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
            nodes: self.nodes.clone(),
        }
    }
}

impl Alerts {
    /// Returns open alerts and notices, for programs.
    pub fn lines(&self) -> Vec<AlertLine> {
        let (open, notices) = (self.open.iter(), self.notices.iter());
        open.map(|alert| alert.line(true)).chain(notices.map(|alert| alert.line(false))).collect()
    }
}

/// The notes of acknowledgements. Cheap to clone.
#[derive(Clone)]
pub struct Acknowledgements(Database);

impl Acknowledgements {
    /// Uses the notes in this database.
    pub fn new(database: Database) -> Self {
        Acknowledgements(database.of(&SCHEMA))
    }
}

impl Service {
    /// Returns everything that needs attention.
    pub async fn alerts(&self, actor: &Actor) -> Result<Alerts, Error> {
        actor.may(Need::Read)?;
        let mut notes = self.acknowledgements.0.read(read).await.map_err(|error| {
            Error::failed(format!("it is not known who took note of alerts: {error}"), "see the relay's log")
        })?;
        let mut alerts = self.alerts_of_all(actor).await?;
        for alert in alerts.open.iter_mut().chain(&mut alerts.notices) {
            alert.acknowledged = notes.remove(&alert.key);
        }
        alerts.open.sort_by_key(|alert| alert.acknowledged.is_some());
        Ok(alerts)
    }

    /// Returns the alerts of all nodes without acknowledgements. This needs no database.
    pub async fn alerts_of_all(&self, actor: &Actor) -> Result<Alerts, Error> {
        let own = self.alerts_here(actor);
        let answers = self.ask_others::<AlertsHere>(actor, Ask::Alerts, None).await;
        let (parts, missing) = together(own, answers)?;
        let merged = if parts.len() > 1 { merged } else { |alerts| alerts };
        let (mut open, mut notices) = (Vec::new(), Vec::new());
        for AlertsHere { node, open: its_open, notices: its_notices } in parts {
            open.extend(its_open.into_iter().map(|raised| raised.view(&node)));
            notices.extend(its_notices.into_iter().map(|raised| raised.view(&node)));
        }
        let ended = self.events.ended_alerts();
        Ok(Alerts { open: merged(open), ended, notices: merged(notices), missing })
    }

    /// Returns the alerts that this node raised.
    pub(super) fn alerts_here(&self, actor: &Actor) -> Result<AlertsHere, Error> {
        actor.may(Need::Read)?;
        let open = |OpenAlert { since, alert }: &OpenAlert| Raised::of(*since, alert);
        let (open, notices) = self.events.alerts_as(open, |alert| Raised::of(alert.at, alert));
        Ok(AlertsHere { node: self.nodes.name(), open, notices })
    }

    /// Acknowledges an alert.
    pub async fn acknowledge_alert(&self, actor: &Actor, key: &str, note: &str) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        if note.chars().count() > LONGEST_NOTE || note.chars().any(char::is_control) {
            let message = format!("the note is longer than {LONGEST_NOTE} characters, or no single line");
            return Err(Error::invalid(message, "write one short sentence"));
        }
        let lists = self.alerts_of_all(actor).await?;
        let known = lists.open.iter().chain(&lists.notices).find(|alert| alert.key == key);
        let Some(AlertView { alert, .. }) = known else {
            if !lists.missing.is_empty() {
                let message =
                    format!("no alert is called \"{key}\", but not every node answered: {}", lists.missing.join("; "));
                return Err(Error::new(ErrorKind::Unavailable, message, "give the command again"));
            }
            return Err(Error::not_found(format!("no alert is called \"{key}\""), "it may be over: look at the list"));
        };
        let told = alert.detail.as_deref().unwrap_or_default().to_owned();
        let (row_key, row_actor, row_note) = (key.to_owned(), actor.to_string(), note.to_owned());
        let now = Timestamp::now();
        let written = self.acknowledgements.0.write(move |tables| {
            let oldest = now - NOTES_OF_NOTICES_KEPT;
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

/// Returns the key of an alert.
fn key(alert: &Event<'_>) -> String {
    match &alert.subject {
        Some(subject) => subject.to_string(),
        None => format!("{OF_NOTICE}{}", alert.event_id),
    }
}

/// Stores the note of somebody who acknowledges an alert.
pub(super) fn note(
    tables: &Transaction<'_>,
    subject: &str,
    actor: &str,
    note: &str,
    at: Timestamp,
) -> Result<(), database::Error> {
    let sql = "INSERT INTO alert_acknowledged (subject, actor, note, at) VALUES ($1, $2, $3, $4) ON CONFLICT (subject) DO UPDATE SET \
               actor = excluded.actor, note = excluded.note, at = excluded.at";
    tables.execute(sql, &[subject.into(), actor.into(), note.into(), at.into()]).map(drop)
}

/// Deletes the note of an alert that ended at `at`. A newer note is about a new alert.
pub(super) fn forget(tables: &Transaction<'_>, subject: &str, at: Timestamp) -> Result<(), database::Error> {
    let sql = "DELETE FROM alert_acknowledged WHERE subject = $1 AND at <= $2";
    tables.execute(sql, &[subject.into(), at.into()]).map(drop)
}

/// Returns the subjects of acknowledged alerts.
pub(super) fn acknowledged(tables: &Transaction<'_>) -> Result<Vec<String>, database::Error> {
    let all = read(tables)?.into_keys();
    Ok(all.filter(|subject| !subject.starts_with(OF_NOTICE)).collect())
}

fn read(tables: &Transaction<'_>) -> Result<HashMap<String, Acknowledged>, database::Error> {
    let mut found = HashMap::new();
    tables.query("SELECT subject, actor, note, at FROM alert_acknowledged", &[], |row| {
        let noted = Acknowledged { actor: row.text(1)?.to_owned(), note: row.text(2)?.to_owned(), at: row.time(3)? };
        found.insert(row.text(0)?.to_owned(), noted);
        Ok::<_, database::Error>(())
    })?;
    Ok(found)
}
