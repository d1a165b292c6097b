//! Applies results: reports of checks, and the states that other processes and nodes have stored.
//!
//! The new verification status goes to the disk and to [`Routing`](crate::customers::Routing). Changes are announced.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Monitor, Watched, Which, at_random};
use crate::customers::{Customer, Directory, Requirement, VerificationStatus};
use crate::events::{Event, Subject};
use crate::message::{CustomerId, Lane, MailKind, Urgency};
use crate::onboarding::checker::Report;
use crate::onboarding::finding::Item;
use crate::onboarding::state::{Change, DomainState, StateError, jittered};
use crate::route::RouteId;
use crate::smtp::Domain;
use crate::time::Timestamp;

impl Monitor {
    /// Forgets domains that are gone or have moved to another customer, and uses the newer states on disk, which `postbud domain check`
    /// may have written.
    pub(super) fn apply_stored(
        &mut self,
        (mut states, errors): (HashMap<Domain, DomainState>, Vec<StateError>),
        which: Which,
    ) {
        let directory = self.routing.directory();
        let was_known: HashSet<Domain> = self.watched.keys().cloned().collect();
        self.watched.retain(|domain, it| is_owner(&directory, &it.owner, domain));
        let file = |error: &StateError| Subject::CheckResultFile(error.path().display().to_string());
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
            Subject::CheckResultFile(_) if !unreadable.contains(subject) => Some("it is read again, or gone".into()),
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
        let is_unreported = |states: &HashMap<Domain, DomainState>, domain: &Domain| {
            states.get(domain).is_some_and(|state| state.unreported.is_some())
        };
        self.left.retain(|domain, _| is_unreported(&states, domain));
        for domain in states.keys().filter(|domain| is_unreported(&states, domain)) {
            let is_news = was_known.contains(domain) && !is_unreported(&self.states, domain);
            if let Some(customer) = directory.by_domain(domain).filter(|_| is_news) {
                let route = self.route_of(&lane(&customer.id, domain));
                self.left.entry(domain.clone()).or_insert(route);
            }
        }
        self.states = states;
        self.publish();
        self.show();
    }

    /// Reports changes that are stored and not reported: what commands have found, and what a relay had found that was killed before its
    /// events were in the log.
    pub(super) fn report_stored(&mut self) {
        let stored = |(domain, state): (&Domain, &DomainState)| {
            let unreported = state.unreported.as_deref()?;
            Some((domain.clone(), self.telling.fresh(domain, unreported)?))
        };
        let unreported: Vec<(Domain, Vec<Change>)> = self.states.iter().filter_map(stored).collect();
        for (domain, changes) in unreported {
            let Some(customer) = self.routing.directory().by_domain(&domain).cloned() else { continue };
            let left = self.left.remove(&domain);
            let Some(state) = self.states.get(&domain) else { continue };
            let (before, is_complete) = (state.status_before(&changes), !state.is_incomplete());
            let lane = lane(&customer.id, &domain);
            let left =
                left.unwrap_or_else(|| self.routing.resolve_with(&lane, before).ok().map(|route| route.id.clone()));
            let moved = self.route_moved(&lane, left, self.route_of(&lane), time_of(&changes));
            self.tell_of(&customer, &domain, changes, moved, is_complete);
        }
    }

    /// Reports changes: as events, as alerts, and to the writer of letters.
    fn tell_of(
        &mut self,
        customer: &Arc<Customer>,
        domain: &Domain,
        changes: Vec<Change>,
        moved: Option<Event<'static>>,
        is_complete: bool,
    ) {
        let told = changes.iter().map(|change| self.announce(customer, domain, change));
        let told = told.chain(moved).collect();
        self.tell(customer, domain, changes.clone(), told);
        let is_complete_now = is_complete && changes.iter().any(|change| !change.change.is_alarming());
        self.send_changes(customer, domain, changes, is_complete_now);
    }

    fn route_of(&self, lane: &Lane) -> Option<RouteId> {
        self.routing.resolve(lane).ok().map(|route| route.id.clone())
    }

