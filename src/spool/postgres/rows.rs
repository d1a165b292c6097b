//! Encodes rows for COPY BINARY. The caller of a commit encodes and checksums its message; the committer only numbers and sends it.

use bytes::{BufMut, Bytes, BytesMut};

use super::note;
use crate::message::{Piece, QueueId};
use crate::spool::Draft;
use crate::spool::codec::{self, CHUNK, Meta, State, Status, Writer};
use crate::spool::index::{Fact, LogEntry, Summary};
use crate::spool::item::Summarized;

/// The octets of a row besides its content: the tuple's head, its numbers, and its entry in the primary key.
const ROW: u64 = 96;
/// Parts of at least this length are sent as they are. Shorter ones are gathered, because each part costs a protocol message.
const SENT_ALONE: usize = 4096;
/// The number of columns of a segment. A table of mail in transit also has a first column for the shard.
const COLUMNS: i16 = 8;

/// A part of a message's content.
struct Chunk {
    pieces: Vec<Bytes>,
    len: u32,
    crc: u32,
}

/// The columns of a message's first row, or of a later state's.
pub(super) struct Row {
    pub head: Option<Vec<u8>>,
    pub body: Option<Vec<u8>>,
    pub crc: Option<i32>,
}

impl Row {
    /// Returns the octets of the row.
    pub fn len(&self) -> usize {
        [&self.head, &self.body].into_iter().flatten().map(Vec::len).sum()
    }
}

/// An encoded message for a segment.
pub(super) struct Encoded {
    summary: Summary,
    /// The lines for the outbox.
    pub lines: Vec<u8>,
    head: Vec<u8>,
    chunks: Vec<Chunk>,
}

impl Summarized for Encoded {
    fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl Encoded {
    /// Encodes a draft. Returns `None` if it is too large (4 GiB).
    pub fn draft(mut draft: Draft) -> Option<Encoded> {
        // The lines have a column of their own.
        let lines = std::mem::take(&mut draft.lines);
        let content_len: u64 = draft.content.iter().map(|piece| piece.len() as u64).sum();
        let status = Status::of(&draft);
        let mut head = Writer(Vec::with_capacity(512 + draft.prefix.len()));
        codec::write_draft(&mut head, &draft, &status, content_len);
        let domains = codec::domain_bits(&draft.envelope);
        let first = codec::first_chunk(draft.header_len, content_len);
        let Draft { id, lane, content, .. } = draft;
        let content = content.into_iter().map(Bytes::from_owner).collect();
        let summary = Summary { id, lane, domains, status, disk_len: 0 };
        Encoded { summary, lines, head: head.0, chunks: Vec::new() }.with(content, first)
    }

    /// Encodes a message with its present state, to be copied forward.
    pub fn copy(id: QueueId, meta: &Meta, state: &State, content: Vec<u8>) -> Option<Encoded> {
        let mut head = Writer::default();
        codec::write_message(&mut head, meta, state);
        let domains = codec::domain_bits(&meta.envelope);
        let (lane, status) = (meta.lane.clone(), state.status.clone());
        let summary = Summary { id, lane, domains, status, disk_len: 0 };
        Encoded { summary, lines: Vec::new(), head: head.0, chunks: Vec::new() }
            .with(vec![Bytes::from(content)], meta.first_chunk)
    }

    /// Returns the octets of all rows.
    pub fn disk_len(&self) -> u32 {
        self.summary.disk_len
    }

    /// Returns a copy of the message's row, if it has only one.
    pub fn only_row(&self) -> Option<Row> {
        let [chunk] = &*self.chunks else { return None };
        let mut body = Vec::with_capacity(chunk.len as usize);
        chunk.pieces.iter().for_each(|piece| body.extend_from_slice(piece));
        Some(Row { head: Some(self.head.clone()), body: Some(body), crc: Some(chunk.crc.cast_signed()) })
    }

    /// Adds the content, divided into chunks. `first` is the length of the first chunk.
    fn with(mut self, content: Vec<Bytes>, first: u64) -> Option<Encoded> {
        let total: u64 = content.iter().map(|piece| piece.len() as u64).sum();
        let (mut left, mut want) = (total, first.min(total));
        let mut pieces = content.into_iter();
        let mut rest = Bytes::new();
        loop {
            let mut chunk = Chunk { pieces: Vec::new(), len: u32::try_from(want).ok()?, crc: 0 };
            let mut crc = crc32fast::Hasher::new();
            let mut lacking = want as usize;
            while lacking > 0 {
                if rest.is_empty() {
                    rest = pieces.next()?;
                    continue;
                }
                let piece = rest.split_to(lacking.min(rest.len()));
                crc.update(&piece);
                lacking -= piece.len();
                chunk.pieces.push(piece);
            }
            chunk.crc = crc.finalize();
            left -= want;
            self.chunks.push(chunk);
            if left == 0 {
                break;
            }
            want = CHUNK.min(left);
        }
        i16::try_from(self.chunks.len()).ok()?;
        seal(&mut self.head);
        let len = total + (self.head.len() + self.lines.len()) as u64 + ROW * self.chunks.len() as u64;
        self.summary.disk_len = u32::try_from(len).ok()?;
        Some(self)
    }
}

/// Appends a checksum to the content of the column `head`.
fn seal(head: &mut Vec<u8>) {
    let crc = crc32fast::hash(head);
    head.extend_from_slice(&crc.to_le_bytes());
}

/// Returns the octets that [`seal`] was given, if they are unchanged.
pub(super) fn unseal(head: &[u8]) -> Option<&[u8]> {
    let (octets, crc) = head.split_last_chunk::<4>()?;
    (crc32fast::hash(octets) == u32::from_le_bytes(*crc)).then_some(octets)
}

/// Returns true if a chunk matches its stored checksum.
pub(super) fn is_sound(body: &[u8], crc: Option<i32>) -> bool {
    crc.is_some_and(|crc| crc32fast::hash(body) == crc.cast_unsigned())
}

/// Rows for the database: the parts that COPY BINARY sends.
pub(super) struct Rows {
    parts: Vec<Bytes>,
    open: BytesMut,
    len: u64,
}

impl Rows {
    pub fn new() -> Rows {
        let mut open = BytesMut::with_capacity(8 << 10);
        open.put_slice(b"PGCOPY\n\xff\r\n\0");
        open.put_i32(0);
        open.put_i32(0);
        Rows { parts: Vec::new(), open, len: 0 }
    }

