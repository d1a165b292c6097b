//! Keeps customers' mail readable by its owner only: folders 0700, files 0600, regardless of the umask and of what existed before.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::umask;

/// Sets the umask so that files and folders that this process creates are private, unless the code sets another mode.
pub fn make_all_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

/// Removes the rights of other users from everything in a folder, but not from the folder itself, which may be the operator's. Symbolic
/// links are left alone. Continues after an error and returns the first one. Blocks.
pub fn close_to_others(dir: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let closed = entry.metadata().and_then(|found| {
            if found.is_symlink() {
                return Ok(());
            }
            if is_open_to_others(&found) {
                fs::set_permissions(entry.path(), Permissions::from_mode(found.mode() & 0o700))?;
            }
            if found.is_dir() { close_to_others(&entry.path()) } else { Ok(()) }
        });
        result = result.and(closed);
    }
    result
}

/// Returns true if other users have any right on this file.
pub fn is_open_to_others(found: &fs::Metadata) -> bool {
    found.mode() & 0o077 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_there_before_is_closed_to_others_and_links_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join("state").join(name);
        fs::create_dir_all(at("spool/quarantine")).unwrap();
        let outside = dir.path().join("outside");
        for (path, mode) in [
            (at("spool/1.seg"), 0o644),
            (at("spool/quarantine/LIST"), 0o666),
            (at("script"), 0o755),
            (outside.clone(), 0o644),
        ] {
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        for name in ["", "spool", "spool/quarantine"] {
            fs::set_permissions(at(name), Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(&outside, at("link")).unwrap();
        close_to_others(&at("")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        for (name, expected) in [
            ("", 0o755),
            ("spool", 0o700),
            ("spool/quarantine", 0o700),
            ("spool/1.seg", 0o600),
            ("spool/quarantine/LIST", 0o600),
            ("script", 0o700),
        ] {
            assert_eq!(mode(&at(name)), expected, "{name}");
        }
        assert_eq!(mode(&outside), 0o644);
    }
}
