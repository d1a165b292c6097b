//! Random operations against the spool and against a map in memory; both must agree, also after a stop and after a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use postbud::message::QueueId;
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Filter, Inspect, Intervene, RecipientState, Settlement, Spool, Work, all_lanes};
use postbud::time::Timestamp;

use crate::drafts::{content, draft, soon};
use crate::promises::{bytes_of, claim_all, settings};

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    seed: u64,
    size: usize,
    customer: usize,
    attempts: u32,
    states: Vec<RecipientState>,
    held: bool,
}

const CUSTOMERS: [&str; 2] = ["x", "y"];

async fn compare(spool: &Embedded, model: &BTreeMap<QueueId, Expected>) {
    let records = spool.list(Filter::default(), 10_000).await.unwrap();
    let found: Vec<_> = records.iter().map(|r| (r.id, r.attempts, r.recipients.clone(), r.held.is_some())).collect();
    let expected: Vec<_> = model.iter().map(|(id, e)| (*id, e.attempts, e.states.clone(), e.held)).collect();
    assert_eq!(found, expected);
    assert_eq!(spool.totals().await.unwrap().records, model.len() as u64);
    let lanes = all_lanes(spool).await.unwrap();
    assert_eq!(lanes.values().map(|lane| lane.records).sum::<u64>(), model.len() as u64);
    assert_eq!(lanes.values().map(|lane| lane.held).sum::<u64>(), model.values().filter(|e| e.held).count() as u64);
    assert_eq!(lanes.values().map(|lane| lane.leased).sum::<u64>(), 0);
}

async fn attempt(spool: &Embedded, model: &mut BTreeMap<QueueId, Expected>, pick: u64) {
    let customer = CUSTOMERS[(pick % 2) as usize];
    for (i, lease) in claim_all(spool, customer).await.into_iter().enumerate().take(4) {
        let id = lease.record.id;
        let expected = model.get_mut(&id).unwrap();
        assert!(!expected.held);
        assert_eq!(lease.record.recipients, expected.states);
        let body = <[Vec<u8>; 2]>::from(content(expected.seed, expected.size)).concat();
        assert_eq!(bytes_of(&lease).await, body);
        if (pick >> 8).is_multiple_of(5) {
            continue;
        }
        let reply = format!("{pick} heard");
        let mut results = Vec::new();
        for (at, state) in expected.states.iter_mut().enumerate().filter(|(_, state)| state.is_waiting()) {
            let new = match (pick >> (at + i)) % 4 {
                0 => RecipientState::Waiting { last_reply: Some(reply.clone()) },
                1 => RecipientState::Failed { reply: reply.clone() },
                2 => RecipientState::Delivered { reply: reply.clone() },
                _ => continue,
            };
            *state = new.clone();
            results.push((at, new));
        }
        let hold = (pick >> 16).is_multiple_of(7).then(|| "held by the queue".to_owned());
        expected.attempts += 1;
        expected.held |= hold.is_some();
        if !expected.states.iter().any(RecipientState::is_waiting) {
            model.remove(&id);
        }
        let waited_for_caps = Duration::from_millis(pick % 100);
        let due = if pick.is_multiple_of(3) { Timestamp::EPOCH } else { soon() + Duration::from_secs(900) };
        let settlement =
            Settlement { results, due: Some(due), counts: true, waited_for_caps, delay_notified: false, hold };
        spool.settle(lease, settlement).await.unwrap();
    }
}

#[tokio::test]
async fn the_spool_and_a_map_agree_after_every_step_every_stop_and_every_crash() {
    for run in 0..4u64 {
        let dir = tempfile::tempdir().unwrap();
        let small = Settings { segment_size: 32 << 10, ..settings(dir.path()) };
        let mut spool = Embedded::open(small.clone()).unwrap();
        let mut model = BTreeMap::new();
        let mut random = run.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for step in 0..150u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pick = random >> 20;
            let one = model.keys().nth((pick % 64) as usize % model.len().max(1)).copied();
            let filter = Filter::of(one);
            match random >> 60 {
                0..=5 => {
                    let size = [0, 300, 5000, 40_000, 300_000][(pick % 5) as usize];
                    let customer = (pick >> 4) as usize % 2;
                    let to: &[&str] =
                        if pick.is_multiple_of(2) { &["a@b.dk"] } else { &["a@b.dk", "c@d.dk", "e@b.dk"] };
                    let id = spool.commit(draft(CUSTOMERS[customer], to, step, size)).await.unwrap().id();
                    let states = vec![RecipientState::Waiting { last_reply: None }; to.len()];
                    model.insert(id, Expected { seed: step, size, customer, attempts: 0, states, held: false });
                }
                6..=9 => attempt(&spool, &mut model, pick).await,
                10 if one.is_some() => {
                    spool.hold(filter, "held by hand".into()).await.unwrap();
                    model.get_mut(&one.unwrap()).unwrap().held = true;
                }
                11 if one.is_some() => {
                    spool.release(filter).await.unwrap();
                    model.get_mut(&one.unwrap()).unwrap().held = false;
                }
                12 => drop(spool.expedite(Filter::default()).await.unwrap()),
                13 => {
                    spool.stop().await;
                    drop(spool);
                    spool = Embedded::open(small.clone()).unwrap();
                }
                14 => {
                    // A crash: what is on disk once everything asked for is durable.
                    spool.sync().await.unwrap();
                    let crashed = tempfile::tempdir().unwrap();
                    copy_while_open(dir.path(), crashed.path());
                    let again = Embedded::open(Settings { dir: crashed.path().to_owned(), ..small.clone() }).unwrap();
                    compare(&again, &model).await;
                }
                _ => {}
            }
            compare(&spool, &model).await;
        }
        assert!(model.values().all(|expected| expected.customer < 2));
    }
}

/// Copies the segments, oldest first, again if one was given back meanwhile.
fn copy_while_open(from: &std::path::Path, to: &std::path::Path) {
    'again: loop {
        let mut names: Vec<_> = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name.to_string_lossy().ends_with(".seg"));
        names.sort();
        for name in &names {
            if std::fs::copy(from.join(name), to.join(name)).is_err() {
                std::fs::read_dir(to).unwrap().for_each(|copied| std::fs::remove_file(copied.unwrap().path()).unwrap());
                continue 'again;
            }
        }
        return;
    }
}
