//! A piece of a message's content in memory. The pieces of a large message are mappings of their own, which go back to the system
//! as soon as they are dropped.
//!
//! On the heap they did not: between them lie small things that outlive them (what the spool's index keeps of the message, the
//! clients' sessions), and an allocator can give back only what lies above the last of these. After fifty messages of 25 MB the
//! process held most of what it had had at its peak.

use std::borrow::Borrow;
use std::ops::Deref;

use memmap2::MmapMut;

/// Octets in a row.
#[derive(Debug)]
pub struct Piece(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Mapped { map: MmapMut, len: usize },
}

impl Piece {
    /// An empty piece with room for `capacity` octets that lies apart. Where the system gives no mapping, it lies on the heap.
    pub fn apart(capacity: usize) -> Self {
        Piece(match MmapMut::map_anon(capacity) {
            Ok(map) => Memory::Mapped { map, len: 0 },
            Err(_) => Memory::Heap(Vec::with_capacity(capacity)),
        })
    }

    /// Takes as much of `text` as there is room for; returns the rest.
    pub fn fill<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        match &mut self.0 {
            Memory::Heap(octets) => {
                let (head, rest) = text.split_at(text.len().min(octets.capacity() - octets.len()));
                octets.extend_from_slice(head);
                rest
            }
            Memory::Mapped { map, len } => {
                let (head, rest) = text.split_at(text.len().min(map.len() - *len));
                map[*len..*len + head.len()].copy_from_slice(head);
                *len += head.len();
                rest
            }
        }
    }
}

impl From<Vec<u8>> for Piece {
    fn from(octets: Vec<u8>) -> Self {
        Piece(Memory::Heap(octets))
    }
}

impl Deref for Piece {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Heap(octets) => octets,
            Memory::Mapped { map, len } => &map[..*len],
        }
    }
}

impl Borrow<[u8]> for Piece {
    fn borrow(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_takes_what_it_has_room_for() {
        for mut piece in [Piece::apart(5), Piece::from(Vec::with_capacity(5))] {
            assert_eq!(piece.fill(b"abc"), b"");
            assert_eq!(piece.fill(b"defg"), b"fg");
            assert_eq!(piece.fill(b"h"), b"h");
            assert_eq!(&*piece, b"abcde");
        }
    }
}
