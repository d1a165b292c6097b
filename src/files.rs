//! Files that are there whole or not at all, whatever happens meanwhile, and that belong to whoever has to read them: a command
//! that root runs would else leave files behind that the relay's own user cannot read, and a verdict that cannot be read counts
//! as none.
//!
//! That user is the one who reads mail from the network, so root trusts no name in its folders: nothing is opened, emptied or
//! given away through a link that somebody laid there.

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
pub use owner::{in_state, not_roots_own};
pub use private::{close_to_others, is_open_to_others, make_all_private};
pub use read::{ReadError, line, line_of_text, read, read_plain, read_text, without_mark};

/// More than any file of the state directory holds that is read whole.
const STATE_FILE: u64 = 16 << 20;

/// A file with all its content, synced, that has no name yet.
pub struct Whole(NamedTempFile);

impl Whole {
    /// Writes one for `folder`, with these permissions (as in chmod). `like`: for the owner of that. Blocks.
    pub fn write(folder: &Path, content: &[u8], mode: u32, like: Option<&Path>) -> io::Result<Self> {
        // Hidden until it has its name: configuration reads *.toml.
        let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder)?;
        like.map_or(Ok(()), |like| give(file.as_file(), like))?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        Ok(Whole(file))
    }

    /// Gives it to a user and a group; only root can.
    pub fn owned_by(self, (uid, gid): (u32, u32)) -> io::Result<Self> {
        fchown(self.0.as_file(), Some(uid), Some(gid))?;
        Ok(self)
    }

    /// Gives it a name in its folder, in place of the file that has it: after a power cut there is the one or the other.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        self.0.persist(path).map_err(|error| error.error)?;
        sync_folder(path)
    }

    /// Gives it a name in its folder that no file has; else the error is [`io::ErrorKind::AlreadyExists`].
    pub fn name(self, path: &Path) -> io::Result<()> {
        self.0.persist_noclobber(path).map_err(|error| error.error)?;
        sync_folder(path)
    }
}

/// Replaces a file, or makes it: mode 0600, of the owner of its folder. Blocks.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = folder(path);
    Whole::write(folder, content, 0o600, Some(folder))?.replace(path)
}

/// The folder that a file is in.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Without this a power cut may bring the old name back.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// Makes a folder with those above it; each belongs to the owner of the one it is in.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    make(dir, None, 0o777)
}

/// The same for the owner of `like`.
pub fn make_dir_for(like: &Path, dir: &Path) -> io::Result<()> {
    make(dir, Some(like), 0o777)
}

/// The same for that owner alone, whatever the umask. A folder that is there stays as it is.
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

/// Reads a text file of the state directory, without a byte order mark. Returns an error if its name is a link, a pipe or a device, or
/// if it is too long: the command that reads it may be root's, and must not wait for what somebody else put there.
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

/// Opens a file to be locked, and makes it, for its owner alone, where it is missing: it belongs to the owner of its folder. An error
/// where its name is a link, or another name of some file elsewhere: as root we would give that file away.
pub fn lock_file(path: &Path) -> io::Result<File> {
    // What is no file is not waited for.
    let mut options = OpenOptions::new();
    let file = open(options.read(true).write(true).create(true).truncate(false).mode(0o600), OFlags::NONBLOCK, path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(invalid("is not a file of its own; remove it"));
    }
    give(&file, folder(path))?;
    Ok(file)
}

/// Opens what has this very name, not what a link of this name leads to.
fn open(options: &mut OpenOptions, flags: OFlags, path: &Path) -> io::Result<File> {
    options.custom_flags((flags | OFlags::NOFOLLOW).bits().cast_signed()).open(path)
}

/// Gives a file to the owner of `like`: a folder it is in, or the file it replaces. Only root can, and only root needs to.
fn give(file: &File, like: &Path) -> io::Result<()> {
    match foreign(&file.metadata()?, like)? {
        Some((uid, gid)) => fchown(file, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// The owner of `like`, where that is another one and we are root.
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
