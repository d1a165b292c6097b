//! The monitor checks all customers' domains periodically and stores their verification status. It gives the status to
//! [`Routing`], which uses it for tiers and for the bulk policy, and it raises an alert if something that worked is gone.
//!
//! [`DomainState::next_check`](super::state::DomainState::next_check) says when a domain is due. A few domains are checked at the
//! same time, each with its own time limit. The `agenda` chooses the next one, so that slow name servers of one customer do not
//! delay the checks of other customers. After a reload ([`Monitor::settings`]) a domain that has moved to another customer loses
//! its status, and every check that begins later uses the new settings. If a status cannot be written to disk, the monitor raises
//! an alert and still uses the status in memory.
//!
//! `postbud domain check` stores what it finds, and reports nothing. The monitor reports it when it reads it, or at the next start. Its own
//! changes are on disk as unreported, too, until the event log has them (`telling`).
//!
//! After each check the registration in Mailjet's accounts is continued ([`Registrar`]). [`Routing`] gets the list of tiers that accept the
//! domain's mail.
//!
//! The checks read records and files that strangers control. They run on their own thread ([`Monitor::start`]), so that they cannot
//! take time from the threads that process mail.

mod agenda;
mod announce;
mod results;
mod telling;

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use self::agenda::{Agenda, Due};
use self::telling::Telling;
use super::checker::{Checker, Report};
use super::counters::Counters;
use super::kept::Shared;
use super::mailjet::{Pace, Registrar};
use super::settings::Settings;
use super::state::{Change, DomainState, Store};
use crate::customers::{Customer, Routing, VerificationStatus};
use crate::database;
use crate::events::{Events, Subject};
use crate::message::CustomerId;
use crate::route::RouteId;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The longest sleep of the monitor. After it the monitor reads what `postbud domain check` has written.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The same, if several nodes share the states and one of them checks.
const LOOK_FOR_LEAD: Duration = Duration::from_secs(5);
/// How long to wait for more changes after another node has stored one.
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
    /// The routes that domains had before this relay used what a command has found of them and no relay has reported.
    left: HashMap<Domain, Option<RouteId>>,
    /// The unreadable files for which an alert was raised.
    unreadable: HashSet<Subject>,
    agenda: Agenda,
    telling: Telling,
    registrar: Option<Registrar>,
    /// The channel for reports of requested checks: its receiving and its sending end.
    looked: mpsc::Receiver<Looked>,
    looks: mpsc::Sender<Looked>,
    /// Receives each change, if there is a receiver.
    changes: Option<mpsc::Sender<Changed>>,
    /// Returns true if this node is the one that checks.
    leads: Box<dyn Fn() -> bool + Send>,
    /// True if `leads` returned true at the last look.
    led: bool,
    /// Announces what other nodes have stored, where they share the states.
    stored: Option<database::Changes>,
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
            left: HashMap::new(),
            unreadable: HashSet::new(),
            agenda: Agenda::default(),
            telling: Telling::default(),
            registrar,
            looked,
            looks,
            changes: None,
            leads: Box::new(|| true),
            led: true,
            stored: None,
        };
        monitor.stored = monitor.checker.settings.shared.as_ref().map(Shared::changes);
        match monitor.store.load_all(&monitor.domains()) {
            Ok(read) => monitor.apply_stored(read, Which::All),
            Err(error) => tracing::error!("the domains' verification status cannot be read: {error}"),
        }
        monitor
    }

    /// Checks only while `leads` returns true. One of several nodes checks, and the others use its results.
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
        let (changes, receiver) = mpsc::channel(CHANGES_AT_ONCE);
        self.changes = Some(changes);
        receiver
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
                next = self.plan(looked_at, std::mem::take(&mut which)) => tokio::time::sleep(next.since(looked_at).min(self.longest_sleep())),
            };
            tokio::pin!(look_again);
            loop {
                self.begin(Timestamp::now());
                tokio::select! {
                    () = stop.cancelled() => return,
                    (due, checked) = self.agenda.done() => {
                        self.finish(&due, checked).await;
                        self.wake_for(&due.domain, look_again.as_mut());
                    }
                    Some(told) = self.telling.next(), if !self.telling.is_empty() => self.told(told),
                    Some(Looked { customer, report, kept }) = self.looked.recv() => {
                        // The sender may be gone.
                        let _ = kept.send(self.apply_report(&customer, &report).await);
                        self.wake_for(&report.domain, look_again.as_mut());
                    }
                    () = &mut look_again => break,
                    () = changed(&mut self.stored) => {
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

    /// Shortens a sleep that would end after the next check of a domain.
    fn wake_for(&self, domain: &Domain, sleep: Pin<&mut Sleep>) {
        let Some(watched) = self.watched.get(domain) else { return };
        let due = tokio::time::Instant::now() + watched.due.since(Timestamp::now());
        if due < sleep.deadline() {
            sleep.reset(due);
        }
    }

    /// Where several nodes share the states, each looks often whether it is now the one that checks.
    fn longest_sleep(&self) -> Duration {
        if self.checker.settings.shared.is_some() { LOOK_FOR_LEAD } else { LONGEST_SLEEP }
    }

    /// Checks every domain that is due at `now` and returns their number.
    pub async fn round(&mut self, now: Timestamp) -> usize {
        self.plan(now, Which::All).await;
        let count = self.agenda.len();
        self.begin(now);
        while !self.agenda.is_empty() {
            let (due, checked) = self.agenda.done().await;
            self.finish(&due, checked).await;
            self.begin(now);
        }
        while let Some(told) = self.telling.next().await {
            self.told(told);
        }
        count
    }

    /// Reads new settings and the states on disk, and puts the domains that are due at `now` on the agenda. Returns the time at which the
    /// next other domain is due.
    async fn plan(&mut self, now: Timestamp, which: Which) -> Timestamp {
        self.take_settings();
        let (store, mut domains) = (self.store.clone(), self.domains());
        if which == Which::New {
            domains.retain(|(owner, domain)| self.watched.get(domain).is_none_or(|it| it.owner != *owner));
        }
        match tokio::task::spawn_blocking(move || store.load_all(&domains)).await {
            Ok(Ok(read)) => self.apply_stored(read, which),
            // Use the known states until the database answers.
            Ok(Err(error)) => tracing::warn!("the domains' verification status cannot be read again: {error}"),
            Err(error) => tracing::error!("reading the domains' verification status failed: {error}"),
        }
        let leads = (self.leads)();
        if !leads || !self.led {
            self.adopt_due_times();
        }
        self.led = leads;
        if !leads {
            return Timestamp::NEVER;
        }
        self.report_stored();
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

    /// Computes from the stored states when each domain is due. The checking node has written them, and this node may check next.
    fn adopt_due_times(&mut self) {
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

    /// Begins checks until the maximum number of checks runs.
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
                    return Ok(checker.check(&directory, &customer, &domain, now).await);
                };
                let checker = registrar.informed(checker, &directory, &customer, &domain, status)?;
                let mut report = checker.check(&directory, &customer, &domain, now).await;
                registrar.register(&directory, &customer, &mut report, Pace::Usual).await;
                Ok(report)
            }
        });
    }

    async fn finish(&mut self, due: &Due, checked: Result<Report, String>) {
        match checked {
            // A failure to store it raises an alert.
            Ok(report) => drop(self.apply_report(&due.customer, &report).await),
            Err(error) => {
                tracing::error!(customer = %due.customer.id, "the check of {} failed: {error}", due.domain);
                let again = Timestamp::now() + self.checker.settings.check_every_while_incomplete;
                let known = self.watched.get(&due.domain).filter(|it| it.owner == due.customer.id);
                let (status, unkept) = known.map(|it| (it.status, it.unkept)).unwrap_or_default();
                let moved = self.watch(&due.customer, &due.domain, again, status, unkept);
                moved.into_iter().for_each(|event| self.events.emit(event));
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
}

/// Waits for the next change of what nodes share. Never ends where they share nothing.
async fn changed(stored: &mut Option<database::Changes>) {
    match stored {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
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
