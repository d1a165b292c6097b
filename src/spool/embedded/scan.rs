//! Scans a segment frame by frame, if it was not sealed before a crash or its footer is damaged.
//!
//! A frame that does not match its checksums begins a damaged stretch, and the scan continues at the next mark. Lengths in damaged frames
//! are not trusted, and the scan does not end while an intact frame follows. A message counts only if all its chunks are there.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;

use super::footer::{self, Footer};
use super::frame::{Batch, HEAD, Head, Kind, SEGMENT_HEAD};
use super::is_bad_block;
use super::note::Note;
use super::quarantine::Stretch;
use crate::message::QueueId;
use crate::spool::codec::{self, Meta, Reader};
use crate::spool::index::Place;

/// The octets that are read at once in the search for the next mark.
const WINDOW: usize = 256 << 10;

/// The result of a scan.
#[derive(Default)]
pub(super) struct Scan {
    /// The stretches that cannot be read.
    pub damage: Vec<Stretch>,
    /// Messages with an unreadable result that no later one replaces, each with the offset of the damage.
    pub doubtful: Vec<(u64, QueueId)>,
    /// From this offset on, damage may belong to a write that was never acknowledged.
    pub synced: u64,
    /// The end of the last batch, as its frame says.
    batch_end: u64,
    /// The end of the written data, before the footer.
    pub end: u64,
    /// The offset behind the last octet that the disk did not return, if any. The disk may return it another time.
    pub not_given: Option<u64>,
    /// All notes that were passed on.
    pub footer: Footer,
}

/// How far a segment may have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Up to this offset. Octets that were not written are zeros.
    Zeros(u64),
    /// Up to the end of the last batch and the changes behind it, before this offset. Octets behind that are older than the segment.
    LastBatch(u64),
}

/// Scans a segment, and passes on each note in order.
pub(super) fn scan(file: &File, number: u32, mark: u64, reach: Reach, mut each: impl FnMut(Note)) -> io::Result<Scan> {
    let pass_on = |_, note, _: &[u8]| {
        each(note);
        ControlFlow::Continue(())
    };
    scan_from(file, (number, mark), SEGMENT_HEAD as u64, reach, pass_on)
}

/// Scans a segment from the frame at `from`, and passes on each note with the offset of its frame and its lines for the outbox, until
/// `each` stops the scan. The scan then ends behind that note.
pub(super) fn scan_from(
    file: &File,
    (number, mark): (u32, u64),
    from: u64,
    reach: Reach,
    each: impl FnMut(u64, Note, &[u8]) -> ControlFlow<()>,
) -> io::Result<Scan> {
    let (Reach::Zeros(limit) | Reach::LastBatch(limit)) = reach;
    let found = Scan { synced: SEGMENT_HEAD as u64, ..Scan::default() };
    let mut scanner = Scanner {
        file,
        mark,
        number,
        reach,
        limit,
        found,
        partial: None,
        damaged: None,
        footer_at: None,
        is_enough: false,
        each,
    };
    let mut at = from;
    loop {
        if scanner.is_enough {
            return Ok(scanner.finish(at));
        }
        match scanner.next_head(at)? {
            NextFrame::Frame(sound_at, head) => {
                scanner.pass_over(at..sound_at)?;
                at = scanner.frame(sound_at, &head)?;
            }
            NextFrame::End(end) => {
                scanner.pass_over(at..end)?;
                return Ok(scanner.finish(end));
            }
        }
    }
}

/// Returns the parts of other segments that a segment declares void at its beginning. The second value is true if there may be further
/// declarations, because the disk did not return all of the beginning.
pub(super) fn voids(file: &File, mark: u64) -> io::Result<(Vec<Place>, bool)> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEAD as u64;
    loop {
        let mut bytes = [0; HEAD + 16];
        let (got, not_given) = read_at(file, &mut bytes, at)?;
        let Some(head) = Head::decode(&bytes[..got], mark).filter(|head| head.kind == Kind::Void) else {
            return Ok((found, not_given.is_some()));
        };
        let payload = bytes.get(HEAD..HEAD + head.len as usize).filter(|payload| head.fits(payload));
        found.extend(payload.and_then(decode_void));
        at += head.frame_len();
    }
}

