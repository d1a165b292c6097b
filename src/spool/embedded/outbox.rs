//! The outbox: the lines of commits and changes for the journal, in the order of the log.
//!
//! The lines are part of the frames. The most recently synced lines are also in memory, so that a journal that keeps up reads no segment. A
//! journal that is behind, or starts, reads them from the segments.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::Notify;

use super::frame::{self, SEGMENT_HEAD};
use super::scan::{self, Reach};
use super::shared::Shared;
use super::{Embedded, blocking};
use crate::spool::index::Place;
use crate::spool::recent::Source;
use crate::spool::{Error, OutboxPage, OutboxPosition, Pending};

/// The approximate number of octets of lines that are read from segments at once.
const PAGE: usize = 4 << 20;

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
            self.shared.outbox.confirm(place);
        }
    }

    fn filled(&self) -> Arc<Notify> {
        self.shared.outbox.filled()
    }
}

/// Reads about a page of lines from the segments. Unreadable parts are skipped; the start that found them has reported them.
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
    let more = end.0 < until || shared.outbox.end() > until;
    // If there is no segment to read, the journal already had these lines.
    let end = if end.1 == 0 { (until, shared.segments.mark(until.segment).unwrap_or_default()) } else { end };
    Ok(OutboxPage { lines: page, position: position(end.0, end.1), more })
}

fn position(place: Place, mark: u64) -> OutboxPosition {
    OutboxPosition::new(format!("{}-{}", frame::segment_name(place.segment, mark), place.at))
}

/// Returns the place that a position names, or `None` if the position belongs to another spool.
fn place(shared: &Shared, position: &OutboxPosition) -> Option<Place> {
    let (name, at) = position.as_str().rsplit_once('-')?;
    let (segment, mark) = frame::parse_segment_name(name)?;
    let place = Place { segment, at: at.parse().ok()? };
    match shared.segments.mark(segment) {
        Some(known) => (known == mark).then_some(place),
        // Segments are deleted from the oldest on, and numbers start again only in an empty spool.
        None => (place <= shared.outbox.end()).then_some(place),
    }
}
