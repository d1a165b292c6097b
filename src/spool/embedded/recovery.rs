//! What happens at the start: the segments found are read in order, footers where there are any, and the index is built.
//!
//! Segments that were not sealed are scanned; what cannot be read is set aside; then they are sealed, so that the next start
//! is quick. Nothing found is ever written to, but for the footer behind its end.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::blank;
use super::dir::Dir;
use super::footer::{self, DOUBTFUL, Note};
use super::frame::{self, FORMAT, HEAD, Head, Kind, SEGMENT_HEAD, TRAILER};
use super::index::{Index, Place, Put};
use super::quarantine::{self, Stretch};
use super::scan::{self, Reach, Scan};
use super::segment::{FoundSegment, Segments};
use super::settings::Settings;
use super::shared::tell;
use super::{Notice, OpenError, is_bad_block, writing};
use crate::message::QueueId;
use crate::time::Timestamp;

/// What a start found.
pub(super) struct Recovered {
    pub index: Index,
    pub segments: Segments,
    pub next_segment: u32,
    /// The greatest id that stands anywhere in the log.
    pub greatest: QueueId,
    /// Messages to be held, since a result of theirs cannot be read and no later one says the same.
    pub doubtful: Vec<QueueId>,
}

struct Found {
    number: u32,
    mark: u64,
    file: File,
    len: u64,
    /// `None` where its head is damaged or was never written.
    format: Option<u32>,
}

/// Reads the spool in `dir`.
pub(super) fn recover(settings: &Settings, dir: &Dir) -> Result<Recovered, OpenError> {
    let failed = |what: &str, source| OpenError::Io { what: format!("{what} {}", dir.path.display()), source };
    let found = find(&dir.path).map_err(|source| failed("reading", source))?;
    refuse_other_format(&found, &dir.path)?;
    blank::remove_left(&dir.path).map_err(|source| failed("reading", source))?;
    let mut voids: HashMap<u32, u64> = HashMap::new();
    for segment in &found {
        let declared = scan::voids(&segment.file, segment.mark).map_err(|source| failed("reading", source))?;
        for Place { segment, at } in declared {
            voids.entry(segment).and_modify(|least| *least = (*least).min(at.into())).or_insert(at.into());
        }
    }
    let mut start = Start {
        recovered: Recovered {
            index: Index::default(),
            segments: Segments::new(&dir.path),
            next_segment: found.last().map_or(1, |last| last.number + 1),
            greatest: QueueId::from_u64(0),
            doubtful: Vec::new(),
        },
        clean: false,
        done_after_damage: HashSet::new(),
        watch: false,
    };
    let mut scans = Vec::new();
    let mut damage = Vec::new();
    for (i, segment) in found.iter().enumerate() {
        let void = voids.get(&segment.number).copied();
        let is_last = found[i + 1..].iter().all(Found::is_empty);
        let mut scanned = start.read(segment, void).map_err(|source| failed("reading a segment in", source))?;
        if let Some(scan) = &mut scanned {
            start.watch |= !scan.damage.is_empty();
            // What the disk does not give says nothing of whether it was ever written.
            let may_be_torn = is_last && void.is_none() && scan.not_given.is_none();
            let torn_from = if may_be_torn { scan.last_batch } else { u64::MAX };
            let found = std::mem::take(&mut scan.damage).into_iter();
            damage.extend(found.map(|stretch| (i, stretch.start >= torn_from, stretch)));
            // A result whose write the crash cut short is one that was not recorded: the attempt is made again.
            scan.doubtful.retain(|(at, _)| *at < torn_from);
            start.recovered.doubtful.extend(scan.doubtful.iter().map(|(_, id)| id));
        }
        scans.push(scanned);
    }
    let mut unreadable = vec![Vec::new(); found.len()];
    let mut news = vec![false; found.len()];
    for (i, torn, stretch) in damage {
        let torn = quarantine::was_torn(&dir.path, &stretch).unwrap_or(torn);
        if !torn {
            unreadable[i].push(stretch.start..stretch.end);
        }
        news[i] |= start
            .set_aside(settings, dir, &found[i], torn, stretch)
            .map_err(|source| failed("setting aside in", source))?;
    }
    let set_aside = quarantine::names(&dir.path).map_err(|source| failed("reading the quarantine in", source))?;
    // Only now: a start that breaks off before finds the damage again.
    for (((segment, scan), mut damaged), news) in found.iter().zip(scans).zip(unreadable).zip(news) {
        let awaits_start = news && scan.as_ref().is_some_and(|scan| scan.not_given.is_some());
        if awaits_start {
            tell_of_not_given(settings, segment);
        }
        let void = voids.contains_key(&segment.number);
        let sealed = scan.map_or(Some(segment.len), |scan| close(segment, scan, void));
        let sound = !void && sealed.is_some() && segment.format.is_some();
        let disk_len = sealed.unwrap_or(segment.len);
        damaged.extend(quarantine::damaged_in(&set_aside, segment.number, segment.mark));
        let known = FoundSegment { mark: segment.mark, disk_len, sound, damaged, awaits_start };
        start.recovered.segments.found(segment.number, known);
    }
    if start.clean {
        start.recovered.index.nothing_was_in_flight(Timestamp::now());
    }
    Ok(start.recovered)
}

