//! Ensures that only one process uses a spool, by an advisory lock on the file `LOCK`. The file also names the process that holds it. The
//! lock ends with the process in any case.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::OpenError;
use crate::files;

/// The lock. Dropping it unlocks the spool.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock. The error names the process that holds it.
    pub fn take(dir: &Path) -> Result<Lock, OpenError> {
        let path = dir.join("LOCK");
        let failed = |what: &str, source| OpenError::Io { what: format!("{what} {}", path.display()), source };
        // The file is emptied below, so a link must not be followed to a file elsewhere.
        let mut file = files::lock_file(&path).map_err(|source| failed("opening", source))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
                let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
                return Err(OpenError::InUse { path: dir.display().to_string(), pid });
            }
            Err(errno) => return Err(failed("locking", errno.into())),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|source| failed("writing", source))?;
        Ok(Lock { _file: file })
    }
}
