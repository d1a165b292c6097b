//! Frames: the units in which a segment is written, checked, and read after damage.
//!
//! ```text
//! segment = header (64) frame* [footer frame, trailer (32)]
//! frame   = mark u64 | id u64 | kind u8 | 0 u8 | part u16 | len u32 | crc of payload u32 | crc of these 28 octets u32 | payload
//! ```
//!
//! All numbers are little-endian. Each segment has its own random mark, which is also in its file name. After damage, a reader searches for
//! the next mark. A mail with a forged frame cannot contain the mark, because its sender cannot know it. Old octets of a file that was
//! another segment before have another mark.

use crate::message::QueueId;

/// The only format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;
/// Octets of a frame before its payload.
pub(super) const HEAD: usize = 32;
/// Octets of a segment before its first frame.
pub(super) const SEGMENT_HEAD: usize = 64;
/// Octets of the trailer, which holds the offset of the footer.
pub(super) const TRAILER: usize = 32;

const SEGMENT_MAGIC: &[u8; 16] = b"postbud spool\r\n\0";
const TRAILER_MAGIC: &[u8; 8] = b"bud-end\n";

/// The content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message without its content. Its chunks follow.
    Message = 1,
    /// A part of the content of the message before it.
    Chunk = 2,
    /// The whole state of a message after an attempt.
    State = 3,
    /// The time of a message's next attempt.
    Due = 4,
    /// A message is held, with the reason.
    Hold = 5,
    /// A message is released, with the time of its next attempt.
    Release = 6,
    /// All recipients of a message are settled.
    Done = 7,
    /// A write failed: another segment counts only up to a given offset. These frames come first in their segment.
    Void = 8,
    /// The notes of all frames of the segment.
    Footer = 9,
    /// The program stopped cleanly, with no attempt in progress.
    Clean = 10,
    /// The start of a batch, see [`Batch`].
    Batch = 11,
}

impl Kind {
    /// Lists every kind of frame.
    pub const ALL: [Kind; 11] = {
        use Kind::{Batch, Chunk, Clean, Done, Due, Footer, Hold, Message, Release, State, Void};
        [Message, Chunk, State, Due, Hold, Release, Done, Void, Footer, Clean, Batch]
    };

    fn from_u8(raw: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == raw)
    }
}

/// How far a segment was written and synced when a batch was written. A reader needs both: damage behind `synced` may belong to a write
/// that was never acknowledged, and octets behind the end of the last batch may be older than the segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Everything before this offset was synced before the batch was written.
    pub synced: u32,
    /// The offset at which the batch ends.
    pub end: u32,
}

impl Batch {
    /// Octets of a batch frame.
    pub const FRAME_LEN: u64 = HEAD as u64 + 8;

    /// Returns the payload of a batch frame.
    pub fn encode(self) -> [u8; 8] {
        let mut out = [0; 8];
        out[..4].copy_from_slice(&self.synced.to_le_bytes());
        out[4..].copy_from_slice(&self.end.to_le_bytes());
        out
    }

    /// Reads the payload of a batch frame.
    pub fn decode(payload: &[u8]) -> Option<Batch> {
        let raw = u64::from_le_bytes(payload.try_into().ok()?);
        Some(Batch { synced: raw as u32, end: (raw >> 32) as u32 })
    }
}

/// The head of a frame. Everything in it but the mark is known before the segment is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub kind: Kind,
    /// The message that the frame is about, if it is about one.
    pub id: Option<QueueId>,
    /// The number of a chunk; 0 for other frames.
    pub part: u16,
    /// Octets of the payload.
    pub len: u32,
    /// Checksum of the payload.
    pub crc: u32,
}

impl Head {
    /// Makes the head of a frame about a message.
    pub fn of(kind: Kind, id: QueueId, payload: &[u8]) -> Head {
        Head { id: Some(id), ..Head::of_segment(kind, payload) }
    }

    /// Makes the head of a frame that is not about one message.
    pub fn of_segment(kind: Kind, payload: &[u8]) -> Head {
        Head { kind, id: None, part: 0, len: payload.len() as u32, crc: crc32fast::hash(payload) }
    }

