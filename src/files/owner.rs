//! Root works in the relay's folders with the rights of their owner. The relay's user handles mail from the network and can place links and
//! pipes in its folders. With root's rights, a command would follow them to files outside. The same holds for folders of keys, secrets and
//! customers' files that belong to that user.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::unistd::{User, getgrouplist};
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
    as_user(owner_of(folders)?, work)
}

/// Does `work` on the file `path`, which a person named. If root calls this and the file's folder, or the one above, belongs to another
/// user, the work runs on its own thread with that user's rights: that user can put a link in the file's place at any time. Links are
/// followed as far as that user may follow them. Blocks.
pub fn as_folders_owner<T: Send, E: From<io::Error> + Send>(
    path: &Path,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    as_user(owner_of_folder(folder(path))?, work)
}

/// Does `work` on files in `dir`, or in the folder where `dir` is going to be made. If root calls this, and that folder or a link on the way
/// to it belongs to another user, the work runs on its own thread with that user's rights. Blocks.
pub fn as_owner_of<T: Send, E: From<io::Error> + Send>(
    dir: &Path,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    if geteuid().is_root() { as_user(owner_of_way(dir)?, work) } else { work() }
}

/// Fails if root calls this and a link on the way to `dir` belongs to another user: root would write where that user points.
pub fn refuse_links_of_others(dir: &Path) -> io::Result<()> {
    let is_anothers = |(way, found): &(PathBuf, fs::Metadata)| {
        found.is_symlink() && found.uid() != 0 && !is_for_root_alone(folder(way)).unwrap_or(false)
    };
    if let Some((way, _)) = on_the_way(dir)?.iter().find(|it| geteuid().is_root() && is_anothers(it)) {
        let what = format!("{} is another user's link, and root follows none; name the folder itself", way.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}

/// Returns true if this process is root, and another user may change this file or put another one in its place.
pub fn is_in_anothers_hands(path: &Path) -> bool {
    let look = || -> io::Result<bool> {
        let dir = folder(path).canonicalize()?;
        let may_change = |found: &fs::Metadata| found.uid() != 0 || found.mode() & 0o022 != 0;
        let file = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found?),
        };
        let is_open = may_change(&fs::metadata(&dir)?) || file.is_some_and(|found| may_change(&found));
        Ok((is_open && !is_for_root_alone(&dir)?) || owner_of_folder(folder(path))?.is_some())
    };
    geteuid().is_root() && look().unwrap_or(true)
}

/// Returns the files that the owner of the state directory cannot read, each with the reason. Only root can find out, so others get none,
/// and so does root if the directory is its own. Blocks.
pub fn unreadable_to_owner(state_dir: &Path, files: &[PathBuf]) -> io::Result<Vec<(PathBuf, io::Error)>> {
    let owner = fs::metadata(state_dir)?.uid();
    if !geteuid().is_root() || owner == 0 {
        return Ok(Vec::new());
    }
    // A user who is not in the system's list has no groups.
    let user = User::from_uid(nix::unistd::Uid::from_raw(owner)).ok().flatten();
    let group = user.as_ref().map_or(owner, |user| user.gid.as_raw());
    let groups = user
        .and_then(|user| getgrouplist(&CString::new(user.name).ok()?, user.gid).ok())
        .map(|groups| groups.into_iter().map(|group| Gid::from_raw(group.as_raw())).collect())
        .unwrap_or_default();
    with_rights(owner, group, groups, || {
        let unreadable = |path: &PathBuf| Some((path.clone(), fs::File::open(path).err()?));
        Ok(files.iter().filter_map(unreadable).collect())
    })
}

/// Does `work` with the rights of this user, if there is one and root calls this.
fn as_user<T: Send, E: From<io::Error> + Send>(
    user: Option<(u32, u32)>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let Some((uid, gid)) = user.filter(|_| geteuid().is_root()) else { return work() };
    // Root's group could read more than the user, whose own group is not known here.
    with_rights(uid, if gid == 0 { uid } else { gid }, Vec::new(), work)
}

