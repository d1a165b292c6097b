//! A customer whose domains have earned different tiers: each domain's mail waits in its own tier's line.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use postbud::customers::{Directory, Requirement, Tier, VerificationStatus, Via};
use postbud::queue::Patience;
use postbud::route::{RouteControl, RouteId};
use postbud::smtp::Domain;

use crate::capture::Capture;
use crate::rig::{Rig, customer, lane_of, route, tiers};

fn directory(starter: &Capture, trusted: &Capture) -> Directory {
    let tier = |id: &str, server: &Capture, requires| Tier { route: Arc::new(route(id, server.address)), requires };
    let both = tiers(vec![
        ("starter", tier("mailjet.starter", starter, Vec::new())),
        ("trusted", tier("mailjet.trusted", trusted, vec![Requirement::Dkim])),
    ]);
    Directory::new(vec![customer("two", &["a.dk", "b.dk"], Via::Mailjet { tier: None })], both)
}

fn verified(domains: &[&str]) -> HashMap<Domain, VerificationStatus> {
    domains
        .iter()
        .map(|name| (Domain::parse(name).unwrap(), VerificationStatus::default().with(Requirement::Dkim)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_in_a_tier_that_carries_mail_does_not_wait_for_one_whose_tier_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (starter, trusted) = (Capture::start(), Capture::start());
    let rig = Rig::start(folder.path(), directory(&starter, &trusted), Patience::default(), None).await;
    rig.routing.set_statuses(verified(&["b.dk"]));
    assert!(rig.queue.suspend(&RouteId::new("mailjet.starter"), "test").await.unwrap());
    for seed in 0..40 {
        rig.commit(lane_of("two", "a.dk"), seed).await;
    }
    for seed in 40..45 {
        rig.commit(lane_of("two", "b.dk"), seed).await;
    }
    trusted.wait_for(5, Duration::from_secs(20));
    assert_eq!((starter.received().len(), trusted.received().len()), (0, 5));

    // a.dk has earned the tier: its mail goes there at its next attempt, all of it, each once.
    rig.routing.set_statuses(verified(&["a.dk", "b.dk"]));
    rig.queue.reload();
    trusted.wait_for(45, Duration::from_secs(20));
    for _ in 0..200 {
        if rig.records().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(rig.records().await.is_empty());
    rig.stop().await;
    assert_eq!((starter.received().len(), trusted.received().len()), (0, 45));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_lost_while_mail_is_being_sent_loses_nothing_and_sends_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (starter, trusted) = (Capture::start(), Capture::start());
    trusted.answer_after(Duration::from_millis(20));
    let rig = Rig::start(folder.path(), directory(&starter, &trusted), Patience::default(), None).await;
    rig.routing.set_statuses(verified(&["b.dk"]));
    const MESSAGES: u64 = 60;
    for seed in 0..MESSAGES {
        rig.commit(lane_of("two", "b.dk"), seed).await;
    }
    trusted.wait_for(5, Duration::from_secs(20));
    rig.routing.set_statuses(HashMap::new());
    rig.queue.reload();
    for _ in 0..1000 {
        if rig.records().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig.stop().await;
    let mut seeds: Vec<String> = [starter.received(), trusted.received()]
        .concat()
        .iter()
        .map(|one| String::from_utf8(one.header().to_vec()).unwrap())
        .map(|header| header.lines().find(|line| line.starts_with("Subject: ")).unwrap().to_owned())
        .collect();
    seeds.sort();
    seeds.dedup();
    assert_eq!(seeds.len() as u64, MESSAGES);
    let (first, then) = (trusted.received().len(), starter.received().len());
    assert_eq!((first + then) as u64, MESSAGES, "each once");
    assert!(first < MESSAGES as usize && then > 0, "{first} and {then}: the change came while mail was being sent");
}
