//! Messages of which a result cannot be read.

use std::fs;
use std::path::Path;

use postbud::message::QueueId;
use postbud::spool::{Commit, Filter, Inspect, Intervene, LinesById, Notice, RecipientState, Settlement, Spool, Work};
use postbud::time::Timestamp;

use super::rig::{DUE, Reopened, STATE, flip, frames_of, open, reopen, written};
use crate::backend::copy_segments;
use crate::drafts::draft;
use crate::port::{claim_all, settlement};

/// A segment that is never closed and so scanned at each start, with an unreadable state of a message in it.
/// `later`: a readable one stands behind it.
async fn unreadable_state(dir: &Path, later: bool) -> QueueId {
    let live = tempfile::tempdir().unwrap();
    let spool = open(live.path());
    let id = spool.commit(draft("x", &["a@b.dk", "c@d.dk"], 1, 400)).await.unwrap().id();
    let first = (0, RecipientState::Relayed { reply: "250 first".into() });
    for results in [vec![first], Vec::new()].into_iter().take(1 + usize::from(later)) {
        let lease = claim_all(&*spool, "x").await.pop().unwrap();
        let waiting = settlement(&lease, RecipientState::Waiting { last_reply: None }, Timestamp::EPOCH);
        spool.settle(lease, Settlement { results, ..waiting }).await.unwrap();
        spool.sync().await.unwrap();
    }
    // Behind the damage there is another batch: this was acknowledged.
    let _ = spool.commit(draft("y", &["a@b.dk"], 2, 400)).await.unwrap();
    copy_segments(live.path(), dir);
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
        notices.iter().filter(|notice| matches!(notice, Notice::Held { id: held, .. } if *held == id)).count()
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
    assert_eq!(again.spool.release(Filter::one(id), LinesById::new()).await.unwrap(), 1);
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
    assert_eq!(record.recipients[0], RecipientState::Relayed { reply: "250 first".into() });
    let notices = again.notices.lock().unwrap().clone();
    assert!(!notices.iter().any(|notice| matches!(notice, Notice::Held { .. })), "{notices:?}");
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
        copy_segments(live.path(), dir.path());
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
