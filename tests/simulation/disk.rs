//! A simulated disk: real files, and what they were before the changes that no sync covers.
//!
//! While a process lives, its files are what it wrote, as with any page cache. A power cut takes back what was not synced: of each page of
//! 4 KiB either all changes since the last sync or none, and of the names made, changed and removed since the folder's sync all from some
//! point on. Which, the seed says. What a failed sync did not write is never written later, although the cache shows it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustix::io::Errno;

use super::faults::{Fault, is_on};
use super::{here, threads};

const PAGE: u64 = 4096;

/// A change that a process is about to make.
pub enum Change<'a> {
    Create { path: &'a Path },
    Rename { from: &'a Path, to: &'a Path },
    Remove { path: &'a Path },
    Write { file: &'a File, at: u64, len: u64 },
    Length { file: &'a File, len: u64 },
    Reserve,
}

/// What goes wrong with a disk for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Every sync fails.
    Syncs,
    /// Every write fails.
    Writes,
    /// There is no room for more files and longer ones.
    Full,
    /// Syncs take up to a second.
    Slow,
}

pub struct Disk {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By file, what its octets were before changes that are not durable.
    files: Vec<Unsynced>,
    names: Vec<Named>,
    trouble: Option<DiskFault>,
    removed: u64,
}

struct Unsynced {
    inode: u64,
    file: File,
    before: Vec<Before>,
}

struct Before {
    at: u64,
    octets: Vec<u8>,
    len: u64,
    /// A sync failed that was to write the change.
    doomed: bool,
}

enum Named {
    Created(PathBuf),
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    /// The file has this name meanwhile.
    Removed {
        path: PathBuf,
        kept: PathBuf,
    },
}

impl Disk {
    /// A disk in this folder.
    pub fn new(root: &Path) -> io::Result<Disk> {
        fs::create_dir_all(root.join("removed"))?;
        fs::create_dir_all(root.join("state"))?;
        Ok(Disk { root: root.to_owned(), state: Mutex::default() })
    }

    /// Where the relay keeps its state.
    pub fn state_dir(&self) -> PathBuf {
        self.root.join("state")
    }

    pub fn set_trouble(&self, trouble: Option<DiskFault>) {
        self.state().trouble = trouble;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the disk")
    }

    /// The power fails: forgets what was not synced. `below` draws a number below another.
    pub fn loses_power(&self, mut below: impl FnMut(u64) -> u64) -> io::Result<()> {
        let mut state = self.state();
        for Unsynced { file, before, .. } in state.files.drain(..) {
            let salt = below(u64::MAX);
            let is_lost = |page: u64| (page ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 0;
            for Before { at, octets, len, doomed } in before.into_iter().rev() {
                let mut from = 0;
                while from < octets.len() as u64 {
                    let page = (at + from) / PAGE;
                    let until = ((page + 1) * PAGE - at).min(octets.len() as u64);
                    if doomed || is_lost(page) {
                        file.write_all_at(&octets[from as usize..until as usize], at + from)?;
                    }
                    from = until;
                }
                if is_lost(u64::MAX) {
                    file.set_len(len)?;
                }
            }
        }
        let kept = below(state.names.len() as u64 + 1) as usize;
        for named in state.names.drain(..).skip(kept).collect::<Vec<_>>().into_iter().rev() {
            match named {
                Named::Created(path) => fs::remove_file(path)?,
                Named::Renamed { from, to } => fs::rename(to, from)?,
                Named::Removed { path, kept } => fs::rename(kept, path)?,
            }
        }
        Ok(())
    }

    fn before(&self, change: &Change<'_>) -> io::Result<()> {
        let mut state = self.state();
        match (state.trouble, change) {
            (Some(DiskFault::Writes), Change::Write { .. } | Change::Length { .. }) => return Err(Errno::IO.into()),
            (Some(DiskFault::Full), Change::Create { .. } | Change::Reserve) => return Err(Errno::NOSPC.into()),
            _ => {}
        }
        match *change {
            Change::Create { path } => state.names.push(Named::Created(path.to_owned())),
            Change::Rename { from, to } => {
                // The real call says what is wrong with a name that is not there.
                if from.exists() {
                    state.names.push(Named::Renamed { from: from.to_owned(), to: to.to_owned() });
                }
            }
            Change::Remove { path } => {
                if path.exists() {
                    state.removed += 1;
                    let kept = self.root.join("removed").join(state.removed.to_string());
                    fs::hard_link(path, &kept)?;
                    state.names.push(Named::Removed { path: path.to_owned(), kept });
                }
            }
            Change::Write { file, at, len } => state.remember(file, at, len)?,
            Change::Length { file, len } => {
                let now = file.metadata()?.len();
                state.remember(file, len.min(now), now.saturating_sub(len))?;
            }
            Change::Reserve => {}
        }
        Ok(())
    }

    /// What stands in a file becomes durable, or what names a folder has.
    fn synced(&self, file: &File, until: &Mark) -> io::Result<()> {
        let mut state = self.state();
        let failed = state.trouble == Some(DiskFault::Syncs);
        if file.metadata()?.is_dir() {
            if failed {
                return Err(Errno::IO.into());
            }
            for named in state.names.drain(..) {
                if let Named::Removed { kept, .. } = named {
                    fs::remove_file(kept)?;
                }
            }
            return Ok(());
        }
        let inode = file.metadata()?.ino();
        if let Some(unsynced) = state.files.iter_mut().find(|unsynced| unsynced.inode == inode) {
            let covered = until.0.min(unsynced.before.len());
            if failed {
                unsynced.before[..covered].iter_mut().for_each(|before| before.doomed = true);
            } else {
                let doomed: Vec<_> = unsynced.before.drain(..covered).filter(|before| before.doomed).collect();
                unsynced.before.splice(..0, doomed);
            }
        }
        if failed { Err(Errno::IO.into()) } else { Ok(()) }
    }

    /// How far a sync reaches that begins now.
    fn mark(&self, file: &File) -> io::Result<Mark> {
        let inode = file.metadata()?.ino();
        Ok(Mark(self.state().files.iter().find(|unsynced| unsynced.inode == inode).map_or(0, |it| it.before.len())))
    }
}

/// How many changes of a file came before.
struct Mark(usize);

impl State {
    fn remember(&mut self, file: &File, at: u64, len: u64) -> io::Result<()> {
        let seen = file.metadata()?;
        let inode = seen.ino();
        let mut octets = vec![0; len.min(seen.len().saturating_sub(at)) as usize];
        file.read_exact_at(&mut octets, at)?;
        let before = Before { at, octets, len: seen.len(), doomed: false };
        match self.files.iter_mut().find(|unsynced| unsynced.inode == inode) {
            Some(unsynced) => unsynced.before.push(before),
            None => self.files.push(Unsynced { inode, file: file.try_clone()?, before: vec![before] }),
        }
        Ok(())
    }
}

/// Notes what is there before a change, or says why the change fails.
pub fn before(change: Change<'_>) -> io::Result<()> {
    let Some(machine) = here() else { return Ok(()) };
    if machine.is_dead() {
        return Err(Errno::IO.into());
    }
    machine.hardware.disk.before(&change)
}

/// Makes a file durable on a simulated disk. A sync of the log takes its time, and what is written meanwhile is not covered.
pub fn sync(file: &File, takes_time: bool) -> Option<io::Result<()>> {
    let machine = here()?;
    if machine.is_dead() {
        return Some(Err(Errno::IO.into()));
    }
    let disk = &machine.hardware.disk;
    let synced = disk.mark(file).and_then(|mark| {
        if takes_time && let Some(thread) = threads::this() {
            let most = if disk.state().trouble == Some(DiskFault::Slow) { 1000 } else { 4 };
            thread.rest(Duration::from_millis(1 + machine.below(most)));
        }
        if machine.is_dead() {
            return Err(Errno::IO.into());
        }
        if is_on(Fault::SkipsSync) && takes_time {
            return Ok(());
        }
        if is_on(Fault::SkipsFolderSync) && file.metadata()?.is_dir() {
            return Ok(());
        }
        disk.synced(file, &mark)
    });
    Some(synced)
}
