//! Recovery at the start: reads the segments in order, from their footers if possible, and builds the index.
//!
//! Segments that were not sealed are scanned. Unreadable parts are set aside. Then these segments are sealed, so that the next start is
//! quick. Existing data is never overwritten; only a footer is written behind the end.
//!
//! A part that the disk does not return for the first time counts as unknown, and not as absent: the next start reads it again, and mail
//! whose result may be in it is held until then ([`hidden`](super::hidden)). Mail in it is lost only if that start does not find it either
//! ([`lost`](super::lost)).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{DirEntry, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::dir::Dir;
use super::footer;
use super::frame::{self, FORMAT, HEAD, Head, Kind, SEGMENT_HEAD, TRAILER};
use super::hidden::Hidden;
use super::lost::{self, Fate};
use super::note::{DOUBTFUL, Note, RETURNED};
use super::quarantine::{self, Stretch};
use super::scan::{self, Reach, Scan};
use super::segments::{FoundSegment, Segments};
use super::settings::Settings;
use super::{OpenError, is_bad_block, pool, writing};
use crate::files;
use crate::message::QueueId;
use crate::spool::Notice;
use crate::spool::index::{Index, Place, Summary};
use crate::time::Timestamp;

/// The result of recovery.
pub(super) struct Recovered {
    pub index: Index,
    pub segments: Segments,
    pub next_segment: u32,
    /// The end of the log, and the mark of its segment.
    pub end: (Place, u64),
    /// The greatest id in the log.
    pub greatest: QueueId,
    /// Messages to be held, because one of their results cannot be read and no later result replaces it.
    pub doubtful: Vec<QueueId>,
    /// Messages to be held, because an earlier start counted them as lost, and the disk returns them now.
    pub returned: Vec<QueueId>,
}

/// Reads the spool in `dir`.
pub(super) fn recover(settings: &Settings, dir: &Dir) -> Result<Recovered, OpenError> {
    let failed = |what: &str, source| OpenError::Io { what: format!("{what} {}", dir.path.display()), source };
    let found = find(&dir.path).map_err(|source| failed("reading", source))?;
    refuse_other_format(found.iter().filter_map(|segment| segment.format), &dir.path)?;
    pool::remove_left(&dir.path).map_err(|source| failed("reading", source))?;
    let voids = find_voids(&found).map_err(|source| failed("reading", source))?;
    let mut start = Start::new(&dir.path, found.last().map_or(1, |last| last.number + 1));
    let (scans, damage) = start.read_all(&found, &voids).map_err(|source| failed("reading a segment in", source))?;
    let set_aside =
        start.set_aside_all(settings, dir, &found, damage).map_err(|source| failed("setting aside in", source))?;
    start.settle_list(settings, &dir.path, &set_aside).map_err(|source| failed("setting aside in", source))?;
    let names = quarantine::names(&dir.path).map_err(|source| failed("reading the quarantine in", source))?;
    // Record the damage only now, so that a start that fails earlier finds it again.
    for ((segment, scan), SetAside { mut damaged, is_news, .. }) in found.iter().zip(scans).zip(set_aside) {
        let awaits_start = is_news && scan.as_ref().is_some_and(|scan| scan.not_given.is_some());
        if awaits_start {
            let held = start.hidden.hold(&mut start.recovered.index, segment.number);
            tell_of_read_error(settings, segment, held);
        }
        // A segment that a hidden frame declares void must not be written either.
        let is_void = voids.offsets.contains_key(&segment.number) || voids.are_hidden;
        let data_end = scan.as_ref().map(|scan| scan.end).or(segment.sealed_at()).unwrap_or(segment.len) as u32;
        start.recovered.end = (Place { segment: segment.number, at: data_end }, segment.mark);
        let sealed = scan.map_or(Some(segment.len), |scan| seal(segment, scan, is_void));
        let sound = !is_void && sealed.is_some() && segment.format.is_some();
        damaged.extend(quarantine::damaged_in(&names, segment.number, segment.mark));
        let disk_len = sealed.unwrap_or(segment.len);
        let known = FoundSegment { mark: segment.mark, disk_len, data_end, sound, damaged, awaits_start };
        start.recovered.segments.found(segment.number, known);
    }
    Ok(start.finish())
}

