//! The quarantine: what cannot be read is copied here and never deleted by the program.
//!
//! `quarantine/` holds one file for each damaged stretch, its octets as they stood in the segment, and `LIST`, one line for
//! each: time, file, the messages it belonged to as far as that can be told, and why. A file's name says whose octets these
//! are and where they stood: `<message>-<segment's number>-<its mark>-<first octet>-<octet behind the last>`, then `.record`, or
//! `.torn` for the rest of a write that a crash cut short. Such a rest may have octets of older mail in it, from the file's time
//! as another segment.
//!
//! The file of a segment in which something was unreadable comes here too, once nobody waits in it: `<segment>.retired`, with
//! its damaged stretches and holes for all the rest. So these blocks of the disk hold no mail again, neither as another segment
//! nor as another file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::dir::Dir;
use super::frame;
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

const RETIRED: &str = "retired";
/// What a file system gives out at once.
const BLOCK: u64 = 4096;
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

/// The names of all files in the quarantine.
pub(super) fn names(spool: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(spool.join("quarantine"))?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

/// The damaged stretches of a segment, by the names of what was set aside of it.
pub(super) fn damaged_in(names: &[String], number: u32, mark: u64) -> Vec<Range<u64>> {
    let segment = frame::segment_name(number, mark);
    names.iter().filter_map(|name| stretch_in(&segment, name)).collect()
}

/// The stretch that a file of this name is a copy of, if it is one of this segment and not torn.
fn stretch_in(segment: &str, name: &str) -> Option<Range<u64>> {
    let (_, place) = name.strip_suffix(RECORD)?.strip_suffix('.')?.rsplit_once(segment)?;
    let (start, end) = place.strip_prefix('-')?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// Takes the file of a segment out of use, durably: it loses its name and comes here.
pub(super) fn retire(spool: &Dir, segment: &Path) -> io::Result<PathBuf> {
    let dir = spool.path.join("quarantine");
    let name = segment.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let path = dir.join(name).with_extension(RETIRED);
    match fs::rename(segment, &path) {
        // It went before, but that may not have been durable.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => {}
        renamed => renamed?,
    }
    File::open(&dir)?.sync_all()?;
    spool.sync()?;
    Ok(path)
}

/// Gives back what of a retired file is sound. File systems that cannot do that keep it whole.
pub(super) fn free_around(retired: &Path, damaged: &[Range<u64>]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(retired)?;
    for hole in around(damaged, file.metadata()?.len()) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(&file, flags, hole.start, hole.end - hole.start))?;
    }
    Ok(())
}

/// The blocks of `len` octets that lie wholly outside of these stretches.
fn around(damaged: &[Range<u64>], len: u64) -> Vec<Range<u64>> {
    let mut damaged = damaged.to_vec();
    damaged.sort_by_key(|stretch| stretch.start);
    let mut holes = Vec::new();
    let mut at = 0;
    for stretch in damaged {
        holes.push(at..stretch.start / BLOCK * BLOCK);
        at = at.max(stretch.end.next_multiple_of(BLOCK));
    }
    holes.push(at..len);
    holes.retain(|hole| !hole.is_empty());
    holes
}

/// Copies what the disk gives; blocks it does not give become zeros.
fn copy_readable(source: &File, start: u64, end: u64, copy: &mut File) -> io::Result<()> {
    const MOST: u64 = 64 << 10;
    let mut buffer = vec![0; MOST as usize];
    let mut at = start;
    let mut step = MOST;
    while at < end {
        let want = step.min(end - at) as usize;
        match source.read_at(&mut buffer[..want], at) {
            Ok(0) => break,
            Ok(got) => {
                copy.write_all(&buffer[..got])?;
                at += got as u64;
                step = MOST;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if step > BLOCK => step = BLOCK,
            Err(_) => {
                buffer[..want].fill(0);
                copy.write_all(&buffer[..want])?;
                at += want as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copys_name_leads_back_to_its_place() {
        let stretch = |ids| Stretch { segment: 7, mark: 0xABCD, start: 64, end: 5000, ids, why: String::new() };
        for ids in [vec![], vec![QueueId::from_u64(99)]] {
            let name = stretch(ids).name();
            assert_eq!(stretch_in(&frame::segment_name(7, 0xABCD), &format!("{name}.record")), Some(64..5000));
            assert_eq!(stretch_in(&frame::segment_name(7, 0xABCE), &format!("{name}.record")), None);
            assert_eq!(stretch_in(&frame::segment_name(7, 0xABCD), &format!("{name}.torn")), None);
        }
        let segment = frame::segment_name(7, 1);
        assert_eq!(stretch_in(&segment, &format!("unknown-{segment}.record")), None);
        assert_eq!(stretch_in(&segment, &format!("unknown-{segment}é.record")), None);
    }

    #[test]
    fn what_is_given_back_never_touches_a_block_with_damage() {
        // Pairs of start and end: clippy takes a list of one range for a mistake.
        let of = |damaged: &[(u64, u64)], len| -> Vec<(u64, u64)> {
            let damaged: Vec<_> = damaged.iter().map(|&(start, end)| start..end).collect();
            around(&damaged, len).into_iter().map(|sound| (sound.start, sound.end)).collect()
        };
        assert_eq!(of(&[], 100), [(0, 100)]);
        assert_eq!(of(&[(64, 100)], 100), []);
        assert_eq!(of(&[(64, 100)], 10_000), [(4096, 10_000)]);
        assert_eq!(of(&[(4096, 8192)], 10_000), [(0, 4096), (8192, 10_000)]);
        assert_eq!(of(&[(4095, 8193)], 20_000), [(12_288, 20_000)]);
        assert_eq!(of(&[(9000, 9001), (100, 200), (150, 5000)], 20_000), [(12_288, 20_000)]);
    }
}
