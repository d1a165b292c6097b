//! Finds the places in text that relaxed canonicalization changes, 64 octets at a time.
//!
//! `wide` compiles the kernel to SSE2 on x86-64 and to NEON on ARM, which all such processors have, and to plain Rust elsewhere.

use std::ops::Range;

use wide::u8x16;

/// The number of octets that one kernel call examines. It also reads the octet after them.
const BLOCK: usize = 64;

/// Returns the length of `piece` without spaces, tabs, CRs and LFs at its end.
pub(super) fn trimmed_len(piece: &[u8]) -> usize {
    piece.iter().rposition(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')).map_or(0, |at| at + 1)
}

/// Returns the length of the text before the first space, tab or CR.
pub(super) fn until_gap(text: &[u8]) -> usize {
    memchr::memchr3(b' ', b'\t', b'\r', text).unwrap_or(text.len())
}

/// Calls `each`, in order, with every run of white space except a single space between two printable octets: longer runs, tabs,
/// and runs before a CR or another control character. The last octet of `piece` must not be white space.
#[inline(always)]
pub(super) fn for_each_run(piece: &[u8], mut each: impl FnMut(Range<usize>)) {
    let mut base = 0;
    while base < piece.len() {
        let (mut marks, decided) = match piece[base..].first_chunk() {
            Some(block) => (marks(block), BLOCK),
            None => {
                let rest = &piece[base..];
                let mut block = [b'x'; BLOCK + 1];
                block[..rest.len()].copy_from_slice(rest);
                (marks(&block), rest.len())
            }
        };
        // A mark is an octet in a run. The first mark after the previous run begins a new run.
        let mut next = base + decided;
        while marks != 0 {
            let start = base + marks.trailing_zeros() as usize;
            let end = start + run_len(&piece[start..]);
            each(start..end);
            if end >= base + decided {
                next = end;
                break;
            }
            marks &= u64::MAX << (end - base);
        }
        base = next;
    }
}

/// Returns the length of the white space at the start of `text`.
#[inline(always)]
fn run_len(text: &[u8]) -> usize {
    let mut len = 0;
    // Test sixteen octets at once, without a branch for each: a processor cannot predict how deep a line is indented.
    while let Some(lane) = text[len..].first_chunk() {
        let lane = u8x16::new(*lane);
        let is_space = lane.simd_eq(u8x16::splat(b' ')) | lane.simd_eq(u8x16::splat(b'\t'));
        let run = is_space.to_bitmask().trailing_ones() as usize;
        len += run;
        if run < 16 {
            return len;
        }
    }
    len + text[len..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// Returns a bit mask. Bit i is set if octet i is a tab, or a space before an octet up to 0x20 (white space, CR, LF or another
/// control character).
#[inline(always)]
fn marks(block: &[u8; BLOCK + 1]) -> u64 {
    let lane = |at: usize| {
        let load = |at: usize| u8x16::new(block[at..at + 16].try_into().expect("sixteen octets"));
        let (here, next) = (load(at), load(at + 1));
        let space = u8x16::splat(b' ');
        let next_is_low = next.min(space).simd_eq(next);
        (here.simd_eq(space) & next_is_low) | here.simd_eq(u8x16::splat(b'\t'))
    };
    let lanes = [lane(0), lane(16), lane(32), lane(48)];
    if (lanes[0] | lanes[1] | lanes[2] | lanes[3]).none() {
        return 0;
    }
    let bits = |lane: u8x16| u64::from(lane.to_bitmask());
    bits(lanes[0]) | bits(lanes[1]) << 16 | bits(lanes[2]) << 32 | bits(lanes[3]) << 48
}
