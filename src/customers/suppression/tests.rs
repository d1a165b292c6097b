use std::time::Duration;

use super::*;
use crate::test_customers;

const DAY: Duration = Duration::from_secs(86_400);

struct World {
    _dir: tempfile::TempDir,
    database: Database,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        World { _dir: dir, database }
    }

    fn open(&self) -> (Suppression, Feed) {
        Suppression::open(self.database.clone()).unwrap()
    }
}

fn customer(id: &str, policy: Policy) -> Customer {
    Customer { suppression: policy, ..test_customers::customer(id, [], test_customers::mailjet()) }
}

fn refusing() -> Policy {
    Policy { mode: Mode::Refuse, hard_bounces: 1, ..Policy::default() }
}

fn address(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

fn entry(text: &str, reason: Reason) -> Entry {
    Entry { address: folded(&address(text)), reason, since: Timestamp::now(), expires: None, note: String::new() }
}

/// What another system reports now.
fn report(customer: &Customer, text: &str, reason: Reason) -> Option<SuppressionReport> {
    SuppressionReport::new(customer, &address(text), reason, "", Timestamp::now())
}

/// Writes everything that was reported.
async fn written(lists: &Suppression, feed: Feed) {
    let stopping = CancellationToken::new();
    stopping.cancel();
    lists.run(feed, stopping).await;
}

#[tokio::test]
async fn what_was_reported_is_refused_for_that_customer_and_after_a_restart() {
    let world = World::new();
    let (acme, other) = (customer("acme", refusing()), customer("other", refusing()));
    let (lists, feed) = world.open();
    lists.hard_bounce(&acme, &address("a@test.dk"), "550 5.1.1 no such user", Timestamp::now());
    written(&lists, feed).await;
    let reports = [("b@test.dk", Reason::Complaint), ("c@test.dk", Reason::Unsubscribe)];
    lists.take(reports.into_iter().filter_map(|(text, reason)| report(&acme, text, reason)).collect()).await.unwrap();
    for lists in [lists, world.open().0] {
        for (text, expected) in [
            ("A@TEST.dk", Some(Reason::HardBounce)),
            ("b@test.dk", Some(Reason::Complaint)),
            ("\"c\"@test.dk", Some(Reason::Unsubscribe)),
            ("d@test.dk", None),
        ] {
            assert_eq!(lists.refusal_reason(&acme, &address(text)), expected, "{text}");
            assert_eq!(lists.refusal_reason(&other, &address(text)), None, "{text}");
        }
        assert_eq!(lists.len(), 3);
    }
    let found = world.open().0.find(&acme.id, &address("a@test.dk")).await.unwrap().unwrap();
    assert_eq!((found.note.as_str(), found.expires.is_some()), ("550 5.1.1 no such user", true));
}

#[tokio::test]
async fn the_mode_decides_what_is_recorded_and_what_is_refused() {
    let world = World::new();
    for (mode, recorded, refused) in [(Mode::Off, false, false), (Mode::Event, true, false), (Mode::Refuse, true, true)]
    {
        let of = customer(&format!("{mode:?}").to_lowercase(), Policy { mode, ..refusing() });
        let (lists, _feed) = world.open();
        lists.take(report(&of, "a@test.dk", Reason::Complaint).into_iter().collect()).await.unwrap();
        assert_eq!(lists.reason(&of.id, &address("a@test.dk")).is_some(), recorded, "{mode:?}");
        assert_eq!(lists.refusal_reason(&of, &address("a@test.dk")).is_some(), refused, "{mode:?}");
    }
}

#[tokio::test]
async fn hard_bounces_suppress_once_there_are_enough_within_the_window() {
    let world = World::new();
    let (lists, _feed) = world.open();
    let now = Timestamp::now();
    let policy = Policy { hard_bounces: 3, window: 10 * DAY, ..refusing() };
    let bounce = async |text: &str, days: u32| {
        let report = SuppressionReport {
            customer: CustomerId::new("acme"),
            policy,
            address: text.to_owned(),
            reason: Reason::HardBounce,
            at: now - DAY * (100 - days),
            detail: String::new(),
        };
        lists.take(vec![report]).await.unwrap();
        lists.reason(&CustomerId::new("acme"), &address(text)).is_some()
    };
    // Too far apart.
    for days in [0, 8, 16, 24, 60] {
        assert!(!bounce("a@test.dk", days).await, "{days}");
    }
    assert!(!bounce("a@test.dk", 65).await);
    assert!(bounce("a@test.dk", 69).await);
    // Each address has its own.
    assert!(!bounce("b@test.dk", 69).await);
    // After a person took it out it begins anew.
    lists.remove(&CustomerId::new("acme"), &address("a@test.dk")).await.unwrap();
    assert!(!bounce("a@test.dk", 70).await);
}

#[tokio::test]
async fn a_report_that_comes_again_after_a_crash_counts_once() {
    let world = World::new();
    let acme = customer("acme", Policy { hard_bounces: 2, ..refusing() });
    let first = report(&acme, "a@test.dk", Reason::HardBounce).unwrap();
    let second = SuppressionReport { at: first.at + Duration::from_millis(1), ..first.clone() };
    for (reports, is_suppressed) in
        [(vec![first.clone()], false), (vec![first.clone(), first], false), (vec![second], true)]
    {
        let lists = world.open().0;
        lists.take(reports).await.unwrap();
        assert_eq!(lists.reason(&acme.id, &address("a@test.dk")).is_some(), is_suppressed);
    }
}

#[tokio::test]
async fn a_bounce_does_not_weaken_what_the_recipient_or_a_person_said() {
    let world = World::new();
    let acme = customer("acme", refusing());
    for reason in [Reason::Complaint, Reason::Unsubscribe, Reason::Operator] {
        let (lists, feed) = world.open();
        lists.add(&acme.id, vec![entry("a@test.dk", reason)]).await.unwrap();
        lists.hard_bounce(&acme, &address("a@test.dk"), "550", Timestamp::now());
        written(&lists, feed).await;
        let found = lists.find(&acme.id, &address("a@test.dk")).await.unwrap().unwrap();
        assert_eq!((found.reason, found.expires), (reason, None));
        assert!(lists.remove(&acme.id, &address("A@test.dk")).await.unwrap(), "{reason}: a person takes any out");
        assert_eq!(lists.reason(&acme.id, &address("a@test.dk")), None);
    }
    let (lists, feed) = world.open();
    lists.hard_bounce(&acme, &address("a@test.dk"), "550", Timestamp::now());
    written(&lists, feed).await;
    lists.take(report(&acme, "a@test.dk", Reason::Unsubscribe).into_iter().collect()).await.unwrap();
    assert_eq!(lists.reason(&acme.id, &address("a@test.dk")), Some(Reason::Unsubscribe));
}

#[tokio::test]
async fn an_entry_expires_by_itself() {
    let world = World::new();
    let acme = CustomerId::new("acme");
    let (lists, _feed) = world.open();
    let soon = Timestamp::now() + Duration::from_secs(2);
    lists.add(&acme, vec![Entry { expires: Some(soon), ..entry("a@test.dk", Reason::Operator) }]).await.unwrap();
    assert!(lists.0.table.get("acme", &address("a@test.dk"), soon - Duration::from_secs(1)).is_some());
    let later = soon + Duration::from_secs(1);
    assert!(lists.0.table.get("acme", &address("a@test.dk"), later).is_none());
    let found = world.database.read_blocking(|tables| store::list(tables, "acme", None, 10, later)).unwrap();
    assert!(found.is_empty());
    world.database.write_blocking(|tables| store::tidy(tables, later, later)).unwrap();
    lists.0.table.tidy(later);
    assert_eq!((lists.len(), world.open().0.len()), (0, 0));
}

#[tokio::test]
async fn a_list_comes_in_pages_by_address() {
    let world = World::new();
    let acme = CustomerId::new("acme");
    let (lists, _feed) = world.open();
    let entries = (0..25).map(|n| entry(&format!("a{n:02}@test.dk"), Reason::Operator)).collect();
    lists.add(&acme, entries).await.unwrap();
    lists.add(&CustomerId::new("other"), vec![entry("a00@test.dk", Reason::Operator)]).await.unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = lists.list(&acme, after, 10).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.address.clone());
        all.extend(page.into_iter().map(|entry| entry.address));
    }
    assert_eq!(all, (0..25).map(|n| format!("a{n:02}@test.dk")).collect::<Vec<_>>());
}

#[test]
fn a_full_feed_waits_for_nobody_and_counts_what_it_loses() {
    let world = World::new();
    let acme = customer("acme", refusing());
    let (lists, _feed) = world.open();
    for n in 0..FEED + 7 {
        lists.hard_bounce(&acme, &address(&format!("a{n}@test.dk")), "550", Timestamp::now());
    }
    assert_eq!(lists.0.counters.lost.get(), 7);
}
