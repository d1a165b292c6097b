//! The way to the committer: items in the order in which they are to stand on disk.
//!
//! It is not bounded in octets: whoever commits holds the draft's memory anyway and has budgeted for it; settlements are
//! bounded by [`NOTES`], past which a settler waits for a sync.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::codec::{State, Writer, write_state};
use super::footer::Note;
use super::frame::{Head, Kind};
use super::prepared::Prepared;
use crate::spool::{Durable, Error};

/// Settlements and the like that may wait for a sync before those who make them wait too.
pub(super) const NOTES: usize = 16_384;

/// Something to write.
pub(super) enum Item {
    /// A new message.
    Draft(Box<Prepared>, oneshot::Sender<Result<Durable, Error>>),
    /// A message copied forward; answered with whether that worked.
    Copy(Box<Prepared>, oneshot::Sender<bool>),
    /// A change; must be written, if not now then later.
    Note(Change),
    /// Answered once everything before it is durable.
    Barrier(oneshot::Sender<Result<(), Error>>),
}

/// A note with its frame.
pub(super) struct Change {
    pub note: Note,
    pub head: Head,
    pub payload: Vec<u8>,
    /// For a state: what the index holds until it is written.
    pub state: Option<Arc<State>>,
}

impl Change {
    /// Encodes a note. The offset of a state is filled in when it is written.
    pub fn new(note: Note, state: Option<Arc<State>>) -> Change {
        let mut out = Writer::default();
        let (kind, id) = match &note {
            Note::State { id, .. } => {
                write_state(&mut out, state.as_ref().expect("a state's note comes with the state"));
                (Kind::State, *id)
            }
            Note::Due { id, next } => {
                out.next_try(*next);
                (Kind::Due, *id)
            }
            Note::Hold { id, reason } => {
                out.text(reason);
                (Kind::Hold, *id)
            }
            Note::Release { id, next } => {
                out.next_try(*next);
                (Kind::Release, *id)
            }
            Note::Done { id } => (Kind::Done, *id),
            Note::Put { .. } | Note::Clean => unreachable!("messages and the clean stop have frames of their own"),
        };
        Change { head: Head::of(kind, id, &out.0), payload: out.0, note, state }
    }
}

/// What the committer finds when it looks.
pub(super) struct Taken {
    pub items: Vec<Item>,
    pub stopping: bool,
}

#[derive(Default)]
struct Queue {
    items: Vec<Item>,
    /// Somebody waits for an answer.
    urgent: bool,
    since: Option<Instant>,
    notes: usize,
    stopping: bool,
    committer_waits: bool,
}

/// The queue to the committer.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    ready: Condvar,
}

impl Inbox {
    /// Adds items in order. Returns how many notes wait. Gives the items back once the spool is stopping.
    pub fn push(&self, items: impl IntoIterator<Item = Item>) -> Result<usize, Vec<Item>> {
        let mut queue = self.queue.lock().expect("nothing panics while it holds the inbox");
        if queue.stopping {
            return Err(items.into_iter().collect());
        }
        let was_idle = queue.items.is_empty();
        let was_urgent = queue.urgent;
        for item in items {
            match item {
                Item::Note(_) => queue.notes += 1,
                Item::Draft(..) | Item::Copy(..) | Item::Barrier(_) => queue.urgent = true,
            }
            queue.items.push(item);
        }
        if was_idle {
            queue.since = Some(Instant::now());
        }
        // A wake-up costs a system call: only where it changes what the committer waits for.
        let notes = queue.notes;
        if queue.committer_waits && (was_idle || queue.urgent && !was_urgent) {
            self.ready.notify_one();
        }
        Ok(notes)
    }

    /// Everything that waits: at once if somebody waits for an answer, else when the oldest note is `delay` old. With `retry`,
    /// returns after that long even with nothing.
    pub fn take(&self, delay: Duration, retry: Option<Duration>) -> Taken {
        let mut queue = self.queue.lock().expect("nothing panics while it holds the inbox");
        let retry_at = retry.map(|after| Instant::now() + after);
        loop {
            let now = Instant::now();
            let note_due = queue.since.map(|since| since + delay);
            let wake_at = [note_due, retry_at].into_iter().flatten().min();
            if queue.stopping || queue.urgent || wake_at.is_some_and(|at| at <= now) {
                queue.urgent = false;
                queue.since = None;
                queue.notes = 0;
                return Taken { items: std::mem::take(&mut queue.items), stopping: queue.stopping };
            }
            queue.committer_waits = true;
            queue = match wake_at {
                Some(at) => {
                    self.ready.wait_timeout(queue, at - now).expect("nothing panics while it holds the inbox").0
                }
                None => self.ready.wait(queue).expect("nothing panics while it holds the inbox"),
            };
            queue.committer_waits = false;
        }
    }

    /// The committer is gone: whoever waits hears so.
    pub fn abandon(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        queue.stopping = true;
        queue.items.clear();
    }

    /// Takes nothing more; what is in is still written.
    pub fn stop(&self) {
        self.queue.lock().expect("nothing panics while it holds the inbox").stopping = true;
        self.ready.notify_one();
    }
}
