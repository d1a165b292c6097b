//! What damage and crashes leave, and what a start makes of it. Crashes are played by copying the directory while the spool
//! is open: that is what a killed process leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbud::message::QueueId;
use postbud::spool::embedded::{Embedded, Notice, OpenError, Settings};
use postbud::spool::{
    self, Backoff, Commit, Error, Filter, Inspect, Intervene, RecipientState, Settlement, Spool, Work,
};
use postbud::time::Timestamp;

use crate::drafts::{backoff, content, draft, lane, soon};
use crate::promises::{bytes_of, claim_all, delivered, open, settings, settlement, stats_of};

/// The segments as they stand at one moment: once more where one was added or given back meanwhile.
fn copy_spool(from: &Path, to: &Path) {
    loop {
        let segments = files_with(from, "seg");
        fs::create_dir_all(to).unwrap();
        files_with(to, "seg").iter().for_each(|old| fs::remove_file(old).unwrap());
        let copied = segments.iter().all(|segment| fs::copy(segment, to.join(segment.file_name().unwrap())).is_ok());
        if copied && files_with(from, "seg") == segments {
            return;
        }
    }
}

fn files_with(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ext| ext == extension)).collect();
    found.sort();
    found
}

/// The segments that hold something, oldest first, and where their data ends.
fn written(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "seg"))
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            (path, end)
        })
        .filter(|(_, end)| *end > 64)
        .collect();
    found.sort();
    found
}

/// Puts behind `end` what a file has there that was another segment before.
fn make_used(path: &Path, end: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut older = vec![0; end as usize];
    file.read_exact_at(&mut older, 0).unwrap();
    // Sound frames, but under another segment's mark.
    let mark: [u8; 8] = older[64..72].try_into().unwrap();
    let all: Vec<usize> = memchr::memmem::find_iter(&older, &mark).collect();
    all.iter().for_each(|at| older[*at] ^= 0xFF);
    for n in 0..3 {
        file.write_all_at(&older[64..], end + n * (end - 64)).unwrap();
    }
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

struct Reopened {
    spool: Arc<Embedded>,
    notices: Arc<Mutex<Vec<Notice>>>,
}

fn reopen(dir: &Path) -> Reopened {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let hear = move |notice| heard.lock().unwrap().push(notice);
    let spool = Embedded::open(Settings { notices: Some(Arc::new(hear)), ..settings(dir) }).unwrap();
    Reopened { spool, notices }
}

impl Reopened {
    /// Claims everything there is, checks each octet of it, and returns the ids.
    async fn sound_ids(&self, known: &BTreeMap<QueueId, (u64, usize)>) -> Vec<QueueId> {
        let mut ids = Vec::new();
        let late = soon() + Duration::from_secs(3600);
        // What is given back is due when the next start is asked.
        let at_once = Backoff { longest: Duration::ZERO, ..Backoff::default() };
        for lease in self.spool.claim(&lane("x"), late, 1000, &at_once).await.unwrap() {
            let (seed, size) = known[&lease.record.id];
            let expected = <[Vec<u8>; 2]>::from(content(seed, size)).concat();
            assert_eq!(bytes_of(&lease).await, expected, "corrupt bytes of {}", lease.record.id);
            ids.push(lease.record.id);
        }
        ids.sort();
        ids
    }

    /// Whether a message, or something that may be it, was set aside.
    fn was_reported(&self, id: QueueId) -> bool {
        self.notices.lock().unwrap().iter().any(|notice| match notice {
            Notice::Quarantined { id: found, .. } => found.is_none_or(|found| found == id),
            Notice::Torn { .. } => true,
            _ => false,
        })
    }
}

/// A spool with 12 messages of which the first three are settled, and what is known of the others.
async fn filled(dir: &Path) -> (Arc<Embedded>, BTreeMap<QueueId, (u64, usize)>, Vec<QueueId>) {
    let spool = open(dir);
    let mut known = BTreeMap::new();
    for seed in 0..12 {
        let size = [50, 400, 3000][seed as usize % 3];
        let id = spool.commit(draft("x", &["a@b.dk"], seed, size)).await.unwrap().id();
        known.insert(id, (seed, size));
    }
    let mut settled = Vec::new();
    for lease in spool.claim(&lane("x"), soon(), 3, &backoff()).await.unwrap() {
        settled.push(lease.record.id);
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
    }
    // Answered once the settlements are on disk.
    spool.sync().await.unwrap();
    (spool, known, settled)
}

#[tokio::test]
async fn a_flipped_octet_costs_at_most_the_message_it_stands_in_and_that_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, known, settled) = filled(dir.path()).await;
    let crashed = dir.path().join("crashed");
    copy_spool(dir.path(), &crashed);
    spool.stop().await;
    let closed = dir.path().join("closed");
    copy_spool(dir.path(), &closed);
    let used = dir.path().join("used");
    copy_spool(&crashed, &used);
    for (source, sealed) in [(crashed, false), (used, false), (closed, true)] {
        let (path, end) = written(&source).pop().unwrap();
        if source.ends_with("used") {
            make_used(&path, end);
        }
        for step in 0..60 {
            let at = (step * 2_654_435_761 + 17) % end;
            let damaged = tempfile::tempdir().unwrap();
            copy_spool(&source, damaged.path());
            flip(&damaged.path().join(path.file_name().unwrap()), at);
            let again = reopen(damaged.path());
            let found = again.sound_ids(&known).await;
            let missing: Vec<_> =
                known.keys().filter(|id| !settled.contains(id) && !found.contains(id)).copied().collect();
            assert!(missing.len() <= 1, "offset {at}: {} messages lost", missing.len());
            assert!(missing.iter().all(|id| again.was_reported(*id)), "offset {at}: lost in silence");
            let resurrected = found.iter().filter(|id| settled.contains(id)).count();
            // Only a settlement whose own frame is damaged, in a segment without a footer, can be forgotten.
            assert!(resurrected <= usize::from(!sealed), "offset {at}: {resurrected} settled messages came back");
        }
    }
}

