//! A piece of a message's content in memory. The pieces of a large message are memory mappings of their own, which
//! return to the system as soon as they are dropped.
//!
//! On the heap, their memory would not return: small things that live longer lie between the pieces (the spool's index
//! entry of the message, the clients' sessions), and an allocator can return only the memory above the last of these.
//! After fifty messages of 25 MB the process would keep most of its peak.

use std::borrow::Borrow;
use std::ops::Deref;

use memmap2::MmapMut;

/// A run of octets.
#[derive(Debug)]
pub struct Piece(Storage);

#[derive(Debug)]
enum Storage {
    Heap(Vec<u8>),
    Mapped { map: MmapMut, len: usize },
}

impl Piece {
    /// An empty piece with room for `capacity` octets, in a mapping of its own. It lies on the heap if the system gives
    /// no mapping.
    pub fn apart(capacity: usize) -> Self {
        Piece(match MmapMut::map_anon(capacity) {
            Ok(map) => Storage::Mapped { map, len: 0 },
            Err(_) => Storage::Heap(Vec::with_capacity(capacity)),
        })
    }

    /// Copies as much of `text` as there is room for, and returns the rest.
    pub fn fill<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        match &mut self.0 {
            Storage::Heap(octets) => {
                let (head, rest) = text.split_at(text.len().min(octets.capacity() - octets.len()));
                octets.extend_from_slice(head);
                rest
            }
            Storage::Mapped { map, len } => {
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
        Piece(Storage::Heap(octets))
    }
}

impl Deref for Piece {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Storage::Heap(octets) => octets,
            Storage::Mapped { map, len } => &map[..*len],
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
