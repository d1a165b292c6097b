//! The notifications that senders get by mail about an attempt, and their sender.

use std::time::Duration;

use postbud::message::Notify;
use postbud::queue::Patience;
use postbud::route::{Caps, Route};
use postbud::spool::{Commit, Draft};

use crate::capture::Capture;
use crate::drafts::{draft, lane};
use crate::rig::{Rig, TO, of_kind, own_server, route};

const UNKNOWN: &str = "unknown@example.net";

/// Reports successes itself, and knows one recipient not.
fn reports_further() -> Capture {
    let script = |line: &str| match line {
        _ if line.starts_with("EHLO") => Some("250-mail.test.dk\r\n250 DSN".to_owned()),
        _ if line.contains(UNKNOWN) => Some("550 5.1.1 no such user".to_owned()),
        _ => None,
    };
    Capture::scripted("127.0.0.1:0", Box::new(script))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_the_server_reports_is_not_reported_again_for_the_sake_of_another_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let (server, postmaster) = (reports_further(), Capture::start());
    let one_by_one = Caps { recipients_per_transaction: 1, ..Caps::default() };
    let directory = own_server(Route { caps: one_by_one, ..route("own-server.x", server.address) });
    let bounces = route("bounces", postmaster.address).into();
    let rig = Rig::start(folder.path(), directory, Patience::default(), Some(bounces)).await;
    let mut draft = Draft { lane: lane("x"), ..draft("", &[TO, UNKNOWN], 0, 100) };
    for recipient in &mut draft.envelope.recipients {
        recipient.notify = Some(Notify { success: true, failure: true, delay: false });
    }
    let _ = rig.spool.commit(draft).await.unwrap();
    rig.wait_for_events("both were tried", |events| of_kind(events, "bounced").len() == 1).await;
    postmaster.wait_for(1, Duration::from_secs(20));
    let events = rig.stop().await;
    assert!(of_kind(&events, "relayed").iter().any(|event| event["recipient"] == TO), "{events:#?}");
    let told: Vec<String> =
        postmaster.received().iter().map(|one| String::from_utf8_lossy(one.body()).into_owned()).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("Action: failed") && told[0].contains(UNKNOWN), "{told:#?}");
    assert!(told[0].contains("\r\nRemote-MTA: dns; [127.0.0.1]\r\n"), "who said so: {told:#?}");
}