#[tokio::test]
async fn a_write_cut_off_at_any_octet_leaves_everything_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut known, settled) = filled(dir.path()).await;
    let before = written(dir.path()).pop().unwrap().1;
    let last = spool.commit(draft("x", &["a@b.dk"], 99, 300)).await.unwrap().id();
    known.insert(last, (99, 300));
    let crashed = dir.path().join("crashed");
    copy_spool(dir.path(), &crashed);
    drop(spool);
    let (path, end) = written(&crashed).pop().unwrap();
    for at in (before..end).step_by(11).chain([end - 1, end]) {
        let cut = tempfile::tempdir().unwrap();
        copy_spool(&crashed, cut.path());
        // What is behind the cut: nothing, zeros, or what the file held before as another segment.
        let path = cut.path().join(path.file_name().unwrap());
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(at).unwrap();
        match at % 3 {
            0 => {}
            1 => file.set_len(1 << 20).unwrap(),
            _ => make_used(&path, at),
        }
        let again = reopen(cut.path());
        let found = again.sound_ids(&known).await;
        let expected: Vec<_> =
            known.keys().filter(|id| !settled.contains(id) && (**id != last || at == end)).copied().collect();
        assert_eq!(found, expected, "cut at {at} of {end}");
        let alarms = again.notices.lock().unwrap().iter().filter(|n| matches!(n, Notice::Quarantined { .. })).count();
        assert_eq!(alarms, 0, "a torn write was never acknowledged");
        drop(again);
        // What the first start made of it is what the second finds.
        assert_eq!(reopen(cut.path()).sound_ids(&known).await, expected);
    }
}

