//! Room in the database: it comes back, and without it new mail is refused while queued mail goes out.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use postbud::spool::postgres::{Postgres, Settings};
use postbud::spool::{Commit, Draft, Error, Filter, Intervene, LinesById, Spool, Work};

use super::rig::{quick, recovered, server, until, waiting};
use crate::drafts::{draft, lane, soon};
use crate::port::{bytes_of, claim_all, content_of, delivered};
use crate::postgres::Server;
use crate::skip::skip;

#[tokio::test(flavor = "multi_thread")]
async fn space_comes_back_although_a_held_message_sits_in_the_oldest_segment() {
    let name = "space_comes_back_although_a_held_message_sits_in_the_oldest_segment";
    let Some(server) = server(name, &[]) else { return };
    let settings = Settings { segment_size: 64 << 10, ..quick(&server) };
    let spool = Postgres::open(settings.clone()).unwrap();
    let held = Draft { held: Some("odd".into()), ..draft("x", &["a@b.dk"], 0, 300_000) };
    let held = spool.commit(held).await.unwrap().id();
    for seed in 1..100 {
        let _ = spool.commit(draft("x", &["a@b.dk"], seed, 10_000)).await.unwrap();
    }
    for lease in claim_all(&*spool, "x").await {
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
    }
    let segments = || server.sql("SELECT count(*) FROM s.segment").parse::<u64>().unwrap();
    // Each commit turns the log over, until the held message has moved to its end.
    for seed in 100.. {
        if server.sql("SELECT min(number) > 2 FROM s.segment") == "t" {
            break;
        }
        assert!(seed < 2_000, "{} segments", segments());
        let _ = spool.commit(draft("y", &["a@b.dk"], seed, 30_000)).await.unwrap();
        for lease in claim_all(&*spool, "y").await {
            let result = delivered(&lease);
            spool.settle(lease, result).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(segments() < 30, "{} segments", segments());
    spool.stop().await;
    let spool = Postgres::open(settings).unwrap();
    assert_eq!(waiting(&spool).await, [held].into());
    spool.release(Filter::one(held), LinesById::new()).await.unwrap();
    let lease = claim_all(&*spool, "x").await.pop().unwrap();
    assert_eq!(bytes_of(&lease).await, content_of(0, 300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_reads_for_long_keeps_no_other_shards_space() {
    let name = "a_table_that_somebody_reads_for_long_keeps_no_other_shards_space";
    let Some(server) = server(name, &[]).map(Arc::new) else { return };
    let settings = Settings { segment_size: 64 << 10, shards: 2, ..quick(&server) };
    let spool = Postgres::open(settings).unwrap();
    let customers: Vec<String> = (0..10).map(|number| format!("c{number}")).collect();
    for (seed, customer) in (0..100).zip(customers.iter().cycle()) {
        let _ = spool.commit(draft(customer, &["a@b.dk"], seed, 10_000)).await.unwrap();
    }
    let reads = "BEGIN; LOCK TABLE s.segment_0_1 IN ACCESS SHARE MODE; SELECT pg_sleep(3600)";
    let reader = tokio::task::spawn_blocking({
        let server = Arc::clone(&server);
        move || server.try_sql(reads)
    });
    let locks = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    until("the table is read", || server.sql(locks) == "1").await;
    for customer in &customers {
        for lease in claim_all(&*spool, customer).await {
            let result = delivered(&lease);
            spool.settle(lease, result).await.unwrap();
        }
    }
    let segments = |shard| server.sql(&format!("SELECT count(*) FROM s.segment WHERE shard = {shard}"));
    until("the other shard's space comes back", || segments(1) == "1").await;
    assert_ne!(segments(0), "1");
    server.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    assert!(reader.await.unwrap().is_err());
    until("all space comes back", || segments(0) == "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_size_that_the_operator_allows_new_mail_is_refused_and_queued_mail_goes_out() {
    let name = "over_the_size_that_the_operator_allows_new_mail_is_refused_and_queued_mail_goes_out";
    let Some(server) = server(name, &[]) else { return };
    let spool = Postgres::open(Settings { max_size: 1 << 20, segment_size: 128 << 10, ..quick(&server) }).unwrap();
    let full = fill(&spool).await;
    assert!(matches!(&full, Error::Full { lack } if lack.contains("max_size")), "{full}");
    drain(&spool).await;
    let health = spool.health();
    until("there is room again", || health.borrow().full.is_none()).await;
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_server_refuses_new_mail_until_there_is_room() {
    let name = "a_full_disk_at_the_server_refuses_new_mail_until_there_is_room";
    let Some(server) = server(name, &[]) else { return };
    let Some(disk) = Disk::mount(&server) else { return skip(name, "no file system can be mounted here") };
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display()));
    server.sql("ALTER ROLE postgres SET default_tablespace = small");
    let spool = Postgres::open(quick(&server)).unwrap();
    let kept = spool.commit(draft("x", &["a@b.dk"], 1_000_000, 100)).await.unwrap().id();
    let full = fill(&spool).await;
    assert!(matches!(full, Error::Full { .. }), "{full}");
    assert!(spool.health().borrow().full.is_some());
    let acknowledged = waiting(&spool).await;
    assert!(acknowledged.contains(&kept));
    disk.enlarge();
    recovered(&spool).await;
    let after = spool.commit(draft("x", &["a@b.dk"], 1_000_001, 100)).await.unwrap().id();
    drop(spool);
    let spool = Postgres::open(quick(&server)).unwrap();
    let mut expected = acknowledged;
    expected.insert(after);
    assert_eq!(waiting(&spool).await, expected);
    spool.stop().await;
    server.stop();
}

/// Commits until that is refused, and returns why.
async fn fill(spool: &Postgres) -> Error {
    for seed in 0..100_000 {
        if let Err(error) = spool.commit(draft("x", &["a@b.dk"], seed, 20_000)).await {
            return error;
        }
    }
    panic!("it never gets full");
}

/// Settles all mail that waits as delivered.
async fn drain(spool: &Postgres) {
    loop {
        let leases = spool.claim(&lane("x"), soon(), 50, &crate::drafts::backoff()).await.unwrap();
        if leases.is_empty() {
            return;
        }
        for lease in leases {
            let result = delivered(&lease);
            spool.settle(lease, result).await.unwrap();
        }
    }
}

/// A small file system of its own.
struct Disk(PathBuf);

impl Disk {
    /// Mounts it in the server's folder. `None` where that may not be done.
    fn mount(server: &Server) -> Option<Disk> {
        let at = server.dir().join("small");
        std::fs::create_dir(&at).ok()?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=0700,uid=65534,gid=65534", "tmpfs"])
            .arg(&at)
            .status();
        mounted.ok()?.success().then_some(Disk(at))
    }

    /// Makes it larger.
    fn enlarge(&self) {
        let done = Command::new("mount").args(["-o", "remount,size=200m"]).arg(&self.0).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
