//! The remains of damage and crashes, and their treatment at a start. Crashes are played by copying the segments while the spool is open:
//! that is what a killed process leaves.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Error, Filter, Inspect, Notice, Spool, Work};

use super::rig::{filled, flip, make_used, open, reopen, written};
use crate::backend::{copy_segments, settings};
use crate::drafts::{backoff, content, draft, lane, soon};
use crate::port::{claim_all, delivered};

#[tokio::test]
async fn a_flipped_octet_costs_at_most_the_message_it_stands_in_and_that_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, known, settled) = filled(dir.path()).await;
    let crashed = dir.path().join("crashed");
    copy_segments(dir.path(), &crashed);
    spool.stop().await;
    let closed = dir.path().join("closed");
    copy_segments(dir.path(), &closed);
    let used = dir.path().join("used");
    copy_segments(&crashed, &used);
    for (source, sealed) in [(crashed, false), (used, false), (closed, true)] {
        let (path, end) = written(&source).pop().unwrap();
        if source.ends_with("used") {
            make_used(&path, end);
        }
        for step in 0..60 {
            let at = (step * 2_654_435_761 + 17) % end;
            let damaged = tempfile::tempdir().unwrap();
            copy_segments(&source, damaged.path());
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
    copy_segments(dir.path(), &crashed);
    drop(spool);
    let (path, end) = written(&crashed).pop().unwrap();
    for at in (before..end).step_by(11).chain([end - 1, end]) {
        let cut = tempfile::tempdir().unwrap();
        copy_segments(&crashed, cut.path());
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
        copy_segments(&dir.path().join(times.to_string()), &source);
        drop(spool);
        let (path, _) = written(&source).pop().unwrap();
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("00000001-"), "{path:?}");
        // The head of the second batch: nobody's octets, and behind it there is another batch.
        let bytes = fs::read(&path).unwrap();
        let heads: Vec<usize> = memchr::memmem::find_iter(&bytes, &bytes[64..72]).collect();
        let batch = heads.into_iter().filter(|at| *at > 64 && bytes[at + 16] == 11).min().unwrap();
        flip(&path, batch as u64 + 16);
        copy_segments(&source, &damaged);
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

/// Waits until this is so, however busy the machine is.
async fn until(is_so: impl Fn() -> bool, what: impl Fn() -> String) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < patience, "{}", what());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A segment's file that had something unreadable in it, once nobody waits in it any more: what has become of it.
async fn wait_until_retired(dir: &Path, segment: &Path, inode: u64) {
    let retired = dir.join("quarantine").join(segment.with_extension("retired").file_name().unwrap());
    until(|| !segment.exists(), || "it is still a segment".to_owned()).await;
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        // The spool's threads go on, and a file may have been renamed since it was listed.
        let is_made_of_it = entry.metadata().is_ok_and(|found| found.ino() == inode);
        assert!(!is_made_of_it, "{:?} is made of it", entry.path());
    }
    let kept = || fs::metadata(&retired).unwrap();
    assert_eq!(kept().ino(), inode, "its blocks are free for other files");
    // The message of 2,000 octets, and no more of the segment of 64 KiB than is needed for it; given back a moment later.
    let is_small = || (4096..=12 << 10).contains(&(kept().blocks() * 512));
    until(is_small, || format!("{} blocks", kept().blocks())).await;
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
            copy_segments(&dir, &crashed);
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

#[tokio::test]
async fn a_start_that_breaks_off_does_not_forget_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, known, settled) = filled(dir.path()).await;
    let crashed = dir.path().join("crashed");
    copy_segments(dir.path(), &crashed);
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
