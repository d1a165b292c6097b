//! A server that is killed, cut off, frozen or slow: mail waits or is refused, delivery stops, and all goes on by itself. What was
//! acknowledged is there afterwards, and what was refused is not.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use postbud::spool::postgres::{Postgres, Settings};
use postbud::spool::{Commit, Error, Inspect, Intervene, Notice, Settled, Spool, Work};

use super::rig::{Heard, Senders, quick, recovered, server, until, waiting};
use crate::drafts::{backoff, draft, lane, soon};
use crate::port::{claim_all, delivered};
use crate::postgres::Server;

/// Settings with which a server may take longer than it is frozen.
fn patient(server: &Server) -> Settings {
    let mut settings = quick(server);
    settings.server.timeout = Duration::from_secs(30);
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_takes_nothing_along_and_is_used_again_once_it_is_back() {
    let Some(server) = server("a_killed_server_takes_nothing_along_and_is_used_again_once_it_is_back", &[]) else {
        return;
    };
    let heard = Heard::default();
    let spool = Postgres::open(heard.with(quick(&server))).unwrap();
    let kept = spool.commit(draft("x", &["a@b.dk"], 1, 3_000)).await.unwrap().id();
    let _ = spool.commit(draft("y", &["a@b.dk"], 2, 300_000)).await.unwrap();
    let lease = claim_all(&*spool, "y").await.pop().unwrap();
    server.kill();
    let refused = spool.commit(draft("x", &["a@b.dk"], 3, 100)).await;
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert!(spool.health().borrow().troubled.is_some());
    assert!(heard.has(|notice| matches!(notice, Notice::Failed { .. })));
    let claimed = spool.claim(&lane("x"), soon(), 1, &backoff()).await;
    assert!(claimed.is_err(), "nothing is delivered whose result could not be recorded");
    // The attempt that was under way has ended. Its result is kept until it can be written.
    let result = delivered(&lease);
    assert!(matches!(spool.settle(lease, result).await, Ok(Settled::InTrouble(_))));
    server.start_again().unwrap();
    recovered(&spool).await;
    assert!(heard.has(|notice| *notice == Notice::Recovered));
    spool.sync().await.unwrap();
    until("the connection for reading is back", || {
        !server.sql("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'postbud reader%'").is_empty()
    })
    .await;
    assert_eq!(waiting(&spool).await, [kept].into());
    drop(spool);
    let spool = Postgres::open(quick(&server)).unwrap();
    assert_eq!(waiting(&spool).await, [kept].into(), "the result was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_again_and_again_lose_nothing_and_double_nothing() {
    let Some(server) = server("connections_that_break_again_and_again_lose_nothing_and_double_nothing", &[]) else {
        return;
    };
    let spool = Postgres::open(quick(&server)).unwrap();
    let senders = Senders::start(&spool, 8);
    for round in 1..=6 {
        let before = spool.totals().await.unwrap().records;
        until("mail is taken", || spool_has_more(&spool, before + 20)).await;
        let which = if round % 2 == 0 { "postbud writer" } else { "postbud" };
        let ended = server.sql(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE '{which}%'"
        ));
        assert_ne!(ended, "0");
    }
    recovered(&spool).await;
    let (acknowledged, _) = senders.stop().await;
    // The last connection that broke may not have been used since.
    while spool.sync().await.is_err() {
        recovered(&spool).await;
    }
    drop(spool);
    let spool = Postgres::open(quick(&server)).unwrap();
    let found = waiting(&spool).await;
    assert!(acknowledged.is_subset(&found), "lost: {:?}", acknowledged.difference(&found).collect::<Vec<_>>());
    let refused: Vec<_> = found.difference(&acknowledged).collect();
    assert!(refused.is_empty(), "refused, and there all the same: {refused:?}");
}

fn spool_has_more(spool: &Arc<Postgres>, than: u64) -> bool {
    spool.totals().now_or_never().unwrap().unwrap().records > than
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_given_up_after_the_timeout_and_an_old_commit_cannot_come_through_later() {
    let name = "a_frozen_server_is_given_up_after_the_timeout_and_an_old_commit_cannot_come_through_later";
    let Some(server) = server(name, &[]) else { return };
    let spool = Postgres::open(quick(&server)).unwrap();
    let kept = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    server.freeze();
    // Its octets are at the server already, which takes them in as soon as it goes on.
    let refused = spool.commit(draft("x", &["a@b.dk"], 2, 100)).await;
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    let refused = spool.commit(draft("x", &["a@b.dk"], 3, 100)).await;
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    server.thaw();
    recovered(&spool).await;
    let after = spool.commit(draft("x", &["a@b.dk"], 4, 100)).await.unwrap().id();
    drop(spool);
    let spool = Postgres::open(quick(&server)).unwrap();
    assert_eq!(waiting(&spool).await, [kept, after].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_is_waited_for() {
    let Some(server) = server("a_slow_server_is_waited_for", &[]) else { return };
    let spool = Postgres::open(patient(&server)).unwrap();
    server.freeze();
    let committing = tokio::spawn(spool.commit(draft("x", &["a@b.dk"], 1, 100)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.thaw();
    let _ = committing.await.unwrap().unwrap();
    assert_eq!(spool.health().borrow().troubled, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_no_standby_confirmed_is_refused_and_taken_back() {
    let Some(server) = server("a_commit_that_no_standby_confirmed_is_refused_and_taken_back", &[]) else { return };
    let settings = patient(&server);
    let spool = Postgres::open(settings.clone()).unwrap();
    let kept = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    server.set("synchronous_standby_names", "'nobody'");
    // The server's processes read a setting again one after the other. A commit of ours waits once all of them have.
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until("the lease waits for a standby", || server.sql(waits) != "0").await;
    let committing = tokio::spawn(spool.commit(draft("x", &["a@b.dk"], 2, 100)));
    let writer = "FROM pg_stat_activity WHERE application_name LIKE 'postbud writer%' AND wait_event = 'SyncRep'";
    until("the commit waits for a standby", || !server.sql(&format!("SELECT pid {writer}")).is_empty()).await;
    // The server warns that it waits no longer, and says that the commit is done.
    server.sql(&format!("SELECT pg_cancel_backend(pid) {writer}"));
    let refused = committing.await.unwrap();
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert!(spool.health().borrow().troubled.is_some());
    server.set("synchronous_standby_names", "''");
    recovered(&spool).await;
    let after = spool.commit(draft("x", &["a@b.dk"], 3, 100)).await.unwrap().id();
    drop(spool);
    let spool = Postgres::open(settings).unwrap();
    assert_eq!(waiting(&spool).await, [kept, after].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lost_what_it_confirmed_stops_the_spool() {
    let Some(server) = server("a_database_that_lost_what_it_confirmed_stops_the_spool", &[]) else { return };
    let spool = Postgres::open(quick(&server)).unwrap();
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    // As a standby has it that was promoted without the last commit.
    server.sql("DELETE FROM s.segment_0_1");
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'postbud writer%'");
    let health = spool.health();
    let _ = spool.commit(draft("x", &["a@b.dk"], 2, 100)).await.map(drop);
    until("it stops", || health.borrow().stopped.as_ref().is_some_and(|why| why.contains("has lost"))).await;
    let refused = spool.commit(draft("x", &["a@b.dk"], 3, 100)).await;
    assert!(matches!(refused, Err(Error::Stopped(_))), "{refused:?}");
}