/// A segment file that was found.
struct SegmentFile {
    number: u32,
    mark: u64,
    file: File,
    len: u64,
    /// `None` if the segment's head is damaged or was never written.
    format: Option<u32>,
}

/// Finds all segments, oldest first.
fn find(dir: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Some((number, mark)) = entry.file_name().to_str().and_then(frame::parse_file_name) else { continue };
        let file = OpenOptions::new().read(true).write(true).open(entry.path())?;
        let (len, format) = (file.metadata()?.len(), format_of(&file));
        found.push(SegmentFile { number, mark, file, len, format });
    }
    found.sort_by_key(|segment| segment.number);
    Ok(found)
}

/// Returns the format that a segment names, or `None` if it is too short or damaged. The scan finds what is left of such a file.
fn format_of(file: &File) -> Option<u32> {
    let mut head = [0; SEGMENT_HEAD];
    file.read_exact_at(&mut head, 0).ok()?;
    frame::segment_format(&head)
}

fn refuse_other_format(formats: impl IntoIterator<Item = u32>, dir: &Path) -> Result<(), OpenError> {
    match formats.into_iter().find(|format| *format != FORMAT) {
        Some(other) => Err(OpenError::OtherFormat { path: dir.display().to_string(), found: other, known: FORMAT }),
        None => Ok(()),
    }
}

/// Refuses a spool in another format, and only reads. Whatever else is wrong in the folder, a start says it.
pub(super) fn check_format(dir: &Path) -> Result<(), OpenError> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_segment = |entry: &DirEntry| entry.file_name().to_str().and_then(frame::parse_file_name).is_some();
    let segments = entries.filter(is_segment).filter_map(|entry| files::open_to_read(&entry.path()).ok());
    refuse_other_format(segments.filter_map(|file| format_of(&file)), dir)
}

/// Which segments are partly void, as later ones declare.
#[derive(Default)]
struct Voids {
    /// For each of these segments, the offset up to which it counts.
    offsets: HashMap<u32, u64>,
    /// True if the disk did not return the beginning of a segment, where there may be further declarations.
    are_hidden: bool,
}

fn find_voids(found: &[SegmentFile]) -> io::Result<Voids> {
    let mut all = Voids::default();
    for segment in found {
        let (voids, are_hidden) = scan::voids(&segment.file, segment.mark)?;
        all.are_hidden |= are_hidden;
        for Place { segment, at } in voids {
            all.offsets.entry(segment).and_modify(|least| *least = (*least).min(at.into())).or_insert(at.into());
        }
    }
    Ok(all)
}

impl SegmentFile {
    /// Returns true if the segment was made in advance and never written.
    fn is_empty(&self) -> bool {
        let mut first = [0; HEAD];
        let at = SEGMENT_HEAD as u64;
        self.len <= at || self.file.read_exact_at(&mut first, at).is_ok_and(|()| first == [0; HEAD])
    }

