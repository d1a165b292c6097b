//! All mail of a spool goes to another one, from each backend to each, and a move that is interrupted goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use postbud::message::{Lane, MailKind, QueueId, Urgency};
use postbud::spool::moving::{self, Move, MoveError, Moved};
use postbud::spool::postgres::{OpenError, Postgres, Settings};
use postbud::spool::{Draft, Filter, LinesById, RecipientState, Settlement, Spool};
use postbud::time::Timestamp;

use crate::backend::{Backend, Schema, SegmentLog};
use crate::drafts::{draft, lane};
use crate::port::{bytes_of, claim_all, content_of};
use crate::postgres;
use crate::skip::skip;

/// What is known of a message, for people and for comparison.
type Known = BTreeMap<QueueId, String>;

/// Mail in every state.
async fn fill(spool: &dyn Spool) {
    let commit = async |draft: Draft| spool.commit(draft).await.unwrap().id();
    let _untried = commit(draft("x", &["a@b.dk", "c@d.dk"], 1, 100)).await;
    let _held_at_once = commit(Draft { held: Some("looks odd".into()), ..draft("y", &["a@b.dk"], 2, 700_000) }).await;
    let notification = Lane { urgency: Urgency::Bulk, kind: MailKind::Bounce, ..lane("y") };
    let _bulk = commit(Draft { lane: notification, ..draft("y", &["a@b.dk"], 3, 300_000) }).await;
    let _tried = commit(draft("z", &["a@b.dk", "c@d.dk", "e@f.dk"], 4, 5_000)).await;
    let lease = claim_all(spool, "z").await.pop().unwrap();
    let reply = |text: &str| text.into();
    let settlement = Settlement {
        results: vec![
            (0, RecipientState::Relayed { reply: reply("250 2.0.0 ok") }),
            (1, RecipientState::Waiting { last_reply: Some(reply("451 4.7.1 later")) }),
            (2, RecipientState::Failed { reply: reply("550 5.1.1 nobody") }),
        ],
        due: Some(Timestamp::now() + Duration::from_secs(4_000)),
        counts: true,
        waited_for_caps: Duration::from_secs(7),
        delay_notified: true,
        ..Settlement::default()
    };
    spool.settle(lease, settlement).await.unwrap();
    let released = commit(Draft { held: Some("wait".into()), ..draft("w", &["a@b.dk"], 5, 20_000) }).await;
    assert_eq!(spool.release(Filter::one(released), LinesById::new()).await.unwrap(), 1);
    let expedited = commit(draft("w", &["a@b.dk"], 6, 10)).await;
    let lease = spool.seize(Filter::one(expedited), 1).await.unwrap().pop().unwrap();
    let later =
        Settlement { due: Some(Timestamp::now() + Duration::from_secs(900)), counts: true, ..Settlement::default() };
    spool.settle(lease, later).await.unwrap();
    assert_eq!(spool.expedite(Filter::one(expedited)).await.unwrap(), 1);
    let held_later = commit(draft("v", &["a@b.dk"], 7, 10)).await;
    assert_eq!(spool.hold(Filter::one(held_later), "by hand".into(), LinesById::new()).await.unwrap(), 1);
}

/// More mail than is copied at once.
async fn fill_much(spool: &dyn Spool) {
    for seed in 0..600 {
        let _ = spool.commit(draft(["x", "y", "z"][seed as usize % 3], &["a@b.dk"], seed, 100)).await.unwrap();
    }
}

/// All that a spool knows of its mail. Every octet of it is what was committed.
async fn known(spool: &dyn Spool) -> Known {
    let mut known = Known::new();
    for record in spool.list(Filter::default(), 10_000).await.unwrap() {
        let (_, header) = spool.show(record.id).await.unwrap();
        known.insert(record.id, format!("{record:?} {}", String::from_utf8_lossy(&header)));
    }
    for lease in spool.seize(Filter::default(), 10_000).await.unwrap() {
        let seed = lease.record.message_id.trim_end_matches("@test.dk").parse().unwrap();
        let body = lease.bytes.content_len as usize - content_of(seed, 0).len();
        assert_eq!(bytes_of(&lease).await, content_of(seed, body), "{}", lease.record.id);
    }
    known
}

/// Opens a spool, looks at all of it, and stops it.
async fn known_at(place: &impl Backend) -> Known {
    let spool = place.open();
    let known = known(&*spool).await;
    spool.stop().await;
    known
}

