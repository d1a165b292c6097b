//! The spool's open folder, which makes the names of its files durable.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::machine::disk;

/// The open folder of the spool, needed to make names in it durable.
pub(super) struct Dir {
    pub path: PathBuf,
    handle: File,
}

impl Dir {
    pub fn open(path: &Path) -> io::Result<Dir> {
        Ok(Dir { path: path.to_owned(), handle: File::open(path)? })
    }

    /// Makes added and removed names durable.
    pub fn sync(&self) -> io::Result<()> {
        disk::sync_all(&self.handle)
    }

    /// Makes the names of the folder and its parent durable, because both may be new. If a parent may not be read, or its file system is
    /// read-only, it existed before. An error names the folder.
    pub fn sync_parents(&self) -> Result<(), (PathBuf, io::Error)> {
        let path = self.path.canonicalize().map_err(|error| (self.path.clone(), error))?;
        for parent in path.ancestors().skip(1).take(2) {
            match File::open(parent).and_then(|parent| parent.sync_all()) {
                Err(error) if has_nothing_to_sync(&error) => {
                    tracing::debug!(%error, path = %parent.display(), "a folder above the spool is not synced");
                }
                synced => synced.map_err(|error| (parent.to_owned(), error))?,
            }
        }
        Ok(())
    }

    pub fn handle(&self) -> &File {
        &self.handle
    }
}

/// Returns true if syncing a folder failed because there is nothing to make durable. Some file systems (autofs, squashfs, 9p) answer
/// EINVAL.
fn has_nothing_to_sync(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), InvalidInput | PermissionDenied | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_folder_that_cannot_be_synced_for_its_kind_was_there_before() {
        let is_fine = |errno: Errno| has_nothing_to_sync(&errno.into());
        assert!([Errno::INVAL, Errno::ROFS, Errno::ACCESS, Errno::PERM].map(is_fine).iter().all(|fine| *fine));
        assert!(![Errno::IO, Errno::NOSPC, Errno::NOENT].map(is_fine).iter().any(|fine| *fine));
    }
}
