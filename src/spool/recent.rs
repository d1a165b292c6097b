//! The lines of the outbox that became durable last, in memory, so that a journal that keeps up reads no segment.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::index::Place;

/// Octets of lines in memory. Beyond that the journal reads them from the segments.
const IN_MEMORY: usize = 16 << 20;

/// The lines in memory, and how far the journal is.
pub(super) struct Recent {
    has_journal: bool,
    state: Mutex<State>,
    filled: Arc<Notify>,
}

struct State {
    /// All lines between `from` and `to`.
    lines: Vec<u8>,
    from: Place,
    /// Where the synced log ends, and the mark of that segment.
    to: (Place, u64),
    confirmed: Place,
}

/// Where the lines behind a place are.
pub(super) enum Source {
    /// Here. They end at `to`, in the segment with this mark.
    Memory { lines: Vec<u8>, to: (Place, u64) },
    /// In the segments, at least as far as `until`.
    Segments { until: Place },
}

impl Recent {
    /// Nothing yet, of a log that ends at `end`. Without a journal nothing is kept.
    pub fn new(has_journal: bool, end: (Place, u64)) -> Self {
        let state = State { lines: Vec::new(), from: end.0, to: end, confirmed: Place::default() };
        Recent { has_journal, state: Mutex::new(state), filled: Arc::default() }
    }

    /// Notifies this one when there are new lines.
    pub fn telling(self, filled: Arc<Notify>) -> Self {
        Recent { filled, ..self }
    }

    /// Takes the lines of what was just synced. The log ends at `end` now, in the segment with this mark.
    pub fn synced<'a>(&self, all: impl Iterator<Item = &'a [u8]>, end: Place, mark: u64) {
        if !self.has_journal {
            return;
        }
        let mut state = self.state();
        let (before, is_next_segment) = (state.lines.len(), state.to.0.segment != end.segment);
        all.for_each(|lines| state.lines.extend_from_slice(lines));
        state.to = (end, mark);
        let has_more = state.lines.len() > before;
        if state.lines.len() > IN_MEMORY {
            state.lines = Vec::new();
            state.from = end;
        }
        drop(state);
        // A segment without lines is to be confirmed too, so that it can be given back.
        if has_more || is_next_segment {
            self.filled.notify_one();
        }
    }

    /// Returns true if the journal may not have everything before `end`.
    pub fn is_unconfirmed(&self, end: Place) -> bool {
        self.has_journal && self.state().confirmed < end
    }

    /// Where the lines behind a place are. What is in memory is handed out once.
    pub fn source(&self, after: Place) -> Source {
        let mut state = self.state();
        if after == state.from {
            let lines = std::mem::take(&mut state.lines);
            state.from = state.to.0;
            return Source::Memory { lines, to: state.to };
        }
        // What is in memory is taken only as a whole.
        let until = if after < state.from { state.from } else { state.to.0 };
        Source::Segments { until }
    }

    /// The journal has everything before a place on disk.
    pub fn confirm(&self, place: Place) {
        let mut state = self.state();
        state.confirmed = state.confirmed.max(place);
    }

    /// Up to where the journal has everything on disk.
    pub fn confirmed(&self) -> Place {
        self.state().confirmed
    }

    /// Where the durable log ends.
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
