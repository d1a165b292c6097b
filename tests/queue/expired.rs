//! Mail that waited for longer than its signatures hold: held, not sent.

use std::collections::BTreeSet;
use std::time::Duration;

use postbud::message::MailKind;
use postbud::queue::{Patience, Schedule};
use postbud::spool::{Backoff, Commit, Draft, Filter, Inspect, Intervene, LinesById};
use postbud::time::Timestamp;

use crate::capture::Capture;
use crate::drafts::draft;
use crate::rig::{Deliver, Rig, TO, nobody, of_kind, own_server, route};

/// A message whose signature expires then.
fn signed(seed: u64, expires: Timestamp) -> Draft {
    let signature = format!("DKIM-Signature: v=1; d=test.dk; t=1; x={};\r\n bh=x; b=x\r\n", expires.as_secs());
    let draft = draft("x", &[TO], seed, 100);
    Draft { prefix: [signature.into_bytes(), draft.prefix].concat(), ..draft }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_whose_signature_has_expired_is_held_and_does_not_leave() {
    let folder = tempfile::tempdir().unwrap();
    let server = Capture::start();
    let directory = own_server(route("own-server.x", server.address));
    let rig = Rig::start(folder.path(), directory, Patience::default(), None).await;
    let now = Timestamp::now();
    let mut ids = Vec::new();
    for (seed, expires) in [(1, now - Duration::from_secs(1)), (2, now + Duration::from_secs(3600))] {
        ids.push(rig.spool.commit(signed(seed, expires)).await.unwrap().id());
    }
    // An operator who lets it go hears the same again.
    for times in 1..=2 {
        let events = rig.wait_for_events("it is held", |events| of_kind(events, "held").len() == times).await;
        let held = of_kind(&events, "held")[times - 1];
        assert_eq!(held["queue_id"], ids[0].to_string());
        let told = |event: &serde_json::Value| event["detail"].as_str().unwrap().contains("`postbud queue bounce");
        assert!(told(held) && of_kind(&events, "alert").into_iter().any(told), "{events:#?}");
        let records = rig.spool.list(Filter::one(ids[0]), 1).await.unwrap();
        assert!(records[0].held.as_deref().unwrap().starts_with("its DKIM signature expired ("));
        assert_eq!(records[0].attempts, 0);
        rig.spool.release(Filter::one(ids[0]), LinesById::new()).await.unwrap();
    }
    let sent = server.wait_for(1, Duration::from_secs(20));
    assert!(String::from_utf8_lossy(sent[0].header()).contains("X-Seed: 2\r\n"));
    rig.stop().await;
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_whose_signature_has_expired_make_one_alert_and_have_one_reason() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Rig::stopped(folder.path());
    let now = Timestamp::now();
    for seed in 1..=300 {
        let _ = spool.commit(signed(seed, now - Duration::from_secs(seed))).await.unwrap();
    }
    let directory = own_server(route("own-server.x", nobody()));
    let rig = spool.deliver(folder.path(), directory, Patience::default(), None);
    rig.wait_for_events("all are held", |events| of_kind(events, "held").len() == 300).await;
    let reasons: BTreeSet<_> = rig.records().await.into_iter().map(|record| record.held.unwrap()).collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let events = rig.stop().await;
    assert_eq!(of_kind(&events, "alert").len(), 1, "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_whose_signature_has_expired_is_given_up_in_time_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let script = |line: &str| line.starts_with("RCPT").then(|| "451 4.2.1 not now".to_owned());
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let directory = own_server(route("own-server.x", server.address));
    let (never, give_up) = (Duration::from_secs(3600), Duration::from_secs(3));
    let retry = Schedule { backoff: Backoff { first: never, factor: 1.0, longest: never }, give_up };
    let rig = Rig::start(folder.path(), directory, Patience { retry, delay_notice: never }, None).await;
    let _ = rig.spool.commit(signed(1, Timestamp::now() + Duration::from_secs(2))).await.unwrap();
    let events = rig.wait_for_events("it is given up", |events| !of_kind(events, "expired").is_empty()).await;
    assert_eq!(of_kind(&events, "expired")[0]["reply"], "not now");
    assert!(of_kind(&events, "held").is_empty(), "{events:#?}");
    assert!(rig.records().await.iter().any(|record| record.lane.kind == MailKind::Bounce), "its sender is told");
    rig.stop().await;
}
