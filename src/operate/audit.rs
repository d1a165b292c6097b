//! The audit: each command that changes something, and each check and probe that somebody commands, becomes one `audit` event, whichever
//! interface it came through.
//!
//! The running relay emits the event at once. A command that works on files, outside the relay, leaves a note in `<state_dir>/audit/`. The
//! relay turns notes into events when it finds them, at the latest at its next start. A note is written completely or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Actor, Error};
use crate::events::{Action, Event, EventId, Events};
use crate::files::{self, Whole};
use crate::message::QueueId;
use crate::time::Timestamp;

/// How often the relay looks for notes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The log takes about so many notes at once, with so many octets.
const PORTION: usize = 500;
const PORTION_OCTETS: usize = 4 << 20;

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Act {
    pub command: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The queue id, if the command was about one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_id: Option<String>,
    /// The recipient's address, if the command was about one. `record erase` finds the event by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The number of changed messages or events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// A description for people.
    pub detail: String,
}

impl Act {
    /// Makes an act without values for the optional fields.
    pub fn new(command: Action, detail: impl Into<String>) -> Self {
        Act {
            command,
            customer: None,
            route: None,
            queue_id: None,
            recipient: None,
            changed: None,
            detail: detail.into(),
        }
    }
}

/// A note that a command leaves for the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The time in milliseconds since the epoch.
    at: u64,
    /// A random number that distinguishes it from other notes of the same time.
    key: u32,
    actor: String,
    /// The address of the actor's connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(flatten)]
    act: Act,
}

impl Note {
    fn new(actor: &Actor, act: Act) -> Self {
        let (key, peer) = (rand::random(), actor.address().map(|address| address.to_string()));
        Note { at: Timestamp::now().as_millis(), key, actor: actor.to_string(), peer, act }
    }

    fn event(self) -> Event<'static> {
        let Note { at, key, actor, peer, act } = self;
        let Act { command, customer, route, queue_id, recipient, changed, detail } = act;
        let at = Timestamp::from_millis(at);
        Event {
            // The id comes from the note, so a note that is reported twice makes the same event twice.
            event_id: EventId::Other { at, number: 0, process: key },
            peer: peer.map(Into::into),
            customer: customer.map(Into::into),
            route: route.map(Into::into),
            queue_id: queue_id.and_then(|id| id.parse::<QueueId>().ok()),
            recipient: recipient.map(Into::into),
            changed,
            ..Event::audit(actor, command, detail, at)
        }
    }
}

/// Emits the event of an act.
pub(super) fn tell(events: &Events, actor: &Actor, act: Act) {
    events.emit(Note::new(actor, act).event());
}

/// The folder in which commands outside the relay leave their notes.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    state_dir: PathBuf,
}

impl Notes {
    /// Makes sure that notes can be written, before the command does anything that must be noted.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        let notes = Notes { state_dir: state_dir.to_owned() };
        let ready = notes.in_folder(|folder| {
            files::make_private_dir(folder)?;
            fs::read_dir(folder).map(drop)
        });
        ready.map_err(|error| {
            Error::failed(
                format!("the audit cannot be kept in {}: {error}", folder(state_dir).display()),
                "run the command as the user that runs the relay or as root; nothing was changed",
            )
        })?;
        Ok(notes)
    }

    /// Writes a note of an act.
    pub fn leave(&self, actor: &Actor, act: Act) -> Result<(), Error> {
        let note = Note::new(actor, act);
        let done = note.act.detail.clone();
        let text = serde_json::to_vec(&note).expect("a note has only string keys");
        // The names sort by time. Notes of the same millisecond differ in the random part.
        let name = format!("{:015}-{:08x}.json", note.at, note.key);
        let written =
            self.in_folder(|folder| Whole::write(folder, &text, 0o600, Some(folder))?.name(&folder.join(&name)));
        written.map_err(|error| {
            Error::failed(
                format!("it was done ({done}), but that cannot be noted for the audit: {error}"),
                format!("make room in {}", folder(&self.state_dir).display()),
            )
        })
    }

    fn in_folder(&self, work: impl FnOnce(&Path) -> io::Result<()> + Send) -> io::Result<()> {
        let folder = folder(&self.state_dir);
        files::in_state(&[&self.state_dir, &folder], || work(&folder))
    }
}

/// The destination of audit events.
pub(super) enum Audit {
    Events(Events),
    Notes(Notes),
}

impl Audit {
    /// Reports an act.
    pub fn tell(&self, actor: &Actor, act: Act) -> Result<(), Error> {
        match self {
            Audit::Events(events) => {
                tell(events, actor, act);
                Ok(())
            }
            Audit::Notes(notes) => notes.leave(actor, act),
        }
    }
}

fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("audit")
}

/// Turns notes into events until stopped. A note stays until the event log has its event. After a crash in between, the event is repeated
/// with the same id.
pub async fn collect(state_dir: PathBuf, events: Events, stopping: CancellationToken) {
    let folder = folder(&state_dir);
    loop {
        if let Err(error) = collect_once(&folder, &events).await {
            tracing::warn!("notes of the audit cannot be collected: {error}");
        }
        if stopping.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
            return;
        }
    }
}

