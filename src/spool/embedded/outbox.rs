//! The outbox: the lines that commits and changes have for the journal, in the order of the log.
//!
//! The lines stand in the frames. Those that were synced last are in memory too, so that a journal that keeps up reads no segment. One
//! that is behind, or begins, reads them from the segments.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::frame::{self, SEGMENT_HEAD};
use super::scan::{self, Reach};
use super::shared::Shared;
use super::{Embedded, blocking};
use crate::spool::index::Place;
use crate::spool::{Error, OutboxPage, OutboxPosition, Pending};

/// Octets of lines in memory. Beyond that the journal reads them from the segments.
const IN_MEMORY: usize = 16 << 20;
/// About how many octets of lines are read from segments at once.
const PAGE: usize = 4 << 20;

/// The lines in memory, and how far the journal is.
pub(super) struct Outbox {
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
enum Source {
    Memory { lines: Vec<u8>, to: (Place, u64) },
    Segments { until: Place },
}

impl Outbox {
    /// An outbox whose log ends at `end`. Without a journal nothing is kept.
    pub fn new(has_journal: bool, end: (Place, u64)) -> Self {
        let state = State { lines: Vec::new(), from: end.0, to: end, confirmed: Place::default() };
        Outbox { has_journal, state: Mutex::new(state), filled: Arc::default() }
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

    fn source(&self, after: Place) -> Source {
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the outbox")
    }
}

impl crate::spool::Outbox for Embedded {
    fn lines(&self, after: Option<OutboxPosition>) -> Pending<Result<OutboxPage, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let after = after.and_then(|position| place(&shared, &position)).unwrap_or_default();
            match shared.outbox.source(after) {
                Source::Memory { lines, to: (to, mark) } => {
                    Ok(OutboxPage { lines, position: position(to, mark), more: false })
                }
                Source::Segments { until } => blocking(move || read(&shared, after, until)).await?,
            }
        })
    }

    fn confirm(&self, position: OutboxPosition) {
        if let Some(place) = place(&self.shared, &position) {
            let mut state = self.shared.outbox.state();
            state.confirmed = state.confirmed.max(place);
        }
    }

    fn filled(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.outbox.filled)
    }
}

/// Reads lines from the segments, up to about a page of them. What cannot be read is passed over: the start that found it has told so.
fn read(shared: &Shared, after: Place, until: Place) -> Result<OutboxPage, Error> {
    let mut page = Vec::new();
    let mut end = (after, 0);
    for (number, data_end) in shared.segments.ends_from(after.segment) {
        if number > until.segment || page.len() >= PAGE {
            break;
        }
        let limit = if number == until.segment { until.at } else { data_end.unwrap_or(u32::MAX) };
        let from = if number == after.segment { after.at.max(SEGMENT_HEAD as u32) } else { SEGMENT_HEAD as u32 };
        let failed = |source| Error::Io { what: format!("reading segment {number:08x}"), source };
        let source = match shared.segments.source(number) {
            Ok(Some(source)) => source,
            Ok(None) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(segment = number, "a segment is gone, and with it what it had for the journal");
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        end = (Place { segment: number, at: limit.max(from) }, source.mark);
        if from < limit {
            let take = |_, lines: &[u8]| {
                page.extend_from_slice(lines);
                if page.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let reach = Reach::Zeros(limit.into());
            let found =
                scan::scan_from(&source.file, (number, source.mark), from.into(), reach, take).map_err(failed)?;
            if page.len() >= PAGE {
                end.0.at = limit.min(found.end as u32);
            }
        }
    }
    let more = end.0 < until || shared.outbox.state().to.0 > until;
    // Without a segment to read, the lines that were asked for are gone: the journal had them.
    let end = if end.1 == 0 { (until, shared.segments.mark(until.segment).unwrap_or_default()) } else { end };
    Ok(OutboxPage { lines: page, position: position(end.0, end.1), more })
}

fn position(place: Place, mark: u64) -> OutboxPosition {
    OutboxPosition::new(format!("{}-{}", frame::segment_name(place.segment, mark), place.at))
}

/// The place that a position names. `None` if it is of another spool.
fn place(shared: &Shared, position: &OutboxPosition) -> Option<Place> {
    let (name, at) = position.as_str().rsplit_once('-')?;
    let (segment, mark) = frame::parse_segment_name(name)?;
    let place = Place { segment, at: at.parse().ok()? };
    match shared.segments.mark(segment) {
        Some(known) => (known == mark).then_some(place),
        // Segments are given back from the oldest on, and numbers begin again only in an empty spool.
        None => (place <= shared.outbox.state().to.0).then_some(place),
    }
}
