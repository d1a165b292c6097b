use std::collections::BTreeMap;

use super::*;
use crate::customers::{Directory, Requirement, SigningDomain, Tier};
use crate::events::{Event, EventId, EventKind};
use crate::onboarding::{Secret, Seen, Settings};
use crate::resolver::{FixedZone, RecordType, SharedResolver};
use crate::test_customers;

const ZONE: &str = "test.dk TXT \"v=spf1 include:spf.webcrm.com -all\"\n\
                    spf.webcrm.com TXT \"v=spf1 ip4:40.74.40.57 -all\"\n";

struct Rig {
    zone: Arc<FixedZone>,
    monitor: Monitor,
    routing: Routing,
    events: Events,
    _dir: tempfile::TempDir,
}

fn directory() -> Directory {
    directory_of("test-as")
}

fn directory_of(customer: &str) -> Directory {
    let broken = (domain(), SigningDomain::Broken("none".to_owned()));
    let customer = test_customers::customer(customer, [broken], test_customers::mailjet());
    Directory::new(vec![customer], BTreeMap::new())
}

fn domain() -> Domain {
    Domain::parse("test.dk").unwrap()
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let zone = Arc::new(FixedZone::parse(ZONE).unwrap());
    let settings = Settings {
        state_dir: dir.path().to_owned(),
        jitter: 0.0,
        http_timeout: Duration::from_millis(200),
        ..Settings::default()
    };
    let checker = Checker {
        settings: Arc::new(settings),
        resolver: Arc::clone(&zone) as SharedResolver,
        secret: Arc::new(Secret::from_octets(&[7; 32])),
    };
    let (routing, events) = (Routing::new(directory(), None), Events::default());
    let monitor = Monitor::new(checker, routing.clone(), events.clone());
    Rig { zone, monitor, routing, events, _dir: dir }
}

fn at(hours: u64) -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000) + Duration::from_secs(hours * 3600)
}

#[tokio::test]
async fn a_record_that_vanishes_alerts_counts_for_the_grace_time_and_is_lost_then() {
    let mut rig = rig();
    let spf = |rig: &Rig| rig.routing.status(&domain()).has(Requirement::Spf);
    let mut heard = rig.events.subscribe();
    assert!(!spf(&rig));
    assert_eq!(rig.monitor.round(at(0)).await, 1);
    assert!(spf(&rig));
    assert_eq!(rig.monitor.round(at(0) + Duration::from_secs(60)).await, 0, "not due");
    rig.zone.remove("test.dk", RecordType::Txt);
    rig.monitor.round(at(7)).await;
    assert!(spf(&rig), "grace");
    let [told] = rig.events.alerts().open.try_into().unwrap();
    assert_eq!(told.alert.customer.as_deref(), Some("test-as"));
    assert!(told.alert.detail.unwrap().contains("is not any more"));
    rig.monitor.round(at(40)).await;
    assert!(spf(&rig), "grace");
    rig.monitor.round(at(56)).await;
    assert!(!spf(&rig));
    let [told] = rig.events.alerts().open.try_into().unwrap();
    assert!(told.alert.detail.unwrap().contains("no longer counts"), "the same trouble, further on");
    rig.zone.add_txt("test.dk", "v=spf1 include:spf.webcrm.com -all");
    rig.monitor.round(at(57)).await;
    assert!(spf(&rig));
    let alerts = rig.events.alerts();
    assert!(alerts.open.is_empty());
    assert_eq!(alerts.ended[0].end.detail.as_deref(), Some("test.dk: spf is verified"));
    let of_spf = Some(Subject::Verification("test.dk/spf".into()));
    let told = std::iter::from_fn(|| heard.try_recv().ok()).filter(|event| event.subject == of_spf);
    let told: Vec<EventKind> = told.filter(|event| event.event != EventKind::Alert).map(|event| event.event).collect();
    let (verified, vanished) = (EventKind::DomainVerified, EventKind::DomainVanished);
    assert_eq!(told, [verified, vanished, vanished, verified]);
}

