//! Writes files that exist either whole or not at all, even after a crash. A file belongs to the owner of its folder: otherwise, a command
//! run by root would leave files that the relay's own user cannot read, and a stored result that cannot be read counts as missing.
//!
//! The relay's user handles mail from the network, so root does not trust names in that user's folders. Nothing is opened, truncated or
//! given away through a symbolic link.

mod new;
mod owner;
mod private;
mod read;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

pub use new::{tidy, write_public, write_secret, write_secret_for};
pub use owner::{
    as_folders_owner, as_owner_of, in_state, is_in_anothers_hands, not_roots_own, refuse_links_of_others,
    unreadable_to_owner,
};
pub use private::{close_to_others, is_open_to_others, make_all_private};
pub use read::{ReadError, line, line_of_text, open_named, read, read_octets, read_plain, read_text, without_mark};

/// More octets than any file of the state directory that is read as a whole.
const STATE_FILE: u64 = 16 << 20;

/// A file with all its content, synced to disk, that does not have its own name yet.
pub struct Whole(NamedTempFile);

impl Whole {
    /// Writes a file for `folder` with this mode. If `like` is given, the file belongs to the owner of `like`. Blocks.
    pub fn write(folder: &Path, content: &[u8], mode: u32, like: Option<&Path>) -> io::Result<Self> {
        // The name begins with a dot until the file is complete, because the configuration reads all *.toml.
        let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder)?;
        like.map_or(Ok(()), |like| give(file.as_file(), like))?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        Ok(Whole(file))
    }

    /// Gives the file to a user and a group. Only root can do that.
    pub fn owned_by(self, (uid, gid): (u32, u32)) -> io::Result<Self> {
        fchown(self.0.as_file(), Some(uid), Some(gid))?;
        Ok(self)
    }

    /// Gives the file its name and replaces a file with that name. After a power cut, one of the two files is there.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        self.0.persist(path).map_err(|error| error.error)?;
        sync_folder(path)
    }

    /// Gives the file its name. Returns [`io::ErrorKind::AlreadyExists`] if another file has it.
    pub fn name(self, path: &Path) -> io::Result<()> {
        self.0.persist_noclobber(path).map_err(|error| error.error)?;
        sync_folder(path)
    }
}

/// Replaces or creates a file with mode 0600 that belongs to the owner of its folder. Blocks.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = folder(path);
    Whole::write(folder, content, 0o600, Some(folder))?.replace(path)
}

/// Replaces a file, and keeps its owner and permissions. If the path is a link, its target is replaced, unless another user than root can
/// put links there: then root does it with that user's rights, or not at all. Blocks.
pub fn replace_alike(path: &Path, content: &[u8]) -> io::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let (whole, path, found) = as_folders_owner(path, || {
        let (path, found) = match is_root && fs::metadata(folder(path))?.mode() & 0o022 != 0 {
            true => (path.to_owned(), open_to_read(path)?.metadata()?),
            false => (path.canonicalize()?, fs::metadata(path)?),
        };
        Ok::<_, io::Error>((Whole::write(folder(&path), content, found.mode() & 0o7777, None)?, path, found))
    })?;
    // Only root can give a file away, so this is not done with the rights of the folder's owner.
    let whole = if is_root { whole.owned_by((found.uid(), found.gid()))? } else { whole };
    as_folders_owner(&path, || whole.replace(&path))
}

/// The folder that a file is in.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs the folder, because a power cut could otherwise bring the old name back.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// Creates a folder and those above it. Each belongs to the owner of the folder that it is created in.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    make(dir, None, 0o777)
}

/// Creates a folder and those above it for the owner of `like`.
pub fn make_dir_for(like: &Path, dir: &Path) -> io::Result<()> {
    make(dir, Some(like), 0o777)
}

/// Creates a folder with mode 0700, regardless of the umask. A folder that exists is left unchanged.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    make(dir, None, 0o700)
}

