//! Nodes that die, freeze, lose the database and are restarted under load.
//!
//! | bar | |
//! |---|---|
//! | acknowledged and lost | 0 |
//! | delivered twice | at most the attempts that a node that failed may have had under way |
//! | other nodes' customers | get mail within 10 s of the fault |
//! | the failed node's customers | get mail within the lease, 10 s and the first retry |
//! | transactions at once, at the server | never more than its cap |

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, LEASE, NODES, OWN_CAP, TIER_CAP, customers};
use crate::load::{Load, Outcome, Sent, customer_of};
use crate::support::skip::skip;

const GOES_ON: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What befalls a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// kill -9.
    Dies,
    /// It does not run for longer than its lease, and goes on.
    Freezes,
    /// It cannot reach the database for longer than its lease.
    IsCutOff,
    /// It is stopped in good order and started again.
    Restarts,
}

const FAULTS: [Fault; 4] = [Fault::Dies, Fault::Freezes, Fault::IsCutOff, Fault::Restarts];

/// How many attempts a node may have under way.
fn under_way(customers: &[String]) -> usize {
    customers.iter().filter(|customer| customer.starts_with("own")).count() * OWN_CAP + TIER_CAP / NODES
}

/// Lets something befall a node, and returns how many messages may come twice for it.
fn befall(cluster: &mut Cluster, number: usize, fault: Fault) -> usize {
    let theirs = cluster.customers_of(number);
    cluster.assert_caps("before a fault");
    let began = Instant::now();
    let twice = match fault {
        Fault::Dies => {
            cluster.take(number).kill();
            wait_until_mail_goes_on(cluster, began, &theirs, fault);
            cluster.assert_caps("after a node died");
            cluster.start_again(number);
            under_way(&theirs)
        }
        Fault::Freezes => {
            cluster.node(number).signal("STOP");
            wait_until_mail_goes_on(cluster, began, &theirs, fault);
            std::thread::sleep((LEASE * 2).saturating_sub(began.elapsed()));
            cluster.node(number).signal("CONT");
            // What is its customers' is another's by now.
            let code = cluster.take(number).wait();
            assert_eq!(code, Some(1), "a node that woke up goes on\n{}", cluster.logs());
            // Its transactions stayed open at the servers while it was frozen.
            cluster.forget_caps();
            cluster.start_again(number);
            under_way(&theirs)
        }
        Fault::IsCutOff => {
            cluster.wires[number].cut();
            wait_until_mail_goes_on(cluster, began, &theirs, fault);
            std::thread::sleep((LEASE * 2).saturating_sub(began.elapsed()));
            cluster.wires[number].mend();
            let code = cluster.take(number).wait();
            assert_eq!(code, Some(1), "a node that was cut off goes on\n{}", cluster.logs());
            cluster.assert_caps("after a node was cut off");
            cluster.start_again(number);
            under_way(&theirs)
        }
        Fault::Restarts => {
            cluster.take(number).stop();
            wait_until_mail_goes_on(cluster, began, &theirs, fault);
            cluster.start_again(number);
            cluster.assert_caps("after a restart");
            // Attempts under way had time to end.
            0
        }
    };
    println!("{fault:?} of node{number} took {:.1} s; its customers were {theirs:?}", began.elapsed().as_secs_f64());
    twice
}

/// Waits until every customer got mail that arrived after `began`, and in time.
fn wait_until_mail_goes_on(cluster: &Cluster, began: Instant, theirs: &[String], fault: Fault) {
    let mut left: Vec<String> = customers().collect();
    while !left.is_empty() {
        // What was under way at the very moment says nothing.
        let since = began + Duration::from_millis(200);
        let arrived = cluster.arrived();
        left.retain(|customer| {
            let is_news = |(subject, times): (&String, &Vec<Instant>)| {
                customer_of(subject) == customer && times.iter().any(|at| *at > since)
            };
            !arrived.iter().any(is_news)
        });
        for customer in &left {
            let limit = match theirs.contains(customer) {
                true => LEASE + GOES_ON + FIRST_RETRY,
                false => GOES_ON,
            };
            let waited = began.elapsed();
            assert!(
                waited < limit,
                "{fault:?}: {customer} waits {waited:?}; shares {:?}\n{}",
                cluster.shares(),
                cluster.logs()
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The acknowledged messages that did not arrive.
fn lost(cluster: &Cluster, sent: &Sent) -> Vec<String> {
    let arrived = cluster.arrived();
    let acknowledged = sent.iter().filter(|(_, outcome)| **outcome == Outcome::Acknowledged);
    acknowledged.map(|(subject, _)| subject.clone()).filter(|subject| !arrived.contains_key(subject)).collect()
}

#[test]
fn nodes_that_fail_under_load_lose_nothing_repeat_only_what_was_under_way_and_hold_nobody_up() {
    let name = "nodes_that_fail_under_load_lose_nothing_repeat_only_what_was_under_way_and_hold_nobody_up";
    let rounds: usize = std::env::var("POSTBUD_NODES_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"));
    let mut cluster = match Cluster::start("") {
        Ok(cluster) => cluster,
        Err(why) => return skip(name, &why),
    };
    cluster.wait_until_balanced();
    let load = Load::start(&cluster.addresses());
    std::thread::sleep(Duration::from_secs(2));
    let mut may_come_twice = 0;
    for round in 0..rounds {
        for (step, fault) in FAULTS.into_iter().enumerate() {
            // In the long run at random, so that a fault meets nodes that are still being balanced.
            let number = match rounds {
                1 => step % NODES,
                _ => rand::random::<u32>() as usize % NODES,
            };
            may_come_twice += befall(&mut cluster, number, fault);
        }
        if rounds > 1 {
            println!("round {} of {rounds}: {} acknowledged", round + 1, load.acknowledged());
        }
    }
    let sent = load.stop();
    let patience = Instant::now() + Duration::from_secs(60);
    while !lost(&cluster, &sent).is_empty() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(200));
    }
    let lost = lost(&cluster, &sent);
    let arrived = cluster.arrived();
    let twice: usize = arrived.values().map(|times| times.len() - 1).sum();
    let count = |wanted| sent.values().filter(|outcome| **outcome == wanted).count();
    println!(
        "{} acknowledged, {} refused, {} unknown, {} arrived; lost {}, twice {twice} of {may_come_twice} at most",
        count(Outcome::Acknowledged),
        count(Outcome::Refused),
        count(Outcome::Unknown),
        arrived.len(),
        lost.len(),
    );
    assert!(lost.is_empty(), "lost: {lost:?}; tables in transit {}\n{}", cluster.in_transit(), cluster.logs());
    assert!(twice <= may_come_twice, "{twice} came twice, and {may_come_twice} were under way");
    // One that was refused because nobody knew what became of its commit may arrive.
    let unexpected = arrived.keys().find(|subject| !sent.contains_key(*subject));
    assert_eq!(unexpected, None, "nobody sent it");
    assert!(count(Outcome::Acknowledged) > 300 * rounds);
    for number in 0..NODES {
        cluster.take(number).stop();
    }
}