#[tokio::test]
async fn a_damaged_body_is_found_when_it_is_read_and_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let small = spool.commit(draft("x", &["a@b.dk"], 1, 2000)).await.unwrap().id();
    let large = spool.commit(draft("x", &["a@b.dk"], 2, 600_000)).await.unwrap().id();
    let sound = spool.commit(draft("x", &["a@b.dk"], 3, 2000)).await.unwrap().id();
    spool.stop().await;
    drop(spool);
    let (path, _) = written(dir.path()).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let find = |what: &[u8]| bytes.windows(what.len()).position(|window| window == what).unwrap() as u64;
    flip(&path, find(&content(1, 2000).1[500..520]));
    flip(&path, find(&content(2, 600_000).1[400_000..400_020]));

    let again = reopen(dir.path());
    let leases = claim_all(&*again.spool, "x").await;
    let ids: Vec<_> = leases.iter().map(|lease| lease.record.id).collect();
    assert_eq!(ids, [large, sound]);
    assert!(leases[0].bytes.chunk(0).await.is_ok());
    assert!(matches!(leases[0].bytes.chunk(1).await, Err(Error::Corrupt { id, .. }) if id == large));
    drop(leases);
    assert_eq!(claim_all(&*again.spool, "x").await.len(), 1);
    assert_eq!(again.spool.totals().await.unwrap().quarantined, 2);
    assert!(again.was_reported(small) && again.was_reported(large));
    let list = fs::read_to_string(dir.path().join("quarantine/LIST")).unwrap();
    assert!(list.contains(&small.to_string()) && list.contains(&large.to_string()), "{list}");
    again.spool.stop().await;
    drop(again);

    let again = reopen(dir.path());
    assert_eq!(again.spool.list(Filter::default(), 9).await.unwrap().len(), 1);
    assert_eq!(again.spool.totals().await.unwrap().quarantined, 2);
    assert!(again.notices.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_set_aside_of_two_segments_with_one_number_is_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let damaged = dir.path().join("damaged");
    for times in 1..=2 {
        let (spool, _, _) = filled(&dir.path().join(times.to_string())).await;
        let source = dir.path().join(format!("crashed-{times}"));
        copy_spool(&dir.path().join(times.to_string()), &source);
        drop(spool);
        let (path, _) = written(&source).pop().unwrap();
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("00000001-"), "{path:?}");
        // The head of the second batch: nobody's octets, and behind it there is another batch.
        let bytes = fs::read(&path).unwrap();
        let heads: Vec<usize> = memchr::memmem::find_iter(&bytes, &bytes[64..72]).collect();
        let batch = heads.into_iter().filter(|at| *at > 64 && bytes[at + 16] == 11).min().unwrap();
        flip(&path, batch as u64 + 16);
        copy_spool(&source, &damaged);
        let again = reopen(&damaged);
        let said = again.notices.lock().unwrap().clone();
        assert!(matches!(&said[..], [Notice::Quarantined { id: None, .. }]), "life {times}: {said:?}");
        assert_eq!(again.spool.totals().await.unwrap().quarantined, times);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let from = format!("unknown-{stem}-{batch:08x}-{:08x}.record", batch + 40);
        assert!(damaged.join("quarantine").join(&from).exists(), "{from}");
        drop(again);
        for (path, _) in written(&damaged) {
            fs::remove_file(path).unwrap();
        }
    }
}

/// A segment's file that had something unreadable in it, once nobody waits in it any more: what has become of it.
async fn wait_until_retired(dir: &Path, segment: &Path, inode: u64) {
    let retired = dir.join("quarantine").join(segment.with_extension("retired").file_name().unwrap());
    for _ in 0..200 {
        if !segment.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!segment.exists(), "it is still a segment");
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        assert_ne!(entry.metadata().unwrap().ino(), inode, "{:?} is made of it", entry.path());
    }
    let kept = || fs::metadata(&retired).unwrap();
    assert_eq!(kept().ino(), inode, "its blocks are free for other files");
    // The message of 2,000 octets, and no more of the segment of 64 KiB than is needed for it; given back a moment later.
    let is_small = || (4096..=12 << 10).contains(&(kept().blocks() * 512));
    for _ in 0..100 {
        if is_small() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(is_small(), "{} blocks", kept().blocks());
}

#[tokio::test]
async fn a_file_with_something_unreadable_in_it_holds_no_other_mail() {
    for found_by in ["a delivery", "a delivery before a restart", "a start"] {
        let dir = tempfile::tempdir().unwrap();
        let crashed = dir.path().join("crashed");
        let small = Settings { segment_size: 64 << 10, ..settings(dir.path()) };
        let mut spool = Embedded::open(small.clone()).unwrap();
        for seed in 0..30 {
            let _ = spool.commit(draft("x", &["a@b.dk"], seed, if seed == 5 { 2000 } else { 5000 })).await.unwrap();
        }
        let mut dir = dir.path().to_owned();
        if found_by == "a start" {
            copy_spool(&dir, &crashed);
            spool.stop().await;
            dir = crashed;
        }
        let (segment, _) = written(&dir).remove(0);
        let (bytes, body) = (fs::read(&segment).unwrap(), content(5, 2000).1);
        let at = bytes.windows(body.len()).position(|window| window == body).unwrap() as u64;
        flip(&segment, at + 1000);
        if found_by == "a start" {
            // Not closed: all of it is read.
            fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(bytes.len() as u64 - 40).unwrap();
            spool = Embedded::open(Settings { dir: dir.clone(), ..small.clone() }).unwrap();
        }
        let inode = fs::metadata(&segment).unwrap().ino();
        let late = soon() + Duration::from_secs(3600);
        let mut leases = spool.claim(&lane("x"), late, 1000, &backoff()).await.unwrap();
        assert_eq!(leases.len(), 29, "{found_by}");
        if found_by == "a delivery before a restart" {
            drop(leases);
            spool.stop().await;
            spool = Embedded::open(small.clone()).unwrap();
            leases = claim_all(&*spool, "x").await;
        }
        for lease in leases {
            let result = delivered(&lease);
            spool.settle(lease, result).await.unwrap();
        }
        wait_until_retired(&dir, &segment, inode).await;
        assert_eq!(spool.totals().await.unwrap().quarantined, 1, "{found_by}");
    }
}