    /// Returns the notes in the footer, if the segment was sealed and its footer is intact.
    fn footer(&self) -> io::Result<Option<Vec<u8>>> {
        match self.read_footer() {
            Err(error) if is_bad_block(&error) => {
                tracing::warn!(segment = self.number, %error, "a segment's footer cannot be read: reading the whole segment");
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
            tracing::warn!(segment = self.number, "a segment's footer is damaged: reading the whole segment instead");
            return Ok(None);
        }
        footer.drain(..HEAD);
        Ok(Some(footer))
    }

    /// Returns the offset of the footer, if the trailer names one.
    fn sealed_at(&self) -> Option<u64> {
        let mut trailer = [0; TRAILER];
        let trailer_at = self.len.saturating_sub(TRAILER as u64);
        self.file.read_exact_at(&mut trailer, trailer_at).ok()?;
        frame::footer_at(&trailer, self.mark)
    }

    /// Returns how far the segment must be scanned.
    fn reach(&self, void: Option<u64>) -> Reach {
        match (void, self.sealed_at()) {
            (None, None) => Reach::LastBatch(self.len),
            (_, sealed_at) => Reach::Zeros(self.len.min(void.unwrap_or(u64::MAX)).min(sealed_at.unwrap_or(u64::MAX))),
        }
    }
}

/// A damaged stretch that a scan found.
struct Damage {
    /// The index of its segment.
    segment: usize,
    /// True if it belongs to a write that was never acknowledged.
    torn: bool,
    /// True if the disk did not return all of its segment, so that nobody knows what was in it.
    hidden: bool,
    stretch: Stretch,
}

/// The damaged stretches of a segment after they were set aside.
#[derive(Default)]
struct SetAside {
    /// The stretches that are not torn writes.
    damaged: Vec<Range<u64>>,
    /// True if a stretch was set aside that was not before.
    is_news: bool,
    /// The messages that the next start may find.
    unread: Vec<QueueId>,
}

/// The state of recovery.
struct Start {
    recovered: Recovered,
    /// True if the last note says that the program stopped cleanly.
    clean: bool,
    /// True once a segment was scanned. From then on, later results decide whether damage still matters.
    watch: bool,
    done_after_damage: HashSet<QueueId>,
    /// Messages that occur in notes, but are not in the log.
    missing: BTreeSet<QueueId>,
    /// Messages whose results may be in what the disk did not return.
    hidden: Hidden,
    /// Messages that an earlier start held because the disk returned them. They may have been released since.
    were_returned: HashSet<QueueId>,
}

impl Start {
    fn new(dir: &Path, next_segment: u32) -> Start {
        let recovered = Recovered {
            index: Index::default(),
            segments: Segments::new(dir),
            next_segment,
            end: (Place::default(), 0),
            greatest: QueueId::from_u64(0),
            doubtful: Vec::new(),
            returned: Vec::new(),
        };
        Start {
            recovered,
            clean: false,
            watch: false,
            done_after_damage: HashSet::new(),
            missing: BTreeSet::new(),
            hidden: Hidden::default(),
            were_returned: HashSet::new(),
        }
    }

    /// Reads all segments in order. Returns the scans of those that were scanned, and all damage.
    fn read_all(&mut self, found: &[SegmentFile], voids: &Voids) -> io::Result<(Vec<Option<Scan>>, Vec<Damage>)> {
        let (mut scans, mut damage) = (Vec::new(), Vec::new());
        for (i, segment) in found.iter().enumerate() {
            let void = voids.offsets.get(&segment.number).copied();
            let is_last = found[i + 1..].iter().all(SegmentFile::is_empty);
            let mut scanned = self.read(segment, void)?;
            if let Some(scan) = &mut scanned {
                // If the disk did not return some octets, nobody knows whether they were ever written.
                let may_be_torn = is_last && void.is_none() && scan.not_given.is_none();
                let torn_from = if may_be_torn { scan.synced } else { u64::MAX };
                let stretches = std::mem::take(&mut scan.damage).into_iter();
                damage.extend(stretches.map(|stretch| Damage {
                    segment: i,
                    torn: stretch.start >= torn_from,
                    hidden: scan.not_given.is_some(),
                    stretch,
                }));
                // A result whose write was interrupted counts as not recorded, so the attempt is made again. Only waiting messages can be
                // in doubt.
                let index = &self.recovered.index;
                scan.doubtful.retain(|(at, id)| *at < torn_from && index.get(*id).is_some());
                self.recovered.doubtful.extend(scan.doubtful.iter().map(|(_, id)| id));
                if let Some(end) = scan.not_given {
                    let end = Place { segment: segment.number, at: u32::try_from(end).unwrap_or(u32::MAX) };
                    self.hidden.add(&self.recovered.index, end);
                }
            }
            scans.push(scanned);
        }
        self.name_missing(&mut damage);
        Ok((scans, damage))
    }

    /// Assigns messages that occur in notes but are not in the log to a damaged stretch, because they must have been in one: preferably in
    /// one that the next start may read, and in one whose messages are unknown.
    fn name_missing(&self, damage: &mut [Damage]) {
        let named: HashSet<QueueId> = damage.iter().flat_map(|damage| damage.stretch.ids.iter().copied()).collect();
        let missing = self.missing.iter().filter(|id| !named.contains(id));
        let likely = |damage: &&mut Damage| (!damage.torn, damage.hidden, damage.stretch.ids.is_empty());
        if let Some(damage) = damage.iter_mut().rev().max_by_key(likely) {
            damage.stretch.ids.extend(missing);
        }
    }

