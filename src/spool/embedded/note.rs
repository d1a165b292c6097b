//! Notes: the part of a frame that the index needs. Changes: a note together with its frame.

use std::sync::Arc;

use super::frame::{Head, Kind};
use crate::message::{Lane, QueueId};
use crate::spool::codec::{self, State, Status, Writer};
use crate::spool::index::{Fact, LogEntry};
use crate::spool::next_try::NextTry;

/// One change of the index.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Note {
    /// A message whose frame is at this offset.
    Put { id: QueueId, at: u32, disk_len: u32, lane: Lane, domains: u32, status: Status },
    /// The state of a message, whose frame is at this offset.
    State { id: QueueId, at: u32, status: Status },
    /// The time of a message's next attempt.
    Due { id: QueueId, next: NextTry },
    /// A message is held.
    Hold { id: QueueId, reason: Arc<str> },
    /// A message is released.
    Release { id: QueueId, next: NextTry },
    /// A message is settled or was set aside.
    Done { id: QueueId },
    /// The program stopped cleanly.
    Clean,
}

/// The reason for holding a message whose result cannot be read.
pub(super) const DOUBTFUL: &str = "a result cannot be read: some recipients may have it already";

/// The reason for holding a message that was told as lost, and that the disk returns now.
pub(super) const RETURNED: &str =
    "it was told as lost, and the disk returns it now: release it only if it was not sent again, or remove it";

impl Note {
    /// Returns true if a damaged result before this note no longer matters, because this note has the whole state of the message, or
    /// already holds it for that damage.
    pub fn ends_doubt(&self) -> bool {
        match self {
            Note::Put { .. } | Note::State { .. } | Note::Done { .. } => true,
            Note::Hold { reason, .. } => **reason == *DOUBTFUL,
            Note::Due { .. } | Note::Release { .. } | Note::Clean => false,
        }
    }

    /// Returns the message that the note is about, if any.
    pub fn id(&self) -> Option<QueueId> {
        match self {
            Note::Put { id, .. }
            | Note::State { id, .. }
            | Note::Due { id, .. }
            | Note::Hold { id, .. }
            | Note::Release { id, .. }
            | Note::Done { id } => Some(*id),
            Note::Clean => None,
        }
    }
}

/// A change of a message in the log, with its frame.
#[derive(Debug)]
pub(super) struct Change {
    /// The note. The offset in a state note is filled in when the frame is written.
    pub note: Note,
    pub head: Head,
    pub payload: Vec<u8>,
    /// The state, if the change is a new state. The index keeps it until it is synced.
    pub state: Option<Arc<State>>,
    /// The number of octets at the end of the payload that are lines for the outbox.
    lines_len: usize,
}

impl Change {
    /// Records a fact about a message.
    pub fn of(LogEntry { id, fact, lines }: LogEntry) -> Change {
        match fact {
            Fact::State(state) => Change::state(id, state, &lines),
            Fact::Due(next) => Change::due(id, next),
            Fact::Hold(reason) => Change::hold(id, reason, &lines),
            Fact::Release(next) => Change::release(id, next, &lines),
            Fact::Done => Change::done(id, &lines),
        }
    }

    /// Records a new state of a message. `lines` go to the outbox.
    fn state(id: QueueId, state: Arc<State>, lines: &[u8]) -> Change {
        let mut payload = Writer::default();
        codec::write_state(&mut payload, &state);
        let note = Note::State { id, at: 0, status: state.status.clone() };
        Change { state: Some(state), ..Change::telling(note, Kind::State, id, payload, lines) }
    }

    /// Records when a message is tried next.
    fn due(id: QueueId, next: NextTry) -> Change {
        let mut payload = Writer::default();
        payload.next_try(next);
        let head = Head::of(Kind::Due, id, &payload.0);
        Change { note: Note::Due { id, next }, head, payload: payload.0, state: None, lines_len: 0 }
    }

    /// Records that a message is held. `lines` go to the outbox.
    pub fn hold(id: QueueId, reason: Arc<str>, lines: &[u8]) -> Change {
        let mut payload = Writer::default();
        payload.text(&reason);
        Change::telling(Note::Hold { id, reason }, Kind::Hold, id, payload, lines)
    }

    /// Records that a message is released. `lines` go to the outbox.
    fn release(id: QueueId, next: NextTry, lines: &[u8]) -> Change {
        let mut payload = Writer::default();
        payload.next_try(next);
        Change::telling(Note::Release { id, next }, Kind::Release, id, payload, lines)
    }

    /// Records that a message is settled. `lines` go to the outbox.
    pub fn done(id: QueueId, lines: &[u8]) -> Change {
        Change::telling(Note::Done { id }, Kind::Done, id, Writer::default(), lines)
    }

    fn telling(note: Note, kind: Kind, id: QueueId, mut payload: Writer, lines: &[u8]) -> Change {
        payload.bytes(lines);
        let head = Head::of(kind, id, &payload.0);
        Change { note, head, payload: payload.0, state: None, lines_len: lines.len() }
    }

    /// Returns the lines for the outbox.
    pub fn lines(&self) -> &[u8] {
        &self.payload[self.payload.len() - self.lines_len..]
    }

    /// Returns the octets of the frame.
    pub fn frame_len(&self) -> u64 {
        self.head.frame_len()
    }

    /// Returns the note for a frame at offset `at`.
    pub fn note_at(&self, at: u32) -> Note {
        match &self.note {
            Note::State { id, status, .. } => Note::State { id: *id, at, status: status.clone() },
            other => other.clone(),
        }
    }
}
