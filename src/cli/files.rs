//! Files that commands write: secrets only for their owner, and nothing that is already there is overwritten.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::onboarding::owned;

/// Writes a private key or another secret: mode 0600, and an error where the file exists.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_new(path, content, 0o600, None)
}

/// The same for the owner of `like`, who has to be able to read it: where root writes, that is somebody else.
pub(crate) fn write_secret_for(like: &Path, path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_new(path, content, 0o600, Some(like))
}

/// Writes a file that anyone may read; an error where it exists.
pub(crate) fn write_public(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    write_new(path, content, 0o644, None)
}

fn write_new(path: &Path, content: &[u8], mode: u32, like: Option<&Path>) -> anyhow::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            anyhow::bail!("{} is already there and is never overwritten; move it away first", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    };
    let given = like.filter(|like| like.exists()).map_or(Ok(()), |like| owned::give(&file, like));
    let written = given.and_then(|()| file.write_all(content)).and_then(|()| file.sync_all());
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// A path without `..` where that is certain to be the same place.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_only_its_owners_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/test.pem");
        write_secret(&path, b"first").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = write_secret(&path, b"second").unwrap_err().to_string();
        assert!(error.contains("never overwritten"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
    }
}
