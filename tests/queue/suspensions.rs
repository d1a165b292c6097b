//! Suspended routes over restarts and reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postbud::queue::Patience;
use postbud::route::{Cause, RouteControl, RouteId, RouteState};

use crate::capture::Capture;
use crate::drafts::lane;
use crate::rig::{Deliver, Rig, Witness, of_kind, own_server, with_login};

const ROUTE: &str = "own-server.x";

/// A server that knows one password, and how often it was asked.
fn server(password: &'static str) -> (Capture, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let right = STANDARD.encode(format!("\0webcrm\0{password}"));
    let script = move |line: &str| {
        let login = line.strip_prefix("AUTH PLAIN ")?;
        counted.fetch_add(1, Ordering::SeqCst);
        (login != right).then(|| "535 5.7.8 wrong password".to_owned())
    };
    (Capture::scripted("127.0.0.1:0", Box::new(script)), asked)
}

fn cause(rig: &Rig) -> Option<Cause> {
    match rig.queue.list().into_iter().find(|route| route.id.as_str() == ROUTE)?.state {
        RouteState::Suspended { cause, .. } => Some(cause),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_not_tried_again_by_restarts_until_it_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start();
    let (server, asked) = server("new");
    let directory = |password| witness.beside(with_login(ROUTE, server.address, password));
    let rig = Rig::start(folder.path(), directory("old"), Patience::default(), None).await;
    rig.commit(lane("x"), 1).await;
    rig.wait_for_events("it says so", |events| !of_kind(events, "alert").is_empty()).await;
    rig.stop().await;
    let refused = asked.load(Ordering::SeqCst);
    assert_eq!(refused, 1);
    for _ in 0..3 {
        let rig = Rig::start(folder.path(), directory("old"), Patience::default(), None).await;
        assert_eq!(cause(&rig), Some(Cause::Login));
        rig.commit(lane("x"), 2).await;
        witness.sees_turns(&rig, 3).await;
        let events = rig.stop().await;
        let last = of_kind(&events, "alert").pop().unwrap();
        assert!(last["detail"].as_str().unwrap().contains("still suspended, since"), "{last}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), refused, "no login was tried");
    assert!(server.received().is_empty());
    // A restart with another login.
    let rig = Rig::start(folder.path(), directory("new"), Patience::default(), None).await;
    server.wait_for(4, Duration::from_secs(20));
    rig.stop().await;
    let kept = std::fs::read_to_string(folder.path().join("suspensions.json")).unwrap();
    assert!(!kept.contains(ROUTE) && !kept.contains("old"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_with_another_login_lifts_a_refused_logins_suspension() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = server("new");
    let directory = |password| own_server(with_login(ROUTE, server.address, password));
    let rig = Rig::start(folder.path(), directory("old"), Patience::default(), None).await;
    rig.commit(lane("x"), 1).await;
    rig.wait_for_events("it says so", |events| !of_kind(events, "alert").is_empty()).await;
    rig.queue.reload();
    assert_eq!(cause(&rig), Some(Cause::Login), "nothing changed");
    rig.routing.set_directory(directory("new"));
    rig.queue.reload();
    server.wait_for(1, Duration::from_secs(20));
    assert_eq!(cause(&rig), None);
    let events = rig.stop().await;
    let told = of_kind(&events, "audit");
    assert!(told.iter().any(|event| event["route"] == ROUTE), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_suspended_stays_so_over_a_restart_with_another_login_until_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start();
    let (server, asked) = server("new");
    let directory = |password| witness.beside(with_login(ROUTE, server.address, password));
    let route = RouteId::new(ROUTE);
    let rig = Rig::start(folder.path(), directory("old"), Patience::default(), None).await;
    assert!(rig.queue.suspend(&route, "their server moves").await.unwrap());
    assert!(!rig.queue.suspend(&RouteId::new("nobody"), "x").await.unwrap());
    rig.commit(lane("x"), 1).await;
    rig.stop().await;
    let rig = Rig::start(folder.path(), directory("new"), Patience::default(), None).await;
    witness.sees_turns(&rig, 3).await;
    assert_eq!((cause(&rig), asked.load(Ordering::SeqCst)), (Some(Cause::Operator), 0));
    assert!(rig.queue.resume(&route).await.unwrap());
    server.wait_for(1, Duration::from_secs(20));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_deliver_yet_knows_its_routes_and_takes_commands() {
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::start();
    let (server, asked) = server("right");
    let directory = || witness.beside(with_login(ROUTE, server.address, "right"));
    let id = RouteId::new(ROUTE);
    let (rig, waiting) = Rig::stopped(folder.path()).opened(folder.path(), directory(), Patience::default(), None);
    assert_eq!(rig.queue.list().len(), 2, "its own and the witness's");
    assert!(rig.queue.suspend(&id, "moving").await.unwrap());
    rig.commit(lane("x"), 1).await;
    waiting.deliver();
    witness.sees_turns(&rig, 3).await;
    assert_eq!((cause(&rig), asked.load(Ordering::SeqCst)), (Some(Cause::Operator), 0));
    rig.stop().await;
    let (rig, waiting) = Rig::stopped(folder.path()).opened(folder.path(), directory(), Patience::default(), None);
    assert_eq!(cause(&rig), Some(Cause::Operator), "by the last process");
    assert!(rig.queue.resume(&id).await.unwrap());
    waiting.deliver();
    server.wait_for(1, Duration::from_secs(20));
    rig.stop().await;
}
