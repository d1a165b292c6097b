//! The index at the end of an archive: the places of its blocks, and which blocks contain which key.
//!
//! ```text
//! skippable frame's head (8 octets)
//! keys: hash u32 … ascending; block u16 …         as many of each
//! blocks: compressed length u32, length u32 …
//! foot: magic, blocks u32, keys u32, first and last event's time u64, checksum of blocks and foot
//! ```
//!
//! Integers are little-endian. The foot has a fixed length and is read from the end. The keys are most of the index and are never read as a
//! whole: a search reads a few pages of them.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::keys::Named;
use crate::time::Timestamp;

const MAGIC: &[u8; 8] = b"pbarch01";
/// RFC 8878 §3.1.2: one of 16 magic numbers for frames that decoders skip.
const SKIPPABLE: u32 = 0x184D_2A50;
const HEAD: usize = 8;
const FOOT: usize = MAGIC.len() + 4 + 4 + 8 + 8 + 4;
const BLOCK_ENTRY: usize = 8;
/// The number of keys that are read at once when the place of a hash is roughly known.
const NEAR: u64 = 1024;

/// The place of a block.
#[derive(Debug)]
pub(super) struct Block {
    /// The offset of the block in the archive.
    pub(super) at: u64,
    pub(super) compressed: u32,
    /// The octets of its lines.
    pub(super) len: u32,
}

/// The index without its keys, which stay on disk.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) blocks: Vec<Block>,
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    keys: u64,
    /// The offset of the hashes. The numbers of their blocks follow them.
    keys_at: u64,
}

impl Index {
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let end = file.metadata()?.len();
        let foot_at = end.checked_sub(FOOT as u64).ok_or_else(damaged)?;
        let mut foot = [0; FOOT];
        file.read_exact_at(&mut foot, foot_at)?;
        let mut fields = Fields(&foot);
        if fields.take::<8>() != *MAGIC {
            return Err(damaged());
        }
        let (block_count, keys) = (u64::from(fields.u32()), u64::from(fields.u32()));
        let (first_at, last_at) = (Timestamp::from_millis(fields.u64()), Timestamp::from_millis(fields.u64()));
        let checksum = fields.u32();
        let blocks_at = foot_at.checked_sub(block_count * BLOCK_ENTRY as u64).ok_or_else(damaged)?;
        let keys_at = blocks_at.checked_sub(keys * 6).ok_or_else(damaged)?;
        let lines_end = keys_at.checked_sub(HEAD as u64).ok_or_else(damaged)?;
        let mut entries = vec![0; usize::try_from(foot_at - blocks_at).map_err(|_| damaged())?];
        file.read_exact_at(&mut entries, blocks_at)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&entries);
        hasher.update(&foot[..FOOT - 4]);
        if hasher.finalize() != checksum {
            return Err(damaged());
        }
        let mut blocks = Vec::with_capacity(entries.len() / BLOCK_ENTRY);
        let (mut fields, mut at) = (Fields(&entries), 0);
        while !fields.0.is_empty() {
            let (compressed, len) = (fields.u32(), fields.u32());
            blocks.push(Block { at, compressed, len });
            at += u64::from(compressed);
        }
        if at != lines_end {
            return Err(damaged());
        }
        Ok(Index { blocks, first_at, last_at, keys, keys_at })
    }

    pub(super) fn octets(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.len)).sum()
    }

    /// Returns the blocks that contain a key with this hash, in ascending order.
    pub(super) fn blocks_with(&self, file: &File, hash: u32) -> io::Result<Vec<usize>> {
        let range = self.near(file, hash)?;
        let hashes = self.hashes(file, range.clone())?;
        let first = hashes.partition_point(|other| *other < hash);
        let count = hashes[first..].partition_point(|other| *other == hash);
        let mut numbers = vec![0; count * 2];
        file.read_exact_at(&mut numbers, self.keys_at + self.keys * 4 + (range.start + first as u64) * 2)?;
        let mut fields = Fields(&numbers);
        let mut blocks: Vec<usize> = (0..count).map(|_| usize::from(u16::from_le_bytes(fields.take()))).collect();
        if blocks.iter().any(|block| *block >= self.blocks.len()) {
            return Err(damaged());
        }
        blocks.sort_unstable();
        blocks.dedup();
        Ok(blocks)
    }

    /// Returns a short range of keys that holds all keys with this hash. Reads single keys to halve the range until it is short.
    fn near(&self, file: &File, hash: u32) -> io::Result<Range<u64>> {
        let first = |wanted: &dyn Fn(u32) -> bool| -> io::Result<u64> {
            let (mut low, mut high) = (0, self.keys);
            while high - low > NEAR {
                let middle = low + (high - low) / 2;
                if wanted(self.hashes(file, middle..middle + 1)?[0]) { low = middle } else { high = middle }
            }
            Ok(low)
        };
        let begin = first(&|other| other < hash)?;
        let end = first(&|other| other <= hash)? + NEAR;
        Ok(begin..end.min(self.keys))
    }

    fn hashes(&self, file: &File, range: Range<u64>) -> io::Result<Vec<u32>> {
        let mut octets = vec![0; usize::try_from(range.end - range.start).map_err(|_| damaged())? * 4];
        file.read_exact_at(&mut octets, self.keys_at + range.start * 4)?;
        Ok(octets.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().expect("four octets"))).collect())
    }
}

