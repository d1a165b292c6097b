//! What the conformance suite needs of a backend. A second backend implements this and is named in `conformance`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postbud::spool::Spool;
use postbud::spool::embedded::{Embedded, Settings};
use tempfile::TempDir;

/// A place for one spool, which can be opened again and again.
pub trait Backend: Sized {
    /// An empty place.
    fn new() -> Self;

    /// Opens the spool there. No other may be open.
    fn open(&self) -> Arc<dyn Spool>;

    /// A place with what would be left if the process that has the spool open were killed now.
    fn killed(&self) -> Self;
}

/// The segment log, with segments so small that a test fills several.
pub struct SegmentLog(TempDir);

impl Backend for SegmentLog {
    fn new() -> Self {
        SegmentLog(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Arc<dyn Spool> {
        Embedded::open(Settings { segment_size: 64 << 10, has_journal: true, ..settings(self.0.path()) }).unwrap()
    }

    fn killed(&self) -> Self {
        let left = SegmentLog::new();
        copy_segments(self.0.path(), left.0.path());
        left
    }
}

/// Settings of an embedded spool for tests.
pub fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        min_free: 0,
        min_free_inodes: 0,
        segment_size: 1 << 20,
        settle_delay: Duration::from_millis(5),
        guard_interval: Duration::from_millis(100),
        ..Settings::default()
    }
}

/// Copies the segments as they stand at one moment, which is what a killed process leaves. Copies them once more if one was added or
/// deleted meanwhile.
pub fn copy_segments(from: &Path, to: &Path) {
    loop {
        let segments = files_with(from, "seg");
        std::fs::create_dir_all(to).unwrap();
        files_with(to, "seg").iter().for_each(|old| std::fs::remove_file(old).unwrap());
        let copied =
            segments.iter().all(|segment| std::fs::copy(segment, to.join(segment.file_name().unwrap())).is_ok());
        if copied && files_with(from, "seg") == segments {
            return;
        }
    }
}

/// The files with this extension, by name.
pub fn files_with(dir: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == extension)).collect();
    found.sort();
    found
}
