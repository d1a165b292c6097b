//! Prepares room in a file: reserves blocks, and fills them with zeros.

use std::fs::File;
use std::io;

use rustix::io::Errno;

use crate::machine::disk;

const ZEROS: &[u8] = &[0; 64 << 10];

/// Reserves room for the octets from `from` to `to`.
pub(super) fn reserve(file: &File, from: u64, to: u64) -> io::Result<()> {
    let len = to.saturating_sub(from);
    match disk::reserve(file, from, len) {
        // There is nothing to reserve, or the file system cannot reserve. Then writing the zeros shows whether there is room.
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}

/// Writes zeros from `from` to `to`, and syncs them.
pub(super) fn fill(file: &File, mut from: u64, to: u64) -> io::Result<()> {
    while from < to {
        let some = (to - from).min(ZEROS.len() as u64);
        disk::write_all_at(file, &ZEROS[..some as usize], from)?;
        from += some;
    }
    disk::sync_empty(file)
}
