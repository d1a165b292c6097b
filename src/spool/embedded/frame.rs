//! Frames: the unit in which a segment is written, checked and found again.
//!
//! ```text
//! segment = header (64) frame* [footer frame, trailer (32)]
//! frame   = mark u64 | id u64 | kind u8 | 0 u8 | part u16 | len u32 | crc of payload u32 | crc of these 28 octets u32 | payload
//! ```
//!
//! All numbers are little-endian. The mark is random for each segment and stands in the segment's file name too: behind
//! damage, the reader looks for the next mark. A mail that contains a forged frame cannot know it, and what the file held
//! before as another segment has another.

use crate::message::QueueId;

/// The format that this program writes, and the only one that it reads.
pub(super) const FORMAT: u32 = 1;
/// Octets of a frame before its payload.
pub(super) const HEAD: usize = 32;
/// Octets of a segment before its first frame.
pub(super) const SEGMENT_HEAD: usize = 64;
/// Octets of the trailer that leads to the footer.
pub(super) const TRAILER: usize = 32;

const SEGMENT_MAGIC: &[u8; 16] = b"postbud spool\r\n\0";
const TRAILER_MAGIC: &[u8; 8] = b"bud-end\n";

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message without its content; as many chunks follow as its content needs.
    Message = 1,
    /// A part of the content of the message before.
    Chunk = 2,
    /// The whole state of a message after an attempt.
    State = 3,
    /// A new due time.
    Due = 4,
    /// Held by an operator, with the reason.
    Hold = 5,
    /// Released, with the due time.
    Release = 6,
    /// Every recipient is settled.
    Done = 7,
    /// A failed batch: the named segment counts only up to the named offset. Always first in its segment.
    Void = 8,
    /// The index of the segment.
    Footer = 9,
    /// The program stopped in good order: no attempt was in flight.
    Clean = 10,
    /// A batch begins: everything before it was synced. In place of an id, the offset of its end.
    Batch = 11,
}

impl Kind {
    fn from_u8(raw: u8) -> Option<Kind> {
        use Kind::{Batch, Chunk, Clean, Done, Due, Footer, Hold, Message, Release, State, Void};
        [Message, Chunk, State, Due, Hold, Release, Done, Void, Footer, Clean, Batch]
            .into_iter()
            .find(|kind| *kind as u8 == raw)
    }
}

/// The head of a frame; what is known of it before its segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: Kind,
    pub id: QueueId,
    /// The number of a chunk; 0 elsewhere.
    pub part: u16,
    /// Octets of the payload.
    pub len: u32,
    /// Checksum of the payload.
    pub crc: u32,
}

impl Head {
    /// The head of a frame with this payload.
    pub fn of(kind: Kind, id: QueueId, payload: &[u8]) -> Head {
        Head { kind, id, part: 0, len: payload.len() as u32, crc: crc32fast::hash(payload) }
    }

    /// As it stands in the segment with this mark.
    pub fn encode(&self, mark: u64) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        out[..8].copy_from_slice(&mark.to_le_bytes());
        out[8..16].copy_from_slice(&self.id.as_u64().to_le_bytes());
        out[16] = self.kind as u8;
        out[18..20].copy_from_slice(&self.part.to_le_bytes());
        out[20..24].copy_from_slice(&self.len.to_le_bytes());
        out[24..28].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a head; `None` where these are not the octets of one of this segment.
    pub fn decode(bytes: &[u8], mark: u64) -> Option<Head> {
        let bytes: &[u8; HEAD] = bytes.get(..HEAD)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let is_ours = bytes[..8] == mark.to_le_bytes() && u32_at(28) == crc32fast::hash(&bytes[..28]);
        is_ours.then_some(())?;
        Some(Head {
            kind: Kind::from_u8(bytes[16])?,
            id: QueueId::from_u64(u64_at(bytes, 8)),
            part: u16::from_le_bytes([bytes[18], bytes[19]]),
            len: u32_at(20),
            crc: u32_at(24),
        })
    }

    /// Whether this is the payload that was written.
    pub fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.len as usize && crc32fast::hash(payload) == self.crc
    }

    /// Octets of the whole frame.
    pub fn frame_len(&self) -> u64 {
        HEAD as u64 + u64::from(self.len)
    }
}

