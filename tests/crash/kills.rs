//! SIGKILL at random moments, SIGKILL and EIO at each system call that makes something durable.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::check::{End, Log, assert_legal, check};
use crate::driver::{kill, start};
use crate::{rounds, skip};

/// Waits for the driver and returns what it said.
pub fn output(child: &mut Child) -> String {
    let mut text = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut text).unwrap();
    child.wait().unwrap();
    String::from_utf8(text).unwrap()
}

pub fn has_strace() -> bool {
    Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

#[tokio::test]
async fn a_process_killed_at_random_moments_loses_nothing_and_repeats_only_what_was_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::default();
    for round in 0..rounds(5) {
        let mut driver = start(dir.path(), &[], 60.0);
        std::thread::sleep(Duration::from_millis(150 + u64::from(round * 7919 % 350)));
        kill(&driver);
        log.add(&output(&mut driver), End::Process);
    }
    assert!(log.acknowledged.len() > 10, "the driver did not get to work: {log:?}");
    assert!(log.killed_unsynced > 0, "every result was synced by chance: nothing was tried");
    assert_legal(&check(dir.path(), &log).await, "kill -9");
}

async fn injected(dir: &Path, call: &str, fault: &str, when: &str, end: End) -> Log {
    let inject = format!("inject={call}:{fault}:when={when}");
    let wrapper: Vec<String> =
        ["strace", "-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject].map(String::from).to_vec();
    let mut driver = start(dir, &wrapper, 0.4);
    let mut log = Log::default();
    log.add(&output(&mut driver), end);
    log
}

#[tokio::test]
async fn a_fault_at_any_write_or_sync_makes_no_false_250() {
    if !has_strace() {
        return skip::skip("a_fault_at_any_write_or_sync_makes_no_false_250", "strace does not work here");
    }
    let calls = ["fdatasync", "fsync", "pwritev", "pwrite64", "rename", "ftruncate", "fallocate", "unlink"];
    for (i, call) in calls.into_iter().enumerate() {
        for (j, fault) in ["signal=SIGKILL", "error=EIO"].into_iter().enumerate() {
            for round in 0..rounds(1) {
                let dir = tempfile::tempdir().unwrap();
                let when = 1 + (round + 2 * (i + j) as u32) % 12;
                let log = injected(dir.path(), call, fault, &when.to_string(), End::Process).await;
                let verdict = check(dir.path(), &log).await;
                assert_legal(&verdict, &format!("{fault} at {call} number {when}"));
            }
        }
    }
}

#[tokio::test]
async fn what_was_refused_after_a_failed_sync_does_not_come_back() {
    if !has_strace() {
        return skip::skip("what_was_refused_after_a_failed_sync_does_not_come_back", "strace does not work here");
    }
    // Once, and so often that the spool takes no more work until a restart.
    // Then it can keep no result that was not synced, as in a power cut.
    for (when, end) in [("5", End::Process), ("5..6", End::Process), ("5..7", End::Power)] {
        let dir = tempfile::tempdir().unwrap();
        let log = injected(dir.path(), "fdatasync", "error=EIO", when, end).await;
        assert!(!log.refused.is_empty() && log.ended, "the error was not noticed: {log:?}");
        let mut told = log;
        told.begun.retain(|seed| !told.refused.contains(seed));
        assert_legal(&check(dir.path(), &told).await, &format!("after failed syncs {when}"));
    }
}

/// What a process left behind, once more.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Returns the words that have strace look at the reads of a spool's present segments, and do this with them.
pub fn reads_of(dir: &Path, trace: &Path, inject: Option<&str>) -> Vec<String> {
    let mut words: Vec<String> =
        ["strace", "-f", "-o", trace.to_str().unwrap(), "-e", "trace=pread64"].map(String::from).into();
    for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "seg") {
            words.extend(["-P".to_owned(), file.to_str().unwrap().to_owned()]);
        }
    }
    words.extend(inject.into_iter().flat_map(|inject| ["-e".to_owned(), inject.to_owned()]));
    words
}