/// The frames of a kind in a segment, first to last.
fn frames_of(path: &Path, kind: u8) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    let heads = memchr::memmem::find_iter(&bytes, &bytes[64..72]);
    heads.filter(|at| *at >= 64 && bytes[at + 16] == kind).map(|at| at as u64).collect()
}

const STATE: u8 = 3;
const DUE: u8 = 4;

/// A segment that is never closed and so scanned at each start, with an unreadable state of a message in it.
/// `later`: a readable one stands behind it.
async fn unreadable_state(dir: &Path, later: bool) -> QueueId {
    let live = tempfile::tempdir().unwrap();
    let spool = open(live.path());
    let id = spool.commit(draft("x", &["a@b.dk", "c@d.dk"], 1, 400)).await.unwrap().id();
    let first = (0, RecipientState::Delivered { reply: "250 first".into() });
    for results in [vec![first], Vec::new()].into_iter().take(1 + usize::from(later)) {
        let lease = claim_all(&*spool, "x").await.pop().unwrap();
        let waiting = settlement(&lease, RecipientState::Waiting { last_reply: None }, Timestamp::EPOCH);
        spool.settle(lease, Settlement { results, ..waiting }).await.unwrap();
        spool.sync().await.unwrap();
    }
    // Behind the damage there is another batch: this was acknowledged.
    let _ = spool.commit(draft("y", &["a@b.dk"], 2, 400)).await.unwrap();
    copy_spool(live.path(), dir);
    spool.stop().await;
    let (path, _) = written(dir).pop().unwrap();
    flip(&path, frames_of(&path, STATE)[0] + 40);
    // An older program's: no footer is ever written to it.
    let mut head = fs::read(&path).unwrap();
    head[16] = 1;
    let crc = crc32fast::hash(&head[..60]);
    head[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, head).unwrap();
    id
}

#[tokio::test]
async fn a_message_with_an_unreadable_result_is_held_once_and_goes_out_once_released() {
    let dir = tempfile::tempdir().unwrap();
    let id = unreadable_state(dir.path(), false).await;
    let doubtful = |again: &Reopened| {
        let notices = again.notices.lock().unwrap();
        notices.iter().filter(|notice| **notice == Notice::Doubtful { id }).count()
    };
    let again = reopen(dir.path());
    assert_eq!(doubtful(&again), 1);
    let record = again.spool.show(id).await.unwrap().0;
    assert_eq!(record.held.as_deref(), Some("a result cannot be read: some recipients may have it already"));
    assert!(claim_all(&*again.spool, "x").await.is_empty());
    again.spool.stop().await;
    // The segment is scanned again, but this was told.
    let again = reopen(dir.path());
    assert_eq!(doubtful(&again), 0);
    assert!(again.spool.show(id).await.unwrap().0.held.is_some());
    assert_eq!(again.spool.release(Filter::one(id)).await.unwrap(), 1);
    again.spool.stop().await;
    let again = reopen(dir.path());
    assert_eq!(doubtful(&again), 0);
    assert_eq!(again.spool.show(id).await.unwrap().0.held, None, "held again although an operator released it");
    assert_eq!(claim_all(&*again.spool, "x").await.len(), 1);
}

#[tokio::test]
async fn an_unreadable_result_with_a_later_one_behind_it_leaves_no_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let id = unreadable_state(dir.path(), true).await;
    let again = reopen(dir.path());
    let record = again.spool.show(id).await.unwrap().0;
    assert_eq!((record.held, record.attempts), (None, 2));
    assert_eq!(record.recipients[0], RecipientState::Delivered { reply: "250 first".into() });
    let notices = again.notices.lock().unwrap().clone();
    assert!(!notices.iter().any(|notice| matches!(notice, Notice::Doubtful { .. })), "{notices:?}");
}

