//! Crashes of the spool and the journal together: what a reader was shown stands in the journal afterwards, in the same words and once,
//! and the journal tells exactly what the spool knows.
//!
//! The process that crashes commits and settles mail with a line for each, and reads its own journal by a cursor, as a webhook does.
//! It says `A seed` acknowledged, `S seed` settled, and `V hash` for each event that its reader was shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postbud::events::{self, Events, Running, Subject};
use postbud::record::journal::Retention;
use postbud::record::journal::cursor::{Cursor, CursorError};
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Draft, Filter, Inspect, RecipientState, Settlement, Spool, Work};
use postbud::time::Timestamp;
use serde_json::Value;

use crate::disks::{Memory, Mounted};
use crate::drafts::{backoff, draft, lane, soon};
use crate::driver::{kill, say, start_as};
use crate::kills::{has_strace, output, reads_of};
use crate::power::read_until_cut;
use crate::{driver, rounds, skip};

const SENDERS: u64 = 4;
const RECORDER: &str = "record::recorder";

/// What runs in a process that crashes, and again in the one that looks at what is left.
struct Record {
    events: Events,
    running: Running,
    spool: Arc<Embedded>,
}

impl Record {
    /// Opens spool and journal below `dir`.
    fn open(dir: &Path) -> Result<Record, String> {
        Record::with_log(dir, &dir.join("events.jsonl"))
    }

    /// The same with the journal elsewhere. Its files are so small that they are rotated and compressed all the time.
    fn with_log(dir: &Path, log: &Path) -> Result<Record, String> {
        let settings = events::Settings {
            log: Some(log.to_owned()),
            state_dir: dir.to_owned(),
            rotate_size: 32 << 10,
            retention: Retention { age: Duration::from_secs(3600), size: u64::MAX },
            customer_share: Some(u64::MAX),
            ..events::Settings::default()
        };
        let (events, mut running) = Events::start(settings).map_err(|error| error.to_string())?;
        let settings = Settings { has_journal: true, segment_size: 128 << 10, ..driver::settings(&dir.join("spool")) };
        let spool = Embedded::open(settings).map_err(|error| error.to_string())?;
        running.follow(spool.clone());
        Ok(Record { events, running, spool })
    }

    async fn stop(self) {
        self.spool.stop().await;
        self.running.stop().await;
    }

    /// All events, in order.
    fn all(&self) -> Vec<Value> {
        let journal = self.events.journal().unwrap();
        let mut cursor = journal.cursor(journal.oldest().unwrap());
        let mut all = Vec::new();
        loop {
            let page = journal.page(&cursor, 1000).unwrap();
            all.extend(page.events);
            cursor = page.next;
            if !page.more {
                return all;
            }
        }
    }
}

