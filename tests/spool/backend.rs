//! The interface between the conformance suite and a backend. A further backend implements it and is named in `conformance`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postbud::spool::Spool;
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::moving::Movable;
use postbud::spool::postgres::{self as postgres_spool, Postgres};
use tempfile::TempDir;

use crate::postgres;

/// A place for one spool, which can be opened again and again.
pub trait Backend: Sized {
    /// What all customers' mail tells comes in one order. Otherwise each customer's does.
    const HAS_ONE_LOG: bool = true;

    /// Why its tests cannot run here, if that is so.
    fn lack() -> Option<&'static str> {
        None
    }

    /// An empty place.
    fn new() -> Self;

    /// Opens the spool there. No other may be open.
    fn open(&self) -> Arc<dyn Spool> {
        self.try_open().unwrap()
    }

    /// The same. An error says what keeps it from that.
    fn try_open(&self) -> Result<Arc<dyn Spool>, String>;

    /// Opens it to move its mail, or other mail here.
    fn open_to_move(&self) -> Result<Arc<dyn Movable>, String>;

    /// A place with what would be left if the process that has the spool open were killed now.
    fn killed(&self) -> Self;
}

/// The segment log, with segments so small that a test fills several.
pub struct SegmentLog(TempDir);

impl Backend for SegmentLog {
    fn new() -> Self {
        SegmentLog(tempfile::tempdir().unwrap())
    }

    fn try_open(&self) -> Result<Arc<dyn Spool>, String> {
        Ok(Embedded::open(self.settings()).map_err(|error| error.to_string())?)
    }

    fn open_to_move(&self) -> Result<Arc<dyn Movable>, String> {
        let settings = Settings { for_move: true, ..self.settings() };
        Ok(Embedded::open(settings).map_err(|error| error.to_string())?)
    }

    fn killed(&self) -> Self {
        let left = SegmentLog::new();
        copy_segments(self.0.path(), left.0.path());
        left
    }
}

impl SegmentLog {
    fn settings(&self) -> Settings {
        Settings { segment_size: 64 << 10, has_journal: true, ..settings(self.0.path()) }
    }
}

/// A schema of the tests' own PostgreSQL with so many shards, and with segments so small that a test fills several.
pub struct Schema<const SHARDS: u32>(String);

impl<const SHARDS: u32> Backend for Schema<SHARDS> {
    const HAS_ONE_LOG: bool = SHARDS == 1;

    fn lack() -> Option<&'static str> {
        postgres::shared().err()
    }

    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Schema(format!("s{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    fn try_open(&self) -> Result<Arc<dyn Spool>, String> {
        Ok(Postgres::open(self.settings()).map_err(|error| error.to_string())?)
    }

    fn open_to_move(&self) -> Result<Arc<dyn Movable>, String> {
        let settings = postgres_spool::Settings { for_move: true, ..self.settings() };
        Ok(Postgres::open(settings).map_err(|error| error.to_string())?)
    }

    fn killed(&self) -> Self {
        let left = Schema::new();
        let (from, to) = (&self.0, &left.0);
        // What is committed is what a killed node leaves, and by the time that somebody looks its lease has ended.
        let copy = format!(
            "CREATE SCHEMA {to};
             DO $$ DECLARE t text; BEGIN
                 FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = '{from}' LOOP
                     EXECUTE format('CREATE TABLE {to}.%1$I (LIKE {from}.%1$I INCLUDING ALL)', t);
                     EXECUTE format('INSERT INTO {to}.%1$I SELECT * FROM {from}.%1$I', t);
                 END LOOP;
             END $$;
             CREATE SEQUENCE {to}.node_number;
             SELECT setval('{to}.node_number', nextval('{from}.node_number'));
             DELETE FROM {to}.node;"
        );
        let server = postgres::shared().unwrap();
        // A segment that is given back meanwhile is one that nobody waits in.
        let transaction = format!("BEGIN ISOLATION LEVEL REPEATABLE READ; {copy} COMMIT");
        while let Err(why) = server.try_sql(&transaction) {
            assert!(why.contains("does not exist"), "{why}");
        }
        left
    }
}

impl<const SHARDS: u32> Schema<SHARDS> {
    /// Settings of the spool there.
    pub fn settings(&self) -> postgres_spool::Settings {
        let server = postgres::shared().unwrap();
        let small = postgres_spool::Settings { segment_size: 64 << 10, has_journal: true, ..server.settings(&self.0) };
        postgres_spool::Settings { shards: SHARDS, ..small }
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
