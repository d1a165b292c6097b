//! Full disks and too few inodes, on a small file system in memory.

use std::time::Duration;

use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Error, Inspect, RecipientState, Settlement, Spool, Work};

use crate::disks::Memory;
use crate::drafts::{backoff, draft, lane, soon};
use crate::driver::settings;
use crate::skip;

/// Fills the disk with mail until it is refused, delivers all of it, and waits for the spool to take mail again.
async fn fill_and_drain(memory: &Memory, settings: Settings) {
    let spool = Embedded::open(settings).unwrap();
    let mut taken = 0;
    let refused = loop {
        match spool.commit(draft("x", &["a@b.dk"], taken, 20_000)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 2000, "the disk never got full");
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    assert!(refused.to_string().contains("room"), "{refused}");
    assert!(taken > 5);
    let mut done = 0;
    while done < taken {
        for lease in spool.claim(&lane("x"), soon(), 50, &backoff()).await.unwrap() {
            let delivered = RecipientState::Relayed { reply: "250 ok".into() };
            let settlement = Settlement { results: vec![(0, delivered)], counts: true, ..Settlement::default() };
            spool.settle(lease, settlement).await.unwrap();
            done += 1;
        }
    }
    for _ in 0..100 {
        if spool.commit(draft("x", &["a@b.dk"], 7, 20_000)).await.is_ok() {
            spool.stop().await;
            let again = Embedded::open(Settings { dir: memory.path().join("spool"), ..settings_of(memory) }).unwrap();
            assert_eq!(again.totals().await.unwrap().records, 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the spool does not recover by itself within 10 s");
}

fn settings_of(memory: &Memory) -> Settings {
    Settings { segment_size: 128 << 10, ..settings(&memory.path().join("spool")) }
}

#[tokio::test]
async fn a_full_disk_refuses_new_mail_delivers_the_rest_and_recovers() {
    let name = "a_full_disk_refuses_new_mail_delivers_the_rest_and_recovers";
    for min_free in [0, 1 << 20] {
        match Memory::make("size=4m") {
            Ok(memory) => fill_and_drain(&memory, Settings { min_free, ..settings_of(&memory) }).await,
            Err(reason) => return skip::skip(name, &reason),
        }
    }
}

#[tokio::test]
async fn a_message_too_long_for_a_full_disk_costs_the_others_nothing() {
    let name = "a_message_too_long_for_a_full_disk_costs_the_others_nothing";
    let memory = match Memory::make("size=4m") {
        Ok(memory) => memory,
        Err(reason) => return skip::skip(name, &reason),
    };
    let spool = Embedded::open(settings_of(&memory)).unwrap();
    for seed in 0..20 {
        let refused = spool.commit(draft("x", &["a@b.dk"], 100 + seed, 6 << 20));
        let taken = spool.commit(draft("x", &["a@b.dk"], seed, 2_000));
        let (refused, taken) = tokio::join!(refused, taken);
        assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
        assert!(taken.is_ok(), "{taken:?}");
    }
    spool.stop().await;
    let again = Embedded::open(settings_of(&memory)).unwrap();
    assert_eq!(again.totals().await.unwrap().records, 20);
}

#[tokio::test]
async fn too_few_inodes_refuse_new_mail_deliver_the_rest_and_recover() {
    let name = "too_few_inodes_refuse_new_mail_deliver_the_rest_and_recover";
    for min_free_inodes in [0, 4] {
        match Memory::make("size=32m,nr_inodes=16") {
            Ok(memory) => fill_and_drain(&memory, Settings { min_free_inodes, ..settings_of(&memory) }).await,
            Err(reason) => return skip::skip(name, &reason),
        }
    }
}
