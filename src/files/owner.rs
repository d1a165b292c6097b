//! What root does in the relay's folders, it does as their owner. That user reads mail from the network and may lay links and pipes
//! wherever it may write: as root, a command would follow them to files that are not the relay's.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::geteuid;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use rustix::{fs::Gid, fs::Uid};

use super::folder;

/// Does `work` on files in the last of these folders, which lie in each other, the first one in the state directory. Where root
/// calls it and one of them belongs to another user, it is done with that user's rights, on a thread of its own. An error where one
/// of the folders is a link. Blocks.
pub fn in_state<T: Send, E: From<io::Error> + Send>(
    folders: &[&Path],
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let owner = owner_of(folders)?;
    let Some((uid, gid)) = owner.filter(|_| geteuid().is_root()) else { return work() };
    thread::scope(|scope| {
        let as_owner = scope.spawn(|| {
            // These change the thread alone.
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            set_thread_groups(&[]).map_err(io::Error::from)?;
            set_thread_res_gid(gid, gid, gid).map_err(io::Error::from)?;
            set_thread_res_uid(uid, uid, uid).map_err(io::Error::from)?;
            work()
        });
        as_owner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The first owner of the state directory and of these folders in it who is not root and can get there.
fn owner_of(folders: &[&Path]) -> io::Result<Option<(u32, u32)>> {
    let Some(outermost) = folders.first() else { return Ok(None) };
    // What does not exist will belong to the owner of what it is made in.
    let existing = folder(outermost).ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    // A link that another user laid is as good as that user's folder.
    let mut all = vec![fs::symlink_metadata(existing)?, fs::metadata(existing)?];
    for dir in folders {
        match fs::symlink_metadata(dir) {
            Ok(found) if found.is_symlink() => {
                let what = format!("{} is a link, and none is followed below state_dir; remove it", dir.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            Ok(found) => all.push(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    let owner = all.iter().map(|found| (found.uid(), found.gid())).find(|(uid, _)| *uid != 0);
    Ok(if owner.is_some() && is_for_root_alone(existing)? { None } else { owner })
}

/// Whether a folder of root's above this one lets nobody else through: then nobody else can change anything below it, nor work there.
fn is_for_root_alone(dir: &Path) -> io::Result<bool> {
    for above in dir.canonicalize()?.ancestors().skip(1) {
        let found = fs::metadata(above)?;
        if found.uid() == 0 && found.mode() & 0o011 == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first file or folder in `dir`, itself included, that belongs to another user than root, or that another may write to. `None`
/// also where there is no `dir`. Blocks.
pub fn not_roots_own(dir: &Path) -> io::Result<Option<PathBuf>> {
    let found = match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Ok(Some(dir.to_owned()));
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            if let Some(inside) = not_roots_own(&entry.path())? {
                return Ok(Some(inside));
            }
        } else if found.uid() != 0 {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}
