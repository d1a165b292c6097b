//! The port's promises about its outbox.

use std::collections::BTreeMap;
use std::time::Duration;

use postbud::spool::{Draft, Filter, OutboxPosition, Settlement, Spool};

use crate::backend::Backend;
use crate::drafts::{draft, soon};
use crate::port::{claim_all, deferred, delivered, outbox};

fn telling(seed: u64, line: &str) -> Draft {
    Draft { lines: format!("{line}\n").into_bytes(), ..draft("x", &["a@b.dk"], seed, 100) }
}

/// Settles the one message that is due, with this line.
async fn settle_one(spool: &dyn Spool, line: &str, is_last: bool) {
    let lease = claim_all(spool, "x").await.pop().unwrap();
    let settlement = if is_last { delivered(&lease) } else { deferred(&lease, soon()) };
    spool.settle(lease, Settlement { lines: format!("{line}\n").into_bytes(), ..settlement }).await.unwrap();
}

pub async fn what_commits_and_changes_tell_is_handed_out_in_their_order<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let id = spool.commit(telling(1, "accepted")).await.unwrap().id();
    let by_hand = |line: &str| BTreeMap::from([(id, format!("{line}\n").into_bytes())]);
    settle_one(&*spool, "deferred", false).await;
    spool.hold(Filter::one(id), "odd".into(), by_hand("held")).await.unwrap();
    spool.hold(Filter::one(id), "odd".into(), by_hand("held already")).await.unwrap();
    spool.release(Filter::one(id), by_hand("released")).await.unwrap();
    spool.expedite(Filter::one(id)).await.unwrap();
    settle_one(&*spool, "relayed", true).await;
    spool.sync().await.unwrap();
    let (told, position) = outbox(&*spool, None).await;
    assert_eq!(told, "accepted\ndeferred\nheld\nreleased\nrelayed\n");
    assert_eq!(outbox(&*spool, Some(position.clone())).await.0, "");
    let _ = spool.commit(telling(2, "the next")).await.unwrap();
    assert_eq!(outbox(&*spool, Some(position)).await.0, "the next\n");
    assert_eq!(outbox(&*spool, None).await.0, told + "the next\n", "the same position gets the same lines");
}

pub async fn what_is_told_survives_a_kill_until_it_is_confirmed<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let _ = spool.commit(telling(1, "first")).await.unwrap();
    let (_, position) = outbox(&*spool, None).await;
    let _ = spool.commit(telling(2, "second")).await.unwrap();
    settle_one(&*spool, "settled", true).await;
    spool.sync().await.unwrap();
    let left = place.killed();
    let again = left.open();
    assert_eq!(outbox(&*again, Some(position.clone())).await.0, "second\nsettled\n");
    assert_eq!(outbox(&*again, None).await.0, "first\nsecond\nsettled\n");
    let _ = again.commit(telling(3, "third")).await.unwrap();
    let (told, end) = outbox(&*again, Some(position)).await;
    assert_eq!(told, "second\nsettled\nthird\n");
    again.confirm(end.clone());
    again.stop().await;
    drop(again);
    let again = left.open();
    assert_eq!(outbox(&*again, Some(end)).await.0, "");
}

pub async fn a_position_of_another_spool_counts_as_none<B: Backend>() {
    let (place, other) = (B::new(), B::new());
    let (spool, strange) = (place.open(), other.open());
    let _ = spool.commit(telling(1, "ours")).await.unwrap();
    for seed in 2..5 {
        let _ = strange.commit(telling(seed, "theirs")).await.unwrap();
    }
    let (_, position) = outbox(&*strange, None).await;
    assert_eq!(outbox(&*spool, Some(position)).await.0, "ours\n");
    for text in ["", "-", "1-2-3", "something else", "00000001-0000000000000001-64"] {
        assert_eq!(outbox(&*spool, Some(OutboxPosition::new(text))).await.0, "ours\n", "{text}");
    }
}

pub async fn a_journal_that_was_away_for_long_gets_everything<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let (_, begin) = outbox(&*spool, None).await;
    let mut expected = String::new();
    for seed in 0..40 {
        let line = format!("{seed}{}", "x".repeat(500_000));
        expected.push_str(&format!("{line}\n"));
        let _ = spool.commit(telling(seed, &line)).await.unwrap();
    }
    let (told, position) = outbox(&*spool, Some(begin)).await;
    assert!(told == expected, "{} octets of {}", told.len(), expected.len());
    let _ = spool.commit(telling(99, "last")).await.unwrap();
    assert_eq!(outbox(&*spool, Some(position)).await.0, "last\n");
}

pub async fn the_journal_is_notified_of_new_lines_and_gets_the_last_ones_after_the_stop<B: Backend>() {
    let place = B::new();
    let spool = place.open();
    let filled = spool.filled();
    let _ = spool.commit(telling(1, "accepted")).await.unwrap();
    filled.notified().await;
    let (_, position) = outbox(&*spool, None).await;
    settle_one(&*spool, "relayed", true).await;
    // Nothing else is synced: it must not take a commit to hear of a result.
    tokio::time::timeout(Duration::from_secs(20), filled.notified()).await.expect("nobody tells of the result");
    let _ = spool.commit(telling(2, "accepted too")).await.unwrap();
    spool.stop().await;
    assert_eq!(outbox(&*spool, Some(position)).await.0, "relayed\naccepted too\n");
}
