//! Nodes that die, freeze, lose the database or each other and are restarted under load, and a primary that is lost for good.
//!
//! | bar | |
//! |---|---|
//! | acknowledged and lost | 0 |
//! | delivered twice | at most the attempts that a node that failed may have had under way |
//! | other nodes' customers | get mail within 10 s of the fault |
//! | the failed node's customers | get mail within the lease, 10 s and the first retry |
//! | everybody, after a standby was promoted | get mail within 10 s of that and the first retry, and no node ends |
//! | transactions at once, at the server | never more than its cap |

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, LEASE, OWN_CAP, TIER_CAP, customers, with_cluster};
use crate::load::{Load, Outcome, Sent, customer_of};
use crate::network::NODES;

const GOES_ON: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What happens to a node, or to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The node is killed with kill -9.
    Dies,
    /// It does not run for longer than its lease, and goes on.
    Freezes,
    /// It cannot reach the database for longer than its lease.
    IsCutOff,
    /// It cannot reach the other nodes for as long.
    IsAlone,
    /// It is stopped in good order and started again.
    Restarts,
    /// The machine of the primary is gone. The standby takes its place.
    PrimaryIsLost,
}

const FAULTS: [Fault; 6] =
    [Fault::Dies, Fault::Freezes, Fault::PrimaryIsLost, Fault::IsCutOff, Fault::IsAlone, Fault::Restarts];

/// How many attempts a node may have under way.
fn under_way(customers: &[String]) -> usize {
    customers.iter().filter(|customer| customer.starts_with("own")).count() * OWN_CAP + TIER_CAP / NODES
}

/// Lets something befall a node, and returns how many messages may come twice for it.
fn befall(cluster: &mut Cluster, number: usize, fault: Fault) -> usize {
    let (theirs, shards) = (cluster.customers_of(number), cluster.shares()[number]);
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
            end_replaced(cluster, number, shards);
            // Its transactions stayed open at the servers while it was frozen.
            cluster.forget_caps();
            start_if_ended(cluster, number, shards);
            under_way(&theirs)
        }
        Fault::IsCutOff => {
            cluster.network.cut_from_database(number);
            wait_until_mail_goes_on(cluster, began, &theirs, fault);
            std::thread::sleep((LEASE * 2).saturating_sub(began.elapsed()));
            cluster.network.mend();
            end_replaced(cluster, number, shards);
            cluster.assert_caps("after a node was cut off");
            start_if_ended(cluster, number, shards);
            under_way(&theirs)
        }
        Fault::IsAlone => {
            cluster.network.cut_from_others(number);
            wait_until_mail_goes_on(cluster, began, &theirs, fault);
            std::thread::sleep((LEASE * 2).saturating_sub(began.elapsed()));
            cluster.network.mend();
            cluster.assert_all_alive("after a node was alone");
            cluster.assert_caps("after a node was alone");
            0
        }
        Fault::PrimaryIsLost => {
            cluster.lose_primary();
            let promoted = Instant::now();
            wait_until_mail_goes_on(cluster, promoted, &customers().collect::<Vec<_>>(), fault);
            cluster.network.mend();
            cluster.add_standby().unwrap();
            cluster.assert_all_alive("after a standby was promoted");
            cluster.assert_caps("after a standby was promoted");
            // What was under way ended, and its results were kept until they could be written.
            0
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

/// A node whose shards others have taken ends with an error. One that has just started and has none goes on.
fn end_replaced(cluster: &mut Cluster, number: usize, shards: u32) {
    if shards > 0 {
        let code = cluster.take(number).wait();
        assert_eq!(code, Some(1), "a node that was replaced goes on\n{}", cluster.logs());
    }
}

fn start_if_ended(cluster: &mut Cluster, number: usize, shards: u32) {
    if shards > 0 {
        cluster.start_again(number);
    }
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
            let limit = match (fault, theirs.contains(customer)) {
                (Fault::PrimaryIsLost, _) => GOES_ON + FIRST_RETRY,
                (_, true) => LEASE + GOES_ON + FIRST_RETRY,
                (_, false) => GOES_ON,
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
    with_cluster(name, "", fail_under_load);
}

fn fail_under_load(mut cluster: Cluster) {
    // A minute stands for as many rounds as it has room for.
    let minutes: Option<u64> =
        std::env::var("POSTBUD_NODES_MINUTES").ok().map(|minutes| minutes.parse().expect("a number"));
    let until = Instant::now() + Duration::from_secs(60 * minutes.unwrap_or_default());
    cluster.wait_until_balanced();
    let load = Load::start(cluster.front());
    std::thread::sleep(Duration::from_secs(2));
    let mut may_come_twice = 0;
    let mut faults = 0;
    let happens: Vec<Fault> =
        FAULTS.into_iter().filter(|fault| *fault != Fault::IsAlone || cluster.network.has_namespaces()).collect();
    // In the long run at random, so that a fault meets nodes that are still being balanced.
    let random = |most: usize| rand::random::<u32>() as usize % most;
    while minutes.map_or(faults < happens.len(), |_| Instant::now() < until) {
        let (fault, number) = match minutes {
            None => (happens[faults], faults % NODES),
            Some(_) => (happens[random(happens.len())], random(NODES)),
        };
        may_come_twice += befall(&mut cluster, number, fault);
        faults += 1;
        if minutes.is_some() {
            println!("{faults} faults; {} acknowledged", load.acknowledged());
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
    assert!(count(Outcome::Acknowledged) > 75 * faults);
    for number in 0..NODES {
        cluster.take(number).stop();
    }
}