#[tokio::test]
async fn what_a_crash_tears_off_the_last_write_holds_no_message() {
    for kind in [STATE, DUE] {
        let (live, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let spool = open(live.path());
        let id = spool.commit(draft("x", &["a@b.dk"], 1, 400)).await.unwrap().id();
        let lease = claim_all(&*spool, "x").await.pop().unwrap();
        let waiting = settlement(&lease, RecipientState::Waiting { last_reply: None }, Timestamp::EPOCH);
        spool.settle(lease, waiting).await.unwrap();
        spool.sync().await.unwrap();
        let second = if kind == DUE { claim_all(&*spool, "x").await } else { Vec::new() };
        copy_spool(live.path(), dir.path());
        drop(second);
        spool.stop().await;
        let (path, _) = written(dir.path()).pop().unwrap();
        flip(&path, *frames_of(&path, kind).last().unwrap() + 33);
        let again = reopen(dir.path());
        assert_eq!(again.spool.show(id).await.unwrap().0.held, None, "kind {kind}");
        let notices = again.notices.lock().unwrap().clone();
        assert!(matches!(notices.as_slice(), [Notice::Torn { .. }]), "kind {kind}: {notices:?}");
    }
}

#[tokio::test]
async fn a_start_that_breaks_off_does_not_forget_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, known, settled) = filled(dir.path()).await;
    let crashed = dir.path().join("crashed");
    copy_spool(dir.path(), &crashed);
    drop(spool);
    let (&damaged, &(seed, size)) =
        known.iter().find(|(id, (_, size))| *size == 3000 && !settled.contains(id)).unwrap();
    let (path, _) = written(&crashed).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let body = content(seed, size).1;
    let at = bytes.windows(body.len()).position(|window| window == body).unwrap();
    flip(&path, at as u64);
    // Nothing can be set aside.
    fs::create_dir_all(crashed.join("quarantine/LIST")).unwrap();
    assert!(Embedded::open(settings(&crashed)).is_err());
    fs::remove_dir(crashed.join("quarantine/LIST")).unwrap();
    let again = reopen(&crashed);
    assert!(again.was_reported(damaged), "{:?}", again.notices);
    assert_eq!(again.sound_ids(&known).await.len(), known.len() - settled.len() - 1);
}