    /// Encodes the head for the segment with this mark.
    pub fn encode(&self, mark: u64) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        out[..8].copy_from_slice(&mark.to_le_bytes());
        out[8..16].copy_from_slice(&self.id.map_or(0, QueueId::as_u64).to_le_bytes());
        out[16] = self.kind as u8;
        out[18..20].copy_from_slice(&self.part.to_le_bytes());
        out[20..24].copy_from_slice(&self.len.to_le_bytes());
        out[24..28].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a head. Returns `None` if the octets are not an intact head of the segment with this mark.
    pub fn decode(bytes: &[u8], mark: u64) -> Option<Head> {
        let bytes: &[u8; HEAD] = bytes.get(..HEAD)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let is_ours = bytes[..8] == mark.to_le_bytes() && u32_at(28) == crc32fast::hash(&bytes[..28]);
        is_ours.then_some(())?;
        Some(Head {
            kind: Kind::from_u8(bytes[16])?,
            id: Some(u64_at(bytes, 8)).filter(|id| *id != 0).map(QueueId::from_u64),
            part: u16::from_le_bytes([bytes[18], bytes[19]]),
            len: u32_at(20),
            crc: u32_at(24),
        })
    }

    /// Reads from a damaged head, if it has this segment's mark, the message id and whether the frame may be the result of an attempt or a
    /// hold. Both may be wrong.
    pub fn decode_unsound(bytes: &[u8], mark: u64) -> Option<(QueueId, bool)> {
        let bytes: &[u8; HEAD] = bytes.get(..HEAD)?.try_into().ok()?;
        let id = Some(u64_at(bytes, 8)).filter(|id| *id != 0 && bytes[..8] == mark.to_le_bytes())?;
        let may_be_result = !matches!(
            Kind::from_u8(bytes[16]),
            Some(Kind::Message | Kind::Chunk | Kind::Due | Kind::Release | Kind::Void | Kind::Batch | Kind::Footer)
        );
        Some((QueueId::from_u64(id), may_be_result))
    }

    /// Returns true if the payload is the one that was written.
    pub fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.len as usize && crc32fast::hash(payload) == self.crc
    }

    /// Returns the octets of the whole frame.
    pub fn frame_len(&self) -> u64 {
        HEAD as u64 + u64::from(self.len)
    }
}

/// Returns the first octets of a segment file.
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

/// Returns the format that a segment file names, or `None` if its first octets are damaged or were never written.
pub(super) fn segment_format(head: &[u8]) -> Option<u32> {
    let head = head.get(..SEGMENT_HEAD)?;
    let sound = head.starts_with(SEGMENT_MAGIC) && head[60..] == crc32fast::hash(&head[..60]).to_le_bytes();
    sound.then(|| u32::from_le_bytes([head[16], head[17], head[18], head[19]]))
}

/// Returns the last octets of a sealed segment, which hold the offset of the footer frame.
pub(super) fn trailer(footer_at: u64, mark: u64) -> [u8; TRAILER] {
    let mut out = [0; TRAILER];
    out[..8].copy_from_slice(TRAILER_MAGIC);
    out[8..16].copy_from_slice(&footer_at.to_le_bytes());
    out[16..24].copy_from_slice(&mark.to_le_bytes());
    let crc = crc32fast::hash(&out[..28]);
    out[28..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads the offset of the footer from the last octets of a segment. Returns `None` if the segment was not sealed or the octets are
/// damaged.
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

/// Returns the name of a segment. It is unique: numbers start again in an empty spool, but marks are random.
pub(super) fn segment_name(number: u32, mark: u64) -> String {
    format!("{number:08x}-{mark:016x}")
}

/// Returns the file name of a segment.
pub(super) fn file_name(number: u32, mark: u64) -> String {
    format!("{}.seg", segment_name(number, mark))
}

/// Reads number and mark from a file name. Returns `None` if it is not the name of a segment.
pub(super) fn parse_file_name(name: &str) -> Option<(u32, u64)> {
    parse_segment_name(name.strip_suffix(".seg")?)
}

/// Reads number and mark from a segment's name.
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
    fn a_batch_says_how_far_the_segment_was_written_and_synced() {
        let batch = Batch { synced: 7, end: u32::MAX };
        assert_eq!(Batch::decode(&batch.encode()), Some(batch));
        assert_eq!(Batch::decode(&batch.encode()[1..]), None);
        assert_eq!(Batch::FRAME_LEN, Head::of_segment(Kind::Batch, &batch.encode()).frame_len());
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
