//! The events about mail that the spool cannot read. A damaged message no longer names its recipients, but the event log does.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::event::{Event, EventId, EventKind, Known};
use super::trace;
use crate::message::QueueId;
use crate::time::Timestamp;

/// What happens to mail that cannot be read.
pub(crate) struct End<'a> {
    /// [`EventKind::Lost`], [`EventKind::Removed`] by an operator, or [`EventKind::Held`], which is no end yet.
    pub event: EventKind,
    pub at: Timestamp,
    /// The explanation for people.
    pub detail: &'a str,
    /// The operator who did it.
    pub actor: Option<&'a str>,
}

/// The data about one message in the event log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    known: Option<Known>,
    /// True if an event says already that the message is lost.
    is_lost: bool,
}

/// Reads the data about these messages from the event log. The journal must have all earlier lines of the spool. Blocks.
pub(crate) fn lives(log: &Path, ids: impl IntoIterator<Item = QueueId>) -> io::Result<BTreeMap<QueueId, Life>> {
    let lives = trace::lives(log, ids)?;
    Ok(lives.into_iter().map(|(id, events)| (id, Life::of(&events))).collect())
}

impl Life {
    /// Reads the events of one message, oldest first.
    pub(crate) fn of(events: &[serde_json::Value]) -> Life {
        let is_lost = |event: &serde_json::Value| event["event"] == EventKind::Lost.as_str();
        Life { known: Known::of(events), is_lost: events.iter().any(is_lost) }
    }

    /// One event for each recipient that was accepted and has no end yet. Of a message that the record does not know, one event that
    /// names only its queue id, because somebody may know it by its 250.
    pub(crate) fn ends<'a>(&'a self, id: QueueId, end: &'a End<'a>) -> Vec<Event<'a>> {
        let with =
            |event: Event<'a>| Event { detail: Some(end.detail.into()), actor: end.actor.map(Into::into), ..event };
        match &self.known {
            Some(known) => known.unended().map(|to| with(known.event(end.event, to, end.at))).collect(),
            None if end.event == EventKind::Lost && !self.is_lost => {
                let event_id = EventId::Mail { queue_id: id, at: end.at, index: 0, event: end.event };
                vec![with(Event { queue_id: Some(id), ..Event::with_id(event_id, end.event, end.at) })]
            }
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_795_458_240_123);
    const LOST: End<'static> = End { event: EventKind::Lost, at: AT, detail: "it is damaged", actor: None };

    fn line(id: QueueId, event: &str, index: usize) -> String {
        let line = json!({
            "event_id": format!("{id}-1M84TD3KV-{index}a"), "at": "2026-11-23T18:24:00.123Z", "event": event,
            "queue_id": id.to_string(), "message_id": "1@test.dk", "customer": "test-as", "from_domain": "test.dk",
            "sender": "news@test.dk", "recipient": format!("r{index}@x.dk")
        });
        format!("{line}\n")
    }

    #[test]
    fn every_recipient_without_an_end_gets_one_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        let [id, unknown] = [7, 8].map(QueueId::from_u64);
        let told =
            [("accepted", 0), ("accepted", 1), ("accepted", 2), ("relayed", 1), ("suppressed", 2), ("suppressed", 3)];
        let mut text: String = told.iter().map(|(event, index)| line(id, event, *index)).collect();
        std::fs::write(&log, &text).unwrap();
        let found = lives(&log, [id, unknown]).unwrap();
        let ends = |found: &BTreeMap<QueueId, Life>, id| -> Vec<serde_json::Value> {
            found[&id].ends(id, &LOST).iter().map(|event| serde_json::to_value(event).unwrap()).collect()
        };
        let named: Vec<_> = ends(&found, id).iter().map(|event| event["recipient"].clone()).collect();
        assert_eq!(named, ["r0@x.dk", "r2@x.dk"]);
        assert_eq!(
            ends(&found, unknown),
            [json!({
                "event_id": "0000000000008-1M84TD3KV-0z", "at": "2026-11-23T18:24:00.123Z", "event": "lost",
                "queue_id": "0000000000008", "detail": "it is damaged"
            })]
        );
        // What was told is not told again.
        for event in ends(&found, id).iter().chain(&ends(&found, unknown)) {
            text.push_str(&format!("{event}\n"));
        }
        std::fs::write(&log, &text).unwrap();
        let found = lives(&log, [id, unknown]).unwrap();
        assert!(ends(&found, id).is_empty() && ends(&found, unknown).is_empty());
        let removed = End { event: EventKind::Removed, actor: Some("anna"), ..LOST };
        assert!(found[&unknown].ends(unknown, &removed).is_empty(), "nobody knows whose it was");
    }
}
