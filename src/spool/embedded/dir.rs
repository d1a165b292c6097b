//! The spool's folder.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The spool's folder, open, so that names in it can be made durable.
pub(super) struct Dir {
    pub path: PathBuf,
    handle: File,
}

impl Dir {
    pub fn open(path: &Path) -> io::Result<Dir> {
        Ok(Dir { path: path.to_owned(), handle: File::open(path)? })
    }

    /// Makes the names that were added or removed durable.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Makes the folder's own name durable, and the name of the folder above it, because both may have been made just now. A folder
    /// that may not be read, or is in a file system that is not written to, was there before. An error names the folder.
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

/// Returns true if the sync of a folder failed because there is nothing to make durable. Some file systems (autofs, squashfs, 9p) say
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