    /// Reads the notes of one segment from its footer, or by a scan.
    fn read(&mut self, segment: &SegmentFile, void: Option<u64>) -> io::Result<Option<Scan>> {
        if void.is_none()
            && let Some(notes) = segment.footer()?
        {
            let read = footer::read(&notes, |note| self.note(segment.number, note));
            if read.is_ok() {
                return Ok(None);
            }
            tracing::warn!(segment = segment.number, "a segment's footer does not decode: reading the whole segment");
        }
        self.watch = true;
        let reach = segment.reach(void);
        scan::scan(&segment.file, segment.number, segment.mark, reach, |note| self.note(segment.number, note)).map(Some)
    }

    fn note(&mut self, segment: u32, note: Note) {
        self.recovered.greatest = self.recovered.greatest.max(note.id().unwrap_or(self.recovered.greatest));
        self.clean = note == Note::Clean;
        self.hidden.note(&note);
        if let Some(id) = note.id().filter(|_| note.ends_doubt()) {
            self.recovered.doubtful.retain(|doubtful| *doubtful != id);
        }
        let index = &mut self.recovered.index;
        match note {
            Note::Put { id, at, disk_len, lane, domains, status } => {
                self.missing.remove(&id);
                if status.hold.as_deref() == Some(RETURNED) {
                    self.were_returned.insert(id);
                }
                index.put(&Summary { id, lane, domains, status, disk_len }, Place { segment, at }, None);
            }
            Note::Done { id } => {
                self.missing.remove(&id);
                index.remove(id);
                if self.watch {
                    self.done_after_damage.insert(id);
                }
            }
            Note::State { id, .. } | Note::Due { id, .. } | Note::Hold { id, .. } | Note::Release { id, .. }
                if index.get(id).is_none() =>
            {
                self.missing.insert(id);
            }
            Note::State { id, at, status } => index.recover_state(id, &status, Place { segment, at }),
            Note::Due { id, next } => index.set_next_try(id, next),
            Note::Hold { id, reason } => {
                if *reason == *RETURNED {
                    self.were_returned.insert(id);
                }
                index.hold(id, &reason);
            }
            Note::Release { id, next } => index.release(id, next),
            Note::Clean => {}
        }
    }

    /// Copies all damaged stretches to the quarantine. Returns the result for each segment.
    fn set_aside_all(
        &self,
        settings: &Settings,
        dir: &Dir,
        found: &[SegmentFile],
        damage: Vec<Damage>,
    ) -> io::Result<Vec<SetAside>> {
        let mut all: Vec<SetAside> = found.iter().map(|_| SetAside::default()).collect();
        for mut damage in damage {
            let (at, stretch) = (damage.segment, &damage.stretch);
            damage.torn = quarantine::was_torn(&dir.path, stretch)?.unwrap_or(damage.torn);
            if !damage.torn {
                all[at].damaged.push(stretch.start..stretch.end);
            }
            if let Some(unread) = self.set_aside(settings, dir, &found[at], damage)? {
                all[at].is_news = true;
                all[at].unread.extend(unread);
            }
        }
        Ok(all)
    }

    /// Copies a damaged stretch to the quarantine, unless all its messages were settled later or are elsewhere. What the disk did not
    /// return may have had more than the messages that are known. Returns `None` if the stretch was set aside before, and otherwise the
    /// messages that the next start may find in it.
    fn set_aside(
        &self,
        settings: &Settings,
        dir: &Dir,
        segment: &SegmentFile,
        damage: Damage,
    ) -> io::Result<Option<Vec<QueueId>>> {
        let Damage { torn, hidden, stretch, .. } = damage;
        // The last write of a crash may be a result, whose message is in the log.
        let is_elsewhere = |id| if torn { self.done_after_damage.contains(&id) } else { self.has(id) };
        let missing: Vec<QueueId> = stretch.ids.iter().copied().filter(|id| !is_elsewhere(*id)).collect();
        if missing.is_empty() && !stretch.ids.is_empty() && !hidden {
            return Ok(None);
        }
        let fate = if hidden { Fate::Unread } else { Fate::Lost };
        let copied = quarantine::set_aside(dir, &segment.file, &stretch, (fate, &missing), torn)?;
        let (Some(file), why) = (copied, stretch.why) else { return Ok(None) };
        if torn {
            settings.notices.tell(Notice::Torn { file, why });
            return Ok(Some(Vec::new()));
        }
        settings.counters.quarantined.inc_by(missing.len().max(1) as u64);
        match fate {
            Fate::Unread => {
                let why = format!("{why}: the next start reads it again");
                missing.iter().for_each(|id| settings.notices.tell(Notice::Unread { id: *id, why: why.clone() }));
                Ok(Some(missing))
            }
            _ if missing.is_empty() => {
                settings.notices.tell(Notice::Quarantined { id: None, file, why });
                Ok(Some(missing))
            }
            _ => {
                tell_of_lost(settings, &file, &missing, &why);
                Ok(Some(Vec::new()))
            }
        }
    }

