//! A segment that is being filled: frames are appended, and finally it is sealed.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::footer::Footer;
use super::frame::{self, Batch, HEAD, Head, Kind, SEGMENT_HEAD};
use super::inbox::Item;
use super::note::{Change, Note};
use super::zeros;
use crate::machine::disk;
use crate::spool::codec::Writer;
use crate::spool::index::Place;

/// A file system must read a block before it can overwrite a part of it.
const BLOCK: u64 = 4096;
const ZEROS: &[u8] = &[0; BLOCK as usize];

/// A segment that is being filled.
pub(super) struct Writing {
    pub number: u32,
    pub mark: u64,
    pub file: Arc<File>,
    /// The offset of the next frame.
    pub end: u64,
    /// Every block of the file before this offset was written before.
    pub limit: u64,
    footer: Footer,
}

impl Writing {
    /// An empty segment, whose file has `limit` octets.
    pub fn new(number: u32, mark: u64, file: Arc<File>, limit: u64) -> Writing {
        Writing { number, mark, file, end: SEGMENT_HEAD as u64, limit, footer: Footer::default() }
    }

    /// Returns true if nothing was written to it yet.
    pub fn is_new(&self) -> bool {
        self.end == SEGMENT_HEAD as u64
    }

    /// Returns true if it has room for `len` octets.
    pub fn has_room(&self, len: u64) -> bool {
        self.end + len <= self.limit
    }

    /// Makes it longer. After an error its length is unchanged.
    pub fn grow(&mut self, limit: u64) -> io::Result<()> {
        let grown =
            zeros::reserve(&self.file, self.limit, limit).and_then(|()| zeros::fill(&self.file, self.limit, limit));
        match grown {
            Ok(()) => self.limit = self.limit.max(limit),
            // Free the space that a full disk has already given.
            Err(_) => drop(disk::set_len(&self.file, self.limit)),
        }
        grown
    }

    /// Returns the octets that precede the items of a batch, if `voids` must still be declared.
    pub fn opening_len(&self, voids: &[Place]) -> u64 {
        let voids = if self.is_new() { voids.len() as u64 } else { 0 };
        Batch::FRAME_LEN + voids * VOID_LEN
    }

    /// Writes a batch with one system call. `synced` is the offset up to which the segment was synced before. A new segment first declares
    /// void what failed before it. Returns the offset of each item's frames. Does not sync.
    pub fn write_batch(&mut self, synced: u64, voids: &[Place], items: &[Item]) -> io::Result<Vec<u32>> {
        let mut opening = Vec::new();
        if self.is_new() {
            voids.iter().for_each(|void| encode_void(*void, self.mark, &mut opening));
        }
        let begin = self.end + opening.len() as u64 + Batch::FRAME_LEN;
        let end = begin + items.iter().map(Item::frames_len).sum::<u64>();
        let batch = Batch { synced: synced as u32, end: end as u32 }.encode();
        opening.extend_from_slice(&Head::of_segment(Kind::Batch, &batch).encode(self.mark));
        opening.extend_from_slice(&batch);

        let mut heads = Vec::new();
        let mut places = Vec::with_capacity(items.len());
        let mut at = begin;
        for item in items {
            places.push(at as u32);
            match item {
                Item::Draft(message, _) | Item::Copy(message, _) => message.heads(self.mark, &mut heads),
                Item::Change(change, _) => heads.extend_from_slice(&change.head.encode(self.mark)),
                Item::Barrier(_) => {}
            }
            at += item.frames_len();
        }
        let mut heads = heads.chunks_exact(HEAD);
        let mut slices = Vec::with_capacity(2 + items.len() * 5);
        slices.push(IoSlice::new(&opening));
        for item in items {
            match item {
                Item::Draft(message, _) | Item::Copy(message, _) => message.slices(&mut heads, &mut slices),
                Item::Change(change, _) => {
                    slices.push(IoSlice::new(heads.next().expect("one head was made for each frame")));
                    slices.push(IoSlice::new(&change.payload));
                }
                Item::Barrier(_) => {}
            }
        }
        self.write(&mut slices, end)?;
        for (item, at) in items.iter().zip(&places) {
            match item {
                Item::Draft(message, _) | Item::Copy(message, _) => self.footer.push(&message.note(*at)),
                Item::Change(change, _) => self.footer.push(&change.note_at(*at)),
                Item::Barrier(_) => {}
            }
        }
        Ok(places)
    }