/// All segments, oldest first.
fn find(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Some((number, mark)) = entry.file_name().to_str().and_then(frame::parse_file_name) else { continue };
        let file = OpenOptions::new().read(true).write(true).open(entry.path())?;
        let len = file.metadata()?.len();
        let mut head = [0; SEGMENT_HEAD];
        // Too short or damaged: the scan says what is left of it.
        let format = file.read_exact_at(&mut head, 0).ok().and_then(|()| frame::segment_format(&head));
        found.push(Found { number, mark, file, len, format });
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found)
}

fn refuse_other_format(found: &[Found], dir: &Path) -> Result<(), OpenError> {
    match found.iter().filter_map(|segment| segment.format).find(|format| *format != FORMAT) {
        Some(other) => Err(OpenError::OtherFormat { path: dir.display().to_string(), found: other, known: FORMAT }),
        None => Ok(()),
    }
}

impl Found {
    /// Made beforehand and never written to.
    fn is_empty(&self) -> bool {
        let mut first = [0; HEAD];
        let at = SEGMENT_HEAD as u64;
        self.len <= at || self.file.read_exact_at(&mut first, at).is_ok_and(|()| first == [0; HEAD])
    }

    /// The notes in the footer, if the segment was sealed and its footer is sound.
    fn footer(&self) -> io::Result<Option<Vec<u8>>> {
        match self.read_footer() {
            Err(error) if is_bad_block(&error) => {
                tracing::warn!(segment = self.number, %error, "a segment's index cannot be read: reading the whole segment");
                Ok(None)
            }
            read => read,
        }
    }

    fn read_footer(&self) -> io::Result<Option<Vec<u8>>> {
        let Some(trailer_at) = self.len.checked_sub(TRAILER as u64) else { return Ok(None) };
        let mut trailer = [0; TRAILER];
        self.file.read_exact_at(&mut trailer, trailer_at)?;
        let Some(at) = frame::footer_at(&trailer, self.mark) else { return Ok(None) };
        let Some(len) = trailer_at.checked_sub(at) else { return Ok(None) };
        let mut footer = vec![0; usize::try_from(len).unwrap_or(0)];
        self.file.read_exact_at(&mut footer, at)?;
        let head = Head::decode(&footer, self.mark).filter(|head| head.kind == Kind::Footer);
        let sound = head.is_some_and(|head| head.fits(&footer[HEAD..]));
        if !sound {
            tracing::warn!(segment = self.number, "a segment's index is damaged: reading the whole segment instead");
            return Ok(None);
        }
        footer.drain(..HEAD);
        Ok(Some(footer))
    }
}

struct Start {
    recovered: Recovered,
    /// The last note says that the program stopped in good order.
    clean: bool,
    /// Something damaged was found: settlements from then on say whether it still matters.
    watch: bool,
    done_after_damage: HashSet<QueueId>,
}

