//! The quarantine: what cannot be read is copied here and never deleted by the program.
//!
//! `quarantine/` holds one file for each damaged stretch, its octets as they stood in the segment, and `LIST`, one line for
//! each: time, file, the messages it belonged to as far as that can be told, and why. A file's name says whose octets these
//! are and where they stood: `<message>-<segment's number>-<its mark>-<first octet>-<octet behind the last>`, then `.record`, or
//! `.torn` for the rest of a write that a crash cut short. Such a rest may have octets of older mail in it, from the file's time
//! as another segment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame;
use super::segment::Dir;
use crate::message::QueueId;
use crate::time::Timestamp;

/// A stretch of a segment.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// The number of its segment.
    pub segment: u32,
    /// The mark of its segment.
    pub mark: u64,
    pub start: u64,
    pub end: u64,
    /// Whose it was, as far as that can be told.
    pub ids: Vec<QueueId>,
    pub why: String,
}

const TORN: &str = "torn";
const RECORD: &str = "record";

impl Stretch {
    /// What its copy is called, but for the extension.
    fn name(&self) -> String {
        let of = self.ids.first().map_or_else(|| "unknown".to_owned(), QueueId::to_string);
        let segment = frame::segment_name(self.segment, self.mark);
        format!("{of}-{segment}-{:08x}-{:08x}", self.start, self.end)
    }
}

/// Makes the directory.
pub(super) fn prepare(spool: &Path) -> io::Result<()> {
    fs::create_dir_all(spool.join("quarantine"))
}

/// How many stretches of records were set aside since the spool was made.
pub(super) fn count(spool: &Path) -> u64 {
    let entries = fs::read_dir(spool.join("quarantine")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == RECORD)).count() as u64
}

/// Whether this stretch was set aside before, and then whether it was the rest of a torn write: a segment that cannot be closed is
/// scanned at each start, and only at the first one after the crash is it the last there is.
pub(super) fn was_torn(spool: &Path, stretch: &Stretch) -> Option<bool> {
    let path = spool.join("quarantine").join(stretch.name());
    let is_there = |extension| path.with_added_extension(extension).exists();
    if is_there(TORN) { Some(true) } else { is_there(RECORD).then_some(false) }
}

/// Copies a stretch. `torn`: the rest of a write that a crash cut short. Returns the copy's path once it is durable; `None` where
/// it was set aside before.
pub(super) fn set_aside(spool: &Dir, source: &File, stretch: &Stretch, torn: bool) -> io::Result<Option<PathBuf>> {
    if was_torn(&spool.path, stretch).is_some() {
        return Ok(None);
    }
    let dir = spool.path.join("quarantine");
    let name = format!("{}.{}", stretch.name(), if torn { TORN } else { RECORD });
    let path = dir.join(&name);
    let partial = dir.join(format!("{name}.partial"));
    let mut copy = File::create(&partial)?;
    copy_readable(source, stretch.start, stretch.end, &mut copy)?;
    copy.sync_all()?;
    let mut list = OpenOptions::new().append(true).create(true).open(dir.join("LIST"))?;
    let ids = stretch.ids.iter().map(QueueId::to_string).collect::<Vec<_>>().join(",");
    let ids = if ids.is_empty() { "-" } else { ids.as_str() };
    writeln!(list, "{}\t{name}\t{ids}\t{}", Timestamp::now(), stretch.why)?;
    list.sync_all()?;
    fs::rename(&partial, &path)?;
    File::open(&dir)?.sync_all()?;
    Ok(Some(path))
}

/// Copies what the disk gives; blocks it does not give become zeros.
fn copy_readable(source: &File, start: u64, end: u64, copy: &mut File) -> io::Result<()> {
    const BLOCK: u64 = 64 << 10;
    const SMALLEST: u64 = 4096;
    let mut buffer = vec![0; BLOCK as usize];
    let mut at = start;
    let mut step = BLOCK;
    while at < end {
        let want = step.min(end - at) as usize;
        match source.read_at(&mut buffer[..want], at) {
            Ok(0) => break,
            Ok(got) => {
                copy.write_all(&buffer[..got])?;
                at += got as u64;
                step = BLOCK;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if step > SMALLEST => step = SMALLEST,
            Err(_) => {
                buffer[..want].fill(0);
                copy.write_all(&buffer[..want])?;
                at += want as u64;
            }
        }
    }
    Ok(())
}
