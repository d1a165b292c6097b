//! Files below the state folder belong to whoever the folder belongs to. A command that root runs would else leave files behind
//! that the relay's own user cannot read, and a verdict that cannot be read counts as none.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown, fchown};
use std::path::Path;

/// Makes a folder with those above it; each belongs to the owner of the one it is in.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().unwrap_or(Path::new(""));
    make_dir(above)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    match foreign(&fs::metadata(dir)?, above)? {
        Some((uid, gid)) => chown(dir, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// Gives a file to the owner of `like`: a folder it is in, or the file it replaces. Only root can, and only root needs to.
pub fn give(file: &File, like: &Path) -> io::Result<()> {
    match foreign(&file.metadata()?, like)? {
        Some((uid, gid)) => fchown(file, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// The owner of `like`, where that is another one and we are root.
fn foreign(ours: &fs::Metadata, like: &Path) -> io::Result<Option<(u32, u32)>> {
    let like = fs::metadata(if like.as_os_str().is_empty() { Path::new(".") } else { like })?;
    let owner = (like.uid(), like.gid());
    Ok((rustix::process::geteuid().is_root() && (ours.uid(), ours.gid()) != owner).then_some(owner))
}