    /// Adds the rows of a message for a segment.
    pub fn message(&mut self, seq: i32, message: &Encoded) {
        self.rows_of(None, seq, message);
    }

    /// Adds the rows of a message in transit to a shard.
    pub fn in_transit(&mut self, shard: u32, seq: i32, message: &Encoded) {
        self.rows_of(Some(shard), seq, message);
    }

    /// Adds a row of no message, for a table of mail in transit.
    pub fn mark(&mut self, shard: i32, seq: i32) {
        self.begin(Some(shard), seq, 0, QueueId::from_u64(0));
        (0..5).for_each(|_| self.null());
        self.len += ROW;
    }

    fn rows_of(&mut self, shard: Option<u32>, seq: i32, message: &Encoded) {
        let Encoded { summary, lines, head, chunks } = message;
        let Summary { id, lane, domains, status, disk_len } = summary;
        for (part, chunk) in (0..).zip(chunks) {
            self.begin(shard.map(u32::cast_signed), seq, part, *id);
            if part == 0 {
                self.octets(&note::of_message(*disk_len, lane, *domains, status));
                self.octets(head);
            } else {
                self.null();
                self.null();
            }
            self.open.put_i32(chunk.len.cast_signed());
            chunk.pieces.iter().for_each(|piece| self.piece(piece));
            self.number(chunk.crc.cast_signed());
            self.lines(if part == 0 { lines } else { &[] });
        }
        self.len += u64::from(*disk_len);
    }

    /// Adds the row of a fact.
    pub fn fact(&mut self, seq: i32, entry: &LogEntry) {
        let LogEntry { id, fact, lines } = entry;
        self.begin(None, seq, 0, *id);
        let note = note::of_fact(fact);
        self.octets(&note);
        let mut head = Writer::default();
        match fact {
            Fact::State(state) => {
                codec::write_state(&mut head, state);
                head.bytes(&[]);
                seal(&mut head.0);
                self.octets(&head.0);
            }
            _ => self.null(),
        }
        self.null();
        self.null();
        self.lines(lines);
        self.len += ROW + (note.len() + head.0.len() + lines.len()) as u64;
    }

    /// Adds an empty row of this length, to find out whether there is room. It is never committed.
    pub fn filler(&mut self, seq: i32, len: usize) {
        self.begin(None, seq, 0, QueueId::from_u64(0));
        self.null();
        self.octets(&vec![0; len]);
        self.null();
        self.null();
        self.null();
    }

    /// Returns the approximate number of octets.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns the parts to send.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.open.put_i16(-1);
        self.parts.push(self.open.freeze());
        self.parts
    }

    fn begin(&mut self, shard: Option<i32>, seq: i32, part: i16, id: QueueId) {
        self.open.put_i16(COLUMNS + i16::from(shard.is_some()));
        if let Some(shard) = shard {
            self.number(shard);
        }
        self.number(seq);
        self.open.put_i32(2);
        self.open.put_i16(part);
        self.open.put_i32(8);
        self.open.put_i64(id.as_u64().cast_signed());
    }

    fn number(&mut self, number: i32) {
        self.open.put_i32(4);
        self.open.put_i32(number);
    }

    fn lines(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            self.null();
        } else {
            self.octets(lines);
        }
    }

    fn null(&mut self) {
        self.open.put_i32(-1);
    }

    fn octets(&mut self, octets: &[u8]) {
        self.open.put_i32(i32::try_from(octets.len()).expect("heads and notes are shorter than a message may be"));
        self.open.put_slice(octets);
    }

    fn piece(&mut self, piece: &Bytes) {
        if piece.len() < SENT_ALONE {
            self.open.put_slice(piece);
        } else {
            self.parts.push(self.open.split().freeze());
            self.parts.push(piece.clone());
        }
    }
}

/// `Bytes::from_owner` requires this.
impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
