//! Root works in the relay's folders with the rights of their owner. The relay's user handles mail from the network and can place links and
//! pipes in its folders. With root's rights, a command would follow them to files outside.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::geteuid;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use rustix::{fs::Gid, fs::Uid};

use super::folder;

/// Does `work` on files in the last of these folders. The folders are nested, and the first one lies in the state directory. If root calls
/// this and one of the folders belongs to another user, the work runs on its own thread with that user's rights. Returns an error if one of
/// the folders is a symbolic link. Blocks.
pub fn in_state<T: Send, E: From<io::Error> + Send>(
    folders: &[&Path],
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let owner = owner_of(folders)?;
    let Some((uid, gid)) = owner.filter(|_| geteuid().is_root()) else { return work() };
    thread::scope(|scope| {
        let as_owner = scope.spawn(|| {
            // These calls change the rights of this thread only.
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            set_thread_groups(&[]).map_err(io::Error::from)?;
            set_thread_res_gid(gid, gid, gid).map_err(io::Error::from)?;
            set_thread_res_uid(uid, uid, uid).map_err(io::Error::from)?;
            work()
        });
        as_owner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns the first owner other than root of the state directory and these folders. Returns `None` if no other user can enter them.
fn owner_of(folders: &[&Path]) -> io::Result<Option<(u32, u32)>> {
    let Some(outermost) = folders.first() else { return Ok(None) };
    // A folder that does not exist will belong to the owner of the folder that it is created in.
    let existing = folder(outermost).ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    // The owner of a link controls where it leads, so that owner counts, too.
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

/// Returns true if a folder above this one belongs to root and lets no other user in. Then no other user can change anything below it, nor
/// work there.
fn is_for_root_alone(dir: &Path) -> io::Result<bool> {
    for above in dir.canonicalize()?.ancestors().skip(1) {
        let found = fs::metadata(above)?;
        if found.uid() == 0 && found.mode() & 0o011 == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the first file or folder in `dir`, or `dir` itself, that another user than root owns or may write to. Returns `None` if there is
/// none, or no `dir`. Blocks.
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