fn make(dir: &Path, like: Option<&Path>, mode: u32) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    let above = folder(dir);
    make(above, like, mode)?;
    match fs::DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    give(&open(OpenOptions::new().read(true), OFlags::DIRECTORY, dir)?, like.unwrap_or(above))
}

/// Reads a text file of the state directory, without a byte order mark. Returns an error if the name is a link, a pipe or a device, or if
/// the file is too large: root may run the command, and must not hang on something that another user put there.
pub fn read_state(path: &Path) -> io::Result<Vec<u8>> {
    read_state_octets(path).map(without_mark)
}

/// Reads a file of the state directory that is not text, under the same conditions as [`read_state`].
pub fn read_state_octets(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    open_to_read(path)?.take(STATE_FILE + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > STATE_FILE { Err(invalid("is larger than 16 MiB; remove it")) } else { Ok(octets) }
}

/// Opens a regular file to read it, under the conditions of [`open_regular`].
pub fn open_to_read(path: &Path) -> io::Result<File> {
    open_regular(OpenOptions::new().read(true), path)
}

/// Opens a regular file. Returns an error, and never waits, if its name is a link, a pipe or a device.
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = match open(options, OFlags::NONBLOCK, path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(invalid("is a link, and none is followed here; remove it"));
        }
        file => file?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(invalid("is not a file; remove it")) }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Opens a lock file and creates it with mode 0600 if it is missing. It belongs to the owner of its folder. Returns an error if the name is
/// a symbolic link or one of several hard links: root would otherwise give away a file that lies elsewhere.
pub fn lock_file(path: &Path) -> io::Result<File> {
    // NONBLOCK, so that opening a pipe does not wait.
    let mut options = OpenOptions::new();
    let file = open(options.read(true).write(true).create(true).truncate(false).mode(0o600), OFlags::NONBLOCK, path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(invalid("is not a file of its own; remove it"));
    }
    give(&file, folder(path))?;
    Ok(file)
}

/// Opens this path without following a symbolic link at its end.
fn open(options: &mut OpenOptions, flags: OFlags, path: &Path) -> io::Result<File> {
    options.custom_flags((flags | OFlags::NOFOLLOW).bits().cast_signed()).open(path)
}

/// Gives a file to the owner of `like`, which is its folder or the file that it replaces. Does nothing unless this process is root.
fn give(file: &File, like: &Path) -> io::Result<()> {
    match foreign(&file.metadata()?, like)? {
        Some((uid, gid)) => fchown(file, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// Returns the owner of `like`, if that is another user and this process is root.
fn foreign(ours: &fs::Metadata, like: &Path) -> io::Result<Option<(u32, u32)>> {
    let like = fs::metadata(like)?;
    let owner = (like.uid(), like.gid());
    Ok((rustix::process::geteuid().is_root() && (ours.uid(), ours.gid()) != owner).then_some(owner))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_lock_neither_follows_a_link_nor_empties_what_it_finds() {
        let dir = tempfile::tempdir().unwrap();
        let [lock, shadow] = [".lock", "shadow"].map(|name| dir.path().join(name));
        fs::write(&shadow, "root:*:1::::::").unwrap();
        symlink(&shadow, &lock).unwrap();
        lock_file(&lock).unwrap_err();
        fs::remove_file(&lock).unwrap();
        fs::hard_link(&shadow, &lock).unwrap();
        assert!(lock_file(&lock).unwrap_err().to_string().contains("not a file of its own"));
        fs::remove_file(&lock).unwrap();
        symlink(dir.path().join("nowhere"), &lock).unwrap();
        lock_file(&lock).unwrap_err();
        assert!(!dir.path().join("nowhere").exists(), "nothing is made where a link leads");
        fs::remove_file(&lock).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &lock, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        lock_file(&lock).unwrap_err();
        assert_eq!(fs::read_to_string(&shadow).unwrap(), "root:*:1::::::");

        fs::remove_file(&lock).unwrap();
        fs::write(&lock, "kept").unwrap();
        lock_file(&lock).unwrap().lock().unwrap();
        assert_eq!(fs::read_to_string(&lock).unwrap(), "kept");
    }
}
