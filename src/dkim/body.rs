//! The body hash, computed while the body streams in: one pass, no copy of the body, one hash for each
//! canonicalization whatever the number of signatures.

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::canonical::{Body, Canonicalization, Sink};

/// The length of a SHA-256 in base64.
const HASH_LEN: usize = 44;

/// Takes the body while it streams in.
pub struct BodyHasher {
    relaxed: Option<Stream>,
    simple: Option<Stream>,
}

/// The finished body hashes, one a canonicalization, in base64 as `bh=` has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyHash {
    relaxed: Option<[u8; HASH_LEN]>,
    simple: Option<[u8; HASH_LEN]>,
}

impl BodyHasher {
    /// A hasher for every canonicalization in `wanted`.
    pub fn new(wanted: impl IntoIterator<Item = Canonicalization>) -> Self {
        let mut hasher = BodyHasher { relaxed: None, simple: None };
        for how in wanted {
            match how {
                Canonicalization::Relaxed => hasher.relaxed = Some(Stream::new(how)),
                Canonicalization::Simple => hasher.simple = Some(Stream::new(how)),
            }
        }
        hasher
    }

    /// Takes the next octets of the body, split anywhere; CRLF line ends, dots not stuffed.
    pub fn update(&mut self, chunk: &[u8]) {
        for stream in [&mut self.relaxed, &mut self.simple].into_iter().flatten() {
            stream.update(chunk);
        }
    }

    /// Ends the body.
    pub fn finish(self) -> BodyHash {
        BodyHash { relaxed: self.relaxed.map(Stream::finish), simple: self.simple.map(Stream::finish) }
    }
}

impl BodyHash {
    /// `bh=` for a canonicalization; `None` where the hasher was not asked for it.
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
    hash: Context,
}

impl Stream {
    fn new(how: Canonicalization) -> Self {
        Stream { body: Body::new(how), hash: Context::new(&SHA256) }
    }

    fn update(&mut self, chunk: &[u8]) {
        let mut gathered = Gathered::new(&mut self.hash);
        self.body.update(chunk, &mut gathered);
        gathered.flush();
    }

    fn finish(mut self) -> [u8; HASH_LEN] {
        let mut gathered = Gathered::new(&mut self.hash);
        self.body.finish(&mut gathered);
        gathered.flush();
        let mut text = [0; HASH_LEN];
        BASE64.encode_slice(self.hash.finish(), &mut text).expect("32 octets are 44 characters");
        text
    }
}

/// Gathers short pieces, because a call of the hash costs as much as hashing tens of octets; long ones go straight through.
struct Gathered<'a> {
    hash: &'a mut Context,
    buffer: [u8; GATHER],
    len: usize,
}

const GATHER: usize = 4096;
/// Pieces from this length on are hashed where they lie.
const LONG: usize = 1024;
/// What is copied at once.
const BLOCK: usize = 32;

impl<'a> Gathered<'a> {
    #[inline(always)]
    fn new(hash: &'a mut Context) -> Self {
        Gathered { hash, buffer: [0; GATHER], len: 0 }
    }

    fn flush(&mut self) {
        self.hash.update(&self.buffer[..self.len]);
        self.len = 0;
    }
}

impl Sink for Gathered<'_> {
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
        // Between two places where something changes lies a line or less, mostly: a few blocks of fixed length, each a
        // few instructions, where a copy of any length is a call. What a block holds beyond the part is overwritten next.
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
