//! The process that crashes: it commits from many tasks, delivers part of it, and says so line by line.
//!
//! `A seed id` acknowledged, `R seed` refused, `B seed` begun, `D seed id` delivered, `S seed` its result is told, `y` a sync begins and
//! `Y` it is done: results told before it began are durable.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Draft, Intervene, RecipientState, Settled, Settlement, Spool};
use postbud::time::Timestamp;

use crate::drafts::{backoff, content, draft, lane, soon};

const SENDERS: u64 = 8;
/// Deliveries at once.
const DELIVERERS: usize = 4;

/// The size of the body of the message with this seed.
pub fn size(seed: u64) -> usize {
    [200, 3_000, 10_000, 40_000][(seed % 4) as usize] + (seed % 97) as usize
}

pub fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        min_free: 0,
        min_free_inodes: 0,
        segment_size: 512 << 10,
        // So long that kills come before the sync of many results.
        settle_delay: Duration::from_millis(100),
        guard_interval: Duration::from_millis(200),
        ..Settings::default()
    }
}

/// Starts the driver on `dir`, under `wrapper` (strace and its options) if that is not empty.
pub fn start(dir: &Path, wrapper: &[String], seconds: f32) -> Child {
    start_as("driver::driver", dir, wrapper, seconds)
}

/// Starts what this test of ours does in a process of its own.
pub fn start_as(test: &str, dir: &Path, wrapper: &[String], seconds: f32) -> Child {
    let me = std::env::current_exe().unwrap();
    let mut words: Vec<String> = wrapper.to_vec();
    words.extend([me.display().to_string(), "--exact".into(), test.into(), "--nocapture".into()]);
    Command::new(&words[0])
        .args(&words[1..])
        .env("POSTBUD_DRIVER_DIR", dir)
        .env("POSTBUD_DRIVER_SECONDS", seconds.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Kills the driver and, with it, what wraps it.
pub fn kill(driver: &Child) {
    let group = rustix::process::Pid::from_child(driver);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("the driver is still running");
}

pub fn say(line: &str) {
    // One write a line: a killed process leaves whole lines.
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).and_then(|()| std::io::stdout().flush());
}

#[test]
fn driver() {
    let Some(dir) = std::env::var_os("POSTBUD_DRIVER_DIR") else { return };
    let seconds: f32 = std::env::var("POSTBUD_DRIVER_SECONDS").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(drive(Path::new(&dir), Duration::from_secs_f32(seconds)));
}

async fn drive(dir: &Path, time: Duration) {
    let spool = match Embedded::open(settings(dir)) {
        Ok(spool) => spool,
        Err(error) => return say(&format!("X {error}")),
    };
    let until = Instant::now() + time;
    let base = Timestamp::now().as_millis() * 1_000_000;
    let mut tasks = Vec::new();
    for sender in 0..SENDERS {
        let spool = Arc::clone(&spool);
        tasks.push(tokio::spawn(async move {
            let mut seed = base + sender;
            while Instant::now() < until {
                say(&format!("B {seed}"));
                let draft = draft("x", &["a@b.dk"], seed, size(seed));
                // What this process leaves is due at once for the next.
                let draft = Draft { retry_at: draft.id.arrived(), ..draft };
                match spool.commit(draft).await {
                    Ok(durable) => say(&format!("A {seed} {}", durable.id().as_u64())),
                    Err(_) => {
                        say(&format!("R {seed}"));
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                seed += SENDERS;
            }
        }));
    }
    for _ in 0..DELIVERERS {
        let spool = Arc::clone(&spool);
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                if deliver(&*spool).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }));
    }
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(40)).await;
        say("y");
        if spool.sync().await.is_ok() {
            say("Y");
        }
    }
    for task in tasks {
        let _ = task.await;
    }
    say("y");
    // A spool that has given up on its disk records nothing any more: what was delivered last is attempted again.
    if spool.sync().await.is_ok() {
        say("Y");
    }
    spool.stop().await;
    say("E");
}

async fn deliver(spool: &dyn Spool) -> Result<(), postbud::spool::Error> {
    for lease in spool.claim(&lane("x"), soon(), 8, &backoff()).await? {
        let seed: u64 = lease.record.message_id.split('@').next().unwrap().parse().unwrap();
        let (header, body) = content(seed, size(seed));
        if lease.bytes.chunk(0).await? != [header, body].concat() {
            say(&format!("C {seed}"));
        }
        say(&format!("D {seed} {}", lease.record.id.as_u64()));
        let settlement = Settlement {
            results: vec![(0, RecipientState::Relayed { reply: "250 ok".into() })],
            counts: true,
            ..Settlement::default()
        };
        if let Settled::Written = spool.settle(lease, settlement).await? {
            say(&format!("S {seed}"));
        }
    }
    tokio::time::sleep(Duration::from_millis(3)).await;
    Ok(())
}
