//! The state of a domain over time: since when each requirement is verified, which records vanished, and when each change happened. Each
//! domain has one JSON file in `<state_dir>/onboarding/domains`, which is replaced as a whole, or one row where nodes share the states.
//!
//! | seen now | not verified so far | verified | vanished |
//! |---|---|---|---|
//! | verified | becomes verified | nothing changes | returned: verified as before |
//! | missing | stays missing | vanished: alert, and the grace time begins | lost after the grace time: alert |
//! | unknown | nothing changes | nothing changes | nothing changes, and the grace time does not end |
//!
//! A file that cannot be read, or that has an unknown version, is an error and is not changed. After a restart its domain counts
//! as unverified until the file is moved away and the domain is checked again.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checker::{Report, Seen};
use super::finding::Severity;
use super::kept::Texts;
use super::{Item, Settings};
use crate::customers::{Requirement, VerificationStatus};
use crate::files;
use crate::message::CustomerId;
use crate::smtp::Domain;
use crate::time::Timestamp;

const VERSION: u32 = 1;

/// The state of one domain. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainState {
    version: u32,
    /// The id of the customer who had the domain at the last check.
    pub customer: String,
    /// The domain that the state is about.
    pub domain: String,
    /// The time of the first check.
    pub first_checked: u64,
    /// The time of the last check that got at least one answer.
    pub last_checked: u64,
    /// The time of the last change.
    pub last_changed: u64,
    /// The state of each requirement: `ownership`, `spf`, `dkim`, `dmarc`.
    pub requirements: BTreeMap<String, Known>,
    /// The latest changes, the oldest first.
    pub history: Vec<Change>,
    /// The changes that no relay has reported yet. Empty, and not `None`, if a command has looked since and found none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreported: Option<Vec<Change>>,
}

/// The state of one requirement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// True if the requirement counts as verified, which it does until the grace time ends.
    pub verified: bool,
    /// The time since when `verified` has this value.
    pub since: u64,
    /// The time when the record vanished, while the grace time runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vanished: Option<u64>,
    /// The codes of the faults that the last answered check found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// A change of one requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The time of the check that saw the change.
    pub at: u64,
    /// The requirement: `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: String,
    pub change: ChangeKind,
    /// The codes of the faults that caused the change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// What happened to a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is in order for the first time, or again after it was lost.
    Verified,
    /// It is no longer in order, but it counts as verified until the grace time ends.
    Vanished,
    /// It is in order again before the grace time has ended.
    Returned,
    /// The grace time has ended, and it no longer counts as verified.
    Lost,
}

impl ChangeKind {
    /// Returns the name used in files and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Verified => "verified",
            ChangeKind::Vanished => "vanished",
            ChangeKind::Returned => "returned",
            ChangeKind::Lost => "lost",
        }
    }

    /// Returns true if the change raises an alert.
    pub fn is_alarming(self) -> bool {
        matches!(self, ChangeKind::Vanished | ChangeKind::Lost)
    }
}

impl StateError {
    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        match self {
            StateError::Io { path, .. } | StateError::Unreadable { path, .. } => path,
        }
    }
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is damaged or has an unknown version.
    #[error("{}: {reason}; move the file away to start over with this domain", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
}

impl DomainState {
    /// Makes the state of a domain that was never checked.
    pub fn new(customer: &CustomerId, domain: &Domain, now: Timestamp) -> Self {
        DomainState {
            version: VERSION,
            customer: customer.to_string(),
            domain: domain.to_string(),
            first_checked: now.as_millis(),
            last_checked: now.as_millis(),
            last_changed: now.as_millis(),
            requirements: BTreeMap::new(),
            history: Vec::new(),
            unreported: None,
        }
    }

    /// Returns the requirements that count as verified.
    pub fn status(&self) -> VerificationStatus {
        let known = |r: &Requirement| self.requirements.get(r.as_str()).is_some_and(|known| known.verified);
        Requirement::ALL.into_iter().filter(known).fold(VerificationStatus::default(), VerificationStatus::with)
    }

