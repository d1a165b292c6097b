//! Whichever node is asked, it shows and commands the whole: the queue, the routes, the record. A node that does not answer is named.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, OWN, with_cluster};
use crate::known::{ask, soon};
use crate::network::NODES;
use crate::support::client::{Client, message};
use crate::support::relay::get;

/// Messages of each customer with a server of its own.
const EACH: usize = 3;
const SOON: Duration = Duration::from_secs(20);

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(cluster: &Cluster, node: usize, more: &[&str]) -> Vec<String> {
    let listed = cluster.operate(node, &[&["queue", "list", "--json", "--limit", "0"], more].concat());
    lines(&listed).iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn any_node_lists_shows_counts_and_commands_the_whole_queue() {
    let name = "any_node_lists_shows_counts_and_commands_the_whole_queue";
    with_cluster(name, "", one_node_is_asked_for_all);
}

fn one_node_is_asked_for_all(cluster: Cluster) {
    cluster.wait_until_balanced();
    for customer in 0..OWN {
        let id = format!("own{customer}");
        cluster.operate(customer % NODES, &["customer", "pause", &id, "--reason", "a test looks at the queue"]);
    }
    let paused = |node| cluster.operate(node, &["customer", "paused"]).matches("a test looks at the queue").count();
    soon("every node has every pause", SOON, [OWN; NODES], || [0, 1, 2].map(paused));
    let mut client = Client::connect(cluster.addresses()[0]).unwrap();
    for n in 0..EACH {
        for customer in 0..OWN {
            let (from, subject) = (format!("a@own{customer}.example"), format!("own{customer}-whole-{n}"));
            let heard = client.send(&from, &["b@example.net"], &message(&from, "b@example.net", &subject)).unwrap();
            assert!(heard.starts_with("250"), "{heard}");
        }
    }
    soon("all of it is with its owners", SOON, [OWN * EACH; NODES], || {
        [0, 1, 2].map(|node| ids(&cluster, node, &[]).len())
    });
    let all = ids(&cluster, 0, &[]);
    assert!(all.is_sorted() && all.iter().collect::<BTreeSet<_>>().len() == all.len(), "by arrival, each once");
    assert_eq!([1, 2].map(|node| ids(&cluster, node, &[])), [all.clone(), all.clone()]);

    let stats = lines(&cluster.operate(1, &["queue", "stats", "--json"])).remove(0);
    assert_eq!(
        (stats["messages"].as_u64(), stats["lanes"].as_array().unwrap().len()),
        (Some((OWN * EACH) as u64), OWN)
    );
    // The status page of any node adds up what all have, and says whose mail stands still.
    for node in 0..NODES {
        let page = get(cluster.site(node).web, "/");
        assert!(page.contains(&format!("Queue: {} messages", OWN * EACH)), "{page}");
        assert_eq!(page.matches("is paused: a test looks at the queue").count(), OWN, "{page}");
    }
    // A page of the API goes on where the one before ended, over all nodes.
    let token = cluster.operate(0, &["token", "add", "reader", "--role", "read"]);
    let token = token.split_whitespace().find(|word| word.starts_with("postbud_")).expect("a token").to_owned();
    soon("the token counts everywhere", SOON, [200; NODES], || {
        [0, 1, 2].map(|node| ask(cluster.apis[node], &token, "/routes").0)
    });
    let (mut paged, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let (status, answer) = ask(cluster.apis[2], &token, &format!("/queue?limit=4{after}"));
        assert_eq!(status, 200, "{answer}");
        let page: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        paged.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(paged, all);

    // A customer of another node: shown, held and traced from here, and the audit names who and where.
    let customer = cluster.customers_of(1).into_iter().find(|id| id.starts_with("own")).unwrap();
    let of_customer = ids(&cluster, 0, &["--customer", &customer]);
    assert_eq!(of_customer.len(), EACH);
    let shown = lines(&cluster.operate(2, &["queue", "show", &of_customer[0], "--json"])).remove(0);
    assert_eq!((shown["customer"].as_str(), shown["state"].as_str()), (Some(&*customer), Some("waiting")));
    assert!(shown["header"].as_str().unwrap().contains("whole-0"));
    let held = cluster.operate(0, &["queue", "hold", "--customer", &customer, "--reason", "from another node"]);
    assert!(held.starts_with(&format!("{EACH} messages held")), "{held}");
    let (_, answer) = ask(cluster.apis[0], &token, "/queue?state=held");
    let page: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), EACH, "{page}");
    let audit = cluster.site(1).wait_for_event("the owner's audit", |event| event["command"] == "queue.hold");
    assert!(audit["actor"].as_str().unwrap().ends_with(" at node0") && audit["changed"] == EACH, "{audit}");
    let (status, answer) = ask(cluster.apis[2], &token, &format!("/trace?queue_id={}", of_customer[0]));
    assert!(status == 200 && answer.contains("\"held\"") && answer.contains("from another node"), "{answer}");

    // A node that is there by its lease, and does not answer, is named; what the others have is shown.
    let of_node = cluster.customers_of(1).iter().filter(|id| id.starts_with("own")).count();
    cluster.node(1).signal("STOP");
    let (status, answer) = ask(cluster.apis[0], &token, "/queue?limit=500");
    cluster.node(1).signal("CONT");
    let page: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let missing = page["missing"].to_string();
    assert!(status == 200 && missing.contains("node1"), "{answer}");
    assert_eq!(page["items"].as_array().unwrap().len(), all.len() - EACH * of_node);
}