#[tokio::test]
async fn a_change_that_no_log_has_when_the_relay_is_killed_is_told_at_the_next_start() {
    let mut rig = rig();
    in_tiers(&rig.routing);
    rig.zone.remove("test.dk", RecordType::Txt);
    rig.monitor.round(at(0)).await;
    rig.zone.add_txt("test.dk", "v=spf1 include:spf.webcrm.com -all");
    let mut heard = rig.events.subscribe();
    rig.monitor.plan(at(100), Which::All).await;
    rig.monitor.begin(at(100));
    let (due, checked) = rig.monitor.agenda.done().await;
    rig.monitor.finish(&due, checked).await;
    // The state is stored, and the events are not on their way yet.
    let checker = rig.monitor.checker.clone();
    drop(rig.monitor);
    assert!(heard.try_recv().is_err());
    let told = |heard: &mut tokio::sync::broadcast::Receiver<Arc<Event<'static>>>| -> Vec<(EventKind, String)> {
        let told = std::iter::from_fn(|| heard.try_recv().ok());
        told.map(|event| (event.event, event.event_id.to_string())).collect()
    };
    let mut again = Monitor::new(checker.clone(), Routing::new(directory(), None), rig.events.clone());
    in_tiers(&again.routing);
    again.round(at(100) + Duration::from_secs(60)).await;
    let id = |facts: &[&str]| EventId::of_facts(at(100), facts).to_string();
    let expected = [
        (EventKind::DomainVerified, id(&["test.dk", "spf", "verified"])),
        (EventKind::DomainTierMoved, id(&["route", "test.dk", "mailjet.trusted"])),
    ];
    assert_eq!(told(&mut heard), expected);
    // And not once more.
    drop(again);
    let mut again = Monitor::new(checker, Routing::new(directory(), None), rig.events.clone());
    in_tiers(&again.routing);
    again.round(at(100) + Duration::from_secs(120)).await;
    assert_eq!(told(&mut heard), []);
}

#[tokio::test]
async fn a_domain_that_earns_another_tier_is_told_with_its_new_route() {
    let mut rig = rig();
    in_tiers(&rig.routing);
    let mut heard = rig.events.subscribe();
    rig.zone.remove("test.dk", RecordType::Txt);
    rig.monitor.round(at(0)).await;
    rig.zone.add_txt("test.dk", "v=spf1 include:spf.webcrm.com -all");
    rig.monitor.round(at(100)).await;
    let told = std::iter::from_fn(|| heard.try_recv().ok());
    let [moved] =
        told.filter(|event| event.event == EventKind::DomainTierMoved).collect::<Vec<_>>().try_into().unwrap();
    let told = [&moved.customer, &moved.from_domain, &moved.route].map(|text| text.as_deref().unwrap());
    assert_eq!(told, ["test-as", "test.dk", "mailjet.trusted"]);
    assert_eq!(moved.detail.as_deref(), Some("mail from test.dk takes mailjet.trusted and no longer mailjet.starter"));
}

#[tokio::test]
async fn a_clock_that_was_ahead_neither_stops_the_checks_nor_stretches_the_grace_time() {
    let mut rig = rig();
    let spf = |rig: &Rig| rig.routing.status(&domain()).has(Requirement::Spf);
    rig.monitor.round(at(0)).await;
    rig.zone.remove("test.dk", RecordType::Txt);
    rig.monitor.round(at(100_000)).await;
    assert_eq!(rig.monitor.round(at(7)).await, 1, "due, whatever was reckoned then");
    assert!(spf(&rig), "grace");
    rig.monitor.round(at(54)).await;
    assert!(spf(&rig), "grace");
    rig.monitor.round(at(56)).await;
    assert!(!spf(&rig));
}

#[tokio::test]
async fn a_dead_name_server_never_counts_as_breakage() {
    let mut rig = rig();
    rig.monitor.round(at(0)).await;
    rig.zone.fail("test.dk");
    for hours in [7, 100, 1000] {
        assert_eq!(rig.monitor.round(at(hours)).await, 1);
    }
    assert!(rig.routing.status(&domain()).has(Requirement::Spf));
    let alerts = rig.events.alerts();
    assert!(alerts.open.is_empty() && alerts.notices.is_empty());
    assert_eq!(rig.monitor.round(at(1000) + Duration::from_secs(60)).await, 0, "a dead server is not hammered");
}