/// Moves everything, or stops once so many messages are there.
async fn go(from: &impl Backend, to: &impl Backend, until: u64) -> Option<Result<Moved, MoveError>> {
    let (source, target) = (from.open_to_move().unwrap(), to.open_to_move().unwrap());
    let reached = tokio::sync::Notify::new();
    let moving = async {
        let going = Move::begin(&*source, &*target).await?;
        let told = |progress: moving::Progress| {
            if progress.moved >= until {
                reached.notify_one();
            }
        };
        going.finish(false, told).await
    };
    let moved = tokio::select! {
        biased;
        () = reached.notified() => None,
        moved = moving => Some(moved),
    };
    source.stop().await;
    target.stop().await;
    moved
}

/// Makes a spool with much mail, of which it returns all that is known, and an empty one. Neither is open.
async fn full_and_empty<A: Backend, B: Backend>() -> (A, B, Known) {
    let (from, to) = (A::new(), B::new());
    let spool = from.open();
    fill_much(&*spool).await;
    spool.stop().await;
    drop(spool);
    let before = known_at(&from).await;
    (from, to, before)
}

async fn every_state_and_every_octet_arrive<A: Backend, B: Backend>() {
    let (from, to) = (A::new(), B::new());
    let spool = from.open();
    fill(&*spool).await;
    spool.stop().await;
    drop(spool);
    let before = known_at(&from).await;
    assert_eq!(before.len(), 7);
    let moved = go(&from, &to, u64::MAX).await.unwrap().unwrap();
    assert_eq!((moved.copied, moved.copied_before, moved.left_behind.len(), moved.was_done), (7, 0, 0, false));
    assert_eq!(known_at(&to).await, before);
    let refused = from.try_open().err().unwrap();
    assert!(refused.contains("was moved to"), "{refused}");
}

async fn an_interrupted_move_goes_on_and_meanwhile_nobody_starts<A: Backend, B: Backend>() {
    let (from, to, before) = full_and_empty::<A, B>().await;
    assert!(go(&from, &to, 200).await.is_none());
    for refused in [from.try_open(), to.try_open()] {
        let refused = refused.err().unwrap();
        assert!(refused.contains("`postbud spool move` again"), "{refused}");
    }
    let moved = go(&from, &to, u64::MAX).await.unwrap().unwrap();
    assert!(moved.copied_before >= 200, "{moved:?}");
    assert_eq!(moved.copied_before + moved.copied, 600);
    let again = go(&from, &to, u64::MAX).await.unwrap().unwrap();
    assert!(again.was_done);
    assert_eq!(known_at(&to).await, before);
}

async fn a_move_that_is_taken_back_leaves_everything_as_it_was<A: Backend, B: Backend>() {
    let (from, to, before) = full_and_empty::<A, B>().await;
    assert!(go(&from, &to, 200).await.is_none());
    let cancel = async || {
        let (source, target) = (from.open_to_move().unwrap(), to.open_to_move().unwrap());
        let cancelled = moving::cancel(&*source, &*target).await;
        source.stop().await;
        target.stop().await;
        cancelled
    };
    assert!(cancel().await.unwrap() >= 200);
    assert!(matches!(cancel().await, Err(MoveError::NoMove { .. })));
    assert_eq!(known_at(&from).await, before);
    assert_eq!(known_at(&to).await.len(), 0);
    let moved = go(&from, &to, u64::MAX).await.unwrap().unwrap();
    assert_eq!((moved.copied, moved.copied_before), (600, 0));
    assert!(matches!(cancel().await, Err(MoveError::Done { .. })));
}

async fn mail_goes_only_to_an_empty_spool_and_to_one_at_a_time<A: Backend, B: Backend>() {
    let (from, to, third) = (A::new(), B::new(), B::new());
    for place in [&from.open(), &to.open()] {
        fill_much(&**place).await;
        place.stop().await;
    }
    let refused = go(&from, &to, u64::MAX).await.unwrap();
    assert!(matches!(refused, Err(MoveError::NotEmpty { messages: 600, .. })), "{refused:?}");
    // Nothing was marked: both are used as before.
    assert_eq!((known_at(&from).await.len(), known_at(&to).await.len()), (600, 600));
    assert!(go(&from, &third, 200).await.is_none());
    let refused = go(&from, &B::new(), u64::MAX).await.unwrap();
    assert!(matches!(refused, Err(MoveError::Other { .. })), "{refused:?}");
    let refused = go(&to, &third, u64::MAX).await.unwrap();
    assert!(matches!(refused, Err(MoveError::Other { .. })), "{refused:?}");
    // Nor is the move taken back with another target.
    let fourth = B::new();
    let (source, other) = (from.open_to_move().unwrap(), fourth.open_to_move().unwrap());
    let refused = moving::cancel(&*source, &*other).await;
    assert!(matches!(refused, Err(MoveError::Other { .. })), "{refused:?}");
    source.stop().await;
    other.stop().await;
    assert!(from.try_open().is_err());
}

