//! Spools that older programs left.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbud::spool::{Embedded, Filter, Notice, RecipientState, Record, Settings, Spool};
use postbud::time::Timestamp;

use crate::drafts::{content, draft, lane, soon};
use crate::promises::{bytes_of, claim_all, settings};

/// A sealed segment of format 1, whose footer knows no From domains: message 1 deferred in part, 2 held, 3 settled, 4 untried.
const FORMAT_1: (&str, &[u8]) =
    ("00000001-ab0265e95f12d359.seg", include_bytes!("format-1/00000001-ab0265e95f12d359.seg"));

fn by_seed(records: Vec<Record>) -> Vec<(String, Record)> {
    records.into_iter().map(|record| (record.message_id.clone(), record)).collect()
}

#[tokio::test]
async fn a_spool_of_format_1_is_read_whole_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let segment = dir.path().join(FORMAT_1.0);
    std::fs::write(&segment, FORMAT_1.1).unwrap();
    for _ in 0..2 {
        let spool = Embedded::open(settings(dir.path())).unwrap();
        let records = by_seed(spool.list(Filter::default(), 10).await.unwrap());
        let seeds: Vec<&str> = records.iter().map(|(seed, _)| seed.as_str()).collect();
        assert_eq!(seeds, ["1@test.dk", "2@test.dk", "4@test.dk"]);
        assert_eq!(records[0].1.lane, lane("x"));
        assert_eq!(records[1].1.lane, lane("y"));
        let deferred = &records[0].1;
        assert_eq!(deferred.recipients[0], RecipientState::Waiting { last_reply: None });
        assert_eq!(deferred.recipients[1], RecipientState::Delivered { reply: "250 ok".into() });
        assert_eq!((deferred.attempts, deferred.delay_notified), (1, true));
        assert_eq!(deferred.waited_for_caps, Duration::from_secs(7));
        assert_eq!(deferred.due, Timestamp::from_millis(1_800_000_000_000));
        assert_eq!(records[1].1.held.as_deref(), Some("by hand"));
        spool.stop().await;
        assert_eq!(std::fs::read(&segment).unwrap(), FORMAT_1.1, "an older program may still read it");
    }
    let spool = Embedded::open(settings(dir.path())).unwrap();
    let due = spool.claim(&lane("x"), soon(), 10, &|_| soon()).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(bytes_of(&due[0]).await, <[Vec<u8>; 2]>::from(content(4, 2500)).concat());
    drop(due);
    assert_eq!(claim_all(&*spool, "x").await.len(), 1);
}

#[tokio::test]
async fn a_torn_write_in_a_segment_that_is_never_closed_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    // Its last frame is cut: the footer begins where the trailer says.
    let whole = FORMAT_1.1;
    let trailer = &whole[whole.len() - 32..];
    let footer_at = u64::from_le_bytes(trailer[8..16].try_into().unwrap()) as usize;
    std::fs::write(dir.path().join(FORMAT_1.0), &whole[..footer_at - 5]).unwrap();
    for start in 0..3 {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notices = Arc::clone(&heard);
        let hear = move |notice| notices.lock().unwrap().push(notice);
        let spool = Embedded::open(Settings { notices: Some(Arc::new(hear)), ..settings(dir.path()) }).unwrap();
        // From now on there is a later segment.
        let _ = spool.commit(draft("x", &["a@b.dk"], start, 100)).await.unwrap();
        spool.stop().await;
        let heard = heard.lock().unwrap();
        let torn = heard.iter().filter(|notice| matches!(notice, Notice::Torn { .. })).count();
        assert_eq!(torn, usize::from(start == 0), "start {start}: {heard:?}");
        assert!(start == 0 || heard.is_empty(), "start {start}: {heard:?}");
        assert_eq!(spool.stats().quarantined, 0, "it was never acknowledged");
    }
}

/// A segment of format 2 as a killed process left it: messages 1 to 4, zeros behind them. Its batches do not say where they end.
const FORMAT_2: (&str, &[u8]) =
    ("00000001-54565239e843dd23.seg", include_bytes!("format-2/00000001-54565239e843dd23.seg"));

#[tokio::test]
async fn a_spool_of_format_2_that_a_crash_left_is_read_and_its_torn_end_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut torn = FORMAT_2.1.to_vec();
    let end = torn.iter().rposition(|byte| *byte != 0).unwrap();
    torn[end - 1000..].fill(0);
    std::fs::write(dir.path().join(FORMAT_2.0), torn).unwrap();
    for start in 0..2 {
        let spool = Embedded::open(settings(dir.path())).unwrap();
        let waiting = spool.seize(Filter::default(), 10).await.unwrap();
        let seeds: Vec<&str> = waiting.iter().map(|lease| lease.record.message_id.as_str()).collect();
        assert_eq!(seeds, ["1@test.dk", "2@test.dk", "3@test.dk"]);
        for (lease, seed) in waiting.iter().zip(1..) {
            assert_eq!(bytes_of(lease).await, <[Vec<u8>; 2]>::from(content(seed, 1500)).concat());
        }
        drop(waiting);
        spool.stop().await;
        let list = std::fs::read_to_string(dir.path().join("quarantine/LIST")).unwrap();
        assert_eq!(list.matches(".torn").count(), 1, "start {start}: {list}");
    }
}
