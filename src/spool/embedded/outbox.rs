//! The outbox: the lines of commits and changes for the journal, in the order of the log.
//!
//! The lines are part of the frames. The most recently synced lines are also in memory, so that a journal that keeps up reads no segment. A
//! journal that is behind, or starts, reads them from the segments. Lines that the disk does not return are asked for again for a while,
//! because the spool forgets them once the journal has read beyond them. Then the journal goes on without them, and the next start reads
//! them again ([`skipped`](super::skipped)).

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::frame::{self, SEGMENT_HEAD};
use super::quarantine::Stretch;
use super::scan::{self, Reach};
use super::shared::Shared;
use super::skipped::Part;
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
            let place = after.as_ref().and_then(|position| place(&shared, position));
            if shared.skipped.has_work() {
                let (shared, place) = (Arc::clone(&shared), place);
                let again = blocking(move || read_skipped(&shared, place)).await??;
                if let (Some(lines), Some(position)) = (again, after) {
                    return Ok(OutboxPage { lines, position, more: true });
                }
            }
            let after = place.unwrap_or_default();
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
            self.shared.skipped.confirm();
        }
    }

    fn filled(&self) -> Arc<Notify> {
        self.shared.outbox.filled()
    }
}

/// Reads about a page of lines from the segments. Parts that are known to be unreadable are skipped: they were reported when they were
/// found, and the next start reads them again.
fn read(shared: &Shared, after: Place, until: Place) -> Result<OutboxPage, Error> {
    let mut page = Vec::new();
    // The place behind the last line, and the mark of its segment.
    let mut end = None;
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
        let mut place = Place { segment: number, at: limit.max(from) };
        if from < limit {
            let take = |_, _, lines: &[u8]| {
                page.extend_from_slice(lines);
                if page.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let reach = Reach::Zeros(limit.into());
            let found =
                scan::scan_from(&source.file, (number, source.mark), from.into(), reach, take).map_err(failed)?;
            if let Some(end) = found.not_given.filter(|end| !shared.segments.is_known_unreadable(number, end - 1)) {
                return Err(failed(not_returned(shared, number, from.into()..end)));
            }
            if found.not_given.is_some() {
                let part = |it: &Stretch| {
                    let place = Place { segment: number, at: u32::try_from(it.start).ok()? };
                    Some(Part { place, end: u32::try_from(it.end).ok()?, mark: source.mark })
                };
                shared.skipped.add(found.damage.iter().filter_map(part)).map_err(failed)?;
            }
            shared.failed_outbox_reads.store(0, Ordering::Relaxed);
            if page.len() >= PAGE {
                place.at = limit.min(found.end as u32);
            }
        }
        end = Some((place, source.mark));
    }
    let more = end.map_or(after, |(place, _)| place) < until || shared.outbox.end() > until;
    // If there is no segment to read, the journal already had these lines.
    let (place, mark) = end.unwrap_or_else(|| (until, shared.segments.mark(until.segment).unwrap_or_default()));
    Ok(OutboxPage { lines: page, position: position(place, mark), more })
}

/// Reads again what an earlier process skipped, for a journal that has everything else before `after`. Returns the lines, or `None` if
/// there are none.
fn read_skipped(shared: &Shared, after: Option<Place>) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::Io { what: "reading the list of skipped parts".into(), source };
    shared.skipped.forget_written().map_err(failed)?;
    while let Some(part) = shared.skipped.next() {
        let Place { segment, at } = part.place;
        let is_there = shared.segments.mark(segment) == Some(part.mark);
        // What lies behind the journal's position is read in its turn.
        if !is_there || after.is_none_or(|after| after <= part.place) {
            shared.skipped.forget(part).map_err(failed)?;
            continue;
        }
        let mut lines = Vec::new();
        let take = |frame_at: u64, _, new: &[u8]| {
            if (at.into()..part.end.into()).contains(&frame_at) {
                lines.extend_from_slice(new);
            }
            ControlFlow::Continue(())
        };
        let limit = shared.segments.data_end(segment).unwrap_or(part.end);
        let read = shared.segments.source(segment).and_then(|source| {
            let Some(source) = source else { return Ok(None) };
            let reach = Reach::Zeros(limit.into());
            scan::scan_from(&source.file, (segment, source.mark), SEGMENT_HEAD as u64, reach, take).map(Some)
        });
        match read {
            Ok(Some(found)) if found.not_given.is_none_or(|end| end <= at.into()) => {
                let events = memchr::memchr_iter(b'\n', &lines).count();
                tracing::info!(
                    "the disk returns octets {at} to {} of segment {segment:08x} again: {events} events",
                    part.end
                );
                if lines.is_empty() {
                    shared.skipped.forget(part).map_err(failed)?;
                    continue;
                }
                shared.skipped.give(part);
                return Ok(Some(lines));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "segment {segment:08x} cannot be read"),
        }
    }
    Ok(None)
}

/// Counts a read in which the disk did not return all lines of a segment. After the last try, records the part as unreadable, so that the
/// next read skips it.
fn not_returned(shared: &Shared, segment: u32, part: Range<u64>) -> io::Error {
    if shared.failed_outbox_reads.fetch_add(1, Ordering::Relaxed) + 1 >= TRIES {
        shared.failed_outbox_reads.store(0, Ordering::Relaxed);
        shared.segments.note_damage(segment, part.clone());
        let is_known = shared.segments.mark(segment).is_some_and(|mark| shared.skipped.is_known(segment, mark));
        if !is_known {
            shared.segments.await_start(segment);
        }
        let why = format!(
            "the disk does not return octets {} to {} of segment {segment:08x}, so events in them are missing from the event log. The \
             next start reads them again",
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
