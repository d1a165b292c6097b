//! A customer's data moves with it to its next owner, and an operator's command at one node applies at all nodes.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, OWN, with_cluster};
use crate::support::client::{Client, message};

const PER_DAY: usize = 5;

/// Sends so many messages of every customer with a server of its own.
fn send(cluster: &Cluster, node: usize, count: usize, word: &str) {
    let mut client = Client::connect(cluster.addresses()[node]).unwrap();
    for n in 0..count {
        for customer in 0..OWN {
            let (from, subject) = (format!("a@own{customer}.example"), format!("own{customer}-{word}-{n}"));
            let heard = client.send(&from, &["b@example.net"], &message(&from, "b@example.net", &subject)).unwrap();
            assert!(heard.starts_with("250"), "{heard}");
        }
    }
}

fn wait_until(cluster: &Cluster, what: &str, is_so: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(40);
    while !is_so() {
        assert!(Instant::now() < patience, "{what}: {:?}\n{}", cluster.taken(), cluster.logs());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_days_cap_holds_when_a_customer_moves_and_a_suspension_holds_at_every_node() {
    let name = "a_days_cap_holds_when_a_customer_moves_and_a_suspension_holds_at_every_node";
    with_cluster(name, &format!("per_day = {PER_DAY}\n"), caps_and_suspensions_hold);
}

fn caps_and_suspensions_hold(mut cluster: Cluster) {
    cluster.wait_until_balanced();
    send(&cluster, 0, 3, "first");
    wait_until(&cluster, "the first go", || cluster.taken().iter().all(|taken| *taken == 3));
    wait_until(&cluster, "what was sent stands in the database", || cluster.carried(3) == OWN);
    // One node goes in good order, and another one dies.
    cluster.take(1).stop();
    cluster.take(2).kill();
    send(&cluster, 0, 4, "second");
    wait_until(&cluster, "the last node has all", || cluster.shares()[0] == 12);
    wait_until(&cluster, "what the day allows goes", || cluster.taken().iter().all(|taken| *taken == PER_DAY));
    // The rest is due at once, and other mail that is handed in later arrives: the node has looked at all of it by then.
    cluster.operate(0, &["queue", "retry", "--all"]);
    let mut client = Client::connect(cluster.addresses()[0]).unwrap();
    let (from, marks) = ("a@tier0.example", cluster.taken_of_tier());
    let heard = client.send(from, &["b@example.net"], &message(from, "b@example.net", "tier0-mark-0")).unwrap();
    assert!(heard.starts_with("250"), "{heard}");
    wait_until(&cluster, "the mark arrives", || cluster.taken_of_tier() > marks);
    assert!(cluster.taken().iter().all(|taken| *taken == PER_DAY), "{:?}", cluster.taken());

    cluster.start_again(1);
    cluster.operate(1, &["route", "suspend", "mailjet.starter", "--reason", "we look into it"]);
    let is_suspended = |node| cluster.operate(node, &["route", "list"]).contains("we look into it");
    wait_until(&cluster, "the other node stops the route", || is_suspended(0));
    cluster.operate(0, &["route", "resume", "mailjet.starter"]);
    wait_until(&cluster, "both let it go on", || !is_suspended(0) && !is_suspended(1));
    cluster.take(0).stop();
    cluster.take(1).stop();
}
