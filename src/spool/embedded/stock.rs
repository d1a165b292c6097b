//! The stock: room for segments to come. Files of settled segments are kept for them; the next spare one is filled with
//! zeros where there is none; what is not needed any more is freed.
//!
//! All of it goes piece by piece: a file system that writes or frees much at once (and tells the disk so) lets the committer's
//! syncs wait for it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::blank::Blank;
use super::dir::Dir;

/// What is filled or freed at once. Freeing 64 MB at once was measured to hold up syncs for 9–15 ms, and this for 1–2 ms.
const PIECE: u64 = 2 << 20;
/// The pause between two pieces: some 200 MB/s.
pub(super) const PIECE_PAUSE: Duration = Duration::from_millis(10);
/// Blanks kept for later: a backlog that rises and falls by as much costs no zeros.
const KEPT: usize = 2;
/// Deleted files that wait to be freed. Beyond, the oldest is freed whole.
const FREEING: usize = 8;

/// What the keeper has in hand.
#[derive(Default)]
pub(super) struct Stock {
    blanks: Vec<Blank>,
    /// What will be the spare segment, and how long it is to be.
    filling: Option<(Blank, u64)>,
    /// Deleted files, with the length they still have.
    freeing: VecDeque<(Arc<File>, u64)>,
}

impl Stock {
    /// Takes the file of a settled segment: kept where one of `size` octets will be needed, else freed.
    pub fn put(&mut self, blank: Blank, size: u64) {
        if self.blanks.len() < KEPT && blank.len() >= size / 2 {
            self.blanks.push(blank);
        } else {
            self.free(blank);
        }
    }

    /// Frees its space, piece by piece.
    pub fn free(&mut self, blank: Blank) {
        self.freeing.push_back(blank.unlink());
        if self.freeing.len() > FREEING {
            self.freeing.pop_front();
        }
    }

    /// Begins to make a blank of at least `size` octets, unless one is being made. A full disk shows here.
    pub fn order(&mut self, dir: &Dir, size: u64) -> io::Result<()> {
        if self.filling.is_none() {
            let blank = self.blanks.pop().map_or_else(|| Blank::new(dir), Ok)?;
            blank.reserve(size)?;
            self.filling = Some((blank, size));
        }
        Ok(())
    }

    /// Fills a piece of what was ordered; hands it out once it is whole.
    pub fn fill_piece(&mut self) -> io::Result<Option<Blank>> {
        let Some((mut blank, size)) = self.filling.take() else { return Ok(None) };
        if blank.len() < size {
            blank.fill(size.min(blank.len() + PIECE))?;
        }
        if blank.len() >= size {
            return Ok(Some(blank));
        }
        self.filling = Some((blank, size));
        Ok(None)
    }

    /// Frees a piece of what was deleted: its name is gone for good, nobody reads in it.
    pub fn free_piece(&mut self) {
        let Some((file, len)) = self.freeing.front_mut() else { return };
        *len = len.saturating_sub(PIECE);
        if *len == 0 || file.set_len(*len).is_err() {
            self.freeing.pop_front();
        }
    }

    /// Whether pieces are left to be filled or freed.
    pub fn is_busy(&self) -> bool {
        self.filling.is_some() || !self.freeing.is_empty()
    }

    /// Frees what was kept for later: others need it more.
    pub fn free_kept(&mut self) {
        while let Some(blank) = self.blanks.pop() {
            self.free(blank);
        }
    }

    /// Gives everything back at once, whatever waits for it. Returns whether there was anything.
    pub fn clear(&mut self) -> bool {
        let had = !self.blanks.is_empty() || self.is_busy();
        *self = Stock::default();
        had
    }

    /// Octets on disk.
    pub fn bytes(&self) -> u64 {
        let blanks = self.blanks.iter().chain(self.filling.iter().map(|(blank, _)| blank));
        blanks.map(Blank::len).chain(self.freeing.iter().map(|(_, len)| *len)).sum()
    }
}