    /// Returns what counted as verified before these changes.
    pub fn status_before(&self, changes: &[Change]) -> VerificationStatus {
        let was_verified = |requirement: &Requirement| {
            let of = |change: &&Change| change.requirement == requirement.as_str();
            // Neither of the other changes alters what counts.
            let first = changes.iter().filter(of).find_map(|change| match change.change {
                ChangeKind::Verified => Some(false),
                ChangeKind::Lost => Some(true),
                ChangeKind::Vanished | ChangeKind::Returned => None,
            });
            first.unwrap_or_else(|| self.status().has(*requirement))
        };
        Requirement::ALL.into_iter().filter(was_verified).fold(VerificationStatus::default(), VerificationStatus::with)
    }

    /// Returns true if any requirement is missing or has vanished.
    pub fn is_incomplete(&self) -> bool {
        Requirement::ALL
            .iter()
            .any(|r| self.requirements.get(r.as_str()).is_none_or(|known| !known.verified || known.vanished.is_some()))
    }

    /// Updates the state with a report, by the table at the top of this module, and returns what changed. Writes nothing to disk.
    pub fn apply(&mut self, report: &Report, settings: &Settings) -> Vec<Change> {
        let now = report.checked_at.as_millis();
        let mut changes = Vec::new();
        for requirement in Requirement::ALL {
            let seen = report.seen(requirement);
            if seen == Seen::Unknown {
                continue;
            }
            self.last_checked = now;
            let faults = if seen == Seen::Missing { codes(report, requirement) } else { Vec::new() };
            let name = requirement.as_str().to_owned();
            let known =
                self.requirements.entry(name.clone()).or_insert_with(|| Known { since: now, ..Known::default() });
            let change = step(known, seen, now, settings.grace);
            known.faults.clone_from(&faults);
            if let Some(change) = change {
                changes.push(Change { at: now, requirement: name, change, faults });
            }
        }
        if !changes.is_empty() {
            self.last_changed = now;
            self.history.extend(changes.iter().cloned());
            let surplus = self.history.len().saturating_sub(settings.history);
            self.history.drain(..surplus);
        }
        changes
    }

    /// Updates the state with a report, and returns all changes that are not reported, as many as the history keeps.
    fn apply_and_leave(&mut self, report: &Report, settings: &Settings) -> Vec<Change> {
        let mut changes = self.unreported.take().unwrap_or_default();
        changes.extend(self.apply(report, settings));
        changes.drain(..changes.len().saturating_sub(settings.history));
        changes
    }

    /// Removes changes from the unreported ones.
    pub(super) fn forget_reported(&mut self, changes: &[Change]) {
        let left = self.unreported.take().unwrap_or_default();
        let left: Vec<Change> = left.into_iter().filter(|change| !changes.contains(change)).collect();
        self.unreported = (!left.is_empty()).then_some(left);
    }

    /// Returns the time of the next check, which is soon while the customer is probably working on the domain. `at_random` is from -1
    /// to 1.
    pub fn next_check(&self, settings: &Settings, at_random: f64) -> Timestamp {
        let last_checked = Timestamp::from_millis(self.last_checked);
        let idle = last_checked.since(Timestamp::from_millis(self.last_changed));
        let every = match self.is_incomplete() && idle <= settings.incomplete_is_recent_for {
            true => settings.check_every_while_incomplete,
            false => settings.check_every,
        };
        last_checked + jittered(every, settings.jitter, at_random)
    }
}

/// Makes an interval longer or shorter by up to `share` of it.
pub(super) fn jittered(every: Duration, share: f64, at_random: f64) -> Duration {
    every.mul_f64((1.0 + share.clamp(0.0, 1.0) * at_random.clamp(-1.0, 1.0)).max(0.0))
}