    /// Writes one change at the end, for which there must be room. Does not sync.
    pub fn write_change(&mut self, change: &Change) -> io::Result<()> {
        let note = change.note_at(self.end as u32);
        let head = change.head.encode(self.mark);
        let mut slices = [IoSlice::new(&head), IoSlice::new(&change.payload), IoSlice::new(&[])];
        self.write_few(&mut slices, self.end + change.frame_len())?;
        self.footer.push(&note);
        Ok(())
    }

    /// Records that the program stops cleanly. Does not sync.
    pub fn write_clean(&mut self) -> io::Result<()> {
        let head = Head::of_segment(Kind::Clean, &[]).encode(self.mark);
        self.write_few(&mut [IoSlice::new(&head), IoSlice::new(&[])], self.end + HEAD as u64)?;
        self.footer.push(&Note::Clean);
        Ok(())
    }

    /// Seals the segment: writes footer and trailer, frees the rest of the file, and syncs. Returns its length.
    pub fn seal(&self) -> io::Result<u64> {
        seal(&self.file, self.mark, self.end, &self.footer)
    }

    fn write(&mut self, slices: &mut Vec<IoSlice<'_>>, end: u64) -> io::Result<()> {
        slices.push(IoSlice::new(&[]));
        self.write_few(slices, end)
    }

    /// Writes the slices up to `end`, and zeros up to the end of that block: a file system would have to read a block before it writes a
    /// part of it. The last slice is a placeholder for the zeros.
    fn write_few<'a>(&mut self, slices: &mut [IoSlice<'a>], end: u64) -> io::Result<()> {
        let written_to = self.end.next_multiple_of(BLOCK);
        let rest = end.next_multiple_of(BLOCK).min(self.limit).saturating_sub(end);
        if end > written_to
            && let Some(last) = slices.last_mut()
        {
            *last = IoSlice::new(&ZEROS[..rest as usize]);
        }
        write_all_at(&self.file, slices, self.end)?;
        self.end = end;
        Ok(())
    }
}

/// The longest frame that declares a part of a segment void.
const VOID_LEN: u64 = HEAD as u64 + 10;

fn encode_void(void: Place, mark: u64, out: &mut Vec<u8>) {
    let mut payload = Writer::default();
    payload.number(void.segment.into());
    payload.number(void.at.into());
    out.extend_from_slice(&Head::of_segment(Kind::Void, &payload.0).encode(mark));
    out.extend_from_slice(&payload.0);
}

/// Writes the footer at `end` and makes it durable. Returns the length of the file.
pub(super) fn seal(file: &File, mark: u64, end: u64, footer: &Footer) -> io::Result<u64> {
    let payload = footer.encode();
    let mut tail = Vec::with_capacity(payload.len() + frame::HEAD + frame::TRAILER);
    tail.extend_from_slice(&Head::of_segment(Kind::Footer, &payload).encode(mark));
    tail.extend_from_slice(&payload);
    tail.extend_from_slice(&frame::trailer(end, mark));
    disk::write_all_at(file, &tail, end)?;
    let len = end + tail.len() as u64;
    disk::set_len(file, len)?;
    disk::sync_all(file)?;
    Ok(len)
}

fn write_all_at(file: &File, mut slices: &mut [IoSlice<'_>], mut at: u64) -> io::Result<()> {
    // IOV_MAX on Linux.
    const MOST: usize = 1024;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let some = &slices[..slices.len().min(MOST)];
        match disk::write_at(file, some, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