#[tokio::test]
async fn a_spool_of_another_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    spool.stop().await;
    drop(spool);
    let (path, _) = written(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[16] = 9;
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let refused = Embedded::open(settings(dir.path()));
    assert!(matches!(refused, Err(OpenError::OtherFormat { found: 9, known: 1, .. })));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn space_comes_back_although_a_held_message_sits_in_the_oldest_segment() {
    let dir = tempfile::tempdir().unwrap();
    let small = Settings { segment_size: 64 << 10, ..settings(dir.path()) };
    let spool = Embedded::open(small.clone()).unwrap();
    let mut held = draft("x", &["a@b.dk"], 7, 2000);
    held.held = Some("waits for somebody".into());
    let held = spool.commit(held).await.unwrap().id();
    for round in 0..100 {
        let _ = spool.commit(draft("x", &["a@b.dk"], round, 9000)).await.unwrap();
    }
    assert!(spool.totals().await.unwrap().disk_bytes > 900_000);
    for lease in claim_all(&*spool, "x").await {
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
    }
    for _ in 0..200 {
        if spool.totals().await.unwrap().disk_bytes < 460_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        spool.totals().await.unwrap().disk_bytes < 460_000,
        "{} octets for one message",
        spool.totals().await.unwrap().disk_bytes
    );
    let crashed = dir.path().join("crashed");
    copy_spool(dir.path(), &crashed);
    for (spool, name) in [(spool, "live"), (Embedded::open(Settings { dir: crashed, ..small }).unwrap(), "crashed")] {
        let all = spool.list(Filter::default(), 10).await.unwrap();
        assert_eq!(
            all.iter().map(|r| (r.id, r.held.as_deref())).collect::<Vec<_>>(),
            [(held, Some("waits for somebody"))]
        );
        assert_eq!(spool.release(Filter::default()).await.unwrap(), 1);
        let lease = claim_all(&*spool, "x").await.pop().unwrap();
        assert_eq!(bytes_of(&lease).await, <[Vec<u8>; 2]>::from(content(7, 2000)).concat(), "{name}");
    }
}

#[tokio::test]
async fn a_settled_segments_file_is_used_again_and_what_it_held_is_not_taken_for_mail() {
    let dir = tempfile::tempdir().unwrap();
    let small = Settings { segment_size: 64 << 10, ..settings(dir.path()) };
    let spool = Embedded::open(small.clone()).unwrap();
    let mut files: Vec<BTreeSet<u64>> = Vec::new();
    for round in 0..12 {
        for seed in 0..5 {
            let _ = spool.commit(draft("x", &["a@b.dk"], round * 10 + seed, 10_000)).await.unwrap();
        }
        for lease in claim_all(&*spool, "x").await {
            let result = delivered(&lease);
            spool.settle(lease, result).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        files.push(fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().ino()).collect());
    }
    assert_eq!(files[10], files[11], "each segment is a file of its own");
    // Small ones have the longest footers.
    for seed in 0..2000 {
        let _ = spool.commit(draft("x", &["a@b.dk"], 1000 + seed, 10)).await.unwrap();
    }
    while spool.totals().await.unwrap().records > 0 {
        for lease in claim_all(&*spool, "x").await {
            let result = delivered(&lease);
            spool.settle(lease, result).await.unwrap();
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let longest = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).max();
    assert!(longest < Some(80 << 10), "files grow from one use to the next: {longest:?}");
    let waiting = spool.commit(draft("x", &["a@b.dk"], 999, 10_000)).await.unwrap().id();
    let crashed = dir.path().join("crashed");
    copy_spool(dir.path(), &crashed);
    fs::write(crashed.join("0123456789abcdef.pool"), b"left by a crash").unwrap();
    let again = reopen(&crashed);
    assert_eq!(again.sound_ids(&BTreeMap::from([(waiting, (999, 10_000))])).await, [waiting]);
    assert!(again.notices.lock().unwrap().is_empty(), "{:?}", again.notices);
    assert!(!crashed.join("0123456789abcdef.pool").exists());
    spool.stop().await;
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(names.iter().all(|path| path.extension().is_none_or(|ext| ext != "pool")), "{names:?}");
}

#[tokio::test]
async fn a_message_under_way_stays_readable_although_its_segment_was_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Embedded::open(Settings { segment_size: 4 << 20, ..settings(dir.path()) }).unwrap();
    let large = spool.commit(draft("x", &["a@b.dk"], 7, 5_000_000)).await.unwrap().id();
    let under_way = claim_all(&*spool, "x").await.pop().unwrap();
    let (first_segment, _) = written(dir.path()).remove(0);
    for round in 0..250 {
        let _ = spool.commit(draft("x", &["a@b.dk"], round, 100_000)).await.unwrap();
    }
    for lease in claim_all(&*spool, "x").await {
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
    }
    for _ in 0..200 {
        if !first_segment.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!first_segment.exists(), "the message was not copied forward");
    // Longer than it takes to free the whole segment piece by piece, and more mail than files are kept for.
    tokio::time::sleep(Duration::from_millis(200)).await;
    for round in 0..250 {
        let _ = spool.commit(draft("x", &["a@b.dk"], round, 100_000)).await.unwrap();
    }
    assert_eq!(under_way.record.id, large);
    assert_eq!(bytes_of(&under_way).await, <[Vec<u8>; 2]>::from(content(7, 5_000_000)).concat());
}

#[tokio::test]
async fn without_room_new_mail_is_refused_and_queued_mail_goes_out() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    spool.stop().await;
    drop(spool);
    for (full, key) in [
        (Settings { min_free: u64::MAX, ..settings(dir.path()) }, "min_free keeps"),
        (Settings { min_free_inodes: u64::MAX, ..settings(dir.path()) }, "min_free_inodes keeps"),
    ] {
        let spool = Embedded::open(full).unwrap();
        let refused = spool.commit(draft("x", &["a@b.dk"], 2, 100)).await;
        if let Err(why) = &refused {
            assert!(why.to_string().contains(key), "{why}");
        }
        // File systems that make inodes as needed have no number of them to run out of.
        assert!(matches!(refused, Err(Error::Full { .. })) || refused.is_ok_and(|_| inodes_are_endless(dir.path())));
        let lease = claim_all(&*spool, "x").await.pop().unwrap();
        let later = settlement(&lease, RecipientState::Waiting { last_reply: None }, Timestamp::EPOCH);
        spool.settle(lease, later).await.unwrap();
        spool.stop().await;
    }
    assert_eq!(open(dir.path()).list(Filter::default(), 9).await.unwrap()[0].attempts, 2);
}

