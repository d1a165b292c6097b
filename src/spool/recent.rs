//! The most recently synced lines of the outbox, in memory, so that a journal that keeps up reads no segment.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::index::Place;

/// The most octets of lines in memory. Beyond that the journal reads them from the segments.
const IN_MEMORY: usize = 16 << 20;

/// The lines in memory, and the journal's position.
pub(super) struct Recent {
    has_journal: bool,
    state: Mutex<State>,
    filled: Arc<Notify>,
}

struct State {
    /// All lines between `from` and `to`.
    lines: Vec<u8>,
    from: Place,
    /// The end of the synced log, and the mark of that segment.
    to: (Place, u64),
    /// The end of the log after the last lines that this process wrote.
    last: Place,
    confirmed: Place,
}

/// Where to find the lines behind a place.
pub(super) enum Source {
    /// In memory. They end at `to`, in the segment with this mark.
    Memory { lines: Vec<u8>, to: (Place, u64) },
    /// In the segments, at least up to `until`.
    Segments { until: Place },
}

impl Recent {
    /// Starts empty, for a log that ends at `end`. Without a journal no lines are kept.
    pub fn new(has_journal: bool, end: (Place, u64)) -> Self {
        let state =
            State { lines: Vec::new(), from: end.0, to: end, last: Place::default(), confirmed: Place::default() };
        Recent { has_journal, state: Mutex::new(state), filled: Arc::default() }
    }

    /// Returns the same, with a shared notification for new lines.
    pub fn telling(self, filled: Arc<Notify>) -> Self {
        Recent { filled, ..self }
    }

    /// Adds the lines of what was just synced. The log now ends at `end`, in the segment with this mark.
    pub fn synced<'a>(&self, all: impl Iterator<Item = &'a [u8]>, end: Place, mark: u64) {
        if !self.has_journal {
            return;
        }
        let mut state = self.state();
        let (before, is_next_segment) = (state.lines.len(), state.to.0.segment != end.segment);
        all.for_each(|lines| state.lines.extend_from_slice(lines));
        state.to = (end, mark);
        let has_more = state.lines.len() > before;
        if has_more {
            state.last = end;
        }
        if state.lines.len() > IN_MEMORY {
            state.lines = Vec::new();
            state.from = end;
        }
        drop(state);
        // A segment without lines must also be confirmed, so that it can be deleted.
        if has_more || is_next_segment {
            self.filled.notify_one();
        }
    }

    /// Returns true if the journal may not have everything before `end`.
    pub fn is_unconfirmed(&self, end: Place) -> bool {
        self.has_journal && self.state().confirmed < end
    }

    /// Returns true if this process wrote lines that the journal may not have.
    pub fn has_unconfirmed_lines(&self) -> bool {
        let state = self.state();
        self.has_journal && state.confirmed < state.last
    }

    /// Returns where the lines behind a place are. Lines in memory are returned once.
    pub fn source(&self, after: Place) -> Source {
        let mut state = self.state();
        if after == state.from {
            let lines = std::mem::take(&mut state.lines);
            state.from = state.to.0;
            return Source::Memory { lines, to: state.to };
        }
        // The lines in memory can only be taken as a whole.
        let until = if after < state.from { state.from } else { state.to.0 };
        Source::Segments { until }
    }

    /// Records that the journal has everything before a place on disk.
    pub fn confirm(&self, place: Place) {
        let mut state = self.state();
        state.confirmed = state.confirmed.max(place);
    }

    /// Returns the place up to which the journal has everything on disk.
    pub fn confirmed(&self) -> Place {
        self.state().confirmed
    }

    /// Returns the end of the durable log.
    pub fn end(&self) -> Place {
        self.state().to.0
    }

    /// Notified when there are new lines.
    pub fn filled(&self) -> Arc<Notify> {
        Arc::clone(&self.filled)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the outbox")
    }
}
