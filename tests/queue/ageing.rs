//! Mail that waits behind a route in trouble without an attempt of its own: announced once, given up in time.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use postbud::message::{Lane, MailKind};
use postbud::route::{RouteControl, RouteId};
use postbud::spool::{Commit, Filter, Intervene, LinesById, Spool};

use crate::capture::Capture;
use crate::drafts::lane;
use crate::rig::{Rig, impatient, nobody, of_kind, own_server, route};

#[tokio::test(flavor = "multi_thread")]
async fn mail_behind_a_dead_server_is_announced_once_and_then_given_up_by_event_and_by_mail() {
    let folder = tempfile::tempdir().unwrap();
    let postmaster = Capture::start();
    let bounces = route("bounces", postmaster.address).into();
    let rig = Rig::start(folder.path(), own_server(route("own-server.x", nobody())), impatient(), Some(bounces)).await;
    let mut ids = BTreeSet::new();
    for seed in 0..6 {
        ids.insert(rig.commit(lane("x"), seed).await.to_string());
    }
    let events = rig.wait_for_events("all are given up", |events| of_kind(events, "expired").len() >= ids.len()).await;
    // The first few were tried; the others waited behind the pause that this began.
    let tried: BTreeSet<_> =
        of_kind(&events, "deferred").iter().map(|event| event["queue_id"].as_str().unwrap()).collect();
    assert!(tried.len() < ids.len(), "{tried:?}");
    for kind in ["delayed", "expired"] {
        let told: Vec<&str> = of_kind(&events, kind).iter().map(|event| event["queue_id"].as_str().unwrap()).collect();
        assert_eq!(told.len(), ids.len(), "{kind}, once each: {told:?}");
        assert!(ids.iter().all(|id| told.contains(&id.as_str())), "{kind}: {told:?}");
    }
    let mut subjects = Vec::new();
    for one in postmaster.wait_for(2 * ids.len(), Duration::from_secs(20)) {
        let header = String::from_utf8(one.header().to_vec()).unwrap();
        subjects.push(header.contains("delayed") || header.contains("forsinket"));
        assert_eq!(one.from, "<>");
    }
    assert!(rig.records().await.iter().all(|record| record.lane.kind == MailKind::Bounce));
    rig.stop().await;
    assert_eq!(postmaster.received().len(), 2 * ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_behind_a_dead_bounce_route_is_given_up_too_and_makes_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Capture::start();
    let bounces = route("bounces", nobody()).into();
    let rig =
        Rig::start(folder.path(), own_server(route("own-server.x", server.address)), impatient(), Some(bounces)).await;
    let bounce = Lane { kind: MailKind::Bounce, ..lane("x") };
    for seed in 0..6 {
        rig.commit(bounce.clone(), seed).await;
    }
    rig.wait_for_events("all are given up", |events| of_kind(events, "expired").len() == 6).await;
    for _ in 0..200 {
        if rig.records().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(rig.records().await.is_empty(), "no bounce of a bounce");
    rig.stop().await;
    assert!(server.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_message_is_no_older_than_before_and_gets_its_attempt() {
    let folder = tempfile::tempdir().unwrap();
    // Deferred at first: past its maximum age a message would be given up then.
    let refusals = AtomicUsize::new(1);
    let script = move |line: &str| {
        // Not the notice of the other's failure, which may come first.
        let refused = line.starts_with("RCPT")
            && line.contains(crate::rig::TO)
            && refusals.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
        refused.then(|| "451 4.7.1 greylisted".to_owned())
    };
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let directory = || own_server(route("own-server.x", server.address));
    let (id, other) = {
        let spool = Rig::stopped(folder.path());
        let draft = |seed| crate::drafts::draft("x", &[crate::rig::TO], seed, 100);
        let ids = (spool.commit(draft(1)).await.unwrap().id(), spool.commit(draft(2)).await.unwrap().id());
        spool.hold(Filter::one(ids.0), "wait".into(), LinesById::new()).await.unwrap();
        spool.stop().await;
        ids
    };
    let own = RouteId::new("own-server.x");
    let rig = {
        // Suspended before anything is delivered.
        std::fs::write(folder.path().join("suspensions.json"), suspended_by_an_operator()).unwrap();
        Rig::start(folder.path(), directory(), impatient(), None).await
    };
    let events = rig.wait_for_events("the other is given up", |events| !of_kind(events, "expired").is_empty()).await;
    assert_eq!(of_kind(&events, "expired")[0]["queue_id"], other.to_string(), "what is held does not expire");
    assert_eq!(rig.spool.release(Filter::one(id), LinesById::new()).await.unwrap(), 1);
    // Ageing makes several rounds until a younger message is late.
    let younger = rig.commit(lane("x"), 3).await.to_string();
    let is_late = |events: &[_]| of_kind(events, "delayed").iter().any(|event| event["queue_id"] == younger.as_str());
    let events = rig.wait_for_events("the younger is late", is_late).await;
    let given_up = of_kind(&events, "expired");
    assert!(given_up.iter().all(|event| event["queue_id"] != id.to_string()), "it is owed an attempt: {given_up:#?}");
    let notices = rig.records().await.iter().filter(|record| record.lane.kind == MailKind::Bounce).count();
    assert_eq!(notices, 1, "the other's failure; a delay notice would only wait for the same route");
    assert!(rig.queue.resume(&own).await.unwrap());
    let tried = |events: &[_]| of_kind(events, "deferred").iter().any(|event| event["queue_id"] == id.to_string());
    rig.wait_for_events("its attempt", tried).await;
    rig.stop().await;
}

fn suspended_by_an_operator() -> String {
    let key = "A".repeat(43) + "=";
    serde_json::json!({
        "key": key,
        "routes": {"own-server.x": {"cause": "operator", "reason": "moving", "since": 1, "fingerprint": key}},
    })
    .to_string()
}
