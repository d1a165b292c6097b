//! The monitor checks all customers' domains periodically and keeps their verification status on disk. It gives the status to
//! [`Routing`], which uses it for tiers and for the bulk policy, and it raises an alert if something that worked is gone.
//!
//! [`DomainState::next_check`](super::state::DomainState::next_check) says when a domain is due. A few domains are checked at the
//! same time, each with its own time limit. The `agenda` chooses the next one, so that slow name servers of one customer do not
//! delay the checks of other customers. After a reload ([`Monitor::settings`]) a domain that has moved to another customer loses
//! its status, and every check that begins later uses the new settings. If a status cannot be written to disk, the monitor raises
//! an alert and still uses the status in memory.
//!
//! After each check the registration in Mailjet's accounts is continued ([`Registrar`]). [`Routing`] gets the list of tiers that accept the
//! domain's mail.
//!
//! The checks read records and files that strangers control. They run on their own thread ([`Monitor::start`]), so that they cannot
//! take time from the threads that process mail.

mod agenda;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use self::agenda::{Agenda, Due};
use super::checker::{Checker, Report};
use super::counters::Counters;
use super::finding::Item;
use super::kept::Shared;
use super::mailjet::{Alerts, Pace, Registrar};
use super::settings::Settings;
use super::state::{Change, ChangeKind, DomainState, StateError, Store, jittered};
use super::text::{self, Lang};
use crate::customers::{Customer, Directory, Requirement, Routing, VerificationStatus};
use crate::database;
use crate::events::{Event, EventKind, Events, Subject};
use crate::message::{CustomerId, Lane, MailKind, Urgency};
use crate::route::RouteId;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The longest sleep of the monitor. After it the monitor reads what `postbud domain check` has written.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The longest sleep where one node of several checks.
const LOOK_FOR_LEAD: Duration = Duration::from_secs(5);
/// After another node has kept something, how long more of it is waited for.
const SEVERAL_CHANGES: Duration = Duration::from_millis(300);

/// The maximum number of changes that wait to be received.
const CHANGES_AT_ONCE: usize = 1024;
/// The maximum number of reports that wait for the monitor. Further senders wait.
const LOOKED_AT_ONCE: usize = 64;

/// The monitor, ready to run.
pub struct Monitor {
    checker: Checker,
    routing: Routing,
    events: Events,
    store: Store,
    counters: Counters,
    settings: watch::Sender<Arc<Settings>>,
    reloaded: watch::Receiver<Arc<Settings>>,
    watched: HashMap<Domain, Watched>,
    /// The states on disk.
    states: HashMap<Domain, DomainState>,
    /// The unreadable files for which an alert was raised.
    unreadable: HashSet<Subject>,
    agenda: Agenda,
    registrar: Option<Registrar>,
    /// The channel for reports of requested checks: its receiving and its sending end.
    looked: mpsc::Receiver<Looked>,
    looks: mpsc::Sender<Looked>,
    /// Receives each change, if there is a receiver.
    changes: Option<mpsc::Sender<Changed>>,
    /// Returns true if this node is the one that checks.
    leads: Box<dyn Fn() -> bool + Send>,
    /// True if it was the one at the last look.
    led: bool,
    /// Hears of what other nodes have kept, where they share it.
    kept: Option<database::Changes>,
}

/// The changes of a domain.
pub struct Changed {
    /// The domain's customer.
    pub customer: Arc<Customer>,
    pub domain: Domain,
    /// The changes of one check.
    pub changes: Vec<Change>,
    /// True if the domain is complete now, and was not before.
    pub is_complete_now: bool,
}

/// The report of a requested check, with the customer that was checked.
pub struct Looked {
    /// The customer at the time of the check.
    pub customer: Arc<Customer>,
    pub report: Report,
    /// Gets the result: the relay uses the report, or why it cannot be stored.
    pub kept: oneshot::Sender<Result<(), String>>,
}

/// What the monitor knows about a domain.
struct Watched {
    /// The customer who had the domain at its last check. With another customer the domain starts over.
    owner: CustomerId,
    due: Timestamp,
    status: VerificationStatus,
    /// The time of the last check, if its result could not be written to disk. An older state on disk is then ignored.
    unkept: Option<Timestamp>,
}

/// The domains whose states are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Which {
    #[default]
    All,
    /// Those that a reload has brought. What is known of the others stays.
    New,
}

