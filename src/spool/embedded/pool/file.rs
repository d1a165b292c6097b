//! A file of the segment pool. Every octet of it has been written and synced before it becomes a segment.
//!
//! A commit therefore overwrites existing blocks, and its sync writes only data: no block is allocated, and no reserved block becomes a
//! written one (except on file systems that never write in place, such as btrfs and ZFS). This makes syncs faster, and reliable. A sync
//! that depends on the file system's journal trusts that journal. In Linux 6.18, ext4 lets `fdatasync` into reserved blocks succeed while
//! an error elsewhere turns the file system read-only, and after a repair those blocks read as zeros. Of 25 file systems that were made to
//! fail like this under load, 3 had lost the last acknowledged mail; of 60 with written blocks, none had.
//!
//! A settled segment moves to the pool without being overwritten, because under the next segment's mark none of its octets looks like a
//! frame. Only a file that is new, or longer than before, is filled with zeros.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::dir::Dir;
use super::super::frame::{self, HEAD, SEGMENT_HEAD};
use super::super::writing::Writing;
use super::super::zeros;
use crate::machine::{self, disk};

/// The extension of a pool file's name.
const EXTENSION: &str = "pool";

/// A file of the pool. Dropping it deletes the file.
pub(in crate::spool::embedded) struct PoolFile {
    path: PathBuf,
    file: Arc<File>,
    len: u64,
}

impl PoolFile {
    pub fn new(dir: &Dir) -> io::Result<PoolFile> {
        let path = dir.path.join(format!("{:016x}.{EXTENSION}", machine::random::<u64>()));
        let file = disk::create_new(&path)?;
        Ok(PoolFile { path, file: Arc::new(file), len: 0 })
    }

    /// Durably deletes a segment: its file loses its name and joins the pool. Returns `None` if there is no file to reuse.
    pub fn from_segment(dir: &Dir, segment: &Path) -> io::Result<Option<PoolFile>> {
        let file = match OpenOptions::new().read(true).write(true).open(segment) {
            // The file has already lost its name, but that may not have been durable.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
            Ok(file) => {
                let (path, len) = (segment.with_extension(EXTENSION), file.metadata()?.len());
                if disk::rename(segment, &path).is_ok() {
                    Some(PoolFile { path, file: Arc::new(file), len })
                } else {
                    // A full disk may have no room for another name.
                    disk::remove_file(segment)?;
                    None
                }
            }
        };
        dir.sync()?;
        Ok(file)
    }

    /// Returns how many of its octets have been written.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Reserves room for `len` octets, so that a full disk is noticed before they are written.
    pub fn reserve(&self, len: u64) -> io::Result<()> {
        zeros::reserve(&self.file, self.len, len)
    }

    /// Fills the file with zeros up to `len` octets.
    pub fn fill(&mut self, len: u64) -> io::Result<()> {
        zeros::fill(&self.file, self.len, len)?;
        self.len = self.len.max(len);
        Ok(())
    }

    /// Makes the file a segment of at most `limit` octets. The segment's head is synced before the file's name, and the name before
    /// anything in the segment is acknowledged. The file may be longer than the segment by the footer of an earlier segment.
    pub fn into_segment(self, dir: &Dir, number: u32, limit: u64) -> io::Result<Writing> {
        let mark: u64 = machine::random();
        let mut opening = [0; SEGMENT_HEAD + HEAD];
        // Zeros in place of the first frame mark the segment as empty.
        opening[..SEGMENT_HEAD].copy_from_slice(&frame::segment_head(number, mark));
        disk::write_all_at(&self.file, &opening, 0)?;
        disk::sync_all(&self.file)?;
        let path = dir.path.join(frame::file_name(number, mark));
        disk::rename(&self.path, &path)?;
        if let Err(error) = dir.sync() {
            // Nothing refers to the file. If this fails, too, the next start finds a segment without frames and deletes it.
            let _ = disk::remove_file(&path);
            return Err(error);
        }
        Ok(Writing::new(number, mark, Arc::clone(&self.file), self.len.min(limit)))
    }

    /// Removes the file's name. Returns the file and its length, so that its space can be freed.
    pub fn unlink(self) -> (Arc<File>, u64) {
        (Arc::clone(&self.file), self.len)
    }
}

/// Deletes the file, unless it has become a segment.
impl Drop for PoolFile {
    fn drop(&mut self) {
        let _ = disk::remove_file(&self.path);
    }
}

/// Removes pool files that a crash left behind.
pub(in crate::spool::embedded) fn remove_left(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Err(error) = disk::remove_file(&path)
        {
            tracing::warn!(%error, path = %path.display(), "a file that an earlier run left cannot be removed");
        }
    }
    Ok(())
}
