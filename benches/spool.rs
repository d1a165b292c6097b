//! The spool by itself: processor time a message, memory and start-up time with many waiting.
//!
//! `cargo bench --bench spool -- [--messages N] [--size OCTETS] [--dir DIR]` (100,000 of 10 KB; a temporary directory).
//! Syncs are real; DIR decides on which disk.
//!
//! `--postgres HOST` measures the spool in a PostgreSQL instead (database and role `postgres`, schema `bench`, which must be empty;
//! port `--port`), and before it a bare COPY loop with rows of the same size. `--postgres own` starts a server for that, in DIR and with
//! fsync on. With `--messages 1000000 --size 2000` the lines `start` and `memory after start` are a takeover of a million messages. The processor time of every process named `postgres` is
//! told apart.

// Shared with the tests; not all of it is used here.
#[path = "../tests/support/postgres.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use postbud::message::{BodyKind, CustomerId, Envelope, Lane, MailKind, Recipient, Urgency};
use postbud::smtp::{Domain, Mailbox, ReversePath};
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::postgres::{self, Postgres};
use postbud::spool::{Backoff, Draft, Filter, RecipientState, Settlement, Spool};
use postbud::time::Timestamp;

const SENDERS: usize = 32;

fn main() {
    let (mut messages, mut size, mut dir) = (100_000, 10_000, None);
    let (mut host, mut port) = (None, 5432);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--messages" => messages = args.next().and_then(|n| n.parse().ok()).expect("--messages N"),
            "--size" => size = args.next().and_then(|n| n.parse().ok()).expect("--size OCTETS"),
            "--dir" => dir = args.next().map(PathBuf::from),
            "--postgres" => host = args.next(),
            "--port" => port = args.next().and_then(|n| n.parse().ok()).expect("--port N"),
            // What cargo itself adds.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.unwrap_or_else(|| temporary.path().join("spool"));
    let mut own = None;
    if host.as_deref() == Some("own") {
        let folder = dir.parent().expect("a folder in a folder");
        std::fs::create_dir_all(folder).expect("a folder");
        let settings = [("shared_buffers", "256MB"), ("max_wal_size", "2GB")];
        let server = server::Server::start_on(folder, &settings).expect("a PostgreSQL of our own");
        host = Some(server.host());
        own = Some(server);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let place = match host {
        None => Place::Folder(dir),
        Some(host) => Place::Database(Box::new(postgres::Settings {
            server: postbud::postgres::Server {
                hosts: vec![host],
                port,
                database: "postgres".into(),
                user: "postgres".into(),
                schema: "bench".into(),
                ..postbud::postgres::Server::default()
            },
            ..postgres::Settings::default()
        })),
    };
    runtime.block_on(async {
        if let Place::Database(settings) = &place {
            for batch in [1, 16, 64, 256] {
                copy_loop(settings, batch, size).await;
            }
        }
        all(&place, messages, size).await;
    });
    drop(own);
}

/// Where the spool is.
enum Place {
    Folder(PathBuf),
    Database(Box<postgres::Settings>),
}

impl Place {
    fn open(&self) -> Arc<dyn Spool> {
        match self {
            Place::Folder(dir) => {
                Embedded::open(Settings { dir: dir.clone(), ..Settings::default() }).expect("the spool opens")
            }
            Place::Database(settings) => Postgres::open((**settings).clone()).expect("the spool opens"),
        }
    }
}

/// Transactions of so many rows, one after the other, with nothing of the spool's.
async fn copy_loop(settings: &postgres::Settings, batch: usize, size: usize) {
    let mut config = tokio_postgres::Config::new();
    let postbud::postgres::Server { hosts, port, user, database, .. } = &settings.server;
    config.host(&hosts[0]).port(*port).user(user).dbname(database);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("the database answers");
    let driver = tokio::spawn(connection);
    let table = "DROP TABLE IF EXISTS bare; CREATE TABLE bare (id bigint, body bytea); ALTER TABLE bare ALTER body SET STORAGE EXTERNAL";
    client.batch_execute(table).await.expect("a table");
    let mut row = b"\0\x02\0\0\0\x08\0\0\0\0\0\0\0\x01".to_vec();
    row.extend_from_slice(&i32::try_from(size).expect("a size").to_be_bytes());
    row.resize(row.len() + size, b'x');
    let rows = [&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..], &row.repeat(batch), b"\xff\xff"].concat();
    let rows = bytes::Bytes::from(rows);
    let copy = client.prepare("COPY bare FROM STDIN BINARY").await.expect("a statement");
    let mut latencies = Vec::new();
    let transactions = (20_000 / batch).clamp(100, 2_000);
    let step = async {
        for _ in 0..transactions {
            let began = Instant::now();
            let mut sink = Box::pin(client.copy_in(&copy).await.expect("COPY begins"));
            sink.send(rows.clone()).await.expect("COPY takes rows");
            sink.as_mut().finish().await.expect("COPY ends");
            latencies.push(began.elapsed());
        }
    };
    timed(&format!("bare COPY of {batch}"), transactions * batch, step).await;
    latencies.sort();
    println!(
        "{:>22}: median {:?}, 99th percentile {:?}",
        "a batch",
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100]
    );
    client.batch_execute("DROP TABLE bare").await.expect("the table goes");
    drop(client);
    let _ = driver.await;
}