/// Updates the state of one requirement by the table at the top of this module.
fn step(known: &mut Known, seen: Seen, now: u64, grace: Duration) -> Option<ChangeKind> {
    match (seen, known.verified, known.vanished) {
        (Seen::Unknown, ..) => None,
        (Seen::Verified, false, _) => {
            *known = Known { verified: true, since: now, ..Known::default() };
            Some(ChangeKind::Verified)
        }
        (Seen::Verified, true, Some(_)) => {
            known.vanished = None;
            Some(ChangeKind::Returned)
        }
        (Seen::Missing, true, None) => {
            known.vanished = Some(now);
            Some(ChangeKind::Vanished)
        }
        (Seen::Missing, true, Some(vanished)) => {
            // If the clock was ahead when it vanished, the grace time begins now.
            let (vanished, at) = (Timestamp::from_millis(vanished), Timestamp::from_millis(now));
            let vanished = vanished.believed(at, at);
            known.vanished = Some(vanished.as_millis());
            (at.since(vanished) >= grace).then(|| {
                *known = Known { verified: false, since: now, ..Known::default() };
                ChangeKind::Lost
            })
        }
        _ => None,
    }
}

/// Returns the codes of the faults of one requirement.
fn codes(report: &Report, requirement: Requirement) -> Vec<String> {
    let item = match requirement {
        Requirement::Ownership => Item::Ownership,
        Requirement::Spf => Item::Spf,
        Requirement::Dkim => Item::Dkim,
        Requirement::Dmarc => Item::Dmarc,
    };
    let faults = report.check(item).into_iter().flat_map(|check| &check.findings);
    faults
        .filter(|finding| finding.severity() == Severity::Fault)
        .filter_map(|finding| serde_json::to_value(finding).ok()?.get("code")?.as_str().map(str::to_owned))
        .collect()
}

/// The states of all domains: a file each, or a row each where nodes share them.
#[derive(Clone, Debug)]
pub struct Store(Texts);

impl Store {
    /// Uses the directory below the onboarding directory, or the shared tables.
    pub fn new(settings: &Settings) -> Self {
        Store(Texts::new("domains", settings.state_dir.clone(), settings.shared.clone()))
    }

