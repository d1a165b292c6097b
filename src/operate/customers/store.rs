//! Stores customers' files on disk: one writer at a time, each version written completely, old versions kept.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use crate::files::{self, Whole, folder};
use crate::hex::hex;
use crate::message::CustomerId;
use crate::operate::{Error, ErrorKind};
use crate::time::Timestamp;

/// The number of old versions that are kept of a customer's file.
const KEPT: usize = 20;

/// The version of a file: a digest of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// Returns the version of a text.
    pub fn of(text: &str) -> Self {
        Version(hex(&digest(&SHA256, text.as_bytes()).as_ref()[..16]))
    }

    /// Makes the version that somebody has read before.
    pub fn named(text: &str) -> Self {
        Version(text.to_owned())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Locks customers' files against changes until the lock is dropped. Waits for the current holder. A reload also takes the lock, so that it
/// never replaces newer content with older.
pub fn hold_changes(state_dir: &Path) -> Result<File, Error> {
    let path = state_dir.join("customers.lock");
    let locked = files::make_private_dir(state_dir).and_then(|()| files::lock_file(&path)).and_then(|file| {
        file.lock()?;
        Ok(file)
    });
    locked.map_err(|error| {
        Error::not_written(&error, "run the command as the user that runs the relay or as root; nothing was changed")
            .within(&format!("cannot use {}", path.display()))
    })
}

/// Reads a customer's file. Returns `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    match files::read_text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::failed(
            format!("cannot read {}: {error}", path.display()),
            "make sure that the user who runs the command can read it",
        )),
    }
}

/// Refuses to change a text that differs from the one that was read.
pub(super) fn check_version(text: &str, expected: Option<&Version>) -> Result<(), Error> {
    let now = Version::of(text);
    if expected.is_none_or(|expected| *expected == now) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::ChangedMeanwhile,
        format!("the customer's file was changed since you read it: it is version {now} now"),
        "read it again, and make your change in what it says now",
    ))
}

/// Keeps a version that is about to be replaced or removed. Returns its file.
pub(super) fn keep(state_dir: &Path, id: &CustomerId, text: &str) -> Result<PathBuf, Error> {
    let all = state_dir.join("customers");
    let dir = all.join(id.as_str());
    // The names sort by time. The lock keeps others from taking the same one.
    let name = |millis: u64| dir.join(format!("{millis:015}.toml"));
    let now = Timestamp::now().as_millis();
    let path = (now..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(now));
    let kept = files::in_state(&[state_dir, &all, &dir], || {
        files::make_private_dir(&all)?;
        files::make_private_dir(&dir)?;
        Whole::write(&dir, text.as_bytes(), 0o600, Some(&dir))?.replace(&path)?;
        let mut versions: Vec<PathBuf> =
            fs::read_dir(&dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        versions.retain(|path| path.extension().is_some_and(|end| end == "toml"));
        versions.sort();
        for old in &versions[..versions.len().saturating_sub(KEPT)] {
            fs::remove_file(old)?;
        }
        Ok(())
    });
    kept.map_err(|error: io::Error| {
        Error::not_written(&error, "make room there, or run the command as the user that runs the relay or as root")
            .within(&format!("the old version cannot be kept in {}, so nothing was changed", dir.display()))
    })?;
    Ok(path)
}

/// Replaces a customer's file, and keeps its owner and permissions.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    files::replace_alike(path, text.as_bytes()).map_err(|error| {
        Error::not_written(&error, "make sure that its folder can be written; nothing was changed")
            .within(&format!("cannot change {}", path.display()))
    })
}

/// Removes a customer's file, durably.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let removed = fs::remove_file(path).and_then(|()| File::open(folder(path))?.sync_all());
    removed.map_err(|error| {
        Error::not_written(&error, "make sure that its folder can be written")
            .within(&format!("cannot remove {}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_versions_are_kept_whole() {
        let dir = tempfile::tempdir().unwrap();
        let id = CustomerId::new("a");
        for n in 0..KEPT + 3 {
            keep(dir.path(), &id, &format!("name = \"{n}\"")).unwrap();
        }
        let mut kept: Vec<String> = fs::read_dir(dir.path().join("customers/a"))
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        kept.sort_by_key(|text| text.len());
        assert_eq!((kept.len(), kept.contains(&"name = \"22\"".to_owned())), (KEPT, true));
        assert!(!kept.contains(&"name = \"2\"".to_owned()));
    }

    #[test]
    fn a_text_that_was_changed_meanwhile_is_another_version() {
        check_version("a", None).unwrap();
        check_version("a", Some(&Version::of("a"))).unwrap();
        for other in [Version::of("b"), Version::named("*"), Version::named("")] {
            assert_eq!(check_version("a", Some(&other)).unwrap_err().kind, ErrorKind::ChangedMeanwhile);
        }
    }
}
