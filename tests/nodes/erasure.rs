//! A recipient is erased from the record of every node, whichever is told so, and also of one that was away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, with_cluster};
use crate::known::{ask, soon};
use crate::network::NODES;
use crate::support::client::{Client, message};
use crate::support::http::{raw, request};

const SOON: Duration = Duration::from_secs(60);
const GONE: &str = "gone@example.net";
const STAYS: &str = "stays@example.net";

/// Sends mail of a customer of each node to both recipients, and waits until each node's log names both.
fn send(cluster: &Cluster) {
    for node in 0..NODES {
        let customer = cluster.customers_of(node).into_iter().find(|id| id.starts_with("own")).expect("each has one");
        let from = format!("a@{customer}.example");
        for to in [GONE, STAYS] {
            let mut client = Client::connect(cluster.addresses()[node]).unwrap();
            let heard = client.send(&from, &[to], &message(&from, to, &format!("{customer} to {to}"))).unwrap();
            assert!(heard.starts_with("250"), "{heard}");
        }
        soon("it is relayed and recorded", SOON, true, || names(cluster, node, GONE) && names(cluster, node, STAYS));
    }
}

/// Whether a node's log names a recipient.
fn names(cluster: &Cluster, node: usize, recipient: &str) -> bool {
    let log = std::fs::read_to_string(cluster.site(node).path("state/events.jsonl")).unwrap_or_default();
    log.lines().any(|line| line.contains(recipient) && line.contains("\"relayed\""))
}

/// Whether a node's log has a recipient's address anywhere.
fn has(cluster: &Cluster, node: usize, recipient: &str) -> bool {
    std::fs::read_to_string(cluster.site(node).path("state/events.jsonl")).unwrap().contains(recipient)
}

#[test]
fn a_recipient_is_erased_at_every_node_and_at_one_that_was_away_once_it_is_back() {
    let name = "a_recipient_is_erased_at_every_node_and_at_one_that_was_away_once_it_is_back";
    with_cluster(name, "", erased_everywhere);
}

fn erased_everywhere(mut cluster: Cluster) {
    cluster.wait_until_balanced();
    send(&cluster);
    // Over HTTP, with all nodes there.
    let token = cluster.operate(0, &["token", "add", "eraser", "--role", "admin"]);
    let token = token.split_whitespace().find(|word| word.starts_with("postbud_")).expect("a token").to_owned();
    soon("the token counts everywhere", SOON, [200; NODES], || {
        [0, 1, 2].map(|node| ask(cluster.apis[node], &token, "/token").0)
    });
    let bearer = format!("Bearer {token}");
    let fields = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = json!({ "recipient": GONE }).to_string();
    let begun =
        raw(cluster.apis[1], request("POST", "/api/v1/record/erase", "localhost", &fields, Some(&body)).as_bytes());
    assert_eq!(begun.status, 202, "{begun:?}");
    let path = begun.header("location").unwrap().trim_start_matches("/api/v1").to_owned() + "?wait_secs=20";
    let (_, answer) = ask(cluster.apis[1], &token, &path);
    let job: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(job["state"], "done", "{job}");
    let erased = &job["result"]["erased"];
    assert!(erased["events"].as_u64().unwrap() >= 6 && erased["files"] == 3 && erased["later"] == Value::Null, "{job}");
    for node in 0..NODES {
        assert!(!has(&cluster, node, GONE) && has(&cluster, node, STAYS), "node{node}");
    }
    assert_eq!(cluster.owed(), "0");

    // By a command, while one node is away.
    cluster.take(2).stop();
    let said = cluster.operate(0, &["record", "erase", "--recipient", STAYS, "--all-nodes"]);
    assert!(said.contains("events erased in 2 files") && said.contains("once they are back: node2"), "{said}");
    assert!(!has(&cluster, 0, STAYS) && !has(&cluster, 1, STAYS) && has(&cluster, 2, STAYS));
    assert_eq!(cluster.owed(), "1");
    cluster.start_again(2);
    soon("the node that was away has erased it too", SOON, false, || has(&cluster, 2, STAYS));
    soon("and owes nothing more", SOON, "0".to_owned(), || cluster.owed());
    let audit = |node: usize| {
        let events = cluster.site(node).events();
        let acts = events.into_iter().filter(|event| event["command"] == "record.erase");
        acts.map(|event| event["actor"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    soon("its audit names who did it, and where", SOON, true, || {
        audit(2).iter().any(|actor| actor.contains("at node0"))
    });
    for node in 0..NODES {
        cluster.take(node).stop();
    }
}
