//! Looks at every customer's domains again and again, keeps what it saw, and tells the rest of the relay: [`Routing`] for
//! the tier and the bulk policy, an alert where something that worked is gone.
//!
//! A domain is due at the time its state says (see [`DomainState::next_check`](super::state::DomainState::next_check)); a few
//! are checked at once. A reload ([`Monitor::settings`]) ends the status of a domain that is another customer's now, and begins
//! the next round; its settings hold from then on.
//! If results cannot be kept, an alert says so and the status as seen is used all the same, until a later one is kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::counters::Counters;
use super::settings::Settings;
use super::state::{Change, DomainState, StateError, Store, jittered};
use super::text;
use super::verdict::{Checker, Report};
use crate::customers::{Customer, Directory, Requirement, Routing, VerificationStatus};
use crate::events::{Event, Events, Subject};
use crate::message::CustomerId;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// Checked at the same time.
const AT_ONCE: usize = 4;
/// How long the monitor sleeps at most, so that it sees what `postbud domain check` has kept.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The task.
pub struct Monitor {
    checker: Checker,
    routing: Routing,
    events: Events,
    store: Store,
    counters: Counters,
    settings: watch::Sender<Arc<Settings>>,
    reloaded: watch::Receiver<Arc<Settings>>,
    watched: HashMap<Domain, Watched>,
    /// As they stand on disk.
    states: HashMap<Domain, DomainState>,
    /// Files that an alert has named already.
    unreadable: HashSet<Subject>,
}

/// A domain that was checked.
struct Watched {
    /// Whose it was then: with another one it starts over.
    owner: CustomerId,
    due: Timestamp,
    status: VerificationStatus,
    /// When it was last checked, where that could not be kept: what the disk says from before then is older.
    unkept: Option<Timestamp>,
}

