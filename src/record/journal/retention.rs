//! How long the journal is kept, and how large it may become.

use std::io;
use std::time::Duration;

use super::{Journal, rotated};
use crate::record::files::{JournalFile, Opened};
use crate::time::Timestamp;

/// Limits the journal. Whole files are removed, the oldest first, but never the file that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A file is removed when all of its events are older than this.
    pub age: Duration,
    /// The most octets on disk of all rotated files together.
    pub size: u64,
}

/// 30 days, and at most 5 GiB, which hold the events of some 50 million recipients.
impl Default for Retention {
    fn default() -> Self {
        Retention { age: Duration::from_secs(30 * 86_400), size: 5 << 30 }
    }
}

impl Journal {
    /// Removes files beyond the limits. While a file is being compressed, nothing is removed, because its final size is unknown.
    pub(super) fn retain(&self, retention: &Retention, now: Timestamp) -> io::Result<()> {
        if self.is_closing() {
            return Ok(());
        }
        let files = rotated(&self.path)?;
        // A file that was removed meanwhile counts as empty.
        let size = |file: &JournalFile| std::fs::metadata(&file.path).map_or(0, |found| found.len());
        let mut total: u64 = files.iter().map(size).sum();
        for file in files {
            let is_too_old = last_event(&file)?.is_some_and(|last| now.since(last) > retention.age);
            if total <= retention.size && !is_too_old {
                return Ok(());
            }
            total = total.saturating_sub(size(&file));
            file.remove()?;
        }
        Ok(())
    }
}

/// Returns the time of a file's last event, or `None` if the file is gone.
fn last_event(file: &JournalFile) -> io::Result<Option<Timestamp>> {
    let written = |path| -> io::Result<_> {
        let modified = std::fs::metadata(path)?.modified()?;
        Ok(Timestamp::EPOCH + modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
    };
    match file.open() {
        Ok(None) => Ok(None),
        Ok(Some(Opened::Archive(archive))) if archive.octets() > 0 => Ok(Some(archive.span().1)),
        // An archive with a damaged index is judged by its file time.
        Ok(Some(_)) | Err(_) => written(&file.path).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::archive;

    /// Makes a journal with three archives of one day each.
    fn journal() -> (tempfile::TempDir, std::sync::Arc<Journal>) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("e.jsonl");
        for day in 1..=3 {
            let plain = JournalFile::rotated(&log, day);
            std::fs::write(&plain.path, format!("{{\"at\":\"2026-11-0{day}T08:00:00.000Z\"}}\n")).unwrap();
            archive::close(&plain.path, &plain.archive_path(), 0o600).unwrap();
        }
        let journal = Journal::open(&log, 0o600, 0).unwrap().journal;
        (dir, journal)
    }

    fn left(journal: &Journal) -> Vec<u64> {
        rotated(&journal.path).unwrap().into_iter().filter_map(|file| file.number).collect()
    }

    #[test]
    fn files_leave_once_their_last_event_is_too_old() {
        let (_dir, journal) = journal();
        let retention = Retention { age: Duration::from_secs(86_400), size: u64::MAX };
        for (now, expected) in [
            ("2026-11-02T07:59:59.000Z", vec![1, 2, 3]),
            ("2026-11-02T08:00:01.000Z", vec![2, 3]),
            ("2026-11-03T09:00:00.000Z", vec![3]),
            ("2026-12-03T09:00:00.000Z", vec![]),
        ] {
            journal.retain(&retention, now.parse().unwrap()).unwrap();
            assert_eq!(left(&journal), expected, "{now}");
        }
    }

    #[test]
    fn the_oldest_files_leave_while_all_take_too_much() {
        let (_dir, journal) = journal();
        let one = std::fs::metadata(JournalFile::rotated(&journal.path, 1).archive_path()).unwrap().len();
        let now = "2026-11-03T09:00:00.000Z".parse().unwrap();
        for (size, expected) in [(3 * one + 9, vec![1, 2, 3]), (2 * one + 9, vec![2, 3]), (0, vec![])] {
            journal.retain(&Retention { size, ..Retention::default() }, now).unwrap();
            assert_eq!(left(&journal), expected, "{size}");
        }
    }
}
