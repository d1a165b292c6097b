//! Reads a segment frame by frame: one that was not sealed before a crash, or whose footer is damaged.
//!
//! Whatever does not match its checksum is a damaged stretch; behind it the scan goes on at the next mark. A message counts
//! only with all its chunks.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::codec::{self, Reader};
use super::footer::{Footer, Note};
use super::frame::{HEAD, Head, Kind, SEGMENT_HEAD};
use super::index::Place;
use super::is_bad_block;
use super::quarantine::Stretch;
use crate::message::QueueId;

const WINDOW: usize = 256 << 10;

/// What a scan found.
#[derive(Default)]
pub(super) struct Scan {
    /// What could not be read.
    pub damage: Vec<Stretch>,
    /// Messages of which a result could not be read, and none after it was; with where it stands.
    pub doubtful: Vec<(u64, QueueId)>,
    /// Where the last batch begins: what is damaged from there on may never have been acknowledged.
    pub last_batch: u64,
    /// Where it says that it ends.
    batch_end: u64,
    /// Where writing ended.
    pub end: u64,
    /// Behind the last octet that the disk did not give, where there is one. It may give it another time.
    pub not_given: Option<u64>,
    /// All notes that were passed on.
    pub footer: Footer,
}

/// A message whose chunks are being read.
struct Partial {
    start: u64,
    id: QueueId,
    note: Note,
    next: u16,
    missing: u16,
}

/// What follows.
enum Next {
    /// A frame at this offset.
    Frame(u64, Head),
    /// No frame; what was written ends here.
    End(u64),
}

struct Scanner<'a> {
    file: &'a File,
    mark: u64,
    number: u32,
    reach: Reach,
    limit: u64,
    found: Scan,
    partial: Option<Partial>,
    damaged: Option<Stretch>,
}

/// How far a segment may have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To this offset; what was not written of it is zeros.
    Zeros(u64),
    /// To the end of the last batch, before this offset. What is behind it is older than the segment.
    LastBatch(u64),
}

/// Scans a segment, passing on each note in order.
pub(super) fn scan(file: &File, number: u32, mark: u64, reach: Reach, mut each: impl FnMut(Note)) -> io::Result<Scan> {
    let (Reach::Zeros(limit) | Reach::LastBatch(limit)) = reach;
    let found = Scan { last_batch: SEGMENT_HEAD as u64, ..Scan::default() };
    let mut scanner = Scanner { file, mark, number, reach, limit, found, partial: None, damaged: None };
    let mut pass_on = |scan: &mut Scan, note: Note| {
        scan.footer.push(&note);
        if let Some(id) = note.id().filter(|_| note.ends_doubt()) {
            scan.doubtful.retain(|(_, doubtful)| *doubtful != id);
        }
        each(note);
    };
    let mut at = SEGMENT_HEAD as u64;
    loop {
        let next = scanner.next_head(at)?;
        let (Next::Frame(sound_at, _) | Next::End(sound_at)) = next;
        if sound_at > at {
            let given = scanner.not_given_behind(at).is_none();
            let why = if given { "a frame's head does not match its checksum" } else { "the disk does not give it" };
            scanner.damage(at..sound_at, None, why);
        }
        at = match next {
            Next::Frame(_, head) if head.kind == Kind::Footer => sound_at,
            Next::Frame(_, head) => {
                at = scanner.frame(sound_at, head, &mut pass_on)?;
                continue;
            }
            Next::End(_) => sound_at,
        };
        break;
    }
    scanner.give_up_partial(at);
    scanner.finish_damage();
    scanner.found.end = at;
    Ok(scanner.found)
}

/// The voids a segment begins with.
pub(super) fn voids(file: &File, mark: u64) -> io::Result<Vec<Place>> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEAD as u64;
    loop {
        let mut bytes = [0; HEAD + 16];
        let (got, _) = read_at(file, &mut bytes, at)?;
        let Some(head) = Head::decode(&bytes[..got], mark).filter(|head| head.kind == Kind::Void) else {
            return Ok(found);
        };
        let payload = bytes.get(HEAD..HEAD + head.len as usize).filter(|payload| head.fits(payload));
        let mut reader = Reader::new(payload.unwrap_or_default());
        if let (Ok(segment), Ok(at)) = (reader.number32(), reader.number32()) {
            found.push(Place { segment, at });
        }
        at += head.frame_len();
    }
}

