//! Looks at every customer's domains again and again, keeps what it saw, and tells the rest of the relay: [`Routing`] for
//! the tier and the bulk policy, an alert where something that worked is gone.
//!
//! A domain is due at the time its state says (see [`DomainState::next_check`](super::state::DomainState::next_check)). A few
//! are checked at once, each within its own time, and which one comes next is the [`agenda`]'s to say: a domain whose name
//! servers are slow delays no other customer's. A reload ([`Monitor::settings`]) ends the status of a domain that is another
//! customer's now; its settings hold for every check that begins after it.
//! If results cannot be kept, an alert says so and the status as seen is used all the same, until a later one is kept.
//!
//! What is checked was written by strangers. The checks run on a thread of their own ([`Monitor::start`]), so that none of it
//! can take time from the threads that move mail.

mod agenda;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use self::agenda::{Agenda, Due};
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
    agenda: Agenda,
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
            agenda: Agenda::default(),
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

    /// Runs the checks on a thread of their own until `stop`; gives what ends when they have stopped.
    pub fn start(self, stop: CancellationToken) -> io::Result<oneshot::Receiver<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (running, stopped) = oneshot::channel();
        std::thread::Builder::new().name("onboarding".to_owned()).spawn(move || {
            runtime.block_on(self.run(stop));
            // A write that hangs is not waited for.
            runtime.shutdown_background();
            drop(running);
        })?;
        Ok(stopped)
    }

    /// Runs until `stop`. Checks under way are dropped: they have changed nothing.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let looked_at = Timestamp::now();
            let look_again = tokio::select! {
                () = stop.cancelled() => return,
                next = self.look_around(looked_at) => tokio::time::sleep(next.since(looked_at).min(LONGEST_SLEEP)),
            };
            tokio::pin!(look_again);
            loop {
                self.begin(Timestamp::now());
                tokio::select! {
                    () = stop.cancelled() => return,
                    (due, checked) = self.agenda.done() => self.finish(&due, checked).await,
                    () = &mut look_again => break,
                    _ = self.reloaded.changed() => {
                        self.publish();
                        break;
                    }
                }
            }
        }
    }

    /// Checks every domain that is due at `now`; gives how many.
    pub async fn round(&mut self, now: Timestamp) -> usize {
        self.look_around(now).await;
        let count = self.agenda.len();
        self.begin(now);
        while !self.agenda.is_empty() {
            let (due, checked) = self.agenda.done().await;
            self.finish(&due, checked).await;
            self.begin(now);
        }
        count
    }

    /// Takes in new settings and what the disk says, and puts what is due at `now` on the agenda; gives when the next domain is
    /// due that is not on it.
    async fn look_around(&mut self, now: Timestamp) -> Timestamp {
        self.checker.settings = Arc::clone(&self.reloaded.borrow_and_update());
        let (store, domains) = (self.store.clone(), self.domains());
        match tokio::task::spawn_blocking(move || store.load_all(&domains)).await {
            Ok(read) => self.absorb(read),
            Err(error) => tracing::error!("reading the verdicts broke off: {error}"),
        }
        // Jitter doubles an interval at most. What is due later than that was reckoned by a clock that was wrong.
        let settings = &self.checker.settings;
        let latest = now + settings.check_every.max(settings.check_every_while_incomplete).saturating_mul(2);
        let is_due = |domain: &Domain| self.watched.get(domain).is_none_or(|it| it.due <= now || it.due > latest);
        let directory = self.routing.directory();
        let all = directory
            .customers()
            .flat_map(|customer| customer.domains.keys().map(move |domain| (Arc::clone(customer), domain.clone())));
        self.agenda.put(all.filter(|(_, domain)| is_due(domain)).map(|(customer, domain)| Due { customer, domain }));
        self.watched.values().map(|watched| watched.due).filter(|due| *due > now).min().unwrap_or(Timestamp::NEVER)
    }

    /// Begins as many checks as there may be at once.
    fn begin(&mut self, now: Timestamp) {
        let (checker, directory) = (&self.checker, self.routing.directory());
        self.agenda.begin(|Due { customer, domain }| {
            let (checker, directory) = (checker.clone(), Arc::clone(&directory));
            async move { checker.check(&directory, &customer, &domain, now).await }
        });
    }

    async fn finish(&mut self, due: &Due, checked: Result<Report, JoinError>) {
        match checked {
            Ok(report) => self.take(&due.customer, &report).await,
            Err(error) => {
                tracing::error!(customer = %due.customer.id, "the check of {} broke off: {error}", due.domain);
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
mod tests;
