//! The segment pool: files for segments to come. Files of settled segments are kept for them. If there is none, the next spare
//! segment's file is filled with zeros. What is not needed any more is freed.
//!
//! All of it goes piece by piece: while a file system writes or frees much at once (and tells the disk so), the committer's syncs wait
//! for it.

mod file;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::dir::Dir;

pub(super) use self::file::{PoolFile, remove_left};

/// How much is filled or freed at once. Freeing 64 MB at once was measured to hold up syncs for 9–15 ms, and this for 1–2 ms.
const PIECE: u64 = 2 << 20;
/// The pause between two pieces, which makes some 200 MB/s.
pub(super) const PIECE_PAUSE: Duration = Duration::from_millis(10);
/// How many files are kept for later. A backlog that rises and falls by as much costs no zeros.
const KEPT: usize = 2;
/// How many deleted files may wait to be freed. Beyond that, the oldest is freed whole.
const FREEING: usize = 8;

/// The files that the keeper has in hand.
#[derive(Default)]
pub(super) struct Pool {
    kept: Vec<PoolFile>,
    /// The file of the next spare segment, and how long it is to be.
    filling: Option<(PoolFile, u64)>,
    /// Deleted files, with the length they still have.
    freeing: VecDeque<(Arc<File>, u64)>,
}

impl Pool {
    /// Takes the file of a settled segment. It is kept if one of `size` octets will be needed, else freed.
    pub fn put(&mut self, file: PoolFile, size: u64) {
        if self.kept.len() < KEPT && file.len() >= size / 2 {
            self.kept.push(file);
        } else {
            self.free(file);
        }
    }

    /// Frees the space of a file, piece by piece.
    pub fn free(&mut self, file: PoolFile) {
        self.freeing.push_back(file.unlink());
        if self.freeing.len() > FREEING {
            self.freeing.pop_front();
        }
    }

    /// Begins to make a file of at least `size` octets, unless one is being made. A full disk shows here.
    pub fn order(&mut self, dir: &Dir, size: u64) -> io::Result<()> {
        if self.filling.is_none() {
            let file = self.kept.pop().map_or_else(|| PoolFile::new(dir), Ok)?;
            file.reserve(size)?;
            self.filling = Some((file, size));
        }
        Ok(())
    }

    /// Fills a piece of the file that was ordered. Hands it out once it is whole.
    pub fn fill_piece(&mut self) -> io::Result<Option<PoolFile>> {
        let Some((mut file, size)) = self.filling.take() else { return Ok(None) };
        if file.len() < size {
            file.fill(size.min(file.len() + PIECE))?;
        }
        if file.len() >= size {
            return Ok(Some(file));
        }
        self.filling = Some((file, size));
        Ok(None)
    }

    /// Frees a piece of what was deleted. Its name is gone for good, and nobody reads in it.
    pub fn free_piece(&mut self) {
        let Some((file, len)) = self.freeing.front_mut() else { return };
        *len = len.saturating_sub(PIECE);
        if *len == 0 || file.set_len(*len).is_err() {
            self.freeing.pop_front();
        }
    }

    /// Returns true if pieces are left to be filled or freed.
    pub fn is_busy(&self) -> bool {
        self.filling.is_some() || !self.freeing.is_empty()
    }

    /// Frees the files that are kept for later, because others need the space more.
    pub fn free_kept(&mut self) {
        while let Some(file) = self.kept.pop() {
            self.free(file);
        }
    }

    /// Gives everything back at once, whatever waits for that. Returns true if there was anything.
    pub fn clear(&mut self) -> bool {
        let had = !self.kept.is_empty() || self.is_busy();
        *self = Pool::default();
        had
    }

    pub fn bytes(&self) -> u64 {
        let files = self.kept.iter().chain(self.filling.iter().map(|(file, _)| file));
        files.map(PoolFile::len).chain(self.freeing.iter().map(|(_, len)| *len)).sum()
    }
}
