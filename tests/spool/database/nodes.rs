//! Which node has which customers, and what becomes of mail that another one takes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use postbud::message::CustomerId;
use postbud::spool::postgres::{OpenError, Postgres, Settings};
use postbud::spool::{Carried, Commit, Error, Inspect, Lease, Notice, Settled, Spool, Texts, Work, is_for_now};
use postbud::time::Timestamp;

use super::rig::{Heard, quick, recovered, server, until, waiting};
use crate::drafts::{backoff, content, draft, lane, soon};
use crate::port::{claim_all, delivered};
use crate::postgres::Server;

fn node(settings: &Settings, name: &str) -> Settings {
    let mut settings = settings.clone();
    settings.server.node = name.into();
    settings
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
    while began.elapsed() < settings.server.lease + Duration::from_secs(1) {
        match Postgres::open(node(&settings, "b")) {
            Err(OpenError::InUse { nodes, left, .. }) => assert!(nodes == "a" && left > 0.0, "{nodes} {left}"),
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
         INSERT INTO s.node VALUES ('dead', 1, clock_timestamp() + interval '2 seconds', clock_timestamp(), 1, false)",
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
    let large = spool.commit(draft("large", &["a@b.dk"], 50, 700_000)).await.unwrap().id();
    let under_way = [claim_all(&*spool, "large").await.remove(0), claim_one(&spool).await];
    assert!(under_way.iter().all(|lease| lease.stands() && lease.bytes.may_be_sent().is_ok()));
    let began = std::time::Instant::now();
    server.freeze();
    // A first attempt needs no write, so only the lease forbids it. What is claimed cannot be read from a frozen server, but a claim
    // that is forbidden is refused at once.
    let is_refused = || matches!(spool.claim(&lane("x"), soon(), 1, &backoff()).now_or_never(), Some(Err(_)));
    assert!(!is_refused());
    until("it may not deliver", is_refused).await;
    let has_ended = |lease: &Lease| !lease.stands() && lease.bytes.may_be_sent().is_err_and(|why| is_for_now(&why));
    until("what is being sent is not sent to its end", || under_way.iter().all(has_ended)).await;
    assert!(began.elapsed() < settings.server.lease, "another node may have the spool by now");
    server.thaw();
    recovered(&spool).await;
    assert_eq!(spool.totals().await.unwrap().records, 51);
    assert_eq!(under_way[0].record.id, large);
    until("nobody has taken it", || under_way.iter().all(|lease| lease.bytes.may_be_sent().is_ok())).await;
}

async fn claim_one(spool: &Postgres) -> Lease {
    spool.claim(&lane("x"), soon(), 1, &backoff()).await.unwrap().remove(0)
}

/// Settings of one of several nodes that share twelve shards.
fn sharing(server: &Server, name: &str) -> Settings {
    Settings { nodes: 3, shards: 12, ..node(&quick(server), name) }
}

/// The customers whose mail a test sends: enough for every shard.
fn customers() -> Vec<String> {
    (0..60).map(|number| format!("c{number}")).collect()
}

/// How many shards a node has, as the database says.
fn shards_of(server: &Server, name: &str) -> usize {
    server.sql(&format!("SELECT count(*) FROM s.owner WHERE node = '{name}'")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_for_another_nodes_customers_is_acknowledged_and_its_owner_has_it_soon() {
    let name = "mail_for_another_nodes_customers_is_acknowledged_and_its_owner_has_it_soon";
    let Some(server) = server(name, &[]) else { return };
    let a = Postgres::open(sharing(&server, "a")).unwrap();
    let b = Postgres::open(sharing(&server, "b")).unwrap();
    assert_eq!((shards_of(&server, "a"), shards_of(&server, "b")), (12, 0));
    let mut taken = BTreeSet::new();
    for (seed, customer) in (0..).zip(customers()) {
        // The last is so long that it has several parts.
        let size = if seed == 59 { 700_000 } else { 2_000 };
        taken.insert(b.commit(draft(&customer, &["a@b.dk"], seed, size)).await.unwrap().id());
    }
    assert_eq!(b.totals().await.unwrap().records, 0, "it is none of this node's");
    until("the owner has all of it", || a.totals().now_or_never().unwrap().unwrap().records == 60).await;
    assert_eq!(waiting(&a).await, taken);
    // Nobody can have tried it, so it waits for no second attempt. It is read as it was written.
    let lease = claim_all(&*a, "c59").await.pop().unwrap();
    let mut read = Vec::new();
    for chunk in 0..lease.bytes.chunks() {
        read.extend(lease.bytes.chunk(chunk).await.unwrap());
    }
    let (header, body) = content(59, 700_000);
    assert_eq!(read, [header, body].concat());
    drop(lease);
    let left = "SELECT count(*) FROM s.transit";
    b.stop().await;
    until("the table of a node that is gone is given back", || server.sql(left) == "0").await;
    assert_eq!(waiting(&a).await, taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_come_and_go_share_the_customers_and_each_message_has_one_owner() {
    let name = "nodes_that_come_and_go_share_the_customers_and_each_message_has_one_owner";
    let Some(server) = server(name, &[]) else { return };
    let a = Postgres::open(sharing(&server, "a")).unwrap();
    let mut all = BTreeSet::new();
    for (seed, customer) in (0..).zip(customers()) {
        all.insert(a.commit(draft(&customer, &["a@b.dk"], seed, 500)).await.unwrap().id());
    }
    let b = Postgres::open(sharing(&server, "b")).unwrap();
    let c = Postgres::open(sharing(&server, "c")).unwrap();
    let shares = || ["a", "b", "c"].map(|node| shards_of(&server, node));
    until("all have as many", || shares() == [4, 4, 4]).await;
    until("all logs are read", || {
        let records = |node: &Postgres| node.totals().now_or_never().unwrap().unwrap().records;
        records(&a) + records(&b) + records(&c) == 60
    })
    .await;
    let (of_a, of_b, of_c) = (waiting(&a).await, waiting(&b).await, waiting(&c).await);
    assert!(of_a.len() < 60 && !of_b.is_empty() && !of_c.is_empty());
    let together: BTreeSet<_> = of_a.iter().chain(&of_b).chain(&of_c).copied().collect();
    assert_eq!((together.len(), of_a.len() + of_b.len() + of_c.len()), (60, 60), "one owner each");
    assert_eq!(together, all);
    // Each customer is one node's, one node does what is done once for all, and no two make the same id.
    let owners = |customer: &str| [&a, &b, &c].iter().filter(|node| node.owns(&CustomerId::new(customer))).count();
    assert!(customers().iter().all(|customer| owners(customer) == 1));
    assert_eq!([&a, &b, &c].iter().filter(|node| node.leads()).count(), 1);
    let ids: BTreeSet<_> = [&a, &b, &c].iter().flat_map(|node| (0..1000).map(|_| node.next_id())).collect();
    assert_eq!(ids.len(), 3000);
    // It was handed over in good order, so nothing waits for a second attempt.
    let page = b.due(Timestamp::now(), None, 100).await.unwrap();
    assert_eq!(page.lanes.len(), of_b.len());
    b.stop().await;
    c.stop().await;
    until("the one that is left has all", || a.totals().now_or_never().unwrap().unwrap().records == 60).await;
    assert_eq!(waiting(&a).await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_of_the_database_that_leaps_ahead_takes_no_shard_from_a_node_that_is_well() {
    let name = "a_clock_of_the_database_that_leaps_ahead_takes_no_shard_from_a_node_that_is_well";
    let Some(server) = server(name, &[]) else { return };
    let nodes = ["a", "b", "c"].map(|name| Postgres::open(sharing(&server, name)).unwrap());
    let shares = || ["a", "b", "c"].map(|node| shards_of(&server, node));
    until("all have as many", || shares() == [4, 4, 4]).await;
    let epochs = || server.sql("SELECT string_agg(node || epoch, ' ' ORDER BY shard) FROM s.owner");
    let before = epochs();
    for _ in 0..20 {
        // As if an hour had passed since the last renewal.
        server.sql("UPDATE s.node SET alive_until = alive_until - interval '1 hour'");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(epochs(), before);
    for node in &nodes {
        assert_eq!(node.health().borrow().stopped, None);
    }
    // One that is dead is found out all the same.
    let [a, b, _c] = nodes;
    server.sql("UPDATE s.node SET instance = 1 WHERE name = 'c'");
    until("the others take what it had", || shares()[2] == 0 && shares().iter().sum::<usize>() == 12).await;
    assert_eq!((&a.health().borrow().stopped, &b.health().borrow().stopped), (&None, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_cannot_be_read_keeps_only_its_own_mail_waiting_and_is_named() {
    let name = "a_shard_that_cannot_be_read_keeps_only_its_own_mail_waiting_and_is_named";
    let Some(server) = server(name, &[]) else { return };
    let a = Postgres::open(sharing(&server, "a")).unwrap();
    for (seed, customer) in (0..).zip(customers()) {
        let _ = a.commit(draft(&customer, &["a@b.dk"], seed, 500)).await.unwrap();
    }
    let of_shard =
        |shard: u32| customers().into_iter().filter(|it| crc32fast::hash(it.as_bytes()) % 12 == shard).count();
    a.stop().await;
    let heard = Heard::default();
    server.sql("ALTER TABLE s.segment_5_1 RENAME TO elsewhere");
    let a = Postgres::open(heard.with(sharing(&server, "a"))).unwrap();
    let waits = |notice: &Notice| match notice {
        Notice::ShardWaits { shard, why } => *shard == 5 && why.contains("segment_5_1"),
        _ => false,
    };
    assert!(heard.has(waits));
    let records = || a.totals().now_or_never().unwrap().unwrap().records as usize;
    assert_eq!(records(), 60 - of_shard(5));
    // New mail for it is taken.
    let of_five = customers().into_iter().find(|it| crc32fast::hash(it.as_bytes()) % 12 == 5).unwrap();
    let new = a.commit(draft(&of_five, &["a@b.dk"], 60, 500)).await.unwrap().id();
    server.sql("ALTER TABLE s.elsewhere RENAME TO segment_5_1");
    until("all of it is there", || records() == 61).await;
    assert!(heard.has(|notice| *notice == Notice::ShardGoesOn { shard: 5 }));
    assert!(waiting(&a).await.contains(&new));
    a.stop().await;
    // If nothing can be read, the start fails.
    for shard in 0..12 {
        server.sql(&format!("ALTER TABLE IF EXISTS s.segment_{shard}_1 RENAME TO elsewhere_{shard}"));
    }
    let refused = Postgres::open(sharing(&server, "a")).err().unwrap().to_string();
    assert!(refused.contains("does not exist"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_with_an_attempt_under_way_stays_and_its_result_is_recorded() {
    let name = "a_shard_with_an_attempt_under_way_stays_and_its_result_is_recorded";
    let Some(server) = server(name, &[]) else { return };
    let a = Postgres::open(sharing(&server, "a")).unwrap();
    for (seed, customer) in (0..).zip(customers()) {
        let _ = a.commit(draft(&customer, &["a@b.dk"], seed, 500)).await.unwrap();
    }
    let mut leases = Vec::new();
    for customer in customers() {
        leases.extend(claim_all(&*a, &customer).await);
    }
    assert_eq!(leases.len(), 60);
    let b = Postgres::open(sharing(&server, "b")).unwrap();
    // Each renewal plans anew. After those of two leases shards would have moved, were there no attempts.
    let begun = server.sql("SELECT alive_until FROM s.node WHERE name = 'b'");
    let two_leases = quick(&server).server.lease.as_secs_f64() * 2.0 + 3.0;
    let renewed = format!(
        "SELECT alive_until > timestamptz '{begun}' + make_interval(secs => {two_leases}) FROM s.node WHERE name = 'b'"
    );
    until("the node has planned many times", || server.sql(&renewed) == "t").await;
    assert_eq!(shards_of(&server, "b"), 0);
    assert!(leases.iter().filter(|lease| !lease.stands()).count() <= 60 / 2, "one shard at a time");
    for lease in leases {
        let result = delivered(&lease);
        assert!(matches!(a.settle(lease, result).await, Ok(Settled::Written)));
    }
    until("shards move", || shards_of(&server, "b") == 6).await;
    assert_eq!(a.totals().await.unwrap().records + b.totals().await.unwrap().records, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_divide_caps_by_other_numbers_do_not_work_together() {
    let name = "nodes_that_divide_caps_by_other_numbers_do_not_work_together";
    let Some(server) = server(name, &[]) else { return };
    let _a = Postgres::open(sharing(&server, "a")).unwrap();
    match Postgres::open(Settings { nodes: 2, ..sharing(&server, "b") }) {
        Err(OpenError::OtherCount { node, theirs: 3, ours: 2, .. }) => assert_eq!(node, "a"),
        other => panic!("{:?}", other.map(drop)),
    }
    let _b = Postgres::open(sharing(&server, "b")).unwrap();
    let _c = Postgres::open(sharing(&server, "c")).unwrap();
    match Postgres::open(sharing(&server, "d")) {
        Err(OpenError::InUse { nodes, most: 3, .. }) => assert_eq!(nodes, "a, b, c"),
        other => panic!("{:?}", other.map(drop)),
    }
}

/// A node that has all shards, another one, and a customer. Nobody is impatient.
fn two_nodes(server: &Server) -> (Arc<Postgres>, Arc<Postgres>, &'static str) {
    let patient = |name| {
        let mut settings = sharing(server, name);
        (settings.server.timeout, settings.server.lease) = (Duration::from_secs(30), Duration::from_secs(20));
        settings
    };
    let a = Postgres::open(patient("a")).unwrap();
    let b = Postgres::open(patient("b")).unwrap();
    assert_eq!((shards_of(server, "a"), shards_of(server, "b")), (12, 0));
    (a, b, "c7")
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_for_another_node_whose_commit_nobody_heard_of_is_found_and_acknowledged_or_is_not_there() {
    let name = "mail_for_another_node_whose_commit_nobody_heard_of_is_found_and_acknowledged_or_is_not_there";
    let Some(server) = server(name, &[]).map(Arc::new) else { return };
    let (a, b, customer) = two_nodes(&server);
    let mut there = BTreeSet::from([b.commit(draft(customer, &["a@b.dk"], 1, 100)).await.unwrap().id()]);
    let transit = "FROM pg_stat_activity WHERE application_name = 'postbud transit b'";
    let is_found = |what: &str| !server.sql(&format!("SELECT pid {transit} AND {what}")).is_empty();
    let end = || server.sql(&format!("SELECT pg_terminate_backend(pid) {transit}"));
    // The commit is made and waits for a standby, and the connection breaks before its answer.
    server.set("synchronous_standby_names", "'nobody'");
    until("the server waits for standbys", || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0"
    })
    .await;
    let committing = tokio::spawn(b.commit(draft(customer, &["a@b.dk"], 2, 700_000)));
    until("the commit waits for a standby", || is_found("wait_event = 'SyncRep'")).await;
    end();
    server.set("synchronous_standby_names", "''");
    there.insert(committing.await.unwrap().expect("it was written").id());
    // The connection breaks before the commit.
    let writer = Arc::clone(&server);
    let locked = tokio::task::spawn_blocking(move || {
        let newest = writer.sql("SELECT max(number) FROM s.transit");
        writer.try_sql(&format!("BEGIN; LOCK TABLE s.transit_{newest} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(3600)"))
    });
    until("the table is locked", || {
        server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
    })
    .await;
    let committing = tokio::spawn(b.commit(draft(customer, &["a@b.dk"], 3, 100)));
    until("the copy waits for the lock", || is_found("wait_event_type = 'Lock'")).await;
    end();
    server.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    assert!(locked.await.unwrap().is_err());
    let refused = committing.await.unwrap();
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    there.insert(b.commit(draft(customer, &["a@b.dk"], 4, 100)).await.unwrap().id());
    until("its owner has it", || a.totals().now_or_never().unwrap().unwrap().records >= 3).await;
    assert_eq!(waiting(&a).await, there);
    b.stop().await;
    until("the tables with nothing but marks are given back", || server.sql("SELECT count(*) FROM s.transit") == "0")
        .await;
    assert_eq!(waiting(&a).await, there);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lost_mail_on_its_way_to_another_node_stops_the_spool() {
    let Some(server) = server("a_database_that_lost_mail_on_its_way_to_another_node_stops_the_spool", &[]) else {
        return;
    };
    let (_a, b, customer) = two_nodes(&server);
    let _ = b.commit(draft(customer, &["a@b.dk"], 1, 100)).await.unwrap();
    // As a standby has it that was promoted without the last commit.
    server.sql("DO $$ BEGIN EXECUTE format('DELETE FROM s.transit_%s', (SELECT max(number) FROM s.transit)); END $$");
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postbud transit b'");
    let refused = b.commit(draft(customer, &["a@b.dk"], 2, 100)).await;
    assert!(refused.is_err());
    let health = b.health();
    until("it stops", || health.borrow().stopped.as_ref().is_some_and(|why| why.contains("has lost"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_taking_gets_no_answer_is_tried_again_over_another_connection() {
    let name = "a_shard_whose_taking_gets_no_answer_is_tried_again_over_another_connection";
    let Some(server) = server(name, &[]).map(Arc::new) else { return };
    let a = Postgres::open(sharing(&server, "a")).unwrap();
    let b = Postgres::open(sharing(&server, "b")).unwrap();
    let locks = Arc::clone(&server);
    let locked = tokio::task::spawn_blocking(move || {
        locks.try_sql("BEGIN; SELECT FROM s.owner WHERE shard = 5 FOR UPDATE; SELECT pg_sleep(3600)")
    });
    let sleeps = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    until("a row is locked", || server.sql(&format!("SELECT count(*) {sleeps}")) == "1").await;
    let stopping = a.stop();
    let waits = "FROM pg_stat_activity WHERE application_name = 'postbud writer b' AND wait_event_type = 'Lock'";
    let mut process = String::new();
    until("the taker waits for the row", || {
        process = server.sql(&format!("SELECT min(pid) {waits}"));
        !process.is_empty()
    })
    .await;
    // The server's process does not even notice that it waits for too long.
    let signal = |signal: &str| assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    signal("-STOP");
    until("another attempt is made", || server.sql(&format!("SELECT count(*) > 1 {waits}")) == "t").await;
    signal("-CONT");
    server.sql(&format!("SELECT pg_cancel_backend(pid) {sleeps}"));
    assert!(locked.await.unwrap().is_err());
    stopping.await;
    until("it has all", || shards_of(&server, "b") == 12).await;
    let _ = b.commit(draft("c1", &["a@b.dk"], 1, 100)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_while_mail_is_moved_lose_nothing_and_double_nothing() {
    let name = "connections_that_are_cut_while_mail_is_moved_lose_nothing_and_double_nothing";
    let Some(server) = server(name, &[]) else { return };
    let a = Postgres::open(sharing(&server, "a")).unwrap();
    let b = Postgres::open(sharing(&server, "b")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let send = |sender: u64| {
        let (b, stop) = (Arc::clone(&b), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut acknowledged, mut unknown) = (BTreeSet::new(), BTreeSet::new());
            for seed in (sender..).step_by(8) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let draft = draft(&format!("c{}", seed % 60), &["a@b.dk"], seed, 2_000);
                let id = draft.id;
                match b.commit(draft).await {
                    Ok(_) => drop(acknowledged.insert(id)),
                    Err(_) => {
                        unknown.insert(id);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            (acknowledged, unknown)
        })
    };
    let senders: Vec<_> = (0..8).map(send).collect();
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^postbud (writer a|transit b)'";
        server.sql(cut);
    }
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for sender in senders {
        let (more, other) = sender.await.unwrap();
        acknowledged.extend(more);
        unknown.extend(other);
    }
    recovered(&a).await;
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    until("everything acknowledged is the owner's", || {
        a.totals().now_or_never().unwrap().unwrap().records >= acknowledged.len() as u64
    })
    .await;
    let there = waiting(&a).await;
    assert!(acknowledged.is_subset(&there), "{} are lost", acknowledged.difference(&there).count());
    assert!(there.difference(&acknowledged).all(|id| unknown.contains(id)));
    // The next owner finds the same in the log.
    a.stop().await;
    b.stop().await;
    let again = Postgres::open(sharing(&server, "a")).unwrap();
    let found = waiting(&again).await;
    assert!(found == there, "{} of {}", found.len(), there.len());
}

/// What a queue knows, for a test.
#[derive(Default)]
struct Known {
    customers: Mutex<BTreeMap<CustomerId, Texts>>,
    common: Mutex<Texts>,
}

impl Carried for Known {
    fn of_customers(&self, owns: &dyn Fn(&CustomerId) -> bool) -> BTreeMap<CustomerId, Texts> {
        let mut customers = self.customers.lock().unwrap().clone();
        customers.retain(|customer, _| owns(customer));
        customers
    }

    fn take_over(&self, customer: CustomerId, texts: Texts) {
        self.customers.lock().unwrap().insert(customer, texts);
    }

    fn configuration(&self) -> Option<String> {
        Some("the same".into())
    }

    fn common(&self) -> Option<Texts> {
        Some(self.common.lock().unwrap().clone())
    }

    fn common_at_start(&self) -> Texts {
        self.common.lock().unwrap().clone()
    }

    fn changed_elsewhere(&self, name: &str, text: Option<&str>) -> bool {
        let mut common = self.common.lock().unwrap();
        match text {
            Some(text) => drop(common.insert(name.into(), text.into())),
            None => drop(common.remove(name)),
        }
        true
    }
}

impl Known {
    fn set(&self, customer: &str, text: &str) {
        let texts = Texts::from([("sent".to_owned(), text.to_owned())]);
        self.customers.lock().unwrap().insert(CustomerId::new(customer), texts);
    }

    fn of(&self, customer: &str) -> Option<String> {
        self.customers.lock().unwrap().get(&CustomerId::new(customer)).map(|texts| texts["sent"].clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_owner_of_a_customer_knows_what_the_last_one_knew_and_all_nodes_know_what_is_common() {
    let name = "the_next_owner_of_a_customer_knows_what_the_last_one_knew_and_all_nodes_know_what_is_common";
    let Some(server) = server(name, &[]) else { return };
    let open = |name: &str| {
        let known = Arc::new(Known::default());
        let settings = Settings { carried: Some(known.clone()), ..sharing(&server, name) };
        (Postgres::open(settings).unwrap(), known)
    };
    let (a, of_a) = open("a");
    of_a.common.lock().unwrap().insert("suspended x".into(), "login".into());
    let (b, of_b) = open("b");
    let common = |known: &Known| known.common.lock().unwrap().clone();
    until("what one node knows is the other's", || common(&of_b) == common(&of_a)).await;
    // The last thing it learns stands in the database once it has stopped.
    customers().iter().for_each(|customer| of_a.set(customer, "7"));
    a.stop().await;
    until("the other owns all", || shards_of(&server, "b") == 12).await;
    until("and knows all", || customers().iter().all(|customer| of_b.of(customer).as_deref() == Some("7"))).await;
    // A change on either side, and a removal.
    let (c, of_c) = open("c");
    until("a new node takes what the others agreed on", || common(&of_c) == common(&of_b)).await;
    of_c.common.lock().unwrap().insert("paused y".into(), "operator".into());
    of_b.common.lock().unwrap().remove("suspended x");
    let expected = Texts::from([("paused y".to_owned(), "operator".to_owned())]);
    until("both changes are everywhere", || common(&of_b) == expected && common(&of_c) == expected).await;
    b.stop().await;
    c.stop().await;
    // A node whose files are older than what was agreed on takes that.
    let known = Arc::new(Known::default());
    known.common.lock().unwrap().insert("suspended x".into(), "login".into());
    let settings = Settings { carried: Some(known.clone()), ..sharing(&server, "a") };
    let again = Postgres::open(settings).unwrap();
    until("the old suspension is forgotten", || common(&known) == expected).await;
    drop(again);
}
