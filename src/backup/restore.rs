//! Restores an archive: first makes a plan, which lists what would be done and any objections, then writes the files, the server file last.
//! An interrupted restore can be run again.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{Archive, Error, Owner, Role, Saved, digest};
use crate::config;
use crate::database;
use crate::files::{self, Whole};
use crate::operate::socket;
use crate::time::Timestamp;

/// The plan of a restore.
pub struct Plan<'a> {
    archive: &'a Archive,
    root: PathBuf,
    steps: Vec<RestoreStep<'a>>,
}

/// The step for one file.
pub struct RestoreStep<'a> {
    /// The file in the archive.
    saved: &'a Saved,
    content: &'a [u8],
    /// The path to restore to.
    pub path: PathBuf,
    pub doing: Doing,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// The file is written, because none exists.
    Write,
    /// The same file already exists.
    Keep,
    /// An older file, or the package's example, is replaced.
    Replace,
    /// A newer file exists, so nothing at all is restored.
    Newer,
}

impl<'a> Plan<'a> {
    /// Compares the archive with the existing files. `root` is used in place of `/`. `replace_newer` replaces newer files, too.
    pub fn make(archive: &'a Archive, root: &Path, replace_newer: bool) -> Result<Self, Error> {
        let state_dir = below(root, &archive.manifest.state_dir);
        let mut steps = Vec::new();
        for (saved, content) in archive.manifest.files.iter().zip(&archive.contents) {
            let path = below(root, &saved.path);
            let doing = match compare(&path, saved, &state_dir).map_err(Error::file("cannot look at", &path))? {
                Doing::Newer if replace_newer => Doing::Replace,
                doing => doing,
            };
            steps.push(RestoreStep { saved, content, path, doing });
        }
        // Files are restored before the configuration that refers to them.
        steps.sort_by_key(|step| step.saved.role);
        Ok(Plan { archive, root: root.to_owned(), steps })
    }

    /// Returns the files in the order in which they are written.
    pub fn steps(&self) -> &[RestoreStep<'a>] {
        &self.steps
    }

    /// Returns the path to which the server file is restored.
    pub fn server_file(&self) -> PathBuf {
        below(&self.root, &self.archive.manifest.server_file)
    }

    /// Returns the reasons why the plan must not be carried out, each with its remedy. None means that it may be.
    pub fn objections(&self) -> Vec<String> {
        let state_dir = self.state_dir();
        let mut objections = Vec::new();
        if socket::is_there(&state_dir) {
            objections.push(format!(
                "a relay is running with {}: stop it first (systemctl stop postbud)",
                state_dir.display()
            ));
        }
        let root_works = rustix::process::geteuid().is_root();
        let is_relays = |step: &RestoreStep<'_>| step.saved.owner == Owner::Relay;
        if root_works && !state_dir.is_dir() && self.steps.iter().any(is_relays) {
            objections.push(format!(
                "{} is missing, whose owner the files are for: install the package, or make it for the relay's user \
                 (install -d -m 700 -o postbud -g postbud {0})",
                state_dir.display()
            ));
        }
        for step in self.steps.iter().filter(|step| step.doing == Doing::Newer) {
            let path = step.path.display();
            objections.push(format!(
                "{path} is newer than the archive's and differs: if the archive's is the right one, move it away, or say --replace-newer"
            ));
        }
        objections
    }

    /// Writes the files. Files that were written before an error stay.
    pub fn carry_out(&self) -> Result<(), Error> {
        let state_dir = self.state_dir();
        files::make_private_dir(&state_dir).map_err(Error::file("cannot make", &state_dir))?;
        let owner = fs::metadata(&state_dir).map_err(Error::file("cannot look at", &state_dir))?;
        let owner = (owner.uid(), owner.gid());
        for step in self.steps.iter().filter(|step| matches!(step.doing, Doing::Write | Doing::Replace)) {
            let written = match step.saved.role {
                Role::State => files::in_state(&[&state_dir], || step.prepare(None)?.replace(&step.path)),
                Role::Named | Role::Customer | Role::Server => step.write(owner),
            };
            written.map_err(Error::file("cannot write", &step.path))?;
        }
        Ok(())
    }

    fn state_dir(&self) -> PathBuf {
        below(&self.root, &self.archive.manifest.state_dir)
    }
}

impl RestoreStep<'_> {
    /// Writes a file that is not below the state directory. It gets the owner `relay` if it belonged to the relay's user.
    fn write(&self, relay: (u32, u32)) -> io::Result<()> {
        let folder = files::folder(&self.path);
        // Only root can give a file away.
        let relay = Some(relay).filter(|_| self.saved.owner == Owner::Relay && geteuid().is_root());
        // In another user's folder with that user's rights: it may put a link in the way at any time.
        let whole = files::as_owner_of(folder, || self.prepare(relay))?;
        let whole = match relay {
            Some(owner) => whole.owned_by(owner)?,
            None => whole,
        };
        files::as_owner_of(folder, || whole.replace(&self.path))
    }

    /// Writes the content to a file without a name, and makes the folder if it is missing.
    fn prepare(&self, relay: Option<(u32, u32)>) -> io::Result<Whole> {
        let folder = files::folder(&self.path);
        let is_secret = self.saved.mode & 0o077 == 0;
        // The thread may have the rights of another user, to whom the folder then belongs.
        let relay = relay.filter(|_| geteuid().is_root());
        if !folder.is_dir() {
            match is_secret {
                true => files::make_private_dir(folder)?,
                false => files::make_dir(folder)?,
            }
            // A folder of secrets belongs to the user who reads them.
            if let Some((uid, gid)) = relay.filter(|_| is_secret) {
                chown(folder, Some(uid), Some(gid))?;
            }
        }
        let whole = Whole::write(folder, self.content, self.saved.mode, None)?;
        if is_database(&self.path) {
            remove_beside(&self.path)?;
        }
        Ok(whole)
    }
}

/// Removes the write-ahead log of the database that is replaced, because SQLite would apply it to the new one.
fn remove_beside(path: &Path) -> io::Result<()> {
    for end in database::BESIDE {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn compare(path: &Path, saved: &Saved, state_dir: &Path) -> io::Result<Doing> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Doing::Write),
        found => found?,
    };
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a file; move it away"));
    }
    let content = match saved.role {
        // A database that cannot be copied is damaged, so it counts as different from the archive's.
        Role::State if is_database(path) => {
            files::in_state(&[state_dir], || database::snapshot(path).map_err(io::Error::other)).unwrap_or_default()
        }
        Role::State => files::in_state(&[state_dir], || files::read_state(path))?,
        Role::Named | Role::Customer | Role::Server => files::read_octets(path)?,
    };
    if digest(&content) == saved.sha256 {
        return Ok(Doing::Keep);
    }
    // A package that was installed for this restore has written it, with the time of its build.
    if saved.role == Role::Server && config::is_untouched_example(path)? {
        return Ok(Doing::Replace);
    }
    let there = u64::try_from(found.mtime()).unwrap_or_default();
    let saved = saved.modified.parse::<Timestamp>().map_or(0, Timestamp::as_secs);
    Ok(if there > saved { Doing::Newer } else { Doing::Replace })
}

fn is_database(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == database::FILE)
}
