//! A message that its committing caller has encoded and checksummed, so that the one committer thread only gathers and writes.

use std::io::IoSlice;

use super::frame::{Head, Kind};
use super::note::Note;
use crate::message::{Piece, QueueId};
use crate::spool::Draft;
use crate::spool::codec::{self, Meta, State, Status, Writer};
use crate::spool::index::Summary;
use crate::spool::item::Summarized;

/// The frames of one message, without the mark of the segment that will hold them.
pub(super) struct Encoded {
    summary: Summary,
    head: Head,
    payload: Vec<u8>,
    /// The number of octets at the end of the payload that are lines for the outbox.
    lines_len: usize,
    chunks: Vec<Head>,
    content: Vec<Piece>,
}

impl Summarized for Encoded {
    fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl Encoded {
    /// Encodes a draft. Returns `None` if it is too large for a segment (4 GiB).
    pub fn draft(draft: Draft) -> Option<Encoded> {
        let content_len: u64 = draft.content.iter().map(|piece| piece.len() as u64).sum();
        let status = Status::of(&draft);
        let mut payload = Writer(Vec::with_capacity(512 + draft.prefix.len() + draft.lines.len()));
        codec::write_draft(&mut payload, &draft, &status, content_len);
        let lengths = Lengths { first_chunk: codec::first_chunk(draft.header_len, content_len), content: content_len };
        let domains = codec::domain_bits(&draft.envelope);
        let Draft { id, lane, content, lines, .. } = draft;
        let (chunks, disk_len) = chunk_heads(id, payload.0.len(), &content, lengths)?;
        let head = Head::of(Kind::Message, id, &payload.0);
        let (payload, lines_len) = (payload.0, lines.len());
        let summary = Summary { id, lane, domains, status, disk_len };
        Some(Encoded { summary, head, payload, lines_len, chunks, content })
    }

    /// Encodes a message with its present state, to be copied forward.
    pub fn copy(id: QueueId, meta: &Meta, state: &State, content: Vec<Piece>) -> Option<Encoded> {
        let mut payload = Writer::default();
        codec::write_message(&mut payload, meta, state);
        let lengths = Lengths { first_chunk: meta.first_chunk, content: meta.content_len };
        let domains = codec::domain_bits(&meta.envelope);
        let (lane, status) = (meta.lane.clone(), state.status.clone());
        let (chunks, disk_len) = chunk_heads(id, payload.0.len(), &content, lengths)?;
        let head = Head::of(Kind::Message, id, &payload.0);
        let summary = Summary { id, lane, domains, status, disk_len };
        Some(Encoded { summary, head, payload: payload.0, lines_len: 0, chunks, content })
    }

    /// Returns the lines for the outbox.
    pub fn lines(&self) -> &[u8] {
        &self.payload[self.payload.len() - self.lines_len..]
    }

    /// Returns the octets of all frames.
    pub fn disk_len(&self) -> u32 {
        self.summary.disk_len
    }

    /// Returns the note for the footer, if the message frame is at offset `at`.
    pub fn note(&self, at: u32) -> Note {
        let Summary { id, lane, domains, status, disk_len } = self.summary.clone();
        Note::Put { id, at, disk_len, lane, domains, status }
    }

    /// Appends the heads of the frames, in order.
    pub fn heads(&self, mark: u64, heads: &mut Vec<u8>) {
        heads.extend_from_slice(&self.head.encode(mark));
        self.chunks.iter().for_each(|chunk| heads.extend_from_slice(&chunk.encode(mark)));
    }

    /// Appends the slices to write. Takes one of `heads` for each frame.
    pub fn slices<'a>(&'a self, heads: &mut impl Iterator<Item = &'a [u8]>, out: &mut Vec<IoSlice<'a>>) {
        let mut next_head = || IoSlice::new(heads.next().expect("heads() made one head for each frame"));
        out.push(next_head());
        out.push(IoSlice::new(&self.payload));
        let mut at = 0;
        for chunk in &self.chunks {
            out.push(next_head());
            out.extend(pieces(&self.content, at, chunk.len.into()).map(IoSlice::new));
            at += u64::from(chunk.len);
        }
    }
}

/// How the content is divided into chunks.
#[derive(Clone, Copy)]
struct Lengths {
    first_chunk: u64,
    content: u64,
}

/// Returns the heads of the message's chunks, and the octets of all its frames. Returns `None` if they are too long for a segment.
fn chunk_heads(id: QueueId, payload: usize, content: &[Piece], lengths: Lengths) -> Option<(Vec<Head>, u32)> {
    let mut heads = Vec::with_capacity(1);
    let (mut at, mut disk_len) = (0, (super::frame::HEAD + payload) as u64);
    loop {
        let len = if heads.is_empty() { lengths.first_chunk } else { codec::CHUNK.min(lengths.content - at) };
        let mut crc = crc32fast::Hasher::new();
        pieces(content, at, len).for_each(|piece| crc.update(piece));
        let (part, crc) = (u16::try_from(heads.len()).ok()?, crc.finalize());
        let head = Head { kind: Kind::Chunk, id: Some(id), part, len: u32::try_from(len).ok()?, crc };
        disk_len += head.frame_len();
        heads.push(head);
        at += len;
        if at == lengths.content {
            return Some((heads, u32::try_from(disk_len).ok()?));
        }
    }
}

/// Returns the parts of `content` that cover `len` octets from offset `at`.
fn pieces(content: &[Piece], at: u64, len: u64) -> impl Iterator<Item = &[u8]> {
    let (mut skip, mut left) = (at, len);
    content.iter().filter_map(move |piece| {
        let start = skip.min(piece.len() as u64);
        skip -= start;
        let rest = &piece[start as usize..];
        let take = left.min(rest.len() as u64);
        left -= take;
        (take > 0).then(|| &rest[..take as usize])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cross_the_borders_of_their_buffers() {
        let content = [&b"ab"[..], b"", b"cde", b"f"].map(|piece| Piece::from(piece.to_vec()));
        let joined = |at, len| pieces(&content, at, len).flatten().copied().collect::<Vec<u8>>();
        assert_eq!(joined(0, 6), b"abcdef");
        assert_eq!(joined(1, 2), b"bc");
        assert_eq!(joined(2, 3), b"cde");
        assert_eq!(joined(5, 1), b"f");
        assert_eq!(joined(3, 0), b"");
    }
}