/// Waits for what another thread brings about, a minute at most.
async fn becomes(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn line(id: &str) -> Vec<u8> {
    let now = Timestamp::now();
    format!("{{\"event_id\":\"{id}\",\"at\":\"{now}\",\"customer\":\"x\",\"reply\":\"{}\"}}\n", "x".repeat(150))
        .into_bytes()
}

fn hash(event: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.to_string().hash(&mut hasher);
    hasher.finish()
}

#[test]
fn recorder() {
    let Some(dir) = std::env::var_os("POSTBUD_DRIVER_DIR") else { return };
    let seconds: f32 = std::env::var("POSTBUD_DRIVER_SECONDS").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(record(Path::new(&dir), Duration::from_secs_f32(seconds)));
}

async fn record(dir: &Path, time: Duration) {
    let record = match Record::open(dir) {
        Ok(record) => record,
        Err(error) => return say(&format!("X {error}")),
    };
    let until = Instant::now() + time;
    let base = Timestamp::now().as_millis() * 1_000_000;
    let mut tasks = Vec::new();
    for sender in 0..SENDERS {
        let spool = Arc::clone(&record.spool);
        tasks.push(tokio::spawn(async move {
            let mut seed = base + sender;
            while Instant::now() < until {
                let draft = Draft { lines: line(&format!("accepted-{seed}")), ..draft("x", &["a@b.dk"], seed, 500) };
                match spool.commit(draft).await {
                    Ok(_) => say(&format!("A {seed}")),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
                seed += SENDERS;
            }
        }));
    }
    let spool = Arc::clone(&record.spool);
    tasks.push(tokio::spawn(async move {
        while Instant::now() < until {
            if settle_some(&spool).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }));
    let reader = tokio::spawn(show(record.events.clone(), dir.join("reader"), until));
    for task in tasks {
        let _ = task.await;
    }
    let _ = reader.await;
    record.stop().await;
    say("E");
}

async fn settle_some(spool: &Embedded) -> Result<(), postbud::spool::Error> {
    for lease in spool.claim(&lane("x"), soon(), 8, &backoff()).await? {
        let seed = seed_of(&lease.record.message_id);
        let settlement = Settlement {
            results: vec![(0, RecipientState::Relayed { reply: "250 ok".into() })],
            counts: true,
            lines: line(&format!("relayed-{seed}")),
            ..Settlement::default()
        };
        spool.settle(lease, settlement).await?;
        say(&format!("S {seed}"));
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(())
}

fn seed_of(message_id: &str) -> u64 {
    message_id.split('@').next().unwrap().parse().unwrap()
}

/// Reads the journal as a webhook does: by a cursor that outlives the process, saved behind what was shown.
async fn show(events: Events, saved: std::path::PathBuf, until: Instant) {
    let journal = Arc::clone(events.journal().unwrap());
    let mut cursor: Cursor = match std::fs::read_to_string(&saved) {
        Ok(text) => text.parse().expect("the reader's cursor is whole"),
        Err(_) => journal.cursor(journal.oldest().unwrap()),
    };
    let mut end = journal.watch_end();
    while Instant::now() < until {
        let page = match journal.page(&cursor, 200) {
            Ok(page) => page,
            // The disk is gone.
            Err(CursorError::Io(_)) => return,
            Err(error) => return say(&format!("X the reader's cursor {cursor}: {error}")),
        };
        for event in &page.events {
            say(&format!("V {}", hash(event)));
        }
        cursor = page.next;
        let next = saved.with_extension("new");
        if std::fs::write(&next, cursor.to_string()).and_then(|()| std::fs::rename(&next, &saved)).is_err() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(100), end.changed()).await;
    }
}

/// What the crashed processes said.
#[derive(Default)]
struct Said {
    acknowledged: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    shown: HashMap<u64, u32>,
}

impl Said {
    /// Takes the output of one process. `is_heard` is false for what it said when nobody could hear it any more.
    fn add(&mut self, output: &str, is_heard: bool) {
        for line in output.lines() {
            let (what, number) = line.split_once(' ').unwrap_or((line, ""));
            assert!(what != "X", "{line}");
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "A" if is_heard => drop(self.acknowledged.insert(number)),
                "S" if is_heard => drop(self.settled.insert(number)),
                "V" if is_heard => *self.shown.entry(number).or_default() += 1,
                _ => {}
            }
        }
    }
}

/// Opens what is left, and compares it with what was said. `results_last`: settlements that were told are there too.
async fn check(dir: &Path, said: &Said, results_last: bool) {
    assert!(said.acknowledged.len() > 10 && said.shown.len() > 5, "the recorder did not get to work");
    let record = Record::open(dir).unwrap();
    let waiting: BTreeSet<u64> = {
        let records = record.spool.list(Filter::default(), 1_000_000).await.unwrap();
        records.iter().map(|record| seed_of(&record.message_id)).collect()
    };
    // The stop brings the rest into the journal.
    record.stop().await;
    let record = Record::open(dir).unwrap();
    let all = record.all();
    record.stop().await;

    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    // Alerts about the disk are of no mail.
    let ids = all.iter().filter_map(|event| event["event_id"].as_str());
    ids.for_each(|id| *counts.entry(id).or_default() += 1);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(twice.is_empty(), "told twice: {twice:?}");
    let hashes: BTreeSet<u64> = all.iter().map(hash).collect();
    let lost = said.shown.keys().filter(|shown| !hashes.contains(shown)).count();
    assert_eq!(lost, 0, "of {} events that were shown", said.shown.len());
    // Each fact is told, and nothing else.
    let told =
        |kind: &str| -> BTreeSet<u64> { counts.keys().filter_map(|id| id.strip_prefix(kind)?.parse().ok()).collect() };
    let (accepted, relayed) = (told("accepted-"), told("relayed-"));
    assert!(said.acknowledged.is_subset(&accepted), "acknowledged and not told");
    assert!(waiting.is_subset(&accepted) && waiting.is_disjoint(&relayed), "waiting mail");
    assert_eq!(&accepted - &waiting, relayed, "what does not wait is settled, and told so");
    if results_last {
        assert!(said.settled.is_subset(&relayed), "settled and not told");
    }
}

#[tokio::test]
async fn kills_lose_no_event_that_was_shown_and_tell_none_twice_or_differently() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    for round in 0..rounds(12) {
        let mut driver = start_as(RECORDER, dir.path(), &[], 60.0);
        std::thread::sleep(Duration::from_millis(200 + u64::from(round * 7919 % 500)));
        kill(&driver);
        said.add(&output(&mut driver), true);
    }
    check(dir.path(), &said, true).await;
}

#[tokio::test]
async fn a_fault_at_any_write_or_sync_of_the_journal_loses_no_event() {
    let name = "a_fault_at_any_write_or_sync_of_the_journal_loses_no_event";
    if !has_strace() {
        return skip::skip(name, "strace does not work here");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    let calls = ["write", "fdatasync", "fsync", "rename", "ftruncate", "unlink"];
    for (i, call) in calls.into_iter().enumerate() {
        for (j, fault) in ["signal=SIGKILL", "error=ENOSPC", "error=EIO"].into_iter().enumerate() {
            for round in 0..rounds(1) {
                let when = 3 + (round + 5 * (i + j) as u32) % 17;
                let inject = format!("inject={call}:{fault}:when={when}");
                // The journal's own files only: standard output is written too.
                let log = dir.path().join("events.jsonl").display().to_string();
                let trace = format!("trace={call}");
                let wrapper = ["strace", "-f", "-o", "/dev/null", "-P", &log, "-e", &trace, "-e", &inject];
                let mut driver = start_as(RECORDER, dir.path(), &wrapper.map(String::from), 0.8);
                said.add(&output(&mut driver), true);
            }
        }
    }
    check(dir.path(), &said, true).await;
}

#[tokio::test]
async fn events_that_the_disk_does_not_return_at_first_are_told_once_it_does() {
    let name = "events_that_the_disk_does_not_return_at_first_are_told_once_it_does";
    if !has_strace() {
        return skip::skip(name, "strace does not work here");
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut said, trace) = (Said::default(), dir.path().join("trace"));
    let mut driver = start_as(RECORDER, dir.path(), &[], 60.0);
    std::thread::sleep(Duration::from_millis(400));
    kill(&driver);
    said.add(&output(&mut driver), true);
    // The first read of each thread fails: of the one that starts the spool, and of the one that reads lines for the journal.
    let wrapper = reads_of(&dir.path().join("spool"), &trace, Some("inject=pread64:error=EIO:when=1"));
    said.add(&output(&mut start_as(RECORDER, dir.path(), &wrapper, 1.5)), true);
    let failed = std::fs::read_to_string(&trace).unwrap().matches("(INJECTED)").count();
    assert!(failed > 1, "the journal read no segment");
    check(dir.path(), &said, true).await;
}

async fn power_cuts(kind: &str) {
    let name = format!("power_cuts_on_{kind}_lose_no_event_that_was_shown");
    let disk = match Mounted::make(kind) {
        Ok(disk) => disk,
        Err(reason) => return skip::skip(&name, &reason),
    };
    let dir = disk.path().join("state");
    std::fs::create_dir(&dir).unwrap();
    let mut said = Said::default();
    for round in 0..rounds(4) {
        let driver = start_as(RECORDER, &dir, &[], 60.0);
        let (before, after) = read_until_cut(&disk, driver, Duration::from_millis(700 + u64::from(round * 7919 % 500)));
        said.add(&before, true);
        said.add(&after, false);
        disk.restart().unwrap();
    }
    check(&dir, &said, false).await;
}

#[tokio::test]
async fn power_cuts_on_ext4_lose_no_event_that_was_shown() {
    power_cuts("ext4").await;
}

#[tokio::test]
async fn power_cuts_on_xfs_lose_no_event_that_was_shown() {
    power_cuts("xfs").await;
}

#[tokio::test]
async fn a_full_disk_under_the_journal_holds_up_no_mail_and_everything_is_told_once_there_is_room() {
    let name = "a_full_disk_under_the_journal_holds_up_no_mail_and_everything_is_told_once_there_is_room";
    let memory = match Memory::make("size=128k") {
        Ok(memory) => memory,
        Err(reason) => return skip::skip(name, &reason),
    };
    let dir = tempfile::tempdir().unwrap();
    let log = memory.path().join("events.jsonl");
    let record = Record::with_log(dir.path(), &log).unwrap();
    const MAILS: u64 = 1500;
    for seed in 0..MAILS {
        let draft = Draft { lines: line(&format!("accepted-{seed}")), ..draft("x", &["a@b.dk"], seed, 500) };
        let _ = record.spool.commit(draft).await.expect("mail is taken although its events cannot be written");
    }
    while record.spool.totals().await.unwrap().records > 0 {
        settle_some(&record.spool).await.expect("mail is delivered although its events cannot be written");
    }
    // Only a full disk opens it: the writer's thread may be behind the mail.
    becomes("an alert about the full disk", || record.events.is_open(&Subject::EventLog)).await;
    assert!(record.all().len() < 2 * MAILS as usize, "the disk never got full");
    memory.resize("64m");
    // An event for each mail that was taken and for each that was delivered.
    let is_told = |all: &[Value]| all.iter().filter(|event| event["customer"] == "x").count() == 2 * MAILS as usize;
    becomes("an event for each", || is_told(&record.all())).await;
    let all = record.all();
    let ids: BTreeSet<&str> =
        all.iter().filter(|event| event["customer"] == "x").filter_map(|e| e["event_id"].as_str()).collect();
    assert!(is_told(&all) && ids.len() == 2 * MAILS as usize, "{} of {} events", ids.len(), 2 * MAILS);
    // Events are shown before the alert ends.
    becomes("the alert's end", || !record.events.is_open(&Subject::EventLog)).await;
    // What the journal has, the spool need not keep.
    let spool = record.spool.clone();
    let mut disk_bytes = u64::MAX;
    for _ in 0..600 {
        disk_bytes = spool.totals().await.unwrap().disk_bytes;
        if disk_bytes < 1 << 20 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(disk_bytes < 1 << 20, "the spool keeps {disk_bytes} octets that the journal has");
    drop(spool);
    record.stop().await;
}