async fn collect_once(folder: &Path, events: &Events) -> io::Result<()> {
    let folder = folder.to_owned();
    let mut left = blocking(move || notes_in(&folder)).await??.into_iter().peekable();
    while left.peek().is_some() {
        let (found, behind) = blocking(move || (portion(&mut left), left)).await?;
        left = behind;
        let (mut told, mut strange, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for (path, note) in found {
            match note {
                Ok(note) => told.push(note.event()),
                Err(error) => {
                    strange.push(format!("a note of the audit is not understood and dropped: {path:?}: {error}"))
                }
            }
            done.push(path);
        }
        if !events.emit_synced(told).await {
            return Err(io::Error::other("the event log takes nothing for now"));
        }
        strange.into_iter().for_each(|alert| events.alert(alert));
        blocking(move || done.iter().try_for_each(fs::remove_file)).await??;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// Reads the next notes, or why one is not understood. An unreadable one holds up no other: it stays, and the next look tries it again and
/// reports it again. Blocks.
fn portion(left: &mut impl Iterator<Item = PathBuf>) -> Vec<(PathBuf, Result<Note, serde_json::Error>)> {
    let (mut found, mut octets) = (Vec::new(), 0);
    while found.len() < PORTION
        && octets < PORTION_OCTETS
        && let Some(path) = left.next()
    {
        match files::read_state(&path) {
            Ok(text) => {
                octets += text.len();
                found.push((path, serde_json::from_slice(&text)));
            }
            Err(error) => tracing::warn!("a note of the audit cannot be read: {path:?}: {error}"),
        }
    }
    found
}

/// Returns the notes in a folder, the oldest first. Blocks.
fn notes_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    // A note that is being written has another file extension.
    paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventKind;
    use crate::operate::Role;

    #[tokio::test]
    async fn notes_left_beside_the_relay_become_events_in_their_order_and_once() {
        let state = tempfile::tempdir().unwrap();
        let events = Events::default();
        let mut heard = events.subscribe();
        collect_once(&folder(state.path()), &events).await.unwrap();
        let notes = Notes::open(state.path()).unwrap();
        let actor = Actor::new("anna", Role::Admin);
        for n in 0..3 {
            let customer = Some("test-as".to_owned());
            notes.leave(&actor, Act { customer, ..Act::new(Action::KeyRotate, format!("step {n}")) }).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        fs::write(folder(state.path()).join("0.json"), "{").unwrap();
        collect_once(&folder(state.path()), &events).await.unwrap();
        collect_once(&folder(state.path()), &events).await.unwrap();
        let told =
            |event: Event<'static>| (event.event, event.actor.unwrap_or_default(), event.detail.unwrap_or_default());
        for n in 0..3 {
            let event = (*heard.try_recv().unwrap()).clone();
            assert_eq!(event.customer.as_deref(), Some("test-as"));
            assert_eq!(serde_json::to_value(&event).unwrap()["command"], "key.rotate");
            assert_eq!(told(event), (EventKind::Audit, "anna".into(), format!("step {n}").into()));
        }
        let alert = told((*heard.try_recv().unwrap()).clone());
        assert!(alert.0 == EventKind::Alert && alert.2.contains("0.json"), "{alert:?}");
        assert!(heard.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_note_stays_until_the_log_has_its_event() {
        let state = tempfile::tempdir().unwrap();
        let log = Some(state.path().join("events.jsonl"));
        let settings = crate::events::Settings { log, state_dir: state.path().to_owned(), ..Default::default() };
        let (events, running) = Events::start(settings).unwrap();
        let act = Act::new(Action::KeyRotate, "a step");
        Notes::open(state.path()).unwrap().leave(&Actor::new("anna", Role::Admin), act).unwrap();
        let notes = || fs::read_dir(folder(state.path())).unwrap().count();
        // A log that stops takes nothing.
        running.stop().await;
        assert!(collect_once(&folder(state.path()), &events).await.is_err());
        assert_eq!(notes(), 1);
        let log = Some(state.path().join("events.jsonl"));
        let settings = crate::events::Settings { log, state_dir: state.path().to_owned(), ..Default::default() };
        let (events, running) = Events::start(settings).unwrap();
        collect_once(&folder(state.path()), &events).await.unwrap();
        // It is there before anything else is written.
        let text = fs::read_to_string(state.path().join("events.jsonl")).unwrap();
        assert!(text.contains("a step") && notes() == 0, "{text}");
        running.stop().await;
    }

    #[tokio::test]
    async fn many_notes_are_taken_in_portions_and_one_that_cannot_be_read_holds_up_no_other() {
        let state = tempfile::tempdir().unwrap();
        let log = state.path().join("events.jsonl");
        let settings = crate::events::Settings {
            log: Some(log.clone()),
            state_dir: state.path().to_owned(),
            ..Default::default()
        };
        let (events, running) = Events::start(settings).unwrap();
        Notes::open(state.path()).unwrap();
        let folder = folder(state.path());
        let detail = "x".repeat(40_000);
        for key in 0..600 {
            let act = Act::new(Action::KeyRotate, format!("{key} {detail}"));
            let note = Note { at: 1_000, key, actor: "anna".to_owned(), peer: None, act };
            fs::write(folder.join(format!("1-{key:08x}.json")), serde_json::to_vec(&note).unwrap()).unwrap();
        }
        fs::create_dir(folder.join("0.json")).unwrap();
        collect_once(&folder, &events).await.unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "the one that cannot be read");
        running.stop().await;
        let text = fs::read_to_string(log).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("xxx")).count(), 600);
    }

    #[test]
    fn nothing_is_begun_where_it_cannot_be_noted() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("audit"), "a file in its place").unwrap();
        let refused = Notes::open(state.path()).unwrap_err();
        assert!(refused.to_string().contains("nothing was changed"), "{refused}");
    }
}
