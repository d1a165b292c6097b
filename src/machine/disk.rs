//! What changes files and names of the spool's folder, and what makes the changes durable. Reading needs nothing of this kind: a
//! simulated disk has real files, and remembers what they were before the changes that no sync covers.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::Path;

use rustix::fs::FallocateFlags;

#[cfg(test)]
use crate::simulation::disk::{self as simulated, Change};

/// Makes a file for reading and writing. Returns an error if there is one of this name.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    simulated::before(Change::Create { path })?;
    File::options().read(true).write(true).create_new(true).open(path)
}

/// Gives a file another name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    simulated::before(Change::Rename { from, to })?;
    fs::rename(from, to)
}

/// Takes a file's name away.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    simulated::before(Change::Remove { path })?;
    fs::remove_file(path)
}

/// Writes some of the octets at an offset. Returns how many.
pub(crate) fn write_at(file: &File, slices: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
    #[cfg(test)]
    simulated::before(Change::Write { file, at, len: slices.iter().map(|slice| slice.len() as u64).sum() })?;
    Ok(rustix::io::pwritev(file, slices, at)?)
}

/// Writes all octets at an offset.
pub(crate) fn write_all_at(file: &File, octets: &[u8], at: u64) -> io::Result<()> {
    #[cfg(test)]
    simulated::before(Change::Write { file, at, len: octets.len() as u64 })?;
    std::os::unix::fs::FileExt::write_all_at(file, octets, at)
}

/// Makes a file shorter or longer.
pub(crate) fn set_len(file: &File, len: u64) -> io::Result<()> {
    #[cfg(test)]
    simulated::before(Change::Length { file, len })?;
    file.set_len(len)
}

/// Reserves room for octets that the file does not have yet.
pub(crate) fn reserve(file: &File, from: u64, len: u64) -> rustix::io::Result<()> {
    #[cfg(test)]
    if let Err(error) = simulated::before(Change::Reserve) {
        return Err(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO));
    }
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, len))
}

/// Makes the octets of a file durable.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    if let Some(synced) = simulated::sync(file, true) {
        return synced;
    }
    file.sync_data()
}

/// Makes the octets of a file durable that nothing stands in yet.
pub(crate) fn sync_empty(file: &File) -> io::Result<()> {
    #[cfg(test)]
    if let Some(synced) = simulated::sync(file, false) {
        return synced;
    }
    file.sync_data()
}

/// Makes the octets of a file and what is known of it durable, or the names in a folder.
pub(crate) fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(test)]
    if let Some(synced) = simulated::sync(file, false) {
        return synced;
    }
    file.sync_all()
}
