//! Any node commands the whole, and shows it: pauses, routes and their troubles, alerts, the result of a test mail.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, OWN, with_cluster};
use crate::known::{ask, soon};
use crate::network::NODES;
use crate::support::client::{Client, message};

const SOON: Duration = Duration::from_secs(60);
const PER_DAY: u64 = 7;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn send(cluster: &Cluster, node: usize, customer: &str, subject: &str) {
    let from = format!("a@{customer}.example");
    let mut client = Client::connect(cluster.addresses()[node]).unwrap();
    let heard = client.send(&from, &["b@example.net"], &message(&from, "b@example.net", subject)).unwrap();
    assert!(heard.starts_with("250"), "{heard}");
}

/// A customer with a server of its own whose mail this node delivers.
fn own_of(cluster: &Cluster, node: usize) -> String {
    cluster.customers_of(node).into_iter().find(|id| id.starts_with("own")).expect("each node has one")
}

#[test]
fn any_node_resumes_a_customer_shows_routes_as_their_owner_does_and_lists_every_alert() {
    let name = "any_node_resumes_a_customer_shows_routes_as_their_owner_does_and_lists_every_alert";
    with_cluster(name, &format!("per_day = {PER_DAY}\n"), any_node_commands);
}

fn any_node_commands(cluster: Cluster) {
    cluster.wait_until_balanced();
    // Resumed elsewhere at once, when nobody there can have heard of the pause.
    let paused = |node: usize| cluster.operate(node, &["customer", "paused"]);
    for round in 0..3 {
        for (node, customer) in (0..NODES).map(|node| (node, own_of(&cluster, node))) {
            cluster.operate(node, &["customer", "pause", &customer, "--reason", "a moment"]);
            cluster.operate((node + 1 + round % 2) % NODES, &["customer", "unpause", &customer]);
        }
    }
    // What nodes tell each other comes in order: once all know of a later pause, no earlier one is on its way.
    cluster.operate(0, &["customer", "pause", "tier0", "--reason", "a mark"]);
    soon("every node has the mark", SOON, [true; NODES], || [0, 1, 2].map(|node| paused(node).contains("a mark")));
    soon("and nothing else", SOON, [false; NODES], || [0, 1, 2].map(|node| paused(node).contains("a moment")));
    cluster.operate(2, &["customer", "unpause", "tier0"]);
    let refused = cluster.site(1).operate(&["customer", "unpause", "own0"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("is not paused"));

    // A customer's own route: what its owner knows, and its cap once.
    let customer = own_of(&cluster, 1);
    send(&cluster, 0, &customer, &format!("{customer}-counted"));
    let route = format!("own-server.{customer}");
    let of_route = |node: usize| {
        let routes = lines(&cluster.operate(node, &["route", "list", "--json"]));
        let found = routes.into_iter().find(|it| it["route"] == *route).unwrap();
        (found["sent_today"].as_u64().unwrap(), found["per_day"].as_u64().unwrap())
    };
    soon("every node shows it", SOON, [(1, PER_DAY); NODES], || [0, 1, 2].map(of_route));

    // An alert that one node raises is shown and acknowledged at the others.
    cluster.operate(1, &["route", "suspend", &route, "--reason", "an operator stops it"]);
    let is_suspended = |node: usize| cluster.operate(node, &["route", "list"]).contains("an operator stops it");
    soon("every node has stopped it", SOON, [true; NODES], || [0, 1, 2].map(is_suspended));
    cluster.operate(0, &["route", "resume", &route]);
    // A closed port is trouble of the route, which its owner alone meets.
    let closed = own_of(&cluster, 2);
    cluster.close_server(&closed);
    send(&cluster, 0, &closed, &format!("{closed}-waits"));
    let trouble = format!("own-server.{closed}");
    let in_trouble = |node: usize| {
        let routes = lines(&cluster.operate(node, &["route", "list", "--json"]));
        let found = routes.into_iter().find(|it| it["route"] == *trouble).unwrap();
        found["in_trouble_since"].is_string()
    };
    soon("every node shows the trouble", SOON, [true; NODES], || [0, 1, 2].map(in_trouble));
    let alert = |node: usize| {
        let alerts = lines(&cluster.operate(node, &["alert", "list", "--json"]));
        alerts.into_iter().find(|it| it["route"] == *trouble)
    };
    soon("every node lists the alert", SOON, [true; NODES], || [0, 1, 2].map(|node| alert(node).is_some()));
    let raised = alert(0).unwrap();
    assert_eq!(raised["nodes"], serde_json::json!(["node2"]), "{raised}");
    cluster.operate(0, &["alert", "acknowledge", raised["key"].as_str().unwrap(), "--note", "we know"]);
    soon("every node knows who took note", SOON, [true; NODES], || {
        [0, 1, 2].map(|node| alert(node).is_some_and(|alert| alert["note"] == "we know"))
    });
    // The same through the API.
    let token = cluster.operate(0, &["token", "add", "reader", "--role", "read"]);
    let token = token.split_whitespace().find(|word| word.starts_with("postbud_")).expect("a token").to_owned();
    soon("the token counts everywhere", SOON, [200; NODES], || {
        [0, 1, 2].map(|node| ask(cluster.apis[node], &token, "/alerts").0)
    });
    for node in 0..NODES {
        let (_, answer) = ask(cluster.apis[node], &token, "/alerts");
        assert!(answer.contains(&trouble) && answer.contains("\"node2\""), "{answer}");
    }

    // A test mail of another node's customer: its result is heard here.
    let customer = own_of(&cluster, 1);
    let sent = cluster.operate(0, &["customer", "test", &customer, "--to", "b@example.net", "--json"]);
    let sent = lines(&sent).remove(0);
    assert_eq!(
        (sent["event"].as_str(), sent["route"].as_str()),
        (Some("relayed"), Some(&*format!("own-server.{customer}")))
    );
    assert_eq!(cluster.taken().len(), OWN);
}
