//! The segment pool: files for future segments. Files of settled segments are kept for reuse. If there is none, a new file is filled with
//! zeros. Files that are no longer needed are freed.
//!
//! Filling and freeing happen in small pieces, because the committer's syncs have to wait while a file system writes or frees much at once
//! (and tells the disk so).

mod file;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::dir::Dir;

pub(super) use self::file::{PoolFile, remove_left};
use crate::machine::disk;

/// The octets that are filled or freed at once. Freeing 64 MB at once delayed syncs by 9–15 ms in a measurement, and this by 1–2 ms.
const PIECE: u64 = 2 << 20;
/// The pause between two pieces, which allows some 200 MB/s.
pub(super) const PIECE_PAUSE: Duration = Duration::from_millis(10);
/// The number of files that are kept for reuse. A backlog that rises and falls by this much needs no new zeros.
const KEPT: usize = 2;
/// The most deleted files that wait to be freed. Beyond that, the oldest is freed at once.
const FREEING: usize = 8;

/// The files of the keeper.
#[derive(Default)]
pub(super) struct Pool {
    kept: Vec<PoolFile>,
    /// The file of the next spare segment, and its final length.
    filling: Option<(PoolFile, u64)>,
    /// Deleted files, each with the length that is left.
    freeing: VecDeque<(Arc<File>, u64)>,
}

impl Pool {
    /// Takes the file of a settled segment. Keeps it if it has at least half of the `size` octets that the next segment needs, and if few
    /// are kept. Otherwise frees it.
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

    /// Begins to make a file of at least `size` octets, unless one is being made. Fails if the disk is full.
    pub fn order(&mut self, dir: &Dir, size: u64) -> io::Result<()> {
        if self.filling.is_none() {
            let file = self.kept.pop().map_or_else(|| PoolFile::new(dir), Ok)?;
            file.reserve(size)?;
            self.filling = Some((file, size));
        }
        Ok(())
    }

    /// Fills one piece of the ordered file. Returns the file when it is complete.
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

    /// Frees one piece of a deleted file, whose name is durably removed and which nobody reads.
    pub fn free_piece(&mut self) {
        let Some((file, len)) = self.freeing.front_mut() else { return };
        *len = len.saturating_sub(PIECE);
        if *len == 0 || disk::set_len(file, *len).is_err() {
            self.freeing.pop_front();
        }
    }

    /// Returns true if pieces are left to be filled or freed.
    pub fn is_busy(&self) -> bool {
        self.filling.is_some() || !self.freeing.is_empty()
    }

    /// Frees the files that are kept for reuse, because the space is needed.
    pub fn free_kept(&mut self) {
        while let Some(file) = self.kept.pop() {
            self.free(file);
        }
    }

    /// Frees everything at once, even if syncs have to wait. Returns true if there was anything.
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