/// Does `work` on a thread of its own with these rights.
fn with_rights<T: Send, E: From<io::Error> + Send>(
    uid: u32,
    gid: u32,
    groups: Vec<Gid>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    thread::scope(|scope| {
        let as_owner = scope.spawn(|| {
            // These calls change the rights of this thread only.
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            set_thread_groups(&groups).map_err(io::Error::from)?;
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

/// Returns the first owner other than root of this folder, of a link that leads to it, and of the folder above. Returns `None` if no other
/// user can enter them.
fn owner_of_folder(dir: &Path) -> io::Result<Option<(u32, u32)>> {
    let place = dir.canonicalize()?;
    let all = [fs::symlink_metadata(dir)?, fs::metadata(&place)?, fs::metadata(folder(&place))?];
    let owner = all.iter().map(|found| (found.uid(), found.gid())).find(|(uid, _)| *uid != 0);
    Ok(if owner.is_some() && is_for_root_alone(&place)? { None } else { owner })
}

/// Returns the owner of the first link on the way to this folder that belongs to another user than root, or else that of the folder. If the
/// folder is missing, the folder counts in which it is going to be made. Returns `None` if the owner is root, or if no other user can enter.
fn owner_of_way(dir: &Path) -> io::Result<Option<(u32, u32)>> {
    let way = on_the_way(dir)?;
    let Some((place, _)) = way.last() else { return Ok(None) };
    let there = fs::metadata(place)?;
    let links = way.iter().map(|(_, found)| found).filter(|found| found.is_symlink());
    let owner = links.chain([&there]).map(|found| (found.uid(), found.gid())).find(|(uid, _)| *uid != 0);
    Ok(if owner.is_some() && is_for_root_alone(place)? { None } else { owner })
}

/// Returns what exists on the way to a folder, from the root on. Links are not followed.
fn on_the_way(dir: &Path) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
    let dir = std::path::absolute(dir)?;
    let mut way = Vec::new();
    for part in dir.ancestors().collect::<Vec<_>>().into_iter().rev() {
        match fs::symlink_metadata(part) {
            Ok(found) => way.push((part.to_owned(), found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(way)
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

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::files::{read_octets, replace_alike};

    const SERVICE: u32 = 12_345;

    /// A folder that every user may enter, with the folder `keys` of the service's user and root's folder `etc` in it. `None` unless root
    /// runs the test, because only root can give folders away.
    fn world() -> Option<tempfile::TempDir> {
        if !geteuid().is_root() {
            return None;
        }
        // The default place may be for root alone.
        let world = tempfile::tempdir_in("/tmp").unwrap();
        for dir in ["", "keys", "etc"] {
            let dir = world.path().join(dir);
            let _ = fs::create_dir(&dir);
            fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        }
        chown(world.path().join("keys"), Some(SERVICE), Some(SERVICE)).unwrap();
        for (file, mode) in [("etc/secret", 0o600), ("etc/known", 0o644)] {
            fs::write(world.path().join(file), "roots own\n").unwrap();
            fs::set_permissions(world.path().join(file), Permissions::from_mode(mode)).unwrap();
        }
        Some(world)
    }

    #[test]
    fn a_file_in_anothers_folder_keeps_its_owner_and_its_group() {
        let Some(world) = world() else { return };
        let file = world.path().join("keys/a.toml");
        fs::write(&file, "old\n").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        chown(&file, Some(SERVICE), Some(SERVICE + 1)).unwrap();
        replace_alike(&file, b"new\n").unwrap();
        let found = fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (SERVICE, SERVICE + 1, 0o640));
        assert_eq!(fs::read(&file).unwrap(), b"new\n");
    }

    #[test]
    fn a_link_in_anothers_folder_leads_root_to_nothing_that_the_other_may_not_touch() {
        let Some(world) = world() else { return };
        let [link, secret, known] = ["keys/a.pem", "etc/secret", "etc/known"].map(|name| world.path().join(name));
        for target in [&secret, &known] {
            symlink(target, &link).unwrap();
            let error = replace_alike(&link, b"theirs\n").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
            assert_eq!(fs::read_to_string(target).unwrap(), "roots own\n");
            fs::remove_file(&link).unwrap();
        }
        symlink(&secret, &link).unwrap();
        assert_eq!(read_octets(&link).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        // A folder of root's that others may write in, too: no link there is followed.
        chown(world.path().join("keys"), Some(0), Some(SERVICE)).unwrap();
        fs::set_permissions(world.path().join("keys"), Permissions::from_mode(0o775)).unwrap();
        assert!(replace_alike(&link, b"theirs\n").unwrap_err().to_string().contains("is a link"));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "roots own\n");
        // Nobody but root can put a link into root's own folder.
        fs::set_permissions(world.path().join("keys"), Permissions::from_mode(0o755)).unwrap();
        assert_eq!(read_octets(&link).unwrap(), b"roots own\n");
        replace_alike(&link, b"changed\n").unwrap();
        assert_eq!((fs::read_to_string(&secret).unwrap().as_str(), link.is_symlink()), ("changed\n", true));
        assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_is_roots_own_if_nobody_else_may_change_or_exchange_it() {
        let Some(world) = world() else { return };
        let [roots, theirs] = ["etc/known", "keys/a.toml"].map(|name| world.path().join(name));
        assert!(!is_in_anothers_hands(&roots) && !is_in_anothers_hands(&world.path().join("etc/new")));
        fs::write(&theirs, "x").unwrap();
        assert!(is_in_anothers_hands(&theirs), "root's file in their folder");
        fs::set_permissions(&roots, Permissions::from_mode(0o664)).unwrap();
        assert!(is_in_anothers_hands(&roots), "its group may write");
        fs::set_permissions(&roots, Permissions::from_mode(0o644)).unwrap();
        chown(&roots, Some(SERVICE), None).unwrap();
        assert!(is_in_anothers_hands(&roots), "their file in root's folder");
        // Nobody else comes near it.
        fs::set_permissions(world.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!is_in_anothers_hands(&roots) && !is_in_anothers_hands(&theirs));
    }

    #[test]
    fn a_file_in_anothers_folder_is_replaced_for_its_owner() {
        let Some(world) = world() else { return };
        let file = world.path().join("keys/a.pem");
        fs::write(&file, "before").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(SERVICE), Some(SERVICE)).unwrap();
        replace_alike(&file, b"after").unwrap();
        let found = fs::metadata(&file).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o777, read_octets(&file).unwrap()),
            (SERVICE, 0o600, b"after".to_vec())
        );
        // A file that only root may read is still root's to read: it is no link.
        fs::write(world.path().join("keys/roots"), "x").unwrap();
        assert_eq!(read_octets(&world.path().join("keys/roots")).unwrap(), b"x");
    }
}