impl Monitor {
    /// Sets the monitor up and publishes what the last run has left on disk, so that a restart does not put any customer
    /// back to the start.
    pub fn new(checker: Checker, routing: Routing, events: Events) -> Self {
        let store = Store::new(&checker.settings);
        let (settings, reloaded) = watch::channel(Arc::clone(&checker.settings));
        let mut monitor = Monitor {
            settings,
            reloaded,
            checker,
            routing,
            events,
            store,
            counters: Counters::default(),
            watched: HashMap::new(),
            states: HashMap::new(),
            unreadable: HashSet::new(),
        };
        let read = monitor.store.load_all(&monitor.domains());
        monitor.absorb(read);
        monitor
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where a reload puts new settings, once the directory is replaced. The folder they name must be the same.
    pub fn settings(&self) -> watch::Sender<Arc<Settings>> {
        self.settings.clone()
    }

    /// Runs until `stop`. A check under way is dropped: it has changed nothing.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let now = Timestamp::now();
            let round = async {
                self.round(now).await;
                let next = self.watched.values().map(|watched| watched.due).min().unwrap_or(Timestamp::NEVER);
                tokio::select! {
                    () = tokio::time::sleep(next.since(Timestamp::now()).min(LONGEST_SLEEP)) => {}
                    _ = self.reloaded.changed() => {}
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// Checks every domain that is due at `now`; gives how many.
    pub async fn round(&mut self, now: Timestamp) -> usize {
        self.checker.settings = Arc::clone(&self.reloaded.borrow_and_update());
        let (store, domains) = (self.store.clone(), self.domains());
        match tokio::task::spawn_blocking(move || store.load_all(&domains)).await {
            Ok(read) => self.absorb(read),
            Err(error) => tracing::error!("reading the verdicts broke off: {error}"),
        }
        let directory = self.routing.directory();
        // Jitter doubles an interval at most. What is due later than that was reckoned by a clock that was wrong.
        let settings = &self.checker.settings;
        let latest = now + settings.check_every.max(settings.check_every_while_incomplete).saturating_mul(2);
        let due: Vec<(Arc<Customer>, Domain)> = directory
            .customers()
            .flat_map(|customer| customer.domains.keys().map(move |domain| (Arc::clone(customer), domain.clone())))
            .filter(|(_, domain)| self.watched.get(domain).is_none_or(|it| it.due <= now || it.due > latest))
            .collect();
        let count = due.len();
        let mut waiting = due.into_iter();
        let mut running = JoinSet::new();
        // A reader of its own: the reload that comes now is still to begin the next round.
        let mut reloaded = self.reloaded.clone();
        loop {
            while running.len() < AT_ONCE
                && let Some((customer, domain)) = waiting.next()
            {
                let (checker, directory) = (self.checker.clone(), Arc::clone(&directory));
                running.spawn(async move {
                    let report = checker.check(&directory, &customer, &domain, now).await;
                    (customer, report)
                });
            }
            tokio::select! {
                joined = running.join_next() => match joined {
                    None => break,
                    Some(Ok((customer, report))) => self.take(&customer, &report).await,
                    Some(Err(error)) => tracing::error!("a domain check broke off: {error}"),
                },
                _ = reloaded.changed() => self.publish(),
            }
        }
        self.show();
        count
    }

    fn show(&self) {
        let domains = self.domains();
        self.counters.show(domains.iter().map(|(_, domain)| domain), &self.states);
    }

    /// Every From domain with its customer.
    fn domains(&self) -> Vec<(CustomerId, Domain)> {
        let directory = self.routing.directory();
        let of = |customer: &Arc<Customer>| -> Vec<_> {
            customer.domains.keys().map(|domain| (customer.id.clone(), domain.clone())).collect()
        };
        directory.customers().flat_map(of).collect()
    }

    /// Forgets domains that are gone or have moved to another customer, and takes in what the disk says: `postbud domain
    /// check` writes there too.
    fn absorb(&mut self, (states, errors): (HashMap<Domain, DomainState>, Vec<StateError>)) {
        let directory = self.routing.directory();
        self.watched.retain(|domain, it| is_owner(&directory, &it.owner, domain));
        let file = |error: &StateError| Subject::VerdictFile(error.path().display().to_string());
        let unreadable: HashSet<Subject> = errors.iter().map(file).collect();
        for error in errors.iter().filter(|error| !self.unreadable.contains(&file(error))) {
            self.events.raise(file(error), format!("a verdict cannot be read: {error}"));
        }
        self.events.resolve_where(|subject| match subject {
            Subject::VerdictFile(_) if !unreadable.contains(subject) => Some("it is read again, or gone".into()),
            Subject::Verification(step) if !is_configured(&directory, step) => {
                Some("the domain is no longer configured".into())
            }
            _ => None,
        });
        self.unreadable = unreadable;
        self.counters.unreadable.set(i64::try_from(self.unreadable.len()).unwrap_or(i64::MAX));
        for (domain, state) in &states {
            let owner = CustomerId::new(&state.customer);
            if !is_owner(&directory, &owner, domain) {
                continue;
            }
            let new = || Watched {
                owner,
                due: state.next_check(&self.checker.settings, at_random()),
                status: VerificationStatus::default(),
                unkept: None,
            };
            let known = self.watched.entry(domain.clone()).or_insert_with(new);
            if known.unkept.is_none_or(|at| at.as_millis() < state.last_checked) {
                (known.status, known.unkept) = (state.status(), None);
            }
        }
        self.states = states;
        self.publish();
        self.show();
    }

    async fn take(&mut self, customer: &Arc<Customer>, report: &Report) {
        // A reload came in between: what is said of its last customer is nothing to keep.
        if !is_owner(&self.routing.directory(), &customer.id, &report.domain) {
            return;
        }
        self.counters.check(report);
        let settings = Arc::clone(&self.checker.settings);
        let (store, id, kept) = (self.store.clone(), customer.id.clone(), report.clone());
        let written = {
            let settings = Arc::clone(&settings);
            tokio::task::spawn_blocking(move || store.record(&id, &kept, &settings)).await
        };
        let result = match written {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok((state, changes)) => {
                // A round without any answer is no check: come back at the slow pace's share, not at once.
                let soonest =
                    report.checked_at + jittered(settings.check_every_while_incomplete, settings.jitter, at_random());
                let due = state.next_check(&settings, at_random()).max(soonest);
                self.watch(customer, &report.domain, due, state.status(), None);
                let kept = "the verdict on it is kept again";
                self.events.resolve(&Subject::Verdict(report.domain.to_string()), kept);
                self.states.insert(report.domain.clone(), state);
                changes.iter().for_each(|change| self.tell(customer, report, change));
            }
            Err(error) => {
                self.counters.unkept.inc();
                let subject = Subject::Verdict(report.domain.to_string());
                let detail = format!("the verdict on {} cannot be kept: {error}", report.domain);
                self.alert(customer, report, subject, detail);
                let due = report.checked_at + settings.check_every_while_incomplete;
                let known = self.watched.get(&report.domain).filter(|it| it.owner == customer.id);
                let known = known.map(|it| it.status).unwrap_or_default();
                // What was verified stays so: nobody can say how long it has been away.
                let seen = Requirement::ALL.into_iter().filter(|r| report.status().has(*r));
                let status = seen.fold(known, VerificationStatus::with);
                self.watch(customer, &report.domain, due, status, Some(report.checked_at));
            }
        }
    }

    fn watch(
        &mut self,
        customer: &Customer,
        domain: &Domain,
        due: Timestamp,
        status: VerificationStatus,
        unkept: Option<Timestamp>,
    ) {
        let watched = Watched { owner: customer.id.clone(), due, status, unkept };
        let before = self.watched.insert(domain.clone(), watched);
        if before.map(|it| it.status) != Some(status) {
            self.publish();
        }
    }

    fn publish(&self) {
        let directory = self.routing.directory();
        let watched = self.watched.iter().filter(|(domain, it)| is_owner(&directory, &it.owner, domain));
        self.routing.set_statuses(watched.map(|(domain, it)| (domain.clone(), it.status)).collect());
    }

    fn tell(&self, customer: &Customer, report: &Report, change: &Change) {
        self.counters.change(change);
        let detail = text::change(&report.domain, change, &self.checker.settings);
        let subject = Subject::Verification(format!("{}/{}", report.domain, change.requirement));
        match change.change.is_alarming() {
            true => self.alert(customer, report, subject, detail),
            false => {
                tracing::info!(customer = %customer.id, "{detail}");
                self.events.resolve(&subject, detail);
            }
        }
    }

    fn alert(&self, customer: &Customer, report: &Report, subject: Subject, detail: String) {
        self.events.emit(Event {
            customer: Some(customer.id.to_string()),
            subject: Some(subject),
            at: report.checked_at,
            ..Event::alert(detail)
        });
    }
}

/// Whether the domain of a step, `test.dk/spf`, is a customer's.
fn is_configured(directory: &Directory, step: &str) -> bool {
    let domain = step.split('/').next().unwrap_or_default();
    Domain::parse(domain).is_ok_and(|domain| directory.by_domain(&domain).is_some())
}

fn is_owner(directory: &Directory, customer: &CustomerId, domain: &Domain) -> bool {
    directory.by_domain(domain).is_some_and(|owner| owner.id == *customer)
}

/// From -1 to 1.
fn at_random() -> f64 {
    rand::random::<f64>() * 2.0 - 1.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::customers::SigningDomain;
    use crate::onboarding::{Secret, Settings};
    use crate::resolver::{FixedZone, Kind, SharedResolver};
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
        assert!(!spf(&rig));
        assert_eq!(rig.monitor.round(at(0)).await, 1);
        assert!(spf(&rig));
        assert_eq!(rig.monitor.round(at(0) + Duration::from_secs(60)).await, 0, "not due");
        rig.zone.remove("test.dk", Kind::Txt);
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
    }

    #[tokio::test]
    async fn a_clock_that_was_ahead_neither_stops_the_checks_nor_stretches_the_grace_time() {
        let mut rig = rig();
        let spf = |rig: &Rig| rig.routing.status(&domain()).has(Requirement::Spf);
        rig.monitor.round(at(0)).await;
        rig.zone.remove("test.dk", Kind::Txt);
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
        rig.zone.remove("test.dk", Kind::Txt);
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
        rig.zone.remove("test.dk", Kind::Txt);
        let checker = rig.monitor.checker.clone();
        let customer = rig.routing.directory().by_domain(&domain()).unwrap().clone();
        let report = checker.check(&rig.routing.directory(), &customer, &domain(), at(8)).await;
        rig.monitor.store.record(&customer.id, &report, &checker.settings).unwrap();
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
        rig.zone.remove("test.dk", Kind::Txt);
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
        rig.monitor.take(&customer, &report).await;
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
        rig.monitor.run(stop).await;
    }
}
