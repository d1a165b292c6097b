//! For `tests/fuzz` only (feature `fuzzing`): gives fuzzed payloads with correct checksums to the readers of segments, which are private.
//! Random octets alone would never pass the checksums.

use std::io::{Seek, SeekFrom, Write};

use super::footer;
use super::frame::{Head, Kind, SEGMENT_HEAD, segment_head};
use super::scan::{self, Reach};
use crate::message::QueueId;
use crate::spool::codec;

const MARK: u64 = 0x6b1d_05f2_93c4_7ae9;
/// The octets before each payload of the input: kind, id, and the payload's length.
const PIECE: usize = 4;

/// Makes a segment from `input` and reads it with every reader.
///
/// # Panics
/// Panics if a reader misbehaves.
pub fn segment(input: &[u8]) {
    let mut octets = segment_head(1, MARK).to_vec();
    let mut rest = input;
    while let Some((piece, after)) = rest.split_first_chunk::<PIECE>() {
        let [kind_octet, id, low, high] = *piece;
        let (payload, after) = after.split_at(after.len().min(usize::from(low) | usize::from(high) << 8));
        rest = after;
        let _ = codec::read_state(payload);
        if let Ok((meta, state, _)) = codec::read_message(payload) {
            let _ = (meta.chunks(), state.expand(meta.envelope.recipients.len()));
        }
        let _ = footer::read(payload, |_| {});
        match Kind::ALL.get(usize::from(kind_octet & 15)) {
            Some(kind) => {
                let mut head = Head::of(*kind, QueueId::from_u64(u64::from(id & 7)), payload);
                head.part = u16::from(id >> 3);
                if kind_octet & 16 != 0 {
                    head.len = u32::MAX;
                }
                octets.extend_from_slice(&head.encode(MARK));
                octets.extend_from_slice(payload);
            }
            // Octets that belong to no frame.
            None => octets.extend_from_slice(payload),
        }
    }
    // Use memory, because a busy disk would look like a reader that hangs.
    let memory = rustix::fs::memfd_create("segment", rustix::fs::MemfdFlags::CLOEXEC).expect("a file can be made");
    let mut file = std::fs::File::from(memory);
    file.write_all(&octets).and_then(|()| file.seek(SeekFrom::Start(0))).expect("it can be written");
    for reach in [Reach::Zeros, Reach::LastBatch] {
        read_whole(&file, reach(octets.len() as u64), octets.len() as u64);
    }
    let _ = scan::voids(&file, MARK);
}

fn read_whole(file: &std::fs::File, reach: Reach, len: u64) {
    let mut notes = 0;
    let found = scan::scan(file, 1, MARK, reach, |_| notes += 1).expect("the disk is well");
    assert!(found.end <= len && found.synced <= len.max(SEGMENT_HEAD as u64));
    let mut before = 0;
    for stretch in &found.damage {
        assert!(before <= stretch.start && stretch.start <= stretch.end && stretch.end <= len);
        before = stretch.end;
    }
    let mut in_footer = 0;
    footer::read(&found.footer.encode(), |_| in_footer += 1).expect("a footer that was written can be read");
    assert_eq!(in_footer, notes);
}
