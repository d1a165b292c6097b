//! Writes files for commands: secrets are readable by their owner only, and no existing file is overwritten. A file gets its name once it
//! is complete, so an interrupted command leaves no half-written key. In the folder of another user, or through that user's link, root
//! writes with that user's rights.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Whole, as_owner_of, folder, make_dir, make_dir_for};

/// Writes a private key or another secret with mode 0600. It belongs to the owner of its folder. Returns an error if the file exists.
pub fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    write_new(path, content, 0o600, None)
}

/// Like [`write_secret`], but the file and new folders belong to the owner of `like`, who must be able to read them, whoever owns the
/// folder.
pub fn write_secret_for(like: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    write_new(path, content, 0o600, Some(like))
}

/// Writes a file that everybody may read, regardless of the umask. It belongs to the owner of its folder. Returns an error if it exists.
pub fn write_public(path: &Path, content: &[u8]) -> io::Result<()> {
    write_new(path, content, 0o644, None)
}

fn write_new(path: &Path, content: &[u8], mode: u32, like: Option<&Path>) -> io::Result<()> {
    let like = like.filter(|like| like.exists());
    let dir = folder(path);
    let said = |error: &io::Error, what: String| io::Error::new(error.kind(), what);
    let made = as_owner_of(dir, || like.map_or_else(|| make_dir(dir), |like| make_dir_for(like, dir)));
    made.map_err(|error| said(&error, format!("cannot make {}: {error}", dir.display())))?;
    let write = || {
        let whole = as_owner_of(dir, || Whole::write(dir, content, mode, Some(like.unwrap_or(dir))))?;
        // Only root can give a file away.
        let whole = match like.filter(|_| rustix::process::geteuid().is_root()) {
            Some(like) => {
                let owner = fs::metadata(like)?;
                whole.owned_by((owner.uid(), owner.gid()))?
            }
            None => whole,
        };
        as_owner_of(dir, || whole.name(path))
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let what = format!("{} is already there and is never overwritten; move it away first", path.display());
            said(&error, what)
        }
        _ => said(&error, format!("cannot write {}: {error}", path.display())),
    })
}

/// Returns a path without `..`, if the canonical path can be found.
pub fn tidy(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_root_writes_belongs_to_the_owner_of_its_folder() {
        use std::os::unix::fs::{MetadataExt, chown};
        let dir = tempfile::tempdir().unwrap();
        // Only root can give files away.
        if dir.path().metadata().unwrap().uid() != 0 {
            return;
        }
        chown(dir.path(), Some(12_345), Some(54_321)).unwrap();
        let [secret, public] = ["test.pem", "certs/ca.pem"].map(|name| dir.path().join(name));
        write_secret(&secret, b"x").unwrap();
        write_public(&public, b"x").unwrap();
        for path in [&secret, &public, folder(&public)] {
            let found = path.metadata().unwrap();
            assert_eq!((found.uid(), found.gid()), (12_345, 54_321), "{}", path.display());
        }
    }

    #[test]
    fn a_secret_is_only_its_owners_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/test.pem");
        write_secret(&path, b"first").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = write_secret(&path, b"second").unwrap_err().to_string();
        assert!(error.contains("never overwritten"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1, "nothing else is left there");
    }
}
