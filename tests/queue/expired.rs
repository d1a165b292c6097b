//! Mail that waited for longer than its signatures hold: held, not sent.

use std::time::Duration;

use postbud::queue::Patience;
use postbud::spool::{Draft, Filter, Spool};
use postbud::time::Timestamp;

use crate::capture::Capture;
use crate::drafts::draft;
use crate::rig::{Rig, TO, of_kind, own_server, route};

#[tokio::test(flavor = "multi_thread")]
async fn mail_whose_signature_has_expired_is_held_and_does_not_leave() {
    let folder = tempfile::tempdir().unwrap();
    let server = Capture::start();
    let directory = own_server(route("own-server.x", server.address));
    let rig = Rig::start(folder.path(), directory, Patience::default(), None).await;
    let now = Timestamp::now();
    let mut ids = Vec::new();
    for (seed, expires) in [(1, now - Duration::from_secs(1)), (2, now + Duration::from_secs(3600))] {
        let signature = format!("DKIM-Signature: v=1; d=test.dk; t=1; x={};\r\n bh=x; b=x\r\n", expires.as_secs());
        let draft = draft("x", &[TO], seed, 100);
        let draft = Draft { prefix: [signature.into_bytes(), draft.prefix].concat(), ..draft };
        ids.push(rig.spool.commit(draft).await.unwrap().id());
    }
    // An operator who lets it go hears the same again.
    for times in 1..=2 {
        let events = rig.wait_for_events("it is held", |events| of_kind(events, "held").len() == times).await;
        let held = of_kind(&events, "held")[times - 1];
        assert_eq!(held["id"], ids[0].to_string());
        let told = |event: &serde_json::Value| event["detail"].as_str().unwrap().contains("`postbud queue bounce");
        assert!(told(held) && of_kind(&events, "alert").into_iter().any(told), "{events:#?}");
        let records = rig.spool.list(Filter::one(ids[0]), 1).await.unwrap();
        assert!(records[0].held.as_deref().unwrap().starts_with("its DKIM signature expired at "));
        assert_eq!(records[0].attempts, 0);
        rig.spool.release(Filter::one(ids[0])).await.unwrap();
    }
    let sent = server.wait_for(1, Duration::from_secs(20));
    assert!(String::from_utf8_lossy(sent[0].header()).contains("X-Seed: 2\r\n"));
    rig.stop().await;
    assert_eq!(server.received().len(), 1);
}