impl Scanner<'_> {
    /// Takes one frame; returns where the next one should be.
    fn frame(&mut self, at: u64, head: Head, pass_on: &mut impl FnMut(&mut Scan, Note)) -> io::Result<u64> {
        let end = at + head.frame_len();
        let mut payload = Vec::new();
        if end <= self.limit {
            payload.resize(head.len as usize, 0);
            let got = self.read(&mut payload, at + HEAD as u64)?;
            payload.truncate(got);
        }
        if !head.fits(&payload) {
            let id = (head.id.as_u64() != 0).then_some(head.id);
            // Of what only says when it is tried or held, the time before it stands.
            if matches!(head.kind, Kind::State | Kind::Done | Kind::Hold) {
                self.found.doubtful.extend(id.map(|id| (at, id)));
            }
            self.damage(at..end.min(self.limit), id, "a frame does not match its checksum");
            return Ok(end.min(self.limit));
        }
        if head.kind == Kind::Chunk {
            self.chunk(at, end, &head, pass_on);
            return Ok(end);
        }
        self.give_up_partial(at);
        self.finish_damage();
        match (head.kind, note(at, &head, &payload)) {
            (Kind::Batch, _) => (self.found.last_batch, self.found.batch_end) = (at, head.id.as_u64()),
            (Kind::Footer | Kind::Void | Kind::Chunk, _) => {}
            (Kind::Message, Some((note, chunks))) => {
                self.partial = Some(Partial { start: at, id: head.id, note, next: 0, missing: chunks });
            }
            (_, Some((note, _))) => pass_on(&mut self.found, note),
            (_, None) => self.damage(at..end, Some(head.id), "a frame does not decode"),
        }
        Ok(end)
    }

    fn chunk(&mut self, at: u64, end: u64, head: &Head, pass_on: &mut impl FnMut(&mut Scan, Note)) {
        match &mut self.partial {
            Some(partial) if partial.id == head.id && partial.next == head.part => {
                partial.next += 1;
                partial.missing -= 1;
                if partial.missing == 0
                    && let Some(mut whole) = self.partial.take()
                {
                    if let Note::Put { disk_len, .. } = &mut whole.note {
                        *disk_len = (end - whole.start) as u32;
                    }
                    pass_on(&mut self.found, whole.note);
                }
            }
            _ => self.damage(at..end, Some(head.id), "its beginning does not match its checksum"),
        }
    }

    /// A message whose chunks are not all there is damaged as a whole.
    fn give_up_partial(&mut self, at: u64) {
        if self.partial.is_some() {
            self.damage(at..at, None, "parts of its content are missing");
        }
    }

    /// Notes a damaged stretch; joins it to one that ends where it begins.
    fn damage(&mut self, range: Range<u64>, id: Option<QueueId>, why: &str) {
        let mut range = range;
        let mut ids: Vec<_> = id.into_iter().collect();
        if let Some(partial) = self.partial.take() {
            range.start = partial.start;
            ids.insert(0, partial.id);
        }
        match &mut self.damaged {
            Some(stretch) if stretch.end == range.start => {
                stretch.end = range.end;
                ids.retain(|id| !stretch.ids.contains(id));
                stretch.ids.extend(ids);
            }
            _ => {
                self.finish_damage();
                ids.dedup();
                let (start, end) = (range.start, range.end);
                self.damaged =
                    Some(Stretch { segment: self.number, mark: self.mark, start, end, ids, why: why.to_owned() });
            }
        }
    }

    fn finish_damage(&mut self) {
        self.found.damage.extend(self.damaged.take());
    }

    fn read(&mut self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let (got, not_given) = read_at(self.file, buffer, at)?;
        self.found.not_given = self.found.not_given.max(not_given);
        Ok(got)
    }

    /// Where what the disk does not give ends, if any of it is behind `at`.
    fn not_given_behind(&self, at: u64) -> Option<u64> {
        self.found.not_given.filter(|end| *end > at)
    }

    /// The head at `at`, if there is one. Behind the limit nothing is read: what the disk does not give there is nobody's.
    fn head(&mut self, at: u64) -> io::Result<Option<Head>> {
        if at + HEAD as u64 > self.limit {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        let got = self.read(&mut head, at)?;
        Ok(Head::decode(&head[..got], self.mark))
    }

    /// The next frame's head at or after `at`, or where what was written ends.
    fn next_head(&mut self, at: u64) -> io::Result<Next> {
        if let Some(head) = self.head(at)? {
            return Ok(Next::Frame(at, head));
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
                    return Ok(Next::Frame(hit_at, head));
                }
            }
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                last_written = from + last as u64 + 1;
            }
            if got < want || got < mark.len() {
                break;
            }
            // A mark may lie across two windows.
            let step = if from + (got as u64) < self.limit { got - (mark.len() - 1) } else { got };
            from += step as u64;
        }
        let end = match self.reach {
            Reach::Zeros(_) => last_written,
            Reach::LastBatch(_) => last_written.min(self.found.batch_end.max(at)),
        };
        // A batch of which the disk gives nothing is not a batch that nobody wrote.
        Ok(Next::End(end.max(self.not_given_behind(at).unwrap_or(end))))
    }
}

/// What a frame means for the index, and how many chunks follow it.
fn note(at: u64, head: &Head, payload: &[u8]) -> Option<(Note, u16)> {
    let id = head.id;
    let at = u32::try_from(at).ok()?;
    let mut reader = Reader::new(payload);
    let note = match head.kind {
        Kind::Message => {
            let (meta, state) = codec::read_message(payload).ok()?;
            let chunks = u16::try_from(meta.chunks()).ok()?;
            let domains = codec::domain_bits(&meta.envelope);
            let put = Note::Put { id, at, disk_len: 0, lane: meta.lane, domains, status: state.status };
            return Some((put, chunks));
        }
        Kind::State => Note::State { id, at, status: codec::read_state(payload).ok()?.status },
        Kind::Due => Note::Due { id, next: reader.next_try().ok()? },
        Kind::Hold => Note::Hold { id, reason: reader.text().ok()?.into() },
        Kind::Release => Note::Release { id, next: reader.next_try().ok()? },
        Kind::Done => Note::Done { id },
        Kind::Clean => Note::Clean,
        Kind::Chunk | Kind::Void | Kind::Footer | Kind::Batch => return None,
    };
    Some((note, 0))
}

/// Fills `buffer` as far as the file goes; what the disk does not give reads as zeros, thus as damage. Returns how much there was,
/// and where the last of what the disk did not give ends.
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
    fn what_the_disk_does_not_give_behind_the_last_frame_is_not_looked_for() {
        // Gives EIO where nothing is mapped, as the disk does for a bad block: here that of the footer.
        let file = File::open("/proc/self/mem").unwrap();
        let end = SEGMENT_HEAD as u64;
        let found = scan(&file, 1, 7, Reach::Zeros(end), |_| ()).unwrap();
        assert_eq!((found.end, found.not_given, found.damage.len()), (end, None, 0));
    }
}
