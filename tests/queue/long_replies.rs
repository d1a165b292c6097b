//! A server that says 32 KB to each of many recipients fills neither the events nor the spool.

use postbud::queue::Patience;
use postbud::spool::{Commit, Draft, RecipientState};

use crate::capture::Capture;
use crate::drafts::{draft, lane};
use crate::rig::{Rig, of_kind, own_server, route};

const RECIPIENTS: usize = 300;
/// What is kept of one reply, with its codes.
const MOST: usize = 1100;

#[tokio::test(flavor = "multi_thread")]
async fn a_long_reply_to_many_recipients_is_clipped_in_events_and_spool() {
    let line = "y".repeat(990);
    let long: Vec<String> = (1..=32).map(|n| format!("451{}{line}", if n == 32 { ' ' } else { '-' })).collect();
    let long = long.join("\r\n");
    let script = move |line: &str| line.starts_with("RCPT").then(|| long.clone());
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let folder = tempfile::tempdir().unwrap();
    let rig =
        Rig::start(folder.path(), own_server(route("own-server.x", server.address)), Patience::default(), None).await;
    let to: Vec<String> = (0..RECIPIENTS).map(|n| format!("r{n}@example.net")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let _ = rig.spool.commit(Draft { lane: lane("x"), ..draft("", &to, 1, 100) }).await.unwrap();
    let events = rig.wait_for_events("all wait", |events| of_kind(events, "deferred").len() >= RECIPIENTS).await;
    let said: Vec<&str> = of_kind(&events, "deferred").iter().map(|event| event["reply"].as_str().unwrap()).collect();
    assert!(said.iter().all(|reply| reply.len() <= MOST && reply.starts_with("yyy") && reply.ends_with("[…]")));
    let records = rig.records().await;
    let kept = records.iter().flat_map(|record| &record.recipients);
    for state in kept {
        let RecipientState::Waiting { last_reply: Some(reply) } = state else { panic!("{state:?}") };
        assert!(reply.len() <= MOST, "{} octets", reply.len());
    }
    rig.stop().await;
}
