//! Space: segments are reclaimed, their files used again, and a full disk refuses new mail only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Error, Filter, Inspect, Intervene, LinesById, RecipientState, Spool, Work};
use postbud::time::Timestamp;

use super::rig::{open, reopen, written};
use crate::backend::{copy_segments, settings};
use crate::drafts::{content, draft};
use crate::port::{bytes_of, claim_all, delivered, settlement};

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
    copy_segments(dir.path(), &crashed);
    for (spool, name) in [(spool, "live"), (Embedded::open(Settings { dir: crashed, ..small }).unwrap(), "crashed")] {
        let all = spool.list(Filter::default(), 10).await.unwrap();
        assert_eq!(
            all.iter().map(|r| (r.id, r.held.as_deref())).collect::<Vec<_>>(),
            [(held, Some("waits for somebody"))]
        );
        assert_eq!(spool.release(Filter::default(), LinesById::new()).await.unwrap(), 1);
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
    assert!(longest < Some(96 << 10), "files grow from one use to the next: {longest:?}");
    let waiting = spool.commit(draft("x", &["a@b.dk"], 999, 10_000)).await.unwrap().id();
    let crashed = dir.path().join("crashed");
    copy_segments(dir.path(), &crashed);
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
