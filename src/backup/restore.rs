//! Restores an archive: first a plan, which says what would be done and what speaks against it, then the files, the server file last.
//! A restore that is interrupted is run again.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Archive, Error, Owner, Role, Saved, digest};
use crate::database;
use crate::files::{self, Whole};
use crate::operate::socket::socket_path;
use crate::time::Timestamp;

/// What a restore would do to each file.
pub struct Plan<'a> {
    archive: &'a Archive,
    root: PathBuf,
    steps: Vec<Step<'a>>,
}

/// What happens to one file.
pub struct Step<'a> {
    /// The file in the archive.
    saved: &'a Saved,
    content: &'a [u8],
    /// Where it comes to.
    pub path: PathBuf,
    pub doing: Doing,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It is written: nothing is there.
    Write,
    /// The same is there already.
    Keep,
    /// It takes the place of something older.
    Replace,
    /// Something newer is there: nothing is restored at all.
    Newer,
}

impl<'a> Plan<'a> {
    /// Compares the archive with what is there. `root` stands for `/`.
    pub fn make(archive: &'a Archive, root: &Path) -> Result<Self, Error> {
        let state_dir = below(root, &archive.manifest.state_dir);
        let mut steps = Vec::new();
        for (saved, content) in archive.manifest.files.iter().zip(&archive.contents) {
            let path = below(root, &saved.path);
            let doing = compare(&path, saved, &state_dir).map_err(Error::file("cannot look at", &path))?;
            steps.push(Step { saved, content, path, doing });
        }
        // What configuration refers to is there before it.
        steps.sort_by_key(|step| step.saved.role);
        Ok(Plan { archive, root: root.to_owned(), steps })
    }

    /// The files, in the order in which they are written.
    pub fn steps(&self) -> &[Step<'a>] {
        &self.steps
    }

    /// Where the server file comes to.
    pub fn server_file(&self) -> PathBuf {
        below(&self.root, &self.archive.manifest.server_file)
    }

    /// Why it must not be carried out, with what to do; empty where it may.
    pub fn objections(&self) -> Vec<String> {
        let state_dir = self.state_dir();
        let mut objections = Vec::new();
        if UnixStream::connect(socket_path(&state_dir)).is_ok() {
            objections.push(format!(
                "a relay is running with {}: stop it first (systemctl stop postbud)",
                state_dir.display()
            ));
        }
        let root_works = rustix::process::geteuid().is_root();
        let is_relays = |step: &Step<'_>| step.saved.owner == Owner::Relay;
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
                "{path} is newer than the archive and is another: move it away if the archive's is the right one"
            ));
        }
        objections
    }

    /// Writes the files. What was written before an error stays.
    pub fn carry_out(&self) -> Result<(), Error> {
        let state_dir = self.state_dir();
        files::make_private_dir(&state_dir).map_err(Error::file("cannot make", &state_dir))?;
        let owner = fs::metadata(&state_dir).map_err(Error::file("cannot look at", &state_dir))?;
        let owner = (owner.uid(), owner.gid());
        for step in self.steps.iter().filter(|step| matches!(step.doing, Doing::Write | Doing::Replace)) {
            let written = match step.saved.role {
                Role::State => files::in_state(&[&state_dir], || step.write(None)),
                Role::Named | Role::Customer | Role::Server => step.write(Some(owner)),
            };
            written.map_err(Error::file("cannot write", &step.path))?;
        }
        Ok(())
    }

    fn state_dir(&self) -> PathBuf {
        below(&self.root, &self.archive.manifest.state_dir)
    }
}

impl Step<'_> {
    /// Writes the file. `relay` is who gets it, where it was the relay's; below the state directory it is so anyhow.
    fn write(&self, relay: Option<(u32, u32)>) -> io::Result<()> {
        let folder = files::folder(&self.path);
        let is_secret = self.saved.mode & 0o077 == 0;
        let relay = relay.filter(|_| self.saved.owner == Owner::Relay && rustix::process::geteuid().is_root());
        if !folder.is_dir() {
            match is_secret {
                true => files::make_private_dir(folder)?,
                false => files::make_dir(folder)?,
            }
            // A folder of secrets is of whoever reads them.
            if let Some((uid, gid)) = relay.filter(|_| is_secret) {
                chown(folder, Some(uid), Some(gid))?;
            }
        }
        let whole = Whole::write(folder, self.content, self.saved.mode, None)?;
        if is_database(&self.path) {
            remove_beside(&self.path)?;
        }
        match relay {
            Some(owner) => whole.owned_by(owner)?.replace(&self.path),
            None => whole.replace(&self.path),
        }
    }
}

/// Removes the write-ahead log of the database that is replaced: SQLite would play it into the new one.
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
        // A database that cannot be copied is damaged: it is another one than the archive's.
        Role::State if is_database(path) => {
            files::in_state(&[state_dir], || database::snapshot(path).map_err(io::Error::other)).unwrap_or_default()
        }
        Role::State => files::in_state(&[state_dir], || files::read_state(path))?,
        Role::Named | Role::Customer | Role::Server => fs::read(path)?,
    };
    if digest(&content) == saved.sha256 {
        return Ok(Doing::Keep);
    }
    let there = u64::try_from(found.mtime()).unwrap_or_default();
    let saved = saved.modified.parse::<Timestamp>().map_or(0, Timestamp::as_secs);
    Ok(if there > saved { Doing::Newer } else { Doing::Replace })
}

fn is_database(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == database::FILE)
}