#[tokio::test]
async fn a_verification_status_that_cannot_be_kept_holds_until_a_later_one_is() {
    let mut rig = rig();
    let spf = |rig: &Rig| rig.routing.status(&domain()).has(Requirement::Spf);
    rig.zone.remove("test.dk", RecordType::Txt);
    rig.monitor.round(at(0)).await;
    assert!(!spf(&rig));
    // Nobody locks a folder. A mode would not do: root writes whatever it is.
    let lock = rig._dir.path().join("domains/.lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    rig.zone.add_txt("test.dk", "v=spf1 include:spf.webcrm.com -all");
    rig.monitor.round(at(7)).await;
    assert_eq!(rig.monitor.counters().unkept.get(), 1);
    assert!(spf(&rig), "as seen");
    assert_eq!(rig.monitor.round(at(7) + Duration::from_secs(30)).await, 0, "not due");
    assert!(spf(&rig), "what the disk says is older");
    std::fs::remove_dir(&lock).unwrap();
    rig.zone.remove("test.dk", RecordType::Txt);
    let checker = rig.monitor.checker.clone();
    let customer = rig.routing.directory().by_domain(&domain()).unwrap().clone();
    let report = checker.check(&rig.routing.directory(), &customer, &domain(), at(8)).await;
    rig.monitor.store.leave(&customer.id, &report, &checker.settings).unwrap();
    rig.monitor.round(at(8) + Duration::from_secs(30)).await;
    assert!(!spf(&rig), "what `domain check` kept is newer");
}

#[tokio::test]
async fn a_restart_begins_with_what_was_known() {
    let mut rig = rig();
    rig.monitor.round(at(0)).await;
    rig.zone.fail("test.dk");
    let routing = Routing::new(directory(), None);
    let again = Monitor::new(rig.monitor.checker.clone(), routing.clone(), Events::default());
    assert!(routing.status(&domain()).has(Requirement::Spf));
    assert!(again.watched.contains_key(&domain()));
}

#[tokio::test]
async fn what_was_checked_and_where_domains_stand_is_counted() {
    use crate::onboarding::counters::{ChangeLabels, SeenLabels, StateLabels};
    let mut rig = rig();
    let counters = rig.monitor.counters().clone();
    let domains = |requirement, state| counters.domains.get_or_create(&StateLabels { requirement, state }).get();
    assert_eq!(domains("spf", "unchecked"), 1);
    rig.monitor.round(at(0)).await;
    assert_eq!((domains("spf", "verified"), domains("spf", "unchecked"), domains("dkim", "missing")), (1, 0, 1));
    rig.zone.remove("test.dk", RecordType::Txt);
    rig.monitor.round(at(7)).await;
    assert_eq!((domains("spf", "vanished"), domains("spf", "verified")), (1, 0));
    assert_eq!(counters.unanswered.get(), 0);
    rig.zone.fail("test.dk");
    rig.monitor.round(at(14)).await;
    assert_eq!(counters.checks.get(), 3);
    assert!(counters.unanswered.get() > 0);
    let seen = |seen| counters.seen.get_or_create(&SeenLabels { requirement: "spf", seen }).get();
    assert_eq!(["verified", "missing", "unknown"].map(seen), [1, 1, 1]);
    let change = |change| counters.changes.get_or_create(&ChangeLabels { requirement: "spf".into(), change }).get();
    assert_eq!(["verified", "vanished", "lost"].map(change), [1, 1, 0]);
}

#[tokio::test]
async fn new_settings_hold_from_the_next_round_on() {
    let mut rig = rig();
    rig.monitor.round(at(0)).await;
    let settings = rig.monitor.settings();
    let other = Settings { spf_include: Domain::parse("spf.other.dk").unwrap(), ..(**settings.borrow()).clone() };
    settings.send_replace(Arc::new(other));
    rig.monitor.round(at(7)).await;
    let faults = &rig.monitor.states[&domain()].requirements["spf"].faults;
    assert_eq!(faults, &["spf-address-only"]);
}

#[tokio::test]
async fn a_removed_customer_is_forgotten() {
    let mut rig = rig();
    rig.monitor.round(at(0)).await;
    rig.routing.set_directory(Directory::default());
    assert_eq!(rig.monitor.round(at(1000)).await, 0);
    assert!(!rig.routing.status(&domain()).has(Requirement::Spf));
}

#[tokio::test]
async fn a_domain_that_moves_to_another_customer_starts_over() {
    let mut rig = rig();
    rig.monitor.round(at(0)).await;
    assert!(rig.routing.status(&domain()).has(Requirement::Spf));
    rig.routing.set_directory(directory_of("other"));
    rig.zone.fail("test.dk");
    let soon = at(0) + Duration::from_secs(60);
    assert_eq!(rig.monitor.round(soon).await, 1, "due at once");
    assert!(!rig.routing.status(&domain()).has(Requirement::Spf), "what its last customer had proven");
}

#[tokio::test]
async fn a_check_under_way_gives_a_domain_that_moved_nothing() {
    let mut rig = rig();
    rig.monitor.round(at(0)).await;
    let (checker, before) = (rig.monitor.checker.clone(), rig.routing.directory());
    let customer = Arc::clone(before.by_domain(&domain()).unwrap());
    let report = checker.check(&before, &customer, &domain(), at(7)).await;
    rig.routing.set_directory(directory_of("other"));
    rig.monitor.apply_report(&customer, &report).await.unwrap();
    assert_eq!(rig.monitor.counters().checks.get(), 1);
    rig.monitor.publish();
    assert!(!rig.routing.status(&domain()).has(Requirement::Spf), "what its last customer had proven");
}

#[tokio::test]
async fn a_reload_is_heard_of_at_once() {
    let Rig { zone, monitor, routing, _dir, .. } = rig();
    let (settings, stop) = (monitor.settings(), CancellationToken::new());
    let running = tokio::spawn(monitor.run(stop.clone()));
    let becomes = async |verified| {
        while routing.status(&domain()).has(Requirement::Spf) != verified {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let soon = LONGEST_SLEEP / 2;
    tokio::time::timeout(soon, becomes(true)).await.expect("the first round");
    zone.fail("test.dk");
    routing.set_directory(directory_of("other"));
    settings.send_modify(|_| {});
    tokio::time::timeout(soon, becomes(false)).await.expect("sooner than it would wake up");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn it_stops_at_once() {
    let rig = rig();
    let stop = CancellationToken::new();
    stop.cancel();
    tokio::time::timeout(LONGEST_SLEEP / 10, rig.monitor.run(stop)).await.expect("sooner than it would wake up");
}

/// Answers only when it is let go, and keeps the thread that asks until then: what a record does that is dear to evaluate.
struct Keeps {
    asked: std::sync::Mutex<Option<oneshot::Sender<Option<String>>>>,
    go: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl crate::resolver::Resolver for Keeps {
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> crate::resolver::Lookup<'a> {
        if let Some(asked) = self.asked.lock().unwrap().take() {
            let _ = asked.send(std::thread::current().name().map(str::to_owned));
            let _ = self.go.lock().unwrap().recv();
        }
        let failed = crate::resolver::Error::Timeout { name: name.to_owned(), record_type };
        Box::pin(std::future::ready(Err(failed)))
    }
}

#[tokio::test]
async fn a_check_that_keeps_its_thread_busy_holds_up_nobody_else() {
    let Rig { monitor, routing, events, .. } = rig();
    let (asked, was_asked) = oneshot::channel();
    let (let_go, go) = std::sync::mpsc::channel();
    let resolver = Keeps { asked: std::sync::Mutex::new(Some(asked)), go: std::sync::Mutex::new(go) };
    let checker = Checker { resolver: Arc::new(resolver), ..monitor.checker.clone() };
    let stop = CancellationToken::new();
    let stopped = Monitor::new(checker, routing, events).start(stop.clone()).unwrap();
    // This thread, which is the runtime's only one, is free to hear of it.
    assert_eq!(was_asked.await.unwrap().as_deref(), Some("onboarding"));
    let_go.send(()).unwrap();
    stop.cancel();
    assert!(stopped.await.is_err(), "it ends without a word");
}

/// A zone whose servers take their time.
struct Slow {
    zone: FixedZone,
    /// Names that end so.
    slow: &'static str,
    takes: Duration,
}

impl crate::resolver::Resolver for Slow {
    fn query<'a>(&'a self, name: &'a str, record_type: RecordType) -> crate::resolver::Lookup<'a> {
        Box::pin(async move {
            if name.ends_with(self.slow) {
                tokio::time::sleep(self.takes).await;
            }
            self.zone.answer(name, record_type)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_ends_in_time_and_what_was_not_answered_by_then_is_unknown() {
    let Rig { monitor, routing, .. } = rig();
    let zone = || FixedZone::parse(ZONE).unwrap();
    for (takes, slow, spf) in [
        (Duration::from_secs(1), "", Seen::Verified),
        (Duration::from_secs(3600), "", Seen::Unknown),
        (Duration::from_secs(3600), "webcrm.com", Seen::Unknown),
        (Duration::from_secs(3600), "_domainkey.test.dk", Seen::Verified),
    ] {
        let checker = Checker { resolver: Arc::new(Slow { zone: zone(), slow, takes }), ..monitor.checker.clone() };
        let customer = routing.directory().by_domain(&domain()).unwrap().clone();
        let began = tokio::time::Instant::now();
        let report = checker.check(&routing.directory(), &customer, &domain(), at(0)).await;
        assert!(began.elapsed() <= Duration::from_secs(31), "{:?}", began.elapsed());
        assert_eq!(report.seen(Requirement::Spf), spf, "{slow}: {report:#?}");
        // The domain's own key is broken, which no name server has to say.
        let from_dns = [Requirement::Ownership, Requirement::Spf, Requirement::Dmarc];
        let missing = |r: &Requirement| report.seen(*r) == Seen::Missing;
        if takes > Duration::from_secs(60) && slow.is_empty() {
            assert!(!from_dns.iter().any(missing), "{report:#?}");
        }
    }
}

/// Two `mx` of ten hosts each cost 24 questions a look, and a check looks several times.
#[tokio::test(start_paused = true)]
async fn what_is_slow_is_asked_once() {
    let Rig { monitor, routing, .. } = rig();
    let mut zone = ZONE.replace("include:spf.webcrm.com -all", "mx:a.dk mx:b.dk include:spf.webcrm.com -all");
    for name in ["a", "b"] {
        for at in 0..10 {
            zone.push_str(&format!("{name}.dk MX {at} m{at}.{name}.dk\nm{at}.{name}.dk A 192.0.2.{at}\n"));
        }
    }
    let slow = Slow { zone: FixedZone::parse(&zone).unwrap(), slow: "", takes: Duration::from_millis(850) };
    let checker = Checker { resolver: Arc::new(slow), ..monitor.checker.clone() };
    let customer = routing.directory().by_domain(&domain()).unwrap().clone();
    let began = tokio::time::Instant::now();
    let report = checker.check(&routing.directory(), &customer, &domain(), at(0)).await;
    assert_eq!(report.seen(Requirement::Spf), Seen::Verified, "{report:#?}");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn slow_domains_of_one_customer_do_not_hold_up_another_one() {
    let Rig { monitor, events, _dir, .. } = rig();
    let keyless = |name: String| (Domain::parse(&name).unwrap(), SigningDomain::Broken("none".to_owned()));
    let slow: Vec<_> = (0..100).map(|at| keyless(format!("d{at}.slow.example"))).collect();
    let customers = vec![
        test_customers::customer("slow", slow, test_customers::mailjet()),
        test_customers::customer("test-as", [keyless("test.dk".to_owned())], test_customers::mailjet()),
    ];
    let routing = Routing::new(Directory::new(customers, BTreeMap::new()), None);
    let zone = FixedZone::parse(ZONE).unwrap();
    let resolver = Slow { zone, slow: "slow.example", takes: Duration::from_secs(3600) };
    let checker = Checker { resolver: Arc::new(resolver), ..monitor.checker.clone() };
    let stop = CancellationToken::new();
    let running = tokio::spawn(Monitor::new(checker, routing.clone(), events).run(stop.clone()));
    let began = tokio::time::Instant::now();
    while !routing.status(&domain()).has(Requirement::Spf) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_secs(20), "it waited for the slow ones");
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn of_several_nodes_one_checks_and_all_know_what_it_found() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let database = crate::database::Database::open(dir.path(), &[crate::onboarding::kept::SCHEMA]).unwrap();
    let leader = Arc::new(AtomicUsize::new(0));
    let mut nodes: Vec<Rig> = (0..2)
        .map(|number| {
            let Rig { zone, monitor, routing, events, _dir } = rig();
            let settings = Settings {
                shared: Some(crate::onboarding::kept::Shared::new(&database)),
                ..Settings::clone(&monitor.checker.settings)
            };
            let checker = Checker { settings: Arc::new(settings), ..monitor.checker.clone() };
            let leads = {
                let leader = Arc::clone(&leader);
                move || leader.load(Ordering::Relaxed) == number
            };
            let monitor = Monitor::new(checker, routing.clone(), events.clone()).only_while(leads);
            Rig { zone, monitor, routing, events, _dir }
        })
        .collect();
    let spf = |rig: &Rig| rig.routing.status(&domain()).has(Requirement::Spf);
    let minute = Duration::from_secs(60);
    assert_eq!(nodes[1].monitor.round(at(0)).await, 0, "it does not lead");
    assert!(!spf(&nodes[1]));
    assert_eq!(nodes[0].monitor.round(at(0)).await, 1);
    assert_eq!(nodes[1].monitor.round(at(0) + minute).await, 0);
    assert!(spf(&nodes[0]) && spf(&nodes[1]), "both know what one has seen");
    // The leader dies, after it found that the record is gone. The other goes on with its grace time, and does not begin anew.
    nodes.iter().for_each(|node| node.zone.remove("test.dk", RecordType::Txt));
    assert_eq!(nodes[0].monitor.round(at(7)).await, 1);
    assert_eq!(nodes[0].events.alerts().open.len(), 1);
    leader.store(1, Ordering::Relaxed);
    assert_eq!(nodes[1].monitor.round(at(7) + minute / 2).await, 0, "not due: the other has just looked");
    assert_eq!(nodes[1].monitor.round(at(56)).await, 1);
    assert!(!spf(&nodes[1]), "lost, as long after it vanished as if nobody had died");
    nodes[0].monitor.round(at(56) + minute).await;
    assert!(!spf(&nodes[0]), "the other hears it");
    nodes[1].zone.add_txt("test.dk", "v=spf1 include:spf.webcrm.com -all");
    assert_eq!(nodes[1].monitor.round(at(57)).await, 1);
    nodes[0].monitor.round(at(57) + minute).await;
    assert!(spf(&nodes[0]) && nodes[0].events.alerts().open.is_empty(), "its own alert is over too");
}

fn in_tiers(routing: &Routing) {
    let tier = |name: &str, requires: &[Requirement]| {
        let route = Arc::new(test_customers::route(&format!("mailjet.{name}"), "smarthost.test"));
        (name.to_owned(), Tier { route, requires: requires.to_vec() })
    };
    let tiers = BTreeMap::from([tier("starter", &[]), tier("trusted", &[Requirement::Spf])]);
    let customers = directory().customers().map(|customer| Customer::clone(customer)).collect();
    routing.set_directory(Directory::new(customers, tiers));
}

/// What was told of domains, without what was told of checks that found nothing.
fn told(heard: &mut tokio::sync::broadcast::Receiver<Arc<Event<'static>>>) -> Vec<(EventKind, Option<String>)> {
    let all = std::iter::from_fn(|| heard.try_recv().ok());
    let of_domains = [EventKind::DomainVerified, EventKind::DomainVanished, EventKind::DomainTierMoved];
    all.filter(|event| of_domains.contains(&event.event))
        .map(|event| (event.event, event.route.as_deref().map(str::to_owned)))
        .collect()
}

/// Checks the domain as `postbud domain check` does, which stores what it finds.
async fn check_by_command(rig: &Rig, at: Timestamp) {
    let checker = &rig.monitor.checker;
    let customer = rig.routing.directory().by_domain(&domain()).unwrap().clone();
    let report = checker.check(&rig.routing.directory(), &customer, &domain(), at).await;
    rig.monitor.store.leave(&customer.id, &report, &checker.settings).unwrap();
}

#[tokio::test]
async fn what_a_command_finds_is_told_once_by_the_relay_that_runs_or_by_the_next_start() {
    for restarts in [false, true] {
        let mut rig = rig();
        in_tiers(&rig.routing);
        rig.zone.remove("test.dk", RecordType::Txt);
        rig.monitor.round(at(0)).await;
        rig.zone.add_txt("test.dk", "v=spf1 include:spf.webcrm.com -all");
        check_by_command(&rig, at(0) + Duration::from_secs(60)).await;
        check_by_command(&rig, at(0) + Duration::from_secs(70)).await;
        if restarts {
            rig.routing = Routing::new(directory(), None);
            in_tiers(&rig.routing);
            rig.events = Events::default();
            rig.monitor = Monitor::new(rig.monitor.checker.clone(), rig.routing.clone(), rig.events.clone());
        }
        let mut heard = rig.events.subscribe();
        let soon = at(0) + Duration::from_secs(80);
        let leads = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let asked = Arc::clone(&leads);
        rig.monitor = rig.monitor.only_while(move || asked.load(std::sync::atomic::Ordering::Relaxed));
        rig.monitor.round(soon).await;
        assert!(rig.routing.status(&domain()).has(Requirement::Spf));
        assert_eq!(told(&mut heard), [], "another node tells it");
        leads.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(rig.monitor.round(soon).await, 0, "no check is due");
        let moved = (EventKind::DomainTierMoved, Some("mailjet.trusted".to_owned()));
        assert_eq!(told(&mut heard), [(EventKind::DomainVerified, None), moved], "restarted: {restarts}");
        rig.monitor.round(soon).await;
        assert_eq!(told(&mut heard), []);
    }
}

#[tokio::test]
async fn what_a_command_has_found_is_told_with_a_check_of_the_relays_own() {
    let mut rig = rig();
    rig.zone.remove("test.dk", RecordType::Txt);
    rig.monitor.round(at(0)).await;
    rig.zone.add_txt("test.dk", "v=spf1 include:spf.webcrm.com -all");
    check_by_command(&rig, at(1)).await;
    let mut heard = rig.events.subscribe();
    let customer = rig.routing.directory().by_domain(&domain()).unwrap().clone();
    let report = rig.monitor.checker.check(&rig.routing.directory(), &customer, &domain(), at(2)).await;
    rig.monitor.apply_report(&customer, &report).await.unwrap();
    while let Some(has_log) = rig.monitor.telling.next().await {
        rig.monitor.told(has_log);
    }
    assert_eq!(told(&mut heard), [(EventKind::DomainVerified, None)]);
    rig.monitor.round(at(2)).await;
    assert_eq!(told(&mut heard), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_checked_as_often_as_configured_also_if_that_is_more_often_than_the_monitor_usually_looks() {
    let rig = rig();
    let often = Duration::from_millis(50);
    let settings =
        Settings { check_every: often, check_every_while_incomplete: often, ..(*rig.monitor.checker.settings).clone() };
    rig.monitor.settings().send_replace(Arc::new(settings));
    let counters = rig.monitor.counters().clone();
    let stop = CancellationToken::new();
    let running = tokio::spawn(rig.monitor.run(stop.clone()));
    let several = async {
        while counters.checks.get() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // It looks every 30 s if nothing is due.
    tokio::time::timeout(LONGEST_SLEEP - Duration::from_secs(5), several).await.unwrap();
    stop.cancel();
    running.await.unwrap();
}
