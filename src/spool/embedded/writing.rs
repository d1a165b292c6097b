//! A segment that is being filled, and how it is closed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::footer::Footer;
use super::frame::{self, Head, Kind, SEGMENT_HEAD};
use super::zeros;
use crate::message::QueueId;

/// A segment that is being filled.
pub(super) struct Writing {
    pub number: u32,
    pub mark: u64,
    pub file: Arc<File>,
    /// Where the next frame goes.
    pub end: u64,
    /// Up to here every block of its file was written before.
    pub limit: u64,
    pub footer: Footer,
}

impl Writing {
    /// A segment with nothing in it, whose file has `limit` octets.
    pub fn new(number: u32, mark: u64, file: Arc<File>, limit: u64) -> Writing {
        Writing { number, mark, file, end: SEGMENT_HEAD as u64, limit, footer: Footer::default() }
    }

    /// Whether nothing was written to it yet.
    pub fn is_new(&self) -> bool {
        self.end == SEGMENT_HEAD as u64
    }

    /// Makes it longer, or leaves it as it is.
    pub fn grow(&mut self, limit: u64) -> io::Result<()> {
        let grown =
            zeros::reserve(&self.file, self.limit, limit).and_then(|()| zeros::fill(&self.file, self.limit, limit));
        match grown {
            Ok(()) => self.limit = self.limit.max(limit),
            // What a full disk gave of it is needed elsewhere.
            Err(_) => drop(self.file.set_len(self.limit)),
        }
        grown
    }

    /// Closes the segment: footer, trailer, what is left of the file given back, synced. Returns its length. The committer is
    /// done with it.
    pub fn seal(&self) -> io::Result<u64> {
        seal(&self.file, self.mark, self.end, &self.footer)
    }
}

/// Writes the footer at `end` and makes it durable. Returns the length of the file.
pub(super) fn seal(file: &File, mark: u64, end: u64, footer: &Footer) -> io::Result<u64> {
    let payload = footer.encode();
    let mut tail = Vec::with_capacity(payload.len() + frame::HEAD + frame::TRAILER);
    tail.extend_from_slice(&Head::of(Kind::Footer, QueueId::from_u64(0), &payload).encode(mark));
    tail.extend_from_slice(&payload);
    tail.extend_from_slice(&frame::trailer(end, mark));
    file.write_all_at(&tail, end)?;
    let len = end + tail.len() as u64;
    file.set_len(len)?;
    file.sync_all()?;
    Ok(len)
}
