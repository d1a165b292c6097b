//! A cap of the day that all nodes share: never passed, and used up by whichever node has the mail. Counted where the mail arrives.

use std::time::Duration;

use crate::cluster::{Cluster, with_tier_day};
use crate::known::soon;
use crate::network::NODES;
use crate::support::client::{Client, message};

const PER_DAY: usize = 10;
/// More than a node waits before it gives back what it does not need, and others ask again.
const SOON: Duration = Duration::from_secs(60);

/// Hands messages of one customer of the tier in.
fn send(cluster: &Cluster, customer: &str, count: usize, word: &str) {
    let from = format!("a@{customer}.example");
    let alive = cluster.alive()[0];
    let mut client = Client::connect(cluster.addresses()[alive]).unwrap();
    for n in 0..count {
        let subject = format!("{customer}-{word}-{n}");
        let heard = client.send(&from, &["b@example.net"], &message(&from, "b@example.net", &subject)).unwrap();
        assert!(heard.starts_with("250"), "{heard}");
    }
}

#[test]
fn a_days_cap_over_all_nodes_is_used_up_by_one_and_never_passed_when_nodes_come_and_go() {
    let name = "a_days_cap_over_all_nodes_is_used_up_by_one_and_never_passed_when_nodes_come_and_go";
    with_tier_day(name, PER_DAY, a_day_is_shared);
}

fn a_day_is_shared(mut cluster: Cluster) {
    cluster.wait_until_balanced();
    // All the mail is one customer's, so one node has it all: it needs more than a third of the day.
    let owner = (0..NODES).find(|node| cluster.customers_of(*node).contains(&"tier0".into())).unwrap();
    send(&cluster, "tier0", 7, "first");
    soon("one node has more than its part", SOON, 7, || cluster.taken_of_tier());
    let waiting = |cluster: &Cluster| {
        cluster.operate(cluster.alive()[0], &["queue", "list", "--json", "--limit", "0"]).lines().count()
    };
    // What arrived and is not recorded yet would come again.
    soon("what arrived is recorded", SOON, 0, || waiting(&cluster));
    // It dies, and is started again with what it had counted; another one stops in good order.
    cluster.take(owner).kill();
    let other = cluster.alive()[0];
    cluster.take(other).stop();
    cluster.start_again(owner);
    cluster.start_again(other);
    cluster.wait_until_balanced();
    for customer in ["tier0", "tier1", "tier2"] {
        send(&cluster, customer, 4, "second");
    }
    // What the dead node had taken and not spent stays unused: here one recipient at most.
    soon("the day is used up", SOON, true, || cluster.taken_of_tier() >= PER_DAY - 1);
    soon("the rest waits with its owners", SOON, true, || waiting(&cluster) == 7 + 12 - cluster.taken_of_tier());
    // Everything is due at once, and other mail that was handed in later arrives: every node has looked by then.
    for node in 0..NODES {
        cluster.operate(node, &["queue", "retry", "--all"]);
    }
    let before: Vec<usize> = cluster.taken();
    for customer in 0..before.len() {
        send(&cluster, &format!("own{customer}"), 1, "mark");
    }
    soon("the marks arrive", SOON, true, || cluster.taken().iter().zip(&before).all(|(now, before)| now > before));
    assert!((PER_DAY - 1..=PER_DAY).contains(&cluster.taken_of_tier()), "{}", cluster.taken_of_tier());
    let shown = cluster.operate(1, &["route", "list", "--json"]);
    let tier = shown.lines().find(|line| line.contains("mailjet.starter")).unwrap();
    assert!(tier.contains(&format!("\"per_day\":{PER_DAY}")), "{tier}");
    for node in cluster.alive() {
        cluster.take(node).stop();
    }
}