#[tokio::test]
async fn what_the_disk_does_not_give_at_a_start_is_there_at_the_next_and_nothing_is_sent_twice_before() {
    let name = "what_the_disk_does_not_give_at_a_start_is_there_at_the_next_and_nothing_is_sent_twice_before";
    if !has_strace() {
        return skip::skip(name, "strace does not work here");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut driver = start(dir.path(), &[], 60.0);
    std::thread::sleep(Duration::from_millis(200));
    kill(&driver);
    let said = output(&mut driver);
    let (trace, left) = (dir.path().join("trace"), tempfile::tempdir().unwrap());
    copy(dir.path(), left.path());
    output(&mut start(left.path(), &reads_of(left.path(), &trace, None), 0.0));
    let all = std::fs::read_to_string(&trace).unwrap().matches("pread64(").count() as u32;
    let (mut set_aside, last) = (0, rounds(10).max(2) - 1);
    // One read fails, or all from one on. Those that fail are spread over all reads of a start.
    for (round, more) in (0..=last).flat_map(|round| [(round, ""), (round, "+")]) {
        let when = 1 + (u64::from(all - 1) * u64::from(round) / u64::from(last)) as u32;
        let left = tempfile::tempdir().unwrap();
        copy(dir.path(), left.path());
        let inject = format!("inject=pread64:error=EIO:when={when}{more}");
        let mut log = Log::default();
        log.add(&said, End::Process);
        // A start, some work and a stop.
        log.add(&output(&mut start(left.path(), &reads_of(left.path(), &trace, Some(&inject)), 0.2)), End::Process);
        assert!(std::fs::read_to_string(&trace).unwrap().contains("(INJECTED)"), "no read failed: {inject}");
        let quarantine = std::fs::read_dir(left.path().join("quarantine"));
        set_aside += u32::from(quarantine.is_ok_and(|mut files| files.next().is_some()));
        // The disk gives everything again.
        let verdict = check(left.path(), &log).await;
        assert_legal(&verdict, &format!("{inject} of {all}, and then no more"));
    }
    assert!(set_aside > 0, "the errors were nowhere met");
}

#[tokio::test]
async fn what_the_disk_gives_at_no_start_keeps_no_space_for_ever() {
    let name = "what_the_disk_gives_at_no_start_keeps_no_space_for_ever";
    if !has_strace() {
        return skip::skip(name, "strace does not work here");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut driver = start(dir.path(), &[], 60.0);
    std::thread::sleep(Duration::from_millis(200));
    kill(&driver);
    output(&mut driver);
    let segments = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    let oldest = segments.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).min().unwrap();
    let (oldest, fault) = (oldest.to_str().unwrap(), "inject=pread64:error=EIO");
    let wrapper = ["strace", "-f", "-o", "/dev/null", "-P", oldest, "-e", "trace=pread64", "-e", fault];
    let retired = || {
        let files = std::fs::read_dir(dir.path().join("quarantine")).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "retired")).count()
    };
    output(&mut start(dir.path(), &wrapper.map(String::from), 0.0));
    assert_eq!(retired(), 0, "the next start may read it");
    output(&mut start(dir.path(), &wrapper.map(String::from), 0.0));
    assert!(retired() > 0, "it was read at two starts");
}

#[tokio::test]
async fn a_folder_above_the_spool_that_knows_no_sync_stops_no_start_and_a_failing_one_does() {
    let name = "a_folder_above_the_spool_that_knows_no_sync_stops_no_start_and_a_failing_one_does";
    if !has_strace() {
        return skip::skip(name, "strace does not work here");
    }
    for (fault, opens) in [("error=EINVAL", true), ("error=EIO", false)] {
        let dir = tempfile::tempdir().unwrap();
        // The first is that of the spool's own folder.
        let inject = format!("inject=fsync:{fault}:when=2..3");
        let wrapper = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", &inject].map(String::from);
        let said = output(&mut start(dir.path(), &wrapper, 0.0));
        assert_eq!(said.contains("\nE\n"), opens, "{fault}: {said}");
        let above = dir.path().parent().unwrap().canonicalize().unwrap();
        assert_eq!(said.contains(&format!("syncing {}:", above.display())), !opens, "{fault}: {said}");
    }
}
