//! Which node has the spool: one at a time, and the others hear whom to wait for.

use std::time::Duration;

use futures_util::FutureExt;
use postbud::spool::postgres::{OpenError, Postgres, Settings};
use postbud::spool::{Commit, Error, Inspect, Settled, Spool, Work};
use postbud::time::Timestamp;

use super::rig::{quick, recovered, server, until, waiting};
use crate::drafts::{backoff, draft, lane, soon};
use crate::port::{claim_all, delivered};

fn node(settings: &Settings, name: &str) -> Settings {
    Settings { node: name.into(), ..settings.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_is_refused_while_the_first_lives_and_has_everything_once_that_has_stopped() {
    let name = "a_second_node_is_refused_while_the_first_lives_and_has_everything_once_that_has_stopped";
    let Some(server) = server(name, &[]) else { return };
    let settings = quick(&server);
    let a = Postgres::open(node(&settings, "a")).unwrap();
    let id = a.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    // Longer than a lease, so that only its renewal keeps the other out.
    let began = std::time::Instant::now();
    while began.elapsed() < settings.lease + Duration::from_secs(1) {
        match Postgres::open(node(&settings, "b")) {
            Err(OpenError::InUse { node, left, .. }) => assert!(node == "a" && left > 0.0, "{node} {left}"),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("two nodes have the spool"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    a.stop().await;
    let b = Postgres::open(node(&settings, "b")).unwrap();
    // Nothing was in flight, so nothing waits for a second attempt's time.
    let lease = claim_all(&*b, "x").await.pop().unwrap();
    assert_eq!(lease.record.id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_spool_is_taken_over_once_its_lease_has_ended_and_untried_mail_waits_for_its_second_attempt() {
    let name =
        "a_dead_nodes_spool_is_taken_over_once_its_lease_has_ended_and_untried_mail_waits_for_its_second_attempt";
    let Some(server) = server(name, &[]) else { return };
    let settings = quick(&server);
    let a = Postgres::open(node(&settings, "a")).unwrap();
    let first = draft("x", &["a@b.dk"], 1, 100);
    let second_attempt = first.retry_at;
    let id = a.commit(first).await.unwrap().id();
    a.stop().await;
    // As a node leaves it that was killed this moment.
    server.sql(
        "UPDATE s.owner SET clean = false, node = 'dead'; \
         INSERT INTO s.node VALUES ('dead', 1, clock_timestamp() + interval '2 seconds')",
    );
    assert!(matches!(Postgres::open(node(&settings, "b")), Err(OpenError::InUse { .. })));
    until("the lease ends", || server.sql("SELECT alive_until < clock_timestamp() FROM s.node") == "t").await;
    let b = Postgres::open(node(&settings, "b")).unwrap();
    assert!(claim_all(&*b, "x").await.is_empty(), "its first attempt may be under way");
    let page = b.due(Timestamp::now(), None, 10).await.unwrap();
    assert_eq!(page.next_due, Some(second_attempt));
    let lease = b.claim(&lane("x"), second_attempt, 10, &backoff()).await.unwrap().pop().unwrap();
    assert_eq!(lease.record.id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_replaced_writes_nothing_and_delivers_nothing_more() {
    let name = "an_owner_that_was_replaced_writes_nothing_and_delivers_nothing_more";
    let Some(server) = server(name, &[]) else { return };
    let settings = quick(&server);
    let old = Postgres::open(settings.clone()).unwrap();
    let id = old.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap().id();
    let lease = claim_all(&*old, "x").await.pop().unwrap();
    // Its twin of the same name need not wait: it was started again, or it is a mistake.
    let new = Postgres::open(settings).unwrap();
    let result = delivered(&lease);
    assert!(!matches!(old.settle(lease, result).await, Ok(Settled::Written)));
    let health = old.health();
    until("the old one stops", || health.borrow().stopped.is_some()).await;
    let refused = old.commit(draft("x", &["a@b.dk"], 2, 100)).await;
    assert!(matches!(refused, Err(Error::Stopped(_))), "{refused:?}");
    assert!(old.claim(&lane("x"), soon(), 10, &backoff()).await.is_err());
    assert_eq!(waiting(&new).await, [id].into());
    let after = new.commit(draft("x", &["a@b.dk"], 3, 100)).await.unwrap().id();
    drop(old);
    assert_eq!(waiting(&new).await, [id, after].into());
    assert_eq!(new.totals().await.unwrap().records, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_renew_its_lease_stops_delivering_before_the_lease_ends() {
    let name = "a_node_that_cannot_renew_its_lease_stops_delivering_before_the_lease_ends";
    let Some(server) = server(name, &[]) else { return };
    let settings = quick(&server);
    let spool = Postgres::open(settings.clone()).unwrap();
    for seed in 0..50 {
        let _ = spool.commit(draft("x", &["a@b.dk"], seed, 100)).await.unwrap();
    }
    let began = std::time::Instant::now();
    server.freeze();
    // A first attempt needs no write, so only the lease forbids it. What is claimed cannot be read from a frozen server, but a claim
    // that is forbidden is refused at once.
    let is_refused = || matches!(spool.claim(&lane("x"), soon(), 1, &backoff()).now_or_never(), Some(Err(_)));
    assert!(!is_refused());
    until("it may not deliver", is_refused).await;
    assert!(began.elapsed() < settings.lease, "another node may have the spool by now");
    server.thaw();
    recovered(&spool).await;
    assert_eq!(spool.totals().await.unwrap().records, 50);
}