fn decode_void(payload: &[u8]) -> Option<Place> {
    let mut reader = Reader::new(payload);
    let place = Place { segment: reader.number32().ok()?, at: reader.number32().ok()? };
    reader.end().ok().map(|()| place)
}

/// A message whose chunks are being read.
struct Partial {
    start: u64,
    id: QueueId,
    note: Note,
    meta: Meta,
    lines: Vec<u8>,
    /// The number of the next chunk.
    next: usize,
}

/// The next part of a scan.
enum NextFrame {
    /// A frame at this offset.
    Frame(u64, Head),
    /// No frame: the written data ends here.
    End(u64),
}

struct Scanner<'a, E> {
    file: &'a File,
    mark: u64,
    number: u32,
    reach: Reach,
    limit: u64,
    found: Scan,
    partial: Option<Partial>,
    damaged: Option<Stretch>,
    /// The offset of a footer that no other frame has followed yet.
    footer_at: Option<u64>,
    /// True if `each` has stopped the scan.
    is_enough: bool,
    each: E,
}

impl<E: FnMut(u64, Note, &[u8]) -> ControlFlow<()>> Scanner<'_, E> {
    /// Processes one frame. Returns the offset at which the next one should be.
    fn frame(&mut self, at: u64, head: &Head) -> io::Result<u64> {
        let end = at + head.frame_len();
        self.footer_at = (head.kind == Kind::Footer).then_some(at);
        let mut payload = Vec::new();
        if end <= self.limit {
            payload.resize(head.len as usize, 0);
            let got = self.read(&mut payload, at + HEAD as u64)?;
            payload.truncate(got);
        }
        if !head.fits(&payload) {
            return Ok(self.damaged_frame(at, head, "a frame does not match its checksum"));
        }
        let taken = match (head.kind, head.id) {
            (Kind::Chunk, Some(id)) => {
                if self.chunk(end, head, id) {
                    return Ok(end);
                }
                return Ok(self.damaged_frame(at, head, "its beginning does not match its checksum"));
            }
            (Kind::Message, Some(id)) => self.message(at, id, &payload),
            (Kind::State | Kind::Due | Kind::Hold | Kind::Release | Kind::Done, Some(id)) => {
                self.change(at, head.kind, id, &payload)
            }
            (Kind::Batch, None) => self.batch(at, &payload),
            (Kind::Clean, None) if payload.is_empty() => self.note(at, Note::Clean, &[]),
            (Kind::Footer, None) => self.footer(at, &payload),
            (Kind::Void, None) => decode_void(&payload).map(|_| self.sound_frame(at)),
            _ => None,
        };
        match taken {
            Some(()) => Ok(end),
            None => Ok(self.damaged_frame(at, head, "a frame does not decode")),
        }
    }

    /// Processes a frame with an intact head and a damaged payload. The length in its head may also be wrong, so the scan continues right
    /// behind the head.
    fn damaged_frame(&mut self, at: u64, head: &Head, why: &str) -> u64 {
        let next = at + HEAD as u64;
        // A footer only repeats what the frames say.
        if head.kind == Kind::Footer {
            self.give_up_partial(at);
            return next;
        }
        // If the time of the next attempt is lost, the earlier one stays valid.
        if matches!(head.kind, Kind::State | Kind::Done | Kind::Hold) {
            self.found.doubtful.extend(head.id.map(|id| (at, id)));
        }
        self.damage(at..next, head.id, why);
        next
    }

    fn message(&mut self, at: u64, id: QueueId, payload: &[u8]) -> Option<()> {
        let (meta, state, lines) = codec::read_message(payload).ok()?;
        self.sound_frame(at);
        let (lane, domains) = (meta.lane.clone(), codec::domain_bits(&meta.envelope));
        let note = Note::Put { id, at: u32::try_from(at).ok()?, disk_len: 0, lane, domains, status: state.status };
        self.partial = Some(Partial { start: at, id, note, meta, lines: lines.to_vec(), next: 0 });
        Some(())
    }

    /// Processes the next chunk of the current message. Returns false if the chunk belongs to another message, which is then incomplete.
    fn chunk(&mut self, end: u64, head: &Head, id: QueueId) -> bool {
        let is_next = |partial: &mut Partial| {
            let (_, len) = partial.meta.chunk_range(partial.next);
            partial.id == id && partial.next == usize::from(head.part) && u64::from(head.len) == len
        };
        let Some(mut partial) = self.partial.take_if(is_next) else { return false };
        partial.next += 1;
        if partial.next < partial.meta.chunks() {
            self.partial = Some(partial);
            return true;
        }
        if let Note::Put { disk_len, .. } = &mut partial.note {
            *disk_len = (end - partial.start) as u32;
        }
        self.pass_on(partial.start, partial.note, &partial.lines);
        true
    }

    fn change(&mut self, at: u64, kind: Kind, id: QueueId, payload: &[u8]) -> Option<()> {
        let mut reader = Reader::new(payload);
        let note = match kind {
            Kind::State => {
                let (state, lines) = codec::read_state(payload).ok()?;
                return self.note(at, Note::State { id, at: u32::try_from(at).ok()?, status: state.status }, lines);
            }
            Kind::Due => Note::Due { id, next: reader.next_try().ok()? },
            Kind::Hold => Note::Hold { id, reason: reader.text().ok()?.into() },
            Kind::Release => Note::Release { id, next: reader.next_try().ok()? },
            Kind::Done => Note::Done { id },
            _ => return None,
        };
        let lines = if kind == Kind::Due { &[] } else { reader.bytes().ok()? };
        reader.end().ok()?;
        self.note(at, note, lines)
    }

    fn batch(&mut self, at: u64, payload: &[u8]) -> Option<()> {
        let batch = Batch::decode(payload)?;
        self.sound_frame(at);
        // Not beyond the batch frame itself, whatever it says, because what follows may be torn.
        self.found.synced = self.found.synced.max(u64::from(batch.synced)).min(at);
        self.found.batch_end = batch.end.into();
        Some(())
    }

    /// Processes a footer that the scan meets. The segment's trailer is then damaged or was never written. The footer names the messages in
    /// the unreadable stretches.
    fn footer(&mut self, at: u64, payload: &[u8]) -> Option<()> {
        let mut messages = Vec::new();
        let collect = |note: Note| {
            if let Note::Put { id, at, .. } = note {
                messages.push((u64::from(at), id));
            }
        };
        footer::read(payload, collect).ok()?;
        self.sound_frame(at);
        for stretch in &mut self.found.damage {
            let lost = messages.iter().filter(|(at, _)| (stretch.start..stretch.end).contains(at));
            for (_, id) in lost {
                if !stretch.ids.contains(id) {
                    stretch.ids.push(*id);
                }
            }
        }
        Some(())
    }

    fn note(&mut self, at: u64, note: Note, lines: &[u8]) -> Option<()> {
        self.sound_frame(at);
        self.pass_on(at, note, lines);
        Some(())
    }

    fn pass_on(&mut self, at: u64, note: Note, lines: &[u8]) {
        self.found.footer.push(&note);
        if let Some(id) = note.id().filter(|_| note.ends_doubt()) {
            self.found.doubtful.retain(|(_, doubtful)| *doubtful != id);
        }
        self.is_enough = (self.each)(at, note, lines).is_break();
    }

    /// Ends the current message or stretch, because an intact frame follows that is not its chunk.
    fn sound_frame(&mut self, at: u64) {
        self.give_up_partial(at);
        self.finish_damage();
    }

    /// Records octets in which no frame was found.
    fn pass_over(&mut self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let why = match self.not_given_behind(range.start) {
            None => "a frame's head does not match its checksum",
            Some(_) => "the disk does not return it",
        };
        let mut head = [0; HEAD];
        let got = self.read(&mut head, range.start)?;
        let unsound = Head::decode_unsound(&head[..got], self.mark);
        if let Some((id, may_be_result)) = unsound
            && may_be_result
        {
            self.found.doubtful.push((range.start, id));
        }
        self.damage(range, None, why);
        Ok(())
    }

    /// Records an incomplete message as damaged.
    fn give_up_partial(&mut self, at: u64) {
        if self.partial.is_some() {
            self.damage(at..at, None, "parts of its content are missing");
        }
    }

    /// Records a damaged stretch. It is joined to a stretch that ends where it begins, and to the message that it interrupts.
    fn damage(&mut self, mut range: Range<u64>, id: Option<QueueId>, why: &str) {
        let mut ids = Vec::new();
        if let Some(partial) = self.partial.take() {
            range.start = partial.start;
            ids.push(partial.id);
        }
        ids.extend(id.filter(|id| !ids.contains(id)));
        if self.damaged.as_ref().is_some_and(|stretch| stretch.end < range.start) {
            self.finish_damage();
        }
        match &mut self.damaged {
            Some(stretch) => {
                stretch.end = stretch.end.max(range.end);
                ids.retain(|id| !stretch.ids.contains(id));
                stretch.ids.extend(ids);
            }
            None => {
                let (start, end, why) = (range.start, range.end, why.to_owned());
                self.damaged = Some(Stretch { segment: self.number, mark: self.mark, start, end, ids, why });
            }
        }
    }

    fn finish_damage(&mut self) {
        self.found.damage.extend(self.damaged.take());
    }

    fn finish(mut self, end: u64) -> Scan {
        self.give_up_partial(end);
        self.finish_damage();
        self.found.end = self.footer_at.unwrap_or(end);
        self.found
    }

    fn read(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let (got, not_given) = read_at(self.file, buffer, at)?;
        self.found.not_given = self.found.not_given.max(not_given);
        Ok(got)
    }

    /// Returns the end of the octets that the disk did not return, if some of them lie behind `at`.
    fn not_given_behind(&self, at: u64) -> Option<u64> {
        self.found.not_given.filter(|end| *end > at)
    }

    /// Returns the head at `at`, if it is intact. Nothing is read behind the limit, because octets there that the disk does not return do
    /// not concern this segment.
    fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        if at + HEAD as u64 > self.limit {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        let got = self.read(&mut head, at)?;
        Ok(Head::decode(&head[..got], self.mark))
    }

    /// Finds the next intact head at or behind `at`, or the end of the written data.
    fn next_head(&mut self, at: u64) -> io::Result<NextFrame> {
        if let Some(head) = self.head(at)? {
            return Ok(NextFrame::Frame(at, head));
        }
        let mark = self.mark.to_le_bytes();
        let finder = memchr::memmem::Finder::new(&mark);
        let mut window = vec![0; WINDOW];
        let mut from = at;
        let mut last_written = at;
        while from < self.limit {
            let want = window.len().min((self.limit - from) as usize);
            let got = self.read(&mut window[..want], from)?;
            let bytes = &window[..got];
            for hit in finder.find_iter(bytes) {
                let hit_at = from + hit as u64;
                if let Some(head) = self.head(hit_at)? {
                    return Ok(NextFrame::Frame(hit_at, head));
                }
            }
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                last_written = from + last as u64 + 1;
            }
            if got < want || got < mark.len() {
                break;
            }
            // A mark may cross the border of two windows.
            let step = if from + (got as u64) < self.limit { got - (mark.len() - 1) } else { got };
            from += step as u64;
        }
        let end = match self.reach {
            Reach::Zeros(_) => last_written,
            Reach::LastBatch(_) => last_written.min(self.found.batch_end.max(at)),
        };
        // A batch may have been written even if the disk returns nothing of it.
        Ok(NextFrame::End(end.max(self.not_given_behind(at).unwrap_or(end))))
    }
}

/// Fills `buffer`, or less at the end of the file. Octets that the disk does not return become zeros, which count as damage. Returns the
/// number of octets, and the end of the last ones that the disk did not return.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<(usize, Option<u64>)> {
    let (mut got, mut not_given) = (0, None);
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_bad_block(&error) => {
                let block = (4096 - (at + got as u64) % 4096).min((buffer.len() - got) as u64) as usize;
                buffer[got..got + block].fill(0);
                got += block;
                not_given = Some(at + got as u64);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((got, not_given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_does_not_return_behind_the_last_frame_is_not_looked_for() {
        // Reading unmapped memory gives EIO, as a bad block does. Here the footer is unreadable.
        let file = File::open("/proc/self/mem").unwrap();
        let end = SEGMENT_HEAD as u64;
        let found = scan(&file, 1, 7, Reach::Zeros(end), |_| ()).unwrap();
        assert_eq!((found.end, found.not_given, found.damage.len()), (end, None, 0));
    }
}
