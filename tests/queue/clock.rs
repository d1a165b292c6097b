//! A clock that ran ahead and was set back: nothing waits for the wrong time to come again.

use std::time::Duration;

use postbud::message::QueueId;
use postbud::spool::{Commit, Draft, RecipientState, Settlement, Work};
use postbud::time::Timestamp;

use crate::capture::Capture;
use crate::drafts::{backoff, draft, lane, soon};
use crate::rig::{Deliver as _, Rig, TO, impatient, own_server, route};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[tokio::test(flavor = "multi_thread")]
async fn mail_accepted_after_the_clock_was_set_back_leaves_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Capture::start();
    let rig = Rig::start(folder.path(), own_server(route("own-server.x", server.address)), impatient(), None).await;
    // Ids go up whatever the clock does: what comes now seems to have arrived in an hour.
    let ahead = QueueId::first_at(Timestamp::now() + Duration::from_secs(3600));
    let draft = Draft { id: ahead, ..draft("x", &[TO], 1, 100) };
    let _ = rig.spool.commit(draft).await.unwrap();
    server.wait_for(1, Duration::from_secs(20));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_deferred_by_a_clock_that_ran_ahead_is_tried_again_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = Capture::start();
    let spool = Rig::stopped(folder.path());
    let _ = spool.commit(draft("x", &[TO], 1, 100)).await.unwrap();
    let lease = spool.claim(&lane("x"), soon(), 1, &backoff()).await.unwrap().remove(0);
    let settlement = Settlement {
        results: vec![(0, RecipientState::Waiting { last_reply: Some("451".into()) })],
        due: Some(Timestamp::now() + YEAR),
        counts: true,
        ..Settlement::default()
    };
    spool.settle(lease, settlement).await.unwrap();
    let rig = spool.deliver(folder.path(), own_server(route("own-server.x", server.address)), impatient(), None);
    server.wait_for(1, Duration::from_secs(20));
    let events = rig.stop().await;
    assert!(
        events.iter().any(|event| event["detail"].as_str().is_some_and(|text| text.contains("clock"))),
        "{events:?}"
    );
}