    /// Stores a report and uses its result. Returns why it cannot be stored.
    pub(super) async fn apply_report(&mut self, customer: &Arc<Customer>, report: &Report) -> Result<(), String> {
        // A reload has moved the domain to another customer during the check, so discard the result.
        if !is_owner(&self.routing.directory(), &customer.id, &report.domain) {
            return Ok(());
        }
        self.counters.check(report);
        self.announce_accounts(customer, report);
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
                // If no name server answered, `last_checked` is unchanged, and the next check would be due at once. Wait at least one short interval.
                let soonest =
                    report.checked_at + jittered(settings.check_every_while_incomplete, settings.jitter, at_random());
                let due = state.next_check(&settings, at_random()).max(soonest);
                let is_known = self.watched.contains_key(&report.domain);
                let mut told: Vec<Event<'static>> =
                    self.watch(customer, &report.domain, due, state.status(), None).into_iter().collect();
                let kept = "its verification status can be written to disk again";
                self.events.resolve(&Subject::CheckResult(report.domain.to_string()), kept);
                let is_complete = !state.is_incomplete();
                let before = self.states.insert(report.domain.clone(), state);
                let is_complete_now = is_complete && before.is_none_or(|before| before.is_incomplete());
                let changes = self.telling.fresh(&report.domain, &changes).unwrap_or_default();
                told.extend(changes.iter().map(|change| self.announce(customer, &report.domain, change)));
                // Mailjet may accept the domain later than our own check does.
                if report.check(Item::MailjetAccount).is_some() {
                    told.extend(self.publish_one(customer, &report.domain, is_known, time_of(&changes)));
                }
                match changes.is_empty() {
                    true => told.into_iter().for_each(|event| self.events.emit(event)),
                    false => self.tell(customer, &report.domain, changes.clone(), told),
                }
                self.send_changes(customer, &report.domain, changes, is_complete_now);
                Ok(())
            }
            Err(error) => {
                self.counters.unkept.inc();
                let subject = Subject::CheckResult(report.domain.to_string());
                let detail = format!("the verification status of {} cannot be written to disk: {error}", report.domain);
                self.alert(customer, report.checked_at, subject, detail);
                let due = report.checked_at + settings.check_every_while_incomplete;
                let known = self.watched.get(&report.domain).filter(|it| it.owner == customer.id);
                let known = known.map(|it| it.status).unwrap_or_default();
                // Keep the verified requirements: without a state on disk the grace period cannot be measured.
                let seen = Requirement::ALL.into_iter().filter(|r| report.status().has(*r));
                let status = seen.fold(known, VerificationStatus::with);
                let moved = self.watch(customer, &report.domain, due, status, Some(report.checked_at));
                moved.into_iter().for_each(|event| self.events.emit(event));
                Err(error)
            }
        }
    }

    /// Sets when a domain is checked next, and its status. Returns the event that its mail takes another route by that.
    pub(super) fn watch(
        &mut self,
        customer: &Customer,
        domain: &Domain,
        due: Timestamp,
        status: VerificationStatus,
        unkept: Option<Timestamp>,
    ) -> Option<Event<'static>> {
        let watched = Watched { owner: customer.id.clone(), due, status, unkept };
        let before = self.watched.insert(domain.clone(), watched);
        // A domain that was never looked at has verified nothing.
        if before.as_ref().map(|it| it.status).unwrap_or_default() == status {
            return None;
        }
        self.publish_one(customer, domain, before.is_some(), Timestamp::now())
    }

    /// Gives all statuses, and the list of tiers that accept each domain, to routing.
    pub(super) fn publish(&self) {
        let directory = self.routing.directory();
        let watched = self.watched.iter().filter(|(domain, it)| is_owner(&directory, &it.owner, domain));
        self.routing.set_statuses(watched.map(|(domain, it)| (domain.clone(), it.status)).collect());
        let Some(registrar) = &self.registrar else { return };
        // No domain loses its tier because the database does not answer, or its file cannot be read.
        let (acceptance, errors) = registrar.acceptance(&directory, |domain| self.routing.accepted(domain));
        errors.iter().for_each(not_accepted);
        if !errors.is_empty() && self.checker.settings.shared.is_some() {
            return;
        }
        self.routing.set_acceptance(acceptance);
    }

    /// Gives the status of one domain, and the list of tiers that accept it, to routing. Returns the event if the domain's mail takes another
    /// route by that, unless the domain was not known before: a state that is read from disk at a start is no change of route.
    fn publish_one(
        &self,
        customer: &Customer,
        domain: &Domain,
        is_known: bool,
        at: Timestamp,
    ) -> Option<Event<'static>> {
        let lane = lane(&customer.id, domain);
        let left = self.route_of(&lane);
        self.give_to_routing(domain);
        if is_known { self.route_moved(&lane, left, self.route_of(&lane), at) } else { None }
    }

    fn give_to_routing(&self, domain: &Domain) {
        let directory = self.routing.directory();
        let watched = self.watched.get(domain).filter(|it| is_owner(&directory, &it.owner, domain));
        self.routing.set_status(domain, watched.map(|it| it.status));
        let Some(registrar) = self.registrar.as_ref().filter(|_| watched.is_some()) else { return };
        match registrar.accepted_of(domain) {
            Ok(accepted) => self.routing.set_accepted(domain, accepted),
            Err(error) => not_accepted(&error),
        }
    }
}

/// Returns the time of the last of some changes, so that an event about them is the same whenever it is made; now if there are none.
fn time_of(changes: &[Change]) -> Timestamp {
    changes.last().map_or_else(Timestamp::now, |change| Timestamp::from_millis(change.at))
}

/// The lane by which the route of a domain's mail is told.
fn lane(customer: &CustomerId, domain: &Domain) -> Lane {
    Lane { customer: customer.clone(), domain: domain.clone(), urgency: Urgency::Single, kind: MailKind::Mail }
}

fn not_accepted(error: &std::io::Error) {
    tracing::error!("which domains Mailjet's accounts have accepted cannot be read: {error}");
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

fn is_owner(directory: &Directory, customer: &CustomerId, domain: &Domain) -> bool {
    directory.by_domain(domain).is_some_and(|owner| owner.id == *customer)
}
