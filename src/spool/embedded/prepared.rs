//! A message encoded and checksummed by whoever commits it, so that the one committer thread only gathers and writes.

use std::io::IoSlice;
use std::sync::Arc;

use super::codec::{self, Meta, State, Status, Writer};
use super::footer::Note;
use super::frame::{Head, Kind};
use super::next_try::NextTry;
use crate::message::{Lane, Piece, QueueId};
use crate::spool::Draft;

/// The frames of one message, but for the mark of the segment they will stand in.
pub(super) struct Prepared {
    pub id: QueueId,
    pub lane: Lane,
    pub domains: u32,
    pub status: Status,
    message: Head,
    payload: Vec<u8>,
    chunks: Vec<Head>,
    content: Vec<Piece>,
    disk_len: u32,
}

impl Prepared {
    /// Encodes a draft. `None` where it is too large for a segment (4 GiB).
    pub fn draft(draft: Draft) -> Option<Prepared> {
        let content_len: u64 = draft.content.iter().map(|piece| piece.len() as u64).sum();
        let mut out = Writer(Vec::with_capacity(512 + draft.prefix.len()));
        codec::write_draft(&mut out, &draft, content_len);
        let status = Status {
            attempts: 0,
            next: NextTry::at(draft.retry_at),
            delay_notified: false,
            untried: true,
            hold: draft.held.map(Arc::from),
        };
        let domains = codec::domain_bits(&draft.envelope);
        let first = codec::first_chunk(draft.header_len, content_len);
        Prepared::new(draft.id, draft.lane, domains, status, out.0, draft.content, first, content_len)
    }

    /// Encodes a message with its present state, to be copied forward.
    pub fn copy(id: QueueId, meta: &Meta, state: &State, content: Vec<Piece>) -> Option<Prepared> {
        let mut out = Writer::default();
        codec::write_message(&mut out, meta, state);
        let domains = codec::domain_bits(&meta.envelope);
        let (first, len) = (meta.first_chunk, meta.content_len);
        Prepared::new(id, meta.lane.clone(), domains, state.status.clone(), out.0, content, first, len)
    }

    #[expect(clippy::too_many_arguments, reason = "the common end of two constructors")]
    fn new(
        id: QueueId,
        lane: Lane,
        domains: u32,
        status: Status,
        payload: Vec<u8>,
        content: Vec<Piece>,
        first_chunk: u64,
        content_len: u64,
    ) -> Option<Prepared> {
        let message = Head::of(Kind::Message, id, &payload);
        let mut chunks = Vec::with_capacity(1);
        let mut at = 0;
        loop {
            let len = if chunks.is_empty() { first_chunk } else { codec::CHUNK.min(content_len - at) };
            let mut crc = crc32fast::Hasher::new();
            pieces(&content, at, len).for_each(|piece| crc.update(piece));
            let part = u16::try_from(chunks.len()).ok()?;
            chunks.push(Head { kind: Kind::Chunk, id, part, len: u32::try_from(len).ok()?, crc: crc.finalize() });
            at += len;
            if at == content_len {
                break;
            }
        }
        let disk_len = message.frame_len() + chunks.iter().map(Head::frame_len).sum::<u64>();
        let disk_len = u32::try_from(disk_len).ok()?;
        Some(Prepared { id, lane, domains, status, message, payload, chunks, content, disk_len })
    }

    /// Octets of all frames.
    pub fn disk_len(&self) -> u32 {
        self.disk_len
    }

    /// What the footer says of it.
    pub fn note(&self, at: u32) -> Note {
        let (lane, status) = (self.lane.clone(), self.status.clone());
        Note::Put { id: self.id, at, disk_len: self.disk_len, lane, domains: self.domains, status }
    }

    /// Appends the heads of its frames, in order.
    pub fn heads(&self, mark: u64, heads: &mut Vec<u8>) {
        heads.extend_from_slice(&self.message.encode(mark));
        self.chunks.iter().for_each(|chunk| heads.extend_from_slice(&chunk.encode(mark)));
    }

    /// Appends what is to be written; takes as many heads as it has frames.
    pub fn slices<'a>(&'a self, heads: &mut impl Iterator<Item = &'a [u8]>, out: &mut Vec<IoSlice<'a>>) {
        let mut next_head = || IoSlice::new(heads.next().expect("heads() made one head a frame"));
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

/// The parts of `content` that make up its octets from `at` on.
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