/// Collects the index while blocks are written.
#[derive(Default)]
pub(super) struct Indexer {
    blocks: Vec<(u32, u32)>,
    keys: Vec<(u32, u16)>,
    span: Option<(Timestamp, Timestamp)>,
    /// The keys of the current block, because many events of a block name the same sender.
    seen: HashSet<u32>,
}

impl Indexer {
    pub(super) fn add(&mut self, lines: &[u8], compressed: usize) {
        let number = u16::try_from(self.blocks.len()).expect("the writer bounds how many blocks there are");
        self.blocks.push((len32(compressed), len32(lines.len())));
        self.seen.clear();
        for line in lines.split(|b| *b == b'\n') {
            let Some(named) = Named::of(line) else { continue };
            if let Ok(at) = named.at.parse::<Timestamp>() {
                let (first, last) = self.span.unwrap_or((at, at));
                self.span = Some((first.min(at), last.max(at)));
            }
            for key in named.keys() {
                let hash = key.hash();
                if self.seen.insert(hash) {
                    self.keys.push((hash, number));
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.keys.sort_unstable();
        let payload = self.keys.len() * 6 + self.blocks.len() * BLOCK_ENTRY + FOOT;
        let mut out = Vec::with_capacity(HEAD + payload);
        out.extend(SKIPPABLE.to_le_bytes());
        out.extend(len32(payload).to_le_bytes());
        out.extend(self.keys.iter().flat_map(|(hash, _)| hash.to_le_bytes()));
        out.extend(self.keys.iter().flat_map(|(_, block)| block.to_le_bytes()));
        let checked = out.len();
        for (compressed, len) in &self.blocks {
            out.extend(compressed.to_le_bytes());
            out.extend(len.to_le_bytes());
        }
        out.extend(MAGIC);
        out.extend(len32(self.blocks.len()).to_le_bytes());
        out.extend(len32(self.keys.len()).to_le_bytes());
        let (first, last) = self.span.unwrap_or_default();
        out.extend(first.as_millis().to_le_bytes());
        out.extend(last.as_millis().to_le_bytes());
        let checksum = crc32fast::hash(&out[checked..]);
        out.extend(checksum.to_le_bytes());
        out
    }
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).expect("a journal's file is smaller than 4 GiB")
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the index of the archive is damaged; `zstdcat` still reads its lines")
}

/// Reads integers from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("lengths were checked before");
        self.0 = rest;
        *taken
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