impl Start {
    /// Takes one segment's notes, from its footer or by a scan.
    fn read(&mut self, segment: &Found, void: Option<u64>) -> io::Result<Option<Scan>> {
        if void.is_none()
            && let Some(notes) = segment.footer()?
        {
            let read = footer::read(&notes, |note| self.note(segment.number, note));
            if read.is_ok() {
                return Ok(None);
            }
            tracing::warn!(segment = segment.number, "a segment's index does not decode: reading the whole segment");
        }
        let mut trailer = [0; TRAILER];
        let trailer_at = segment.len.saturating_sub(TRAILER as u64);
        let sealed_at = match segment.file.read_exact_at(&mut trailer, trailer_at) {
            Ok(()) => frame::footer_at(&trailer, segment.mark),
            Err(_) => None,
        };
        let reach = match (void, sealed_at) {
            (None, None) => Reach::LastBatch(segment.len),
            _ => Reach::Zeros(segment.len.min(void.unwrap_or(u64::MAX)).min(sealed_at.unwrap_or(u64::MAX))),
        };
        self.watch = true;
        scan::scan(&segment.file, segment.number, segment.mark, reach, |note| self.note(segment.number, note)).map(Some)
    }

    fn note(&mut self, segment: u32, note: Note) {
        self.recovered.greatest = self.recovered.greatest.max(note.id().unwrap_or(QueueId::from_u64(0)));
        self.clean = note == Note::Clean;
        if let Some(id) = note.id().filter(|_| note.ends_doubt()) {
            self.recovered.doubtful.retain(|doubtful| *doubtful != id);
        }
        let index = &mut self.recovered.index;
        match note {
            Note::Put { id, at, disk_len, lane, domains, status } => {
                let lane = index.intern(&lane);
                index.put(Put { id, place: Place { segment, at }, disk_len, lane, domains, status }, None);
            }
            Note::State { id, at, status } => index.recover_state(id, &status, Place { segment, at }),
            Note::Due { id, next } => index.set_next_try(id, next),
            Note::Hold { id, reason } => index.hold(id, &reason),
            Note::Release { id, next } => index.release(id, next),
            Note::Done { id } => {
                index.remove(id);
                if self.watch {
                    self.done_after_damage.insert(id);
                }
            }
            Note::Clean => {}
        }
    }

    /// Copies a damaged stretch to the quarantine, unless all its messages were settled since. Gives whether that is news.
    fn set_aside(
        &mut self,
        settings: &Settings,
        dir: &Dir,
        segment: &Found,
        torn: bool,
        stretch: Stretch,
    ) -> io::Result<bool> {
        let gone = |id: &QueueId| self.done_after_damage.contains(id);
        if !stretch.ids.is_empty() && stretch.ids.iter().all(gone) {
            return Ok(false);
        }
        let Some(file) = quarantine::set_aside(dir, &segment.file, &stretch, torn)? else { return Ok(false) };
        let Stretch { ids, why, .. } = stretch;
        if torn {
            tell(settings, Notice::Torn { file, why });
            return Ok(true);
        }
        let ids = if ids.is_empty() { vec![None] } else { ids.into_iter().map(Some).collect() };
        for id in ids {
            settings.counters.quarantined.inc();
            tell(settings, Notice::Quarantined { id, file: file.clone(), why: why.clone() });
        }
        Ok(true)
    }
}

fn tell_of_not_given(settings: &Settings, segment: &Found) {
    let name = frame::file_name(segment.number, segment.mark);
    let why = format!(
        "the disk did not give all of {name}. The next start reads it again: restart once the disk is sound, and the mail that it \
         gives then is delivered. Until then no space is given back from that file on, but where the disk runs full"
    );
    tell(settings, Notice::Unreadable { why });
}

/// Writes the footer behind what was scanned, and that results are in doubt. Not where a sync failed: that file is never written
/// to again; nor where the disk did not give something: it may do so at the next start, and
/// that will look for it. Returns the length where it is closed.
fn close(segment: &Found, mut scan: Scan, void: bool) -> Option<u64> {
    if void || scan.not_given.is_some() {
        return None;
    }
    for (_, id) in scan.doubtful {
        scan.footer.push(&Note::Hold { id, reason: DOUBTFUL.into() });
    }
    writing::seal(&segment.file, segment.mark, scan.end, &scan.footer)
        .inspect_err(|error| {
            tracing::warn!(%error, segment = segment.number, "a segment cannot be closed; the next start scans it again");
        })
        .ok()
}
