//! Mail that one node takes and another one delivers, over the route that all share: each message goes once, and each event is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{Cluster, OF_TIER, with_cluster};
use crate::known::soon;
use crate::network::NODES;
use crate::support::client::{Client, message};

const EACH: usize = 4;
const SOON: Duration = Duration::from_secs(60);

#[test]
fn mail_for_mailjet_goes_once_whichever_node_takes_it_and_its_owner_tells_of_it() {
    let name = "mail_for_mailjet_goes_once_whichever_node_takes_it_and_its_owner_tells_of_it";
    with_cluster(name, "", mail_is_forwarded);
}

fn mail_is_forwarded(mut cluster: Cluster) {
    cluster.wait_until_balanced();
    let mut all = 0;
    for node in 0..NODES {
        let mut client = Client::connect(cluster.addresses()[node]).unwrap();
        for customer in 0..OF_TIER {
            for n in 0..EACH {
                let from = format!("a@tier{customer}.example");
                let subject = format!("tier{customer}-by{node}-{n}");
                let mail = message(&from, "b@example.net", &subject);
                let heard = client.send(&from, &["b@example.net"], &mail).unwrap();
                assert!(heard.starts_with("250"), "{heard}");
                all += 1;
            }
        }
    }
    soon("all of it arrives", SOON, all, || cluster.taken_of_tier());
    let arrived = cluster.arrived();
    assert_eq!((arrived.len(), arrived.values().all(|times| times.len() == 1)), (all, true), "each once");
    // The owner's event log has both events of each message, and no other log has any.
    let owners: Vec<Vec<String>> = (0..NODES).map(|node| cluster.customers_of(node)).collect();
    for event in ["accepted", "relayed"] {
        soon(&format!("every message is {event}"), SOON, all, || {
            let of_node = |node: usize| cluster.site(node).events().iter().filter(|it| it["event"] == event).count();
            (0..NODES).map(of_node).sum()
        });
    }
    let mut times = BTreeMap::<String, usize>::new();
    for (node, owned) in owners.iter().enumerate() {
        for event in cluster.site(node).events().iter().filter(|event| event["queue_id"].is_string()) {
            let customer = event["customer"].as_str().unwrap().to_owned();
            assert!(owned.contains(&customer), "node{node} tells of {event}");
            *times.entry(event["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    for node in 0..NODES {
        cluster.take(node).stop();
    }
}
