//! The PostgreSQL of runs whose relay has its spool there: a server of its own, with fsync on, on the disk that is measured.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::SinkExt as _;
use hdrhistogram::Histogram;
use postbud::load::clock;

use super::postgres::Server;
use super::probe::Quantiles;

/// Rows of one COPY: about what a batch has at half of the highest rate.
pub const BATCH: usize = 16;
/// How many batches are copied to measure one.
const BATCHES: usize = 1_000;
/// The server may use this much memory and log; everything else is as PostgreSQL comes.
const SETTINGS: [(&str, &str); 3] = [("shared_buffers", "256MB"), ("max_wal_size", "2GB"), ("max_connections", "50")];

/// A PostgreSQL server that ends with the benchmark.
pub struct Database(Server);

/// A transaction that holds a snapshot, so that no vacuum removes what is deleted after it began.
pub struct Pinned(Child);

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Database {
    /// Starts one whose data is below `dir`.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        Server::start_on(dir, &SETTINGS).map(Database).map_err(anyhow::Error::msg)
    }

    /// The lines of a relay's configuration that put its spool into `schema`.
    pub fn spool(&self, schema: &str) -> String {
        format!(
            "[spool]\nbackend = \"postgres\"\n[spool.postgres]\nhost = \"{}\"\ndatabase = \"postgres\"\nuser = \"postgres\"\n\
             schema = \"{schema}\"\n",
            self.0.host()
        )
    }

    /// The process that all others of the server descend from.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let file = std::fs::read_to_string(self.0.data().join("postmaster.pid"))?;
        file.lines().next().and_then(|line| line.parse().ok()).context("the server names no process")
    }

    /// Octets of all that is in the database.
    pub fn octets(&self) -> f64 {
        self.0.sql("SELECT pg_database_size('postgres')").parse().unwrap_or(f64::NAN)
    }

    /// Deletes what a run left.
    pub fn forget(&self, schema: &str) {
        self.0.sql(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
    }

    /// Holds a snapshot until it is dropped.
    pub fn pin(&self) -> anyhow::Result<Pinned> {
        let mut psql = self.0.as_user("psql");
        psql.args(["-X", "-q", "-U", "postgres", "-d", "postgres", "-h", &self.0.host()]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let input = psql.stdin.as_mut().expect("stdin is piped");
        // The pipe stays open, and so does the transaction.
        writeln!(input, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;")?;
        Ok(Pinned(psql))
    }

    /// How long a COPY of [`BATCH`] rows of this size takes in a transaction of its own, one after the other, with nothing of postbud's.
    pub fn copy(&self, size: usize) -> anyhow::Result<Quantiles> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut config = tokio_postgres::Config::new();
            config.host(self.0.host()).user("postgres").dbname("postgres");
            let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
            let driver = tokio::spawn(connection);
            let table = "CREATE TABLE bare (id bigint, body bytea); ALTER TABLE bare ALTER body SET STORAGE EXTERNAL";
            client.batch_execute(table).await?;
            let rows = rows(size)?;
            let copy = client.prepare("COPY bare FROM STDIN BINARY").await?;
            let mut took = Histogram::<u64>::new_with_max(3_600_000_000, 3).expect("three digits are allowed");
            for _ in 0..BATCHES {
                let began = clock::now();
                let mut sink = Box::pin(client.copy_in(&copy).await?);
                sink.send(rows.clone()).await?;
                sink.as_mut().finish().await?;
                took.saturating_record(clock::now() - began);
            }
            client.batch_execute("DROP TABLE bare").await?;
            drop(client);
            let _ = driver.await;
            Ok(Quantiles::of(&took))
        })
    }
}

/// What COPY BINARY sends for a batch.
fn rows(size: usize) -> anyhow::Result<Bytes> {
    let mut row = b"\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x01".to_vec();
    row.extend_from_slice(&i32::try_from(size)?.to_be_bytes());
    row.resize(row.len() + size, b'x');
    Ok([&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..], &row.repeat(BATCH), b"\xff\xff"].concat().into())
}