macro_rules! moves {
    ($($name:ident: $from:ty => $to:ty),* $(,)?) => {
        $(moves!(
            @ $name, $from, $to:
            every_state_and_every_octet_arrive,
            an_interrupted_move_goes_on_and_meanwhile_nobody_starts,
            a_move_that_is_taken_back_leaves_everything_as_it_was,
            mail_goes_only_to_an_empty_spool_and_to_one_at_a_time,
        );)*
    };
    (@ $name:ident, $from:ty, $to:ty: $($case:ident),* $(,)?) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    if let Some(lack) = <$from>::lack().or(<$to>::lack()) {
                        return skip(concat!(stringify!($name), "::", stringify!($case)), lack);
                    }
                    super::$case::<$from, $to>().await;
                }
            )*
        }
    };
}

moves!(
    to_the_database: SegmentLog => Schema<5>,
    to_a_folder: Schema<5> => SegmentLog,
    to_another_folder: SegmentLog => SegmentLog,
);

#[tokio::test]
async fn mail_of_nodes_that_run_is_not_moved_and_no_node_starts_meanwhile() {
    let name = "mail_of_nodes_that_run_is_not_moved_and_no_node_starts_meanwhile";
    if let Some(lack) = Schema::<5>::lack() {
        return skip(name, lack);
    }
    let settings = Settings { nodes: 3, ..Schema::<5>::new().settings() };
    let for_move = || Settings { for_move: true, ..settings.clone() };
    let node = Postgres::open(settings.clone()).unwrap();
    let Err(refused) = Postgres::open(for_move()) else { panic!("it was opened") };
    assert!(matches!(&refused, OpenError::Running { nodes, .. } if nodes == "a"), "{refused}");
    node.stop().await;
    let mover = Postgres::open(for_move()).unwrap();
    let Err(refused) = Postgres::open(settings.clone()) else { panic!("it was opened") };
    assert!(matches!(refused, OpenError::InMove { .. }), "{refused}");
    mover.stop().await;
    Postgres::open(settings).unwrap().stop().await;
}

#[tokio::test]
async fn mail_in_transit_is_moved_too() {
    let name = "mail_in_transit_is_moved_too";
    if let Some(lack) = Schema::<5>::lack() {
        return skip(name, lack);
    }
    let from = Schema::<5>::new();
    let spool = from.open();
    let mut ids = Vec::new();
    for seed in 0..50 {
        ids.push(spool.commit(draft("x", &["a@b.dk"], seed, 100)).await.unwrap().id());
    }
    spool.stop().await;
    drop(spool);
    // As another node leaves it that took this mail and died before the shard's owner looked.
    let (schema, shard) = (from.settings().server.schema, crc32fast::hash(b"x") % 5);
    postgres::shared().unwrap().sql(&format!(
        "INSERT INTO {schema}.transit VALUES (1, 0);
         CREATE TABLE {schema}.transit_1 AS SELECT {shard} AS shard, * FROM {schema}.segment_{shard}_1;
         DELETE FROM {schema}.segment_{shard}_1"
    ));
    let to = SegmentLog::new();
    let moved = go(&from, &to, u64::MAX).await.unwrap().unwrap();
    assert_eq!(moved.copied, 50);
    assert_eq!(known_at(&to).await.into_keys().collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_target_with_mail_in_transit_is_not_empty() {
    if let Some(lack) = Schema::<5>::lack() {
        return skip("a_target_with_mail_in_transit_is_not_empty", lack);
    }
    let (from, to) = (SegmentLog::new(), Schema::<5>::new());
    for place in [&from.open(), &to.open()] {
        let _ = place.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
        place.stop().await;
    }
    // The target's mail is where another node would have put it.
    let (server, schema) = (postgres::shared().unwrap(), to.settings().server.schema);
    let segment = server.sql(&format!("SELECT shard || '_' || number FROM {schema}.segment"));
    let (shard, _) = segment.split_once('_').unwrap();
    server.sql(&format!(
        "CREATE TABLE {schema}.transit_1 AS SELECT {shard} AS shard, * FROM {schema}.segment_{segment}; \
         DELETE FROM {schema}.segment_{segment}; INSERT INTO {schema}.transit (number, instance) VALUES (1, 1)"
    ));
    let refused = go(&from, &to, u64::MAX).await.unwrap();
    assert!(matches!(refused, Err(MoveError::NotEmpty { messages: 1, .. })), "{refused:?}");
}