fn inodes_are_endless(dir: &Path) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|seen| seen.f_files == 0)
}

const ALONE: &str = "POSTBUD_TEST_ALONE";

#[tokio::test]
async fn where_no_file_can_be_opened_for_now_nothing_is_put_on_hold() {
    // The limit is the whole process': it has one of its own.
    if std::env::var_os(ALONE).is_none() {
        let name = "damage::where_no_file_can_be_opened_for_now_nothing_is_put_on_hold";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let out = alone.args(["--exact", name]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        return assert!(out.status.success() && said.contains("1 passed"), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for seed in 0..3 {
        let _ = spool.commit(draft("x", &["a@b.dk"], seed, 1000)).await.unwrap();
    }
    spool.stop().await;
    drop(spool);
    let reopened = reopen(dir.path());
    // Has a segment made for it: what is written from here on needs no new file.
    let _ = reopened.spool.commit(draft("y", &["a@b.dk"], 9, 1000)).await.unwrap();
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let none = rustix::process::Rlimit { current: Some(1), ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, none).unwrap();
    let error = reopened.spool.claim(&lane("x"), soon(), 10, &backoff()).await.err().unwrap();
    let listed = reopened.spool.list(Filter::default(), 10).await.err().unwrap();
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limits).unwrap();
    assert!(spool::is_short_of_means(&error) && spool::is_short_of_means(&listed), "{error}, {listed}");
    assert_eq!(claim_all(&*reopened.spool, "x").await.len(), 3);
    assert!(reopened.notices.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_segment_that_cannot_be_opened_holds_its_own_mail_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let small = Settings { segment_size: 64 << 10, ..settings(dir.path()) };
    let spool = Embedded::open(small.clone()).unwrap();
    let mut ids = Vec::new();
    for seed in 0..40 {
        let customer = if seed % 2 == 0 { "x" } else { "y" };
        ids.push(spool.commit(draft(customer, &["a@b.dk"], seed, 5000)).await.unwrap().id());
    }
    spool.stop().await;
    drop(spool);
    let (segment, _) = written(dir.path()).remove(0);
    let bytes = fs::read(&segment).unwrap();
    let is_there = |seed: u64| memchr::memmem::find(&bytes, &content(seed, 5000).1).is_some();
    let lost: Vec<QueueId> = (0..40).filter(|seed| is_there(*seed)).map(|seed| ids[seed as usize]).collect();
    assert!((4..30).contains(&lost.len()));
    let reopened = reopen(dir.path());
    let aside = segment.with_extension("aside");
    fs::rename(&segment, &aside).unwrap();
    let claimed: BTreeSet<_> = [claim_all(&*reopened.spool, "x").await, claim_all(&*reopened.spool, "y").await]
        .iter()
        .flatten()
        .map(|lease| lease.record.id)
        .collect();
    let expected: BTreeSet<_> = ids.iter().copied().filter(|id| !lost.contains(id)).collect();
    assert_eq!(claimed, expected);
    let held = stats_of(&*reopened.spool, "x").await.held + stats_of(&*reopened.spool, "y").await.held;
    assert_eq!(held, lost.len() as u64);
    let notices = reopened.notices.lock().unwrap().clone();
    let told = |notice: &Notice| matches!(notice, Notice::Unreadable { why } if why.contains("No such file"));
    assert_eq!(notices.iter().filter(|notice| told(notice)).count(), 1, "once for them all: {notices:?}");
    // An operator's command on all of it takes what there is.
    let seized = reopened.spool.seize(Filter::default(), 100).await.unwrap();
    assert_eq!(seized.len(), expected.len());
    assert_eq!(reopened.spool.list(Filter::default(), 100).await.unwrap().len(), expected.len());
    drop(seized);
    fs::rename(&aside, &segment).unwrap();
    assert_eq!(reopened.spool.release(Filter::default()).await.unwrap(), lost.len() as u64);
    let late = soon() + Duration::from_secs(3600);
    let mut again = Vec::new();
    for customer in ["x", "y"] {
        again.extend(reopened.spool.claim(&lane(customer), late, 100, &backoff()).await.unwrap());
    }
    assert_eq!(again.len(), ids.len());
}