async fn all(place: &Place, messages: usize, size: usize) {
    let spool = place.open();
    let template = template(size);
    let few = messages.min(1000);
    let first = timed("commit, nearly empty", few, commit_many(&spool, &template, few)).await;
    timed("claim and settle", few, deliver_all(&spool)).await;
    if messages > 2 * few {
        timed("commit, filling up", messages - few, commit_many(&spool, &template, messages - few)).await;
        let last = timed("commit, full", few, commit_many(&spool, &template, few)).await;
        println!("{:>22}: {:.2} of the time when nearly empty", "commit, full", last / first);
    }
    println!("{:>22}: {} MiB resident for {} waiting", "memory", resident_mib(), waiting(&spool).await);
    let began = Instant::now();
    let lanes = spool.lanes(None, 1000).await.expect("counts").len();
    println!("{:>22}: {:?} for {lanes}", "counts of lanes", began.elapsed());
    let began = Instant::now();
    let filter = Filter { customer: Some(CustomerId::new("c7")), ..Filter::default() };
    let listed = spool.list(filter, 100).await.expect("listing works").len();
    println!("{:>22}: {:?} for {listed}", "list of a customer", began.elapsed());
    spool.stop().await;
    drop(spool);

    let began = Instant::now();
    let spool = place.open();
    let opened = began.elapsed();
    let due = spool.due(Timestamp::now(), None, 1).await.expect("lanes with due mail");
    let leases = match due.lanes.first() {
        Some(due) => {
            let claimed = spool.claim(&due.lane, Timestamp::now(), 10, &Backoff::default()).await;
            claimed.expect("claiming works").len()
        }
        None => 0,
    };
    println!("{:>22}: open {opened:?}, first claim of {leases} after {:?}", "start", began.elapsed());
    println!("{:>22}: {} MiB resident", "memory after start", resident_mib());
    timed("draining", waiting(&spool).await as usize, deliver_all(&spool)).await;
    for _ in 0..100 {
        if disk_bytes(&spool).await <= 256 << 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{:>22}: {} MiB on disk", "after draining", disk_bytes(&spool).await >> 20);
    spool.stop().await;
}

async fn waiting(spool: &Arc<dyn Spool>) -> u64 {
    spool.totals().await.expect("counts").records
}

async fn disk_bytes(spool: &Arc<dyn Spool>) -> u64 {
    spool.totals().await.expect("counts").disk_bytes
}

/// Runs a step and says what a message cost. Returns seconds a message.
async fn timed(what: &str, messages: usize, step: impl Future<Output = ()>) -> f64 {
    let (began, processor, database) = (Instant::now(), processor_time(), database_time());
    step.await;
    let (wall, processor) = (began.elapsed().as_secs_f64(), processor_time() - processor);
    let database = database_time() - database;
    let each = 1e6 / messages.max(1) as f64;
    let there = if database > 0.0 { format!(" and {:.1} µs of PostgreSQL's", database * each) } else { String::new() };
    println!("{what:>22}: {:.1} µs CPU a message{there}, {:.0} messages/s", processor * each, messages as f64 / wall);
    wall / messages.max(1) as f64
}

fn template(size: usize) -> (Vec<u8>, Vec<u8>) {
    let prefix = format!("DKIM-Signature: {}\r\nReceived: x\r\n", "x".repeat(900)).into_bytes();
    let line = format!("{}\r\n", "b".repeat(76));
    let mut content = b"Subject: s\r\nFrom: a@test.dk\r\n\r\n".to_vec();
    while content.len() < size {
        content.extend_from_slice(line.as_bytes());
    }
    (prefix, content)
}

async fn commit_many(spool: &Arc<dyn Spool>, template: &(Vec<u8>, Vec<u8>), messages: usize) {
    let mut tasks = Vec::new();
    for sender in 0..SENDERS {
        let (spool, (prefix, content)) = (Arc::clone(spool), template.clone());
        tasks.push(tokio::spawn(async move {
            for i in (sender..messages).step_by(SENDERS) {
                let id = spool.next_id();
                let recipient = Mailbox::parse("recipient@example.org").expect("a mailbox");
                let draft = Draft {
                    id,
                    lane: Lane {
                        customer: CustomerId::new(&format!("c{}", i % 50)),
                        domain: Domain::parse("test.dk").expect("a domain"),
                        urgency: Urgency::Bulk,
                        kind: MailKind::Mail,
                    },
                    envelope: Envelope {
                        reverse_path: ReversePath::Null,
                        recipients: vec![Recipient::new(recipient)],
                        body: BodyKind::SevenBit,
                        smtputf8: false,
                        ret: None,
                        envid: None,
                        references: Default::default(),
                    },
                    message_id: format!("{i}@test.dk"),
                    prefix: prefix.clone(),
                    content: vec![content.clone().into()],
                    header_len: 29,
                    retry_at: id.arrived() + Duration::from_secs(60),
                    held: None,
                    lines: Vec::new(),
                };
                let _ = spool.commit(draft).await.expect("a commit");
            }
        }));
    }
    for task in tasks {
        task.await.expect("a sender");
    }
}

async fn deliver_all(spool: &Arc<dyn Spool>) {
    loop {
        let now = Timestamp::now() + Duration::from_secs(120);
        let lanes = spool.due(now, None, 1000).await.expect("lanes with due mail").lanes;
        if lanes.is_empty() {
            return;
        }
        for due in lanes {
            for lease in spool.claim(&due.lane, now, 32, &Backoff::default()).await.expect("claiming works") {
                let _ = lease.bytes.chunk(0).await.expect("bytes");
                let settlement = Settlement {
                    results: vec![(0, RecipientState::Relayed { reply: "250 ok".into() })],
                    counts: true,
                    ..Settlement::default()
                };
                spool.settle(lease, settlement).await.expect("settling works");
            }
        }
    }
}

/// User and system time of this process, in seconds.
fn processor_time() -> f64 {
    times(Path::new("/proc/self"), 11..13)
}

/// The same of all processes named `postgres`, with those that they waited for.
fn database_time() -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_postgres =
        |path: &PathBuf| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "postgres\n");
    processes.filter(is_postgres).map(|path| times(&path, 11..15)).sum()
}

/// The sum of these fields of a process's proc(5) stat, which are in ticks of 10 ms. 11 is the 14th field, user time.
fn times(process: &Path, fields: std::ops::Range<usize>) -> f64 {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    let all: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.filter_map(|i| all.get(i)?.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