    /// Returns true if the log has a whole copy of a message, or its end.
    fn has(&self, id: QueueId) -> bool {
        self.done_after_damage.contains(&id) || self.recovered.index.get(id).is_some()
    }

    /// Decides about the messages that an earlier start did not find: the log has them now, they are unread at this start too, or they are
    /// lost. A message that was told as lost and comes back is held, because it may have been sent again.
    fn settle_list(&mut self, settings: &Settings, spool: &Path, set_aside: &[SetAside]) -> io::Result<()> {
        let listed = lost::listed(spool)?;
        let unread: HashSet<QueueId> = set_aside.iter().flat_map(|segment| segment.unread.iter().copied()).collect();
        let mut fates: BTreeMap<(String, bool), (Vec<QueueId>, String)> = BTreeMap::new();
        for (id, (name, why)) in listed.unread.into_iter().filter(|(id, _)| !unread.contains(id)) {
            fates.entry((name, self.has(id))).or_insert((Vec::new(), why)).0.push(id);
        }
        for (id, (name, why)) in listed.lost {
            if self.recovered.index.get(id).is_none() {
                continue;
            }
            if self.were_returned.contains(&id) {
                fates.entry((name, true)).or_insert((Vec::new(), why)).0.push(id);
            } else {
                self.recovered.returned.push(id);
            }
        }
        for ((name, is_returned), (ids, why)) in fates {
            let fate = if is_returned { Fate::Returned } else { Fate::Lost };
            lost::list(spool, &name, (fate, &ids), &why)?;
            if !is_returned {
                tell_of_lost(settings, &lost::folder(spool).join(&name), &ids, &why);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Recovered {
        if self.clean {
            self.recovered.index.nothing_was_in_flight(Timestamp::now());
        }
        self.recovered
    }
}

fn tell_of_lost(settings: &Settings, file: &Path, ids: &[QueueId], why: &str) {
    for id in ids {
        settings.notices.tell(Notice::Quarantined { id: Some(*id), file: file.to_owned(), why: why.to_owned() });
    }
}

fn tell_of_read_error(settings: &Settings, segment: &SegmentFile, held: usize) {
    let name = frame::file_name(segment.number, segment.mark);
    let held = match held {
        0 => String::new(),
        held => {
            format!(". {held} messages whose results may be in it are held until then, so that nobody gets them twice")
        }
    };
    let why = format!(
        "the disk did not return all of {name}. The next start reads it again: restart once the disk is sound, and the mail that it \
         returns then is delivered{held}. Until then no space is given back from that file on, unless the disk runs full"
    );
    settings.notices.tell(Notice::Unreadable { why });
}

/// Writes a footer behind the scanned data, including the doubtful results. Returns the length if the segment is sealed now. It is not
/// sealed if a sync failed in it, because such a file is never written again, nor if the disk did not return some octets, because the next
/// start scans it again.
fn seal(segment: &SegmentFile, mut scan: Scan, is_void: bool) -> Option<u64> {
    if is_void || scan.not_given.is_some() {
        return None;
    }
    for (_, id) in scan.doubtful {
        scan.footer.push(&Note::Hold { id, reason: DOUBTFUL.into() });
    }
    writing::seal(&segment.file, segment.mark, scan.end, &scan.footer)
        .inspect_err(|error| {
            tracing::warn!(%error, segment = segment.number, "a segment cannot be sealed; the next start scans it again");
        })
        .ok()
}

#[cfg(test)]
mod tests;
