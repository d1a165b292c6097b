//! Power cuts: the file system under the spool is shut down in the middle of the work, so that only what was synced is left.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::check::{End, Judgement, Log, assert_legal, check};
use crate::disks::Mounted;
use crate::driver::{kill, start};
use crate::kills::has_strace;
use crate::{rounds, skip};

/// What was said before and after the cut. What had not arrived here by then counts as said after it.
fn read(said: impl Read, cut: &AtomicBool) -> (String, String) {
    let (mut before, mut after) = (String::new(), String::new());
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        let part = if cut.load(Ordering::SeqCst) { &mut after } else { &mut before };
        part.push_str(&line);
        part.push('\n');
    }
    (before, after)
}

/// Cuts the power under a driver after a while. Returns what it said before and after that.
pub fn read_until_cut(disk: &Mounted, mut driver: Child, after: Duration) -> (String, String) {
    let said = driver.stdout.take().expect("it is piped");
    let cut = Arc::new(AtomicBool::new(false));
    let was_cut = Arc::clone(&cut);
    let reader = std::thread::spawn(move || read(said, &was_cut));
    std::thread::sleep(after);
    // What the driver says after this moment it says on a machine that would be dead: a 250 after it reaches nobody.
    // (A sync that races with the shutdown may even return success.)
    cut.store(true, Ordering::SeqCst);
    let made = disk.cut();
    std::thread::sleep(Duration::from_millis(20));
    kill(&driver);
    driver.wait().expect("it was started here");
    made.expect("the file system can be shut down");
    reader.join().expect("the reader does not panic")
}

/// One file system for all rounds, each round cut; what earlier rounds acknowledged must survive the later ones too.
async fn cut_rounds(kind: &str, rounds: u32, wrapper: &[String]) -> Result<Judgement, String> {
    let disk = Mounted::make(kind)?;
    let spool = disk.path().join("spool");
    let mut log = Log::default();
    for round in 0..rounds {
        let driver = start(&spool, wrapper, 60.0);
        let (before, after) = read_until_cut(&disk, driver, Duration::from_millis(250 + u64::from(round * 7919 % 300)));
        log.add(&before, End::Power);
        log.add_unheard(&after);
        disk.restart()?;
    }
    if log.acknowledged.len() < 10 {
        return Err(format!("the driver did not get to work: {} acknowledged", log.acknowledged.len()));
    }
    Ok(check(Path::new(&spool), &log).await)
}

async fn power_cuts(kind: &str) {
    let name = format!("power_cuts_on_{kind}_lose_nothing");
    if let Err(reason) = Mounted::make(kind) {
        return skip::skip(&name, &reason);
    }
    let verdict = cut_rounds(kind, rounds(2), &[]).await.unwrap();
    assert_legal(&verdict, &format!("power cuts on {kind}"));
}

#[tokio::test]
async fn power_cuts_on_ext4_lose_nothing() {
    power_cuts("ext4").await;
}

#[tokio::test]
async fn power_cuts_on_xfs_lose_nothing() {
    power_cuts("xfs").await;
}

/// Proves the check: a spool whose syncs do nothing must be found out.
#[tokio::test]
async fn without_syncs_a_power_cut_loses_mail_and_the_check_says_so() {
    let name = "without_syncs_a_power_cut_loses_mail_and_the_check_says_so";
    if !has_strace() {
        return skip::skip(name, "strace does not work here");
    }
    if let Err(reason) = Mounted::make("xfs") {
        return skip::skip(name, &reason);
    }
    let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e"];
    let mut wrapper: Vec<String> = strace.map(String::from).to_vec();
    wrapper.push("inject=fdatasync,fsync:retval=0".into());
    let verdict = cut_rounds("xfs", 1, &wrapper).await.unwrap();
    assert!(verdict.lost > 0, "nothing was synced, yet nothing is missing: the check sees nothing: {verdict:?}");
    eprintln!(
        "fsync switched off: {} of {} acknowledged messages lost, as it must be",
        verdict.lost, verdict.acknowledged
    );
}
