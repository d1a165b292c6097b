//! More routes with mail than attempts at once: every route has its turns, however much mail waits for another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use postbud::customers::{Directory, Via};
use postbud::queue::Patience;
use postbud::spool::{Commit, Draft};

use crate::capture::Capture;
use crate::drafts::draft;
use crate::rig::{AT_ONCE, Deliver as _, Rig, TO, customer, lane_of, of_kind, route};

#[tokio::test(flavor = "multi_thread")]
async fn a_route_with_much_mail_does_not_keep_the_others_from_having_a_turn() {
    const ROUTES: usize = 12;
    const OF_THE_FIRST: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    // Between MAIL and the end of a transaction: how many at once.
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, peak) = (Arc::clone(&busy), Arc::clone(&most));
    let script = move |line: &str| {
        if line.starts_with("MAIL") {
            peak.fetch_max(counted.fetch_add(1, SeqCst) + 1, SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            counted.fetch_sub(1, SeqCst);
        }
        None
    };
    let server = Capture::scripted("127.0.0.1:0", Box::new(script));
    let names: Vec<String> = (0..ROUTES).map(|n| format!("c{n:02}")).collect();
    let own = |name: &String| {
        let route = route(&format!("own-server.{name}"), server.address);
        customer(name, &[&format!("{name}.dk")], Via::OwnServer(Arc::new(route)))
    };
    let directory = Directory::new(names.iter().map(own).collect(), BTreeMap::new());
    let spool = Rig::stopped(folder.path());
    let mut total = 0;
    for (n, name) in names.iter().enumerate() {
        for _ in 0..(if n == 0 { OF_THE_FIRST } else { 1 }) {
            total += 1;
            let lane = lane_of(name, &format!("{name}.dk"));
            let _ = spool.commit(Draft { lane, ..draft("", &[TO], total, 100) }).await.unwrap();
        }
    }
    let rig = spool.deliver(folder.path(), directory, Patience::default(), None);
    server.wait_for(total as usize, Duration::from_secs(60));
    rig.wait_for_events("all are told", |events| of_kind(events, "relayed").len() == total as usize).await;
    let events = rig.stop().await;
    let order: Vec<&str> =
        of_kind(&events, "relayed").iter().map(|event| event["customer"].as_str().unwrap()).collect();
    let of_the_others = order.iter().rposition(|name| *name != "c00").unwrap();
    assert!(of_the_others < 3 * ROUTES, "the last of them came as number {of_the_others}: {order:?}");
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), ROUTES);
    assert!((2..=AT_ONCE as usize).contains(&most.load(SeqCst)), "{most:?} at once");
}
