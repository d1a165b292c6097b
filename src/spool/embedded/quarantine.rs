//! The quarantine: copies of everything that cannot be read. The program never deletes them.
//!
//! `quarantine/` has one file for each damaged stretch, with the octets as they were in the segment. `LIST` has one line for each: time,
//! file, the messages that are lost with it (as far as known), and the reason. What the next start may find belongs to the messages after
//! `unread:`; a later line says what became of them ([`lost`](super::lost)). A file name gives the message and the place of the octets:
//! `<message>-<segment's number>-<its mark>-<first octet>-<octet behind the last>`. The extension is `.record`, or `.torn` for the remains
//! of a write that a crash interrupted. Such remains may contain octets of older mail, from an earlier segment in the same file.
//!
//! The file of a segment with unreadable parts also moves here, when no mail waits in it: `<segment>.retired`, with the damaged stretches,
//! and holes for the rest. So those blocks of the disk never hold mail again, neither as another segment nor as another file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::dir::Dir;
use super::frame;
use super::lost::{self, Fate, TORN, folder};
use crate::message::QueueId;

/// A damaged stretch of a segment.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// The number of its segment.
    pub segment: u32,
    /// The mark of its segment.
    pub mark: u64,
    pub start: u64,
    pub end: u64,
    /// The messages that were in it, as far as known.
    pub ids: Vec<QueueId>,
    /// What is wrong with it.
    pub why: String,
}

const RETIRED: &str = "retired";
/// The smallest part of a file that a file system can free.
const BLOCK: u64 = 4096;
const RECORD: &str = "record";

impl Stretch {
    /// Returns the name of the copy, without the extension.
    fn name(&self) -> String {
        let of = self.ids.first().map_or_else(|| "unknown".to_owned(), QueueId::to_string);
        format!("{of}{}", self.place())
    }

    /// Returns the part of the name that gives the place.
    fn place(&self) -> String {
        let segment = frame::segment_name(self.segment, self.mark);
        format!("-{segment}-{:08x}-{:08x}", self.start, self.end)
    }
}

pub(super) fn prepare(spool: &Path) -> io::Result<()> {
    fs::create_dir_all(folder(spool))
}

/// Returns how many stretches were set aside since the spool was created, not counting torn writes.
pub(super) fn count(spool: &Path) -> u64 {
    let entries = fs::read_dir(folder(spool)).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == RECORD)).count() as u64
}

/// Returns whether this stretch was set aside before as a torn write; `None` if it was not set aside before. A segment that cannot be
/// sealed is scanned at each start, but it is the last segment only at the first start after the crash.
pub(super) fn was_torn(spool: &Path, stretch: &Stretch) -> io::Result<Option<bool>> {
    let place = stretch.place();
    let copy = |name: String| {
        let (copy, extension) = name.rsplit_once('.')?;
        let is_copy = copy.ends_with(&place) && (extension == TORN || extension == RECORD);
        is_copy.then_some(extension == TORN)
    };
    Ok(names(spool)?.into_iter().find_map(copy))
}

/// Copies a stretch, and lists its messages `ids` with this fate. `torn` is true for the remains of a write that a crash interrupted.
/// Returns the path of the copy after it is durable, or `None` if the stretch was set aside before.
pub(super) fn set_aside(
    spool: &Dir,
    source: &File,
    stretch: &Stretch,
    (fate, ids): (Fate, &[QueueId]),
    torn: bool,
) -> io::Result<Option<PathBuf>> {
    if was_torn(&spool.path, stretch)?.is_some() {
        return Ok(None);
    }
    let dir = folder(&spool.path);
    let name = format!("{}.{}", stretch.name(), if torn { TORN } else { RECORD });
    let path = dir.join(&name);
    let partial = dir.join(format!("{name}.partial"));
    let mut copy = File::create(&partial)?;
    copy_readable(source, stretch.start, stretch.end, &mut copy)?;
    copy.sync_all()?;
    lost::list(&spool.path, &name, (fate, ids), &stretch.why)?;
    fs::rename(&partial, &path)?;
    File::open(&dir)?.sync_all()?;
    Ok(Some(path))
}

/// Returns the names of all files in the quarantine.
pub(super) fn names(spool: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(folder(spool))?.map(|entry| Ok(entry?.file_name().into_string().ok()));
    names.filter_map(Result::transpose).collect()
}

/// Returns the damaged stretches of a segment, read from the names of the copies.
pub(super) fn damaged_in(names: &[String], number: u32, mark: u64) -> Vec<Range<u64>> {
    let segment = frame::segment_name(number, mark);
    names.iter().filter_map(|name| stretch_in(&segment, name)).collect()
}

/// Returns the stretch that a file of this name is a copy of, if it is a stretch of this segment and not a torn write.
fn stretch_in(segment: &str, name: &str) -> Option<Range<u64>> {
    let (_, place) = name.strip_suffix(RECORD)?.strip_suffix('.')?.rsplit_once(segment)?;
    let (start, end) = place.strip_prefix('-')?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// Durably moves the file of a segment out of use, into the quarantine.
pub(super) fn retire(spool: &Dir, segment: &Path) -> io::Result<PathBuf> {
    let dir = folder(&spool.path);
    let name = segment.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let path = dir.join(name).with_extension(RETIRED);
    match fs::rename(segment, &path) {
        // The file was moved before, but that may not have been durable.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => {}
        renamed => renamed?,
    }
    File::open(&dir)?.sync_all()?;
    spool.sync()?;
    Ok(path)
}

/// Frees the undamaged parts of a retired file. File systems that cannot do that keep the whole file.
pub(super) fn free_around(retired: &Path, damaged: &[Range<u64>]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(retired)?;
    for hole in around(damaged, file.metadata()?.len()) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::io::retry_on_intr(|| rustix::fs::fallocate(&file, flags, hole.start, hole.end - hole.start))?;
    }
    Ok(())
}

/// Returns the blocks of a file of `len` octets that lie completely outside of these stretches.
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

/// Copies what the disk returns. Unreadable blocks become zeros.
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
        // Pairs of start and end, because clippy takes a list with one range for a mistake.
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