impl Monitor {
    /// Makes the monitor. It publishes the states on disk at once, so that no customer loses its status at a restart.
    pub fn new(checker: Checker, routing: Routing, events: Events) -> Self {
        let store = Store::new(&checker.settings);
        let registrar = registrar(Registrar::new(Arc::clone(&checker.settings)));
        let (settings, reloaded) = watch::channel(Arc::clone(&checker.settings));
        let (looks, looked) = mpsc::channel(LOOKED_AT_ONCE);
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
            agenda: Agenda::default(),
            registrar,
            looked,
            looks,
            changes: None,
            leads: Box::new(|| true),
            led: true,
            kept: None,
        };
        monitor.kept = monitor.checker.settings.shared.as_ref().map(Shared::changes);
        match monitor.store.load_all(&monitor.domains()) {
            Ok(read) => monitor.absorb(read, Which::All),
            Err(error) => tracing::error!("the domains' verification status cannot be read: {error}"),
        }
        monitor
    }

    /// Checks only while `leads` says so: of several nodes one checks, and the others use what it found.
    #[must_use]
    pub fn only_while(self, leads: impl Fn() -> bool + Send + 'static) -> Self {
        Monitor { leads: Box::new(leads), led: false, ..self }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the channel to which a reload sends new settings after it has replaced the directory of customers. The new settings must
    /// have the same `state_dir`.
    pub fn settings(&self) -> watch::Sender<Arc<Settings>> {
        self.settings.clone()
    }

    /// Returns the receiver of changes. Changes that it does not receive in time are left out, because events report them too.
    pub fn changes(&mut self) -> mpsc::Receiver<Changed> {
        let (changes, heard) = mpsc::channel(CHANGES_AT_ONCE);
        self.changes = Some(changes);
        heard
    }

    /// Returns the channel for reports of requested checks. The monitor reports their changes as if the checks were its own.
    pub fn looks(&self) -> mpsc::Sender<Looked> {
        self.looks.clone()
    }

    /// Runs the monitor on its own thread until `stop`. The returned receiver ends when the thread has stopped.
    pub fn start(self, stop: CancellationToken) -> io::Result<oneshot::Receiver<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (running, stopped) = oneshot::channel();
        std::thread::Builder::new().name("onboarding".to_owned()).spawn(move || {
            runtime.block_on(self.run(stop));
            // Do not wait for a write that hangs.
            runtime.shutdown_background();
            drop(running);
        })?;
        Ok(stopped)
    }

    /// Runs until `stop`. Then it drops the running checks, which have not changed anything.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut which = Which::All;
        loop {
            let looked_at = Timestamp::now();
            let look_again = tokio::select! {
                () = stop.cancelled() => return,
                next = self.look_around(looked_at, std::mem::take(&mut which)) => tokio::time::sleep(next.since(looked_at).min(self.longest_sleep())),
            };
            tokio::pin!(look_again);
            loop {
                self.begin(Timestamp::now());
                tokio::select! {
                    () = stop.cancelled() => return,
                    (due, checked) = self.agenda.done() => self.finish(&due, checked).await,
                    Some(Looked { customer, report, kept }) = self.looked.recv() => {
                        // The sender may be gone.
                        let _ = kept.send(self.take(&customer, &report).await);
                    }
                    () = &mut look_again => break,
                    () = changed(&mut self.kept) => {
                        // One look for several changes.
                        tokio::time::sleep(SEVERAL_CHANGES).await;
                        break;
                    }
                    _ = self.reloaded.changed() => {
                        self.take_settings();
                        self.publish();
                        which = Which::New;
                        break;
                    }
                }
            }
        }
    }

    /// A node that does not check looks more often whether it is to.
    fn longest_sleep(&self) -> Duration {
        if self.checker.settings.shared.is_some() { LOOK_FOR_LEAD } else { LONGEST_SLEEP }
    }

    /// Checks every domain that is due at `now` and returns their number.
    pub async fn round(&mut self, now: Timestamp) -> usize {
        self.look_around(now, Which::All).await;
        let count = self.agenda.len();
        self.begin(now);
        while !self.agenda.is_empty() {
            let (due, checked) = self.agenda.done().await;
            self.finish(&due, checked).await;
            self.begin(now);
        }
        count
    }

    /// Reads new settings and the states on disk, and puts the domains that are due at `now` on the agenda. Returns the time at which the
    /// next other domain is due.
    async fn look_around(&mut self, now: Timestamp, which: Which) -> Timestamp {
        self.take_settings();
        let (store, mut domains) = (self.store.clone(), self.domains());
        if which == Which::New {
            domains.retain(|(owner, domain)| self.watched.get(domain).is_none_or(|it| it.owner != *owner));
        }
        match tokio::task::spawn_blocking(move || store.load_all(&domains)).await {
            Ok(Ok(read)) => self.absorb(read, which),
            // What is known goes on until the database answers.
            Ok(Err(error)) => tracing::warn!("the domains' verification status cannot be read anew: {error}"),
            Err(error) => tracing::error!("reading the domains' verification status failed: {error}"),
        }
        let leads = (self.leads)();
        if !leads || !self.led {
            self.put_off();
        }
        self.led = leads;
        if !leads {
            return Timestamp::NEVER;
        }
        // Jitter at most doubles an interval.
        let settings = &self.checker.settings;
        let latest = now + settings.check_every.max(settings.check_every_while_incomplete).saturating_mul(2);
        let is_due = |domain: &Domain| self.watched.get(domain).is_none_or(|it| it.due.believed(latest, now) <= now);
        let directory = self.routing.directory();
        let all = directory
            .customers()
            .flat_map(|customer| customer.domains.keys().map(move |domain| (Arc::clone(customer), domain.clone())));
        self.agenda.put(all.filter(|(_, domain)| is_due(domain)).map(|(customer, domain)| Due { customer, domain }));
        self.watched.values().map(|watched| watched.due).filter(|due| *due > now).min().unwrap_or(Timestamp::NEVER)
    }

    /// Takes over from what the node that leads has kept when each domain is due, should this node be the next.
    fn put_off(&mut self) {
        let settings = &self.checker.settings;
        for (domain, state) in &self.states {
            if let Some(watched) = self.watched.get_mut(domain) {
                watched.due = state.next_check(settings, at_random());
            }
        }
    }

    /// Uses the newest settings. A registrar is made anew only if the accounts have changed.
    fn take_settings(&mut self) {
        let newest = Arc::clone(&self.reloaded.borrow_and_update());
        self.registrar = match &self.registrar {
            Some(before) => registrar(before.with_settings(Arc::clone(&newest))),
            None => registrar(Registrar::new(Arc::clone(&newest))),
        };
        self.checker.settings = newest;
    }

    /// Begins checks until as many run as may run at the same time.
    fn begin(&mut self, now: Timestamp) {
        if !(self.leads)() {
            return;
        }
        let (checker, directory, registrar, routing) =
            (&self.checker, self.routing.directory(), &self.registrar, &self.routing);
        self.agenda.begin(|Due { customer, domain }| {
            let (checker, directory, registrar) = (checker.clone(), Arc::clone(&directory), registrar.clone());
            let status = routing.status(&domain);
            async move {
                let Some(registrar) = registrar else {
                    return checker.check(&directory, &customer, &domain, now).await;
                };
                let checker = registrar.informed(checker, &directory, &customer, &domain, status);
                let mut report = checker.check(&directory, &customer, &domain, now).await;
                registrar.register(&directory, &customer, &mut report, Pace::Usual).await;
                report
            }
        });
    }

    async fn finish(&mut self, due: &Due, checked: Result<Report, JoinError>) {
        match checked {
            // A failure to store it raises an alert.
            Ok(report) => drop(self.take(&due.customer, &report).await),
            Err(error) => {
                tracing::error!(customer = %due.customer.id, "the check of {} failed: {error}", due.domain);
                let again = Timestamp::now() + self.checker.settings.check_every_while_incomplete;
                let known = self.watched.get(&due.domain).filter(|it| it.owner == due.customer.id);
                let (status, unkept) = known.map(|it| (it.status, it.unkept)).unwrap_or_default();
                self.watch(&due.customer, &due.domain, again, status, unkept);
            }
        }
        if self.agenda.is_empty() {
            self.show();
        }
    }

    fn show(&self) {
        let domains = self.domains();
        self.counters.show(domains.iter().map(|(_, domain)| domain), &self.states);
    }

    /// Returns every From domain with its customer.
    fn domains(&self) -> Vec<(CustomerId, Domain)> {
        let directory = self.routing.directory();
        let of = |customer: &Arc<Customer>| -> Vec<_> {
            customer.domains.keys().map(|domain| (customer.id.clone(), domain.clone())).collect()
        };
        directory.customers().flat_map(of).collect()
    }

    /// Forgets domains that are gone or have moved to another customer, and uses the newer states on disk, which `postbud domain check`
    /// may have written.
    fn absorb(&mut self, (mut states, errors): (HashMap<Domain, DomainState>, Vec<StateError>), which: Which) {
        let directory = self.routing.directory();
        self.watched.retain(|domain, it| is_owner(&directory, &it.owner, domain));
        let file = |error: &StateError| Subject::VerdictFile(error.path().display().to_string());
        let mut unreadable: HashSet<Subject> = errors.iter().map(file).collect();
        for error in errors.iter().filter(|error| !self.unreadable.contains(&file(error))) {
            self.events.raise(file(error), format!("a domain's verification status cannot be read: {error}"));
        }
        if which == Which::New {
            let known = std::mem::take(&mut self.states);
            let known =
                known.into_iter().filter(|(domain, it)| is_owner(&directory, &CustomerId::new(&it.customer), domain));
            states.extend(known.filter(|(domain, _)| !states.contains_key(domain)).collect::<Vec<_>>());
            unreadable.extend(self.unreadable.iter().cloned());
        }
        self.events.resolve_where(|subject| match subject {
            Subject::VerdictFile(_) if !unreadable.contains(subject) => Some("it is read again, or gone".into()),
            Subject::Verification(step) if !is_configured(&directory, step) => {
                Some("the domain is no longer configured".into())
            }
            Subject::Verification(step) if is_in_order(&states, step) => {
                Some("it is in order again, as another node found".into())
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

    async fn take(&mut self, customer: &Arc<Customer>, report: &Report) -> Result<(), String> {
        // A reload has moved the domain to another customer during the check, so discard the result.
        if !is_owner(&self.routing.directory(), &customer.id, &report.domain) {
            return Ok(());
        }
        self.counters.check(report);
        self.tell_of_accounts(customer, report);
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
                // Without any answer `last_checked` is unchanged and the next check would be due at once. Wait at least one short interval.
                let soonest =
                    report.checked_at + jittered(settings.check_every_while_incomplete, settings.jitter, at_random());
                let due = state.next_check(&settings, at_random()).max(soonest);
                self.watch(customer, &report.domain, due, state.status(), None);
                let kept = "its verification status can be written to disk again";
                self.events.resolve(&Subject::Verdict(report.domain.to_string()), kept);
                let is_complete = !state.is_incomplete();
                let before = self.states.insert(report.domain.clone(), state);
                let is_complete_now = is_complete && before.is_none_or(|before| before.is_incomplete());
                changes.iter().for_each(|change| self.tell(customer, report, change));
                if report.check(Item::MailjetAccount).is_some() {
                    self.publish();
                }
                self.hand_on(customer, &report.domain, changes, is_complete_now);
                Ok(())
            }
            Err(error) => {
                self.counters.unkept.inc();
                let subject = Subject::Verdict(report.domain.to_string());
                let detail = format!("the verification status of {} cannot be written to disk: {error}", report.domain);
                self.alert(customer, report, subject, detail);
                let due = report.checked_at + settings.check_every_while_incomplete;
                let known = self.watched.get(&report.domain).filter(|it| it.owner == customer.id);
                let known = known.map(|it| it.status).unwrap_or_default();
                // Keep the verified requirements: without a state on disk the grace period cannot be measured.
                let seen = Requirement::ALL.into_iter().filter(|r| report.status().has(*r));
                let status = seen.fold(known, VerificationStatus::with);
                self.watch(customer, &report.domain, due, status, Some(report.checked_at));
                Err(error)
            }
        }
    }

    fn hand_on(&self, customer: &Arc<Customer>, domain: &Domain, changes: Vec<Change>, is_complete_now: bool) {
        let Some(hearer) = self.changes.as_ref().filter(|_| !changes.is_empty()) else { return };
        let changed = Changed { customer: Arc::clone(customer), domain: domain.clone(), changes, is_complete_now };
        if hearer.try_send(changed).is_err() {
            tracing::warn!(customer = %customer.id, "no letter is written about what has changed of {domain}: too much changes at once");
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
        // A domain that was never looked at has verified nothing.
        if before.as_ref().map(|it| it.status).unwrap_or_default() == status {
            return;
        }
        let lane = Lane {
            customer: customer.id.clone(),
            domain: domain.clone(),
            urgency: Urgency::Single,
            kind: MailKind::Mail,
        };
        let route = || self.routing.resolve(&lane).ok().map(|route| route.id.clone());
        let left = route();
        self.publish();
        // A state that is read from disk at a start is no change of route.
        if before.is_some() {
            self.tell_of_route(&lane, left, route());
        }
    }

    /// Reports that a domain's mail takes another route from now on.
    fn tell_of_route(&self, lane: &Lane, from: Option<RouteId>, to: Option<RouteId>) {
        if from == to {
            return;
        }
        let named = |route: &Option<RouteId>| route.as_ref().map_or("no route".to_owned(), ToString::to_string);
        let detail = format!("mail from {} takes {} and no longer {}", lane.domain, named(&to), named(&from));
        let kind = EventKind::DomainTierMoved;
        let event = Event::of_domain(kind, &lane.customer, &lane.domain, detail, Timestamp::now());
        match &to {
            Some(to) => self.events.emit(event.about_route(to)),
            None => self.events.emit(event),
        }
    }

    fn publish(&self) {
        let directory = self.routing.directory();
        let watched = self.watched.iter().filter(|(domain, it)| is_owner(&directory, &it.owner, domain));
        self.routing.set_statuses(watched.map(|(domain, it)| (domain.clone(), it.status)).collect());
        let Some(registrar) = &self.registrar else { return };
        let (acceptance, errors) = registrar.acceptance(&directory);
        for error in &errors {
            tracing::error!("what Mailjet's accounts have accepted cannot be read: {error}");
        }
        // A database that is away takes no domain its tier.
        if !errors.is_empty() && self.checker.settings.shared.is_some() {
            return;
        }
        self.routing.set_acceptance(acceptance);
    }

    /// Raises and ends the alerts about Mailjet's accounts.
    fn tell_of_accounts(&self, customer: &Customer, report: &Report) {
        let Some(check) = report.check(Item::MailjetAccount) else { return };
        let Alerts { raised, over } = Alerts::of(check, &report.domain);
        for (subject, finding) in raised {
            let text = Lang::En.finding(&finding);
            self.alert(customer, report, Subject::Mailjet(subject), format!("{} {}", text.what, text.next));
        }
        for subject in over {
            self.events.resolve(&Subject::Mailjet(subject), "Mailjet's account has answered");
        }
    }

    fn tell(&self, customer: &Customer, report: &Report, change: &Change) {
        self.counters.change(change);
        let detail = text::change(&report.domain, change, &self.checker.settings);
        let subject = Subject::Verification(format!("{}/{}", report.domain, change.requirement));
        let kind = match change.change {
            ChangeKind::Verified | ChangeKind::Returned => EventKind::DomainVerified,
            ChangeKind::Vanished | ChangeKind::Lost => EventKind::DomainVanished,
        };
        let event = Event::of_domain(kind, &customer.id, &report.domain, detail.as_str(), report.checked_at);
        self.events.emit(event.with_subject(subject.clone()));
        match change.change.is_alarming() {
            true => self.alert(customer, report, subject, detail),
            false if self.events.is_open(&subject) => self.events.resolve(&subject, detail),
            false => tracing::info!(customer = %customer.id, "{detail}"),
        }
    }

    fn alert(&self, customer: &Customer, report: &Report, subject: Subject, detail: String) {
        let alert = Event { at: report.checked_at, ..Event::alert(detail) };
        self.events.emit(alert.with_subject(subject).about_customer(&customer.id));
    }
}

/// Returns true if a customer has the domain of a step such as `test.dk/spf`.
fn is_configured(directory: &Directory, step: &str) -> bool {
    let domain = step.split('/').next().unwrap_or_default();
    Domain::parse(domain).is_ok_and(|domain| directory.by_domain(&domain).is_some())
}

/// Returns true if the requirement of a step such as `test.dk/spf` is verified, and its record is there.
fn is_in_order(states: &HashMap<Domain, DomainState>, step: &str) -> bool {
    let Some((domain, requirement)) = step.split_once('/') else { return false };
    let state = Domain::parse(domain).ok().and_then(|domain| states.get(&domain));
    let known = state.and_then(|state| state.requirements.get(requirement));
    known.is_some_and(|known| known.verified && known.vanished.is_none())
}

/// Waits for the next change of what nodes share. Never ends where they share nothing.
async fn changed(kept: &mut Option<database::Changes>) {
    match kept {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

fn is_owner(directory: &Directory, customer: &CustomerId, domain: &Domain) -> bool {
    directory.by_domain(domain).is_some_and(|owner| owner.id == *customer)
}

/// Without an HTTP client no domain can be registered, and the accepted domains stay as they were.
fn registrar(made: io::Result<Registrar>) -> Option<Registrar> {
    made.inspect_err(|error| tracing::error!("domains cannot be registered with Mailjet: {error}")).ok()
}

/// Returns a random number from -1 to 1.
fn at_random() -> f64 {
    rand::random::<f64>() * 2.0 - 1.0
}

#[cfg(test)]
mod tests;