    /// Loads the state of a domain. Returns `None` if the domain was never checked.
    pub fn load(&self, domain: &Domain) -> Result<Option<DomainState>, StateError> {
        let path = self.0.place(domain);
        match self.0.read(domain) {
            Ok(text) => text.map(|text| read(&path, &text)).transpose(),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Reads, changes and writes one state, under a lock, because a command and the running relays may all do so.
    pub fn update<T: Send>(
        &self,
        domain: &Domain,
        change: impl FnOnce(Option<DomainState>) -> (DomainState, T) + Send,
    ) -> Result<T, StateError> {
        let path = self.0.place(domain);
        let changed = self.0.change(domain, |text| {
            let (state, result) = change(text.map(|text| read(&path, &text)).transpose().map_err(NotUpdated::State)?);
            Ok::<_, NotUpdated>((written(&state)?, result))
        });
        changed.map_err(|error| match error {
            NotUpdated::Io(source) => StateError::Io { path: path.clone(), source },
            NotUpdated::State(error) => error,
        })
    }

    /// Loads the states of those domains that were checked for the same customer. Also returns the errors of files that cannot be read.
    pub fn load_all(
        &self,
        domains: &[(CustomerId, Domain)],
    ) -> io::Result<(HashMap<Domain, DomainState>, Vec<StateError>)> {
        let mut states = HashMap::new();
        let mut errors = Vec::new();
        // One question for all rows, where nodes share them.
        let rows = self.0.read_rows()?;
        for (customer, domain) in domains {
            let loaded = match rows.get(domain.as_str()) {
                Some(text) => read(&self.0.place(domain), text).map(Some),
                None => self.load(domain),
            };
            match loaded {
                // If a domain moves to another customer, its state starts over, because its ownership token differs.
                Ok(Some(state)) if state.customer == customer.as_str() => {
                    states.insert(domain.clone(), state);
                }
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
        Ok((states, errors))
    }

    /// Updates the state of a domain with a report and writes it to disk. Returns the changes that the caller must report, also those that a
    /// command has found before. They stay unreported on disk until [`reported`](Self::reported).
    pub fn record(
        &self,
        customer: &CustomerId,
        report: &Report,
        settings: &Settings,
    ) -> Result<(DomainState, Vec<Change>), StateError> {
        self.change(customer, report, |state| {
            let changes = state.apply_and_leave(report, settings);
            state.unreported = (!changes.is_empty()).then(|| changes.clone());
            (state.clone(), changes)
        })
    }

    /// Updates the state of a domain with a report of a command, and leaves it to a relay to report the changes.
    pub fn leave(&self, customer: &CustomerId, report: &Report, settings: &Settings) -> Result<(), StateError> {
        self.change(customer, report, |state| state.unreported = Some(state.apply_and_leave(report, settings)))
    }

    fn change<T: Send>(
        &self,
        customer: &CustomerId,
        report: &Report,
        change: impl FnOnce(&mut DomainState) -> T + Send,
    ) -> Result<T, StateError> {
        self.update(&report.domain, |state| {
            let mut state = state
                .filter(|state| state.customer == customer.as_str())
                .unwrap_or_else(|| DomainState::new(customer, &report.domain, report.checked_at));
            let result = change(&mut state);
            (state, result)
        })
    }

    /// Removes changes from the unreported ones, once they are reported.
    pub fn reported(&self, customer: &CustomerId, domain: &Domain, changes: &[Change]) -> Result<(), StateError> {
        self.update(domain, |state| {
            let mut state = state.unwrap_or_else(|| DomainState::new(customer, domain, Timestamp::now()));
            if state.customer == customer.as_str() {
                state.forget_reported(changes);
            }
            (state, ())
        })
    }
}

/// Why a state was not updated.
enum NotUpdated {
    Io(io::Error),
    State(StateError),
}

impl From<io::Error> for NotUpdated {
    fn from(error: io::Error) -> Self {
        NotUpdated::Io(error)
    }
}

fn read(path: &Path, text: &[u8]) -> Result<DomainState, StateError> {
    let unreadable = |reason: String| StateError::Unreadable { path: path.to_owned(), reason };
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let version = serde_json::from_slice::<Versioned>(text).map_err(|error| unreadable(error.to_string()))?.version;
    if version != VERSION {
        return Err(unreadable(format!("version {version}, and this postbud knows version {VERSION}")));
    }
    serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))
}

/// A value as JSON, as a person reads it.
pub(super) fn written<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// Replaces a JSON file. After a crash the file is either the old one or the new one.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    files::replace(path, &written(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::finding::{Check, Finding, Need};
    use crate::resolver;

    fn report(at_secs: u64, spf: Seen) -> Report {
        let mut check = Check::new(Item::Spf, Need::Required);
        check.say(match spf {
            Seen::Verified => Finding::SpfPasses { ip: "40.74.40.57".into(), lookups: 1 },
            Seen::Missing => Finding::SpfMissing { domain: "test.dk".into() },
            Seen::Unknown => Finding::Unanswered { reason: resolver::Error::Name("x".into()) },
        });
        Report {
            customer: "test-as".into(),
            domain: Domain::parse("test.dk").unwrap(),
            checked_at: Timestamp::from_millis(at_secs * 1000),
            checks: vec![check],
        }
    }

    fn settings() -> Settings {
        Settings { grace: Duration::from_secs(100), jitter: 0.0, history: 3, ..Settings::default() }
    }

    fn run(steps: &[(u64, Seen)]) -> (DomainState, Vec<(u64, ChangeKind)>) {
        let customer = CustomerId::new("test-as");
        let mut state = DomainState::new(&customer, &Domain::parse("test.dk").unwrap(), Timestamp::EPOCH);
        let mut changes = Vec::new();
        for (at, seen) in steps {
            changes.extend(state.apply(&report(*at, *seen), &settings()).into_iter().map(|c| (c.at / 1000, c.change)));
        }
        (state, changes)
    }

    #[test]
    fn a_vanished_record_counts_until_the_grace_time_ends() {
        let spf = |state: &DomainState| state.status().has(Requirement::Spf);
        let (state, changes) =
            run(&[(1, Seen::Missing), (2, Seen::Verified), (10, Seen::Missing), (109, Seen::Missing)]);
        assert_eq!(changes, [(2, ChangeKind::Verified), (10, ChangeKind::Vanished)]);
        assert!(spf(&state) && state.is_incomplete());
        let (state, changes) =
            run(&[(2, Seen::Verified), (10, Seen::Missing), (110, Seen::Missing), (111, Seen::Missing)]);
        assert_eq!(changes[1..], [(10, ChangeKind::Vanished), (110, ChangeKind::Lost)]);
        assert!(!spf(&state));
        let (state, changes) =
            run(&[(2, Seen::Verified), (10, Seen::Missing), (50, Seen::Verified), (200, Seen::Missing)]);
        assert_eq!(changes[2..], [(50, ChangeKind::Returned), (200, ChangeKind::Vanished)]);
        assert!(spf(&state));
    }

    #[test]
    fn a_resolver_failure_changes_nothing_for_however_long() {
        let (before, _) = run(&[(2, Seen::Verified)]);
        let (after, changes) = run(&[(2, Seen::Verified), (50, Seen::Unknown), (1_000_000, Seen::Unknown)]);
        assert_eq!((after, changes.len()), (before, 1));
        let (state, changes) = run(&[(2, Seen::Verified), (10, Seen::Missing), (5000, Seen::Unknown)]);
        assert_eq!(changes.len(), 2);
        assert!(state.status().has(Requirement::Spf), "only an answer can end the grace time");
    }

    #[test]
    fn history_is_bounded_and_keeps_the_newest() {
        let steps: Vec<_> = (0..20).map(|i| (i, if i % 2 == 0 { Seen::Verified } else { Seen::Missing })).collect();
        let (state, changes) = run(&steps);
        assert_eq!(changes.len(), 20);
        assert_eq!(state.history.iter().map(|c| c.at / 1000).collect::<Vec<_>>(), [17, 18, 19]);
    }

    #[test]
    fn the_pace_is_fast_only_while_incomplete_and_recent() {
        let settings = settings();
        let pace =
            |state: &DomainState| state.next_check(&settings, 0.0).since(Timestamp::from_millis(state.last_checked));
        let (recent, _) = run(&[(10, Seen::Missing)]);
        assert_eq!(pace(&recent), settings.check_every_while_incomplete);
        let long = settings.incomplete_is_recent_for.as_secs() + 11;
        let (stale, _) = run(&[(10, Seen::Missing), (long, Seen::Missing)]);
        assert_eq!(pace(&stale), settings.check_every);
        let mut complete = recent;
        for requirement in Requirement::ALL {
            complete.requirements.insert(requirement.to_string(), Known { verified: true, ..Known::default() });
        }
        assert_eq!(pace(&complete), settings.check_every);
        assert_eq!(jittered(Duration::from_secs(100), 0.2, -1.0), Duration::from_secs(80));
        assert_eq!(jittered(Duration::from_secs(100), 0.2, 0.5), Duration::from_secs(110));
    }

    #[test]
    fn files_survive_and_strange_ones_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { state_dir: dir.path().to_owned(), ..settings() };
        let store = Store::new(&settings);
        let customer = CustomerId::new("test-as");
        let domain = Domain::parse("test.dk").unwrap();
        assert!(store.load(&domain).unwrap().is_none());
        let (state, changes) = store.record(&customer, &report(5, Seen::Verified), &settings).unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(store.load(&domain).unwrap(), Some(state));
        let (states, errors) = store.load_all(&[(customer.clone(), domain.clone())]).unwrap();
        assert!(states[&domain].status().has(Requirement::Spf) && errors.is_empty());
        let other = CustomerId::new("other");
        assert!(store.load_all(&[(other, domain.clone())]).unwrap().0.is_empty(), "another customer starts over");

        std::fs::write(store.0.place(&domain), "{\"version\": 9}").unwrap();
        assert!(store.record(&customer, &report(6, Seen::Verified), &settings).is_err());
        assert_eq!(std::fs::read_to_string(store.0.place(&domain)).unwrap(), "{\"version\": 9}");
    }
}