/// The start of a segment file.
pub(super) fn segment_head(number: u32, mark: u64) -> [u8; SEGMENT_HEAD] {
    let mut out = [0; SEGMENT_HEAD];
    out[..16].copy_from_slice(SEGMENT_MAGIC);
    out[16..20].copy_from_slice(&FORMAT.to_le_bytes());
    out[20..24].copy_from_slice(&number.to_le_bytes());
    out[24..32].copy_from_slice(&mark.to_le_bytes());
    let crc = crc32fast::hash(&out[..60]);
    out[60..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The format a segment file says it has; `None` where its start is damaged or was never written.
pub(super) fn segment_format(head: &[u8]) -> Option<u32> {
    let head = head.get(..SEGMENT_HEAD)?;
    let sound = head.starts_with(SEGMENT_MAGIC) && head[60..] == crc32fast::hash(&head[..60]).to_le_bytes();
    sound.then(|| u32::from_le_bytes([head[16], head[17], head[18], head[19]]))
}

/// The last octets of a sealed segment: where its footer frame begins.
pub(super) fn trailer(footer_at: u64, mark: u64) -> [u8; TRAILER] {
    let mut out = [0; TRAILER];
    out[..8].copy_from_slice(TRAILER_MAGIC);
    out[8..16].copy_from_slice(&footer_at.to_le_bytes());
    out[16..24].copy_from_slice(&mark.to_le_bytes());
    let crc = crc32fast::hash(&out[..28]);
    out[28..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Where the footer begins, according to the last octets of a segment; `None` where it was not sealed or these are damaged.
pub(super) fn footer_at(trailer: &[u8], mark: u64) -> Option<u64> {
    let t: &[u8; TRAILER] = trailer.try_into().ok()?;
    let sound =
        t.starts_with(TRAILER_MAGIC) && u64_at(t, 16) == mark && t[28..] == crc32fast::hash(&t[..28]).to_le_bytes();
    sound.then(|| u64_at(t, 8))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

/// What a segment is called. No other ever had this name: numbers begin anew in an empty spool, marks are random.
pub(super) fn segment_name(number: u32, mark: u64) -> String {
    format!("{number:08x}-{mark:016x}")
}

/// The name of a segment's file.
pub(super) fn file_name(number: u32, mark: u64) -> String {
    format!("{}.seg", segment_name(number, mark))
}

/// Number and mark from a file's name; `None` where it is no segment.
pub(super) fn parse_file_name(name: &str) -> Option<(u32, u64)> {
    parse_segment_name(name.strip_suffix(".seg")?)
}

/// Number and mark from a segment's name.
pub(super) fn parse_segment_name(name: &str) -> Option<(u32, u64)> {
    let (number, mark) = name.split_once('-')?;
    let is_hex = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
    (is_hex(number, 8) && is_hex(mark, 16)).then_some(())?;
    Some((u32::from_str_radix(number, 16).ok()?, u64::from_str_radix(mark, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_only_unchanged_and_only_under_its_own_mark() {
        let head = Head::of(Kind::State, QueueId::from_u64(7), b"payload");
        let bytes = head.encode(42);
        assert_eq!(Head::decode(&bytes, 42), Some(head));
        assert_eq!(Head::decode(&bytes, 43), None);
        for bit in 0..HEAD * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&flipped, 42), None, "bit {bit}");
        }
        assert!(head.fits(b"payload") && !head.fits(b"paYload") && !head.fits(b"payloa"));
    }

    #[test]
    fn segment_names_and_heads_round_trip() {
        assert_eq!(parse_file_name(&file_name(7, 0xABCD)), Some((7, 0xABCD)));
        for name in ["", "LOCK", "00000001.seg", "0000001-0000000000000001.seg", "+0000001-0000000000000001.seg"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
        let head = segment_head(7, 1);
        assert_eq!(segment_format(&head), Some(FORMAT));
        assert_eq!(segment_format(&[0; SEGMENT_HEAD]), None);
        assert_eq!(footer_at(&trailer(99, 5), 5), Some(99));
        assert_eq!(footer_at(&trailer(99, 5), 6), None);
    }
}
