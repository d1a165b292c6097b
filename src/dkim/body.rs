//! The body hash, computed in one pass while the body streams in, without a copy of the body. All signatures with the same
//! canonicalization share one hash.

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::canonical::{Body, Canonicalization, Sink};

/// The length of a SHA-256 in base64.
const HASH_LEN: usize = 44;

/// Hashes the body while it streams in. It does not allocate, so the struct itself is large (about 2 KiB).
pub struct BodyHasher {
    relaxed: Option<Stream>,
    simple: Option<Stream>,
}

/// The finished body hashes, one for each canonicalization, in base64 as in `bh=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyHash {
    relaxed: Option<[u8; HASH_LEN]>,
    simple: Option<[u8; HASH_LEN]>,
}

impl BodyHasher {
    /// Makes a hasher for every canonicalization in `wanted`.
    pub fn new(wanted: impl IntoIterator<Item = Canonicalization>) -> Self {
        let mut hasher = BodyHasher { relaxed: None, simple: None };
        for how in wanted {
            let stream = match how {
                Canonicalization::Relaxed => &mut hasher.relaxed,
                Canonicalization::Simple => &mut hasher.simple,
            };
            stream.get_or_insert_with(|| Stream::new(how));
        }
        hasher
    }

    /// Hashes the next octets of the body. The body may be split anywhere; lines end in CRLF and dots are not stuffed.
    pub fn update(&mut self, chunk: &[u8]) {
        for stream in [&mut self.relaxed, &mut self.simple].into_iter().flatten() {
            stream.update(chunk);
        }
    }

    /// Ends the body and returns its hashes.
    pub fn finish(self) -> BodyHash {
        BodyHash { relaxed: self.relaxed.map(Stream::finish), simple: self.simple.map(Stream::finish) }
    }
}

impl BodyHash {
    /// Returns the value of `bh=` for a canonicalization, or `None` if the hasher was not made for it.
    pub fn get(&self, how: Canonicalization) -> Option<&[u8]> {
        match how {
            Canonicalization::Relaxed => self.relaxed.as_ref(),
            Canonicalization::Simple => self.simple.as_ref(),
        }
        .map(<[u8; HASH_LEN]>::as_slice)
    }
}

struct Stream {
    body: Body,
    gathered: Gathered,
}

impl Stream {
    fn new(how: Canonicalization) -> Self {
        let gathered = Gathered { hash: Context::new(&SHA256), buffer: [0; GATHER], len: 0 };
        Stream { body: Body::new(how), gathered }
    }

    fn update(&mut self, chunk: &[u8]) {
        self.body.update(chunk, &mut self.gathered);
    }

    fn finish(mut self) -> [u8; HASH_LEN] {
        self.body.finish(&mut self.gathered);
        self.gathered.flush();
        let mut text = [0; HASH_LEN];
        BASE64.encode_slice(self.gathered.hash.finish(), &mut text).expect("32 octets are 44 characters");
        text
    }
}

/// Collects short pieces in a buffer before hashing them, because each call of the hash function costs as much as hashing
/// tens of octets. Long pieces are hashed directly. The buffer is kept between updates: a body full of stuffed dots arrives
/// in millions of updates of a few octets each.
struct Gathered {
    hash: Context,
    buffer: [u8; GATHER],
    len: usize,
}

const GATHER: usize = 1024;
/// Pieces of at least this length are hashed without being copied.
const LONG: usize = 512;
/// The number of octets that one fixed-length copy moves.
const BLOCK: usize = 32;

impl Gathered {
    fn flush(&mut self) {
        self.hash.update(&self.buffer[..self.len]);
        self.len = 0;
    }
}

impl Sink for Gathered {
    #[inline(always)]
    fn put(&mut self, octets: &[u8]) {
        if octets.len() >= LONG {
            self.flush();
            self.hash.update(octets);
            return;
        }
        if self.len + octets.len() > GATHER {
            self.flush();
        }
        self.buffer[self.len..self.len + octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }

    #[inline(always)]
    fn put_part(&mut self, whole: &[u8], part: Range<usize>) {
        let len = part.len();
        // Most parts are a line or shorter. Copying a few blocks of fixed length takes a few instructions, while a copy of
        // variable length is a function call. The octets copied beyond the part are overwritten by the next one.
        if len <= 4 * BLOCK {
            let blocks = len.next_multiple_of(BLOCK);
            if let Some(source) = whole.get(part.start..part.start + blocks)
                && let Some(room) = self.buffer.get_mut(self.len..self.len + blocks)
            {
                for (to, from) in room.chunks_exact_mut(BLOCK).zip(source.chunks_exact(BLOCK)) {
                    to.copy_from_slice(from);
                }
                self.len += len;
                return;
            }
        }
        self.put(&whole[part]);
    }
}

#[cfg(test)]
mod tests {
    use super::Canonicalization::{Relaxed, Simple};
    use super::*;

    #[test]
    fn octets_that_come_one_by_one_are_gathered_and_hash_to_the_same() {
        let body = "dav  igen\r\n.\r\n".repeat(GATHER);
        let hash = |piece: usize| {
            let mut hasher = BodyHasher::new([Relaxed, Simple]);
            body.as_bytes().chunks(piece).for_each(|chunk| hasher.update(chunk));
            hasher.finish()
        };
        let whole = hash(body.len());
        for piece in [1, 7, LONG - 1, LONG, GATHER + 1] {
            assert_eq!(hash(piece), whole, "{piece} at a time");
        }
        let mut stream = Stream::new(Relaxed);
        ["a", "b\r\n", "c"].iter().for_each(|chunk| stream.update(chunk.as_bytes()));
        assert_eq!(stream.gathered.len, 5, "no call of the hash for a few octets");
    }
}
