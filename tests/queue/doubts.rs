//! A server that closes the connection on one message or one recipient, always: everybody else's mail goes on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use postbud::queue::{Patience, Schedule};
use postbud::route::{RouteControl as _, RouteState};
use postbud::spool::{Backoff, Commit, Draft};
use serde_json::Value;

use crate::capture::Capture;
use crate::drafts::{draft, lane};
use crate::rig::{Rig, TO, Witness, impatient, of_kind, own_server, route};

const POISON: &str = "poison@example.net";

/// Takes everything, but for that recipient.
fn closes_on_poison() -> Capture {
    let script = |line: &str| line.contains(POISON).then(|| "421 4.7.0 bye".to_owned());
    Capture::scripted("127.0.0.1:0", Box::new(script))
}

async fn commit(rig: &Rig, to: &[&str], seed: u64) {
    let draft = Draft { lane: lane("x"), ..draft("", to, seed, 100) };
    let _ = rig.spool.commit(draft).await.unwrap();
}

/// Often tried, never given up while the test runs.
fn eager() -> Patience {
    let soon = Duration::from_millis(100);
    Patience {
        retry: Schedule { backoff: Backoff { first: soon, factor: 1.0, longest: soon }, ..Schedule::default() },
        ..Patience::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_always_gets_421_delays_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = closes_on_poison();
    let directory = own_server(route("own-server.x", server.address));
    let rig = Rig::start(folder.path(), directory, eager(), None).await;
    commit(&rig, &[POISON], 0).await;
    for round in 1..=5 {
        rig.wait_for_events("it was tried again", |events| of_kind(events, "deferred").len() >= 2 * round).await;
        assert_eq!(rig.queue.list()[0].state, RouteState::Ready, "round {round}");
        commit(&rig, &[TO], round as u64).await;
        rig.wait_for_events("the other one went", |events| of_kind(events, "relayed").len() >= round).await;
        assert_eq!(rig.queue.list()[0].state, RouteState::Ready, "round {round}");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_421_to_all_messages_is_left_in_peace() {
    let folder = tempfile::tempdir().unwrap();
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let script =
        move |line: &str| (line.starts_with("MAIL") && !is_well.load(SeqCst)).then(|| "421 4.3.0 bye".to_owned());
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let witness = Witness::start();
    let directory = witness.beside(route("own-server.x", server.address));
    let rig = Rig::start(folder.path(), directory, eager(), None).await;
    for seed in 0..10 {
        commit(&rig, &[TO], seed).await;
    }
    rig.wait_for_events("it was tried", |events| of_kind(events, "deferred").len() >= 2).await;
    for _ in 0..50 {
        if matches!(rig.queue.list()[0].state, RouteState::Throttled { .. }) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(rig.queue.list()[0].state, RouteState::Throttled { .. }), "{:?}", rig.queue.list());
    witness.sees_retries(&rig, 5).await;
    let of_x = |events: &[Value], kind| of_kind(events, kind).iter().filter(|it| it["customer"] == "x").count();
    let tried = of_x(&rig.events(), "deferred");
    assert!(tried <= 4, "no more than were under way: {tried}");
    well.store(true, SeqCst);
    rig.queue.resume(&rig.queue.list()[0].id).await.unwrap();
    rig.wait_for_events("all went", |events| of_x(events, "relayed") == 10).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_always_gets_421_delays_no_other_of_its_message() {
    let to: Vec<String> = (0..6).map(|n| format!("r{n}@example.net")).collect();
    for at in [0, 3, 6] {
        let folder = tempfile::tempdir().unwrap();
        let server = closes_on_poison();
        let directory = own_server(route("own-server.x", server.address));
        let rig = Rig::start(folder.path(), directory, impatient(), None).await;
        let mut all: Vec<&str> = to.iter().map(String::as_str).collect();
        all.insert(at, POISON);
        commit(&rig, &all, 0).await;
        rig.wait_for_events("it was given up", |events| !of_kind(events, "expired").is_empty()).await;
        let events = rig.stop().await;
        let recipients = of_kind(&events, "relayed").into_iter().map(|event| event["recipient"].as_str().unwrap());
        // The sender is told, too.
        let mut taken: Vec<&str> = recipients.filter(|recipient| recipient.ends_with("@example.net")).collect();
        taken.sort_unstable();
        assert_eq!(taken, to, "poison at {at}: each once");
        let given_up = of_kind(&events, "expired");
        assert_eq!(given_up.len(), 1, "poison at {at}");
        assert_eq!(given_up[0]["recipient"], POISON);
        assert_eq!(given_up[0]["reply"], "bye");
    }
}
