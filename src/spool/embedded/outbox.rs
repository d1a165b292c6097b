//! The outbox: the lines of commits and changes for the journal, in the order of the log.
//!
//! The lines are part of the frames. The most recently synced lines are also in memory, so that a journal that keeps up reads no segment. A
//! journal that is behind, or starts, reads them from the segments. Lines that the disk does not return are asked for again for a while,
//! because the spool forgets them once the journal has read beyond them.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::frame::{self, SEGMENT_HEAD};
use super::scan::{self, Reach};
use super::shared::Shared;
use super::{Embedded, blocking};
use crate::spool::index::Place;
use crate::spool::recent::Source;
use crate::spool::{Error, Notice, OutboxPage, OutboxPosition, Pending};

/// The approximate number of octets of lines that are read from segments at once.
const PAGE: usize = 4 << 20;
/// How often the journal asks for lines that the disk does not return, before it goes on without them. It asks once a second.
const TRIES: u32 = 60;

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

/// Reads about a page of lines from the segments. Parts that are known to be unreadable are skipped; they were reported when they were
/// found.
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
            if let Some(end) = found.not_given.filter(|end| !shared.segments.is_known_unreadable(number, end - 1)) {
                return Err(failed(not_returned(shared, number, from.into()..end)));
            }
            shared.failed_outbox_reads.store(0, Ordering::Relaxed);
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

/// Counts a read in which the disk did not return all lines of a segment. After the last try, records the part as unreadable, so that the
/// next read skips it.
fn not_returned(shared: &Shared, segment: u32, part: Range<u64>) -> io::Error {
    if shared.failed_outbox_reads.fetch_add(1, Ordering::Relaxed) + 1 >= TRIES {
        shared.failed_outbox_reads.store(0, Ordering::Relaxed);
        shared.segments.note_damage(segment, part.clone());
        let why = format!(
            "the disk does not return octets {} to {} of segment {segment:08x}, so events in them are missing from the event log",
            part.start, part.end
        );
        shared.tell(Notice::Unreadable { why });
    }
    io::Error::other(format!("the disk did not return octets {} to {}", part.start, part.end))
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
