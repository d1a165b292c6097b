//! What is known of a domain over time: since when each requirement is verified, what vanished, what changed when. One JSON
//! file a domain below `<state_dir>/onboarding/domains`, written whole beside the old one and renamed over it.
//!
//! | seen now | it was never verified | it is verified | it vanished |
//! |---|---|---|---|
//! | verified | verified from now on | nothing changes | back: as if it had never been away |
//! | missing | stays missing | vanished: alert, and the grace time begins | grace over: lost, alert |
//! | unknown | nothing changes | nothing changes | nothing changes, the grace time does not end |
//!
//! A file of a version this program does not know, or that cannot be read, is an error and is left alone: the domain then
//! counts as unverified until somebody looks.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::finding::Severity;
use super::verdict::{Report, Seen};
use super::{Item, Settings};
use crate::customers::{Requirement, VerificationStatus};
use crate::files;
use crate::message::CustomerId;
use crate::smtp::Domain;
use crate::time::Timestamp;

const VERSION: u32 = 1;

/// What is known of one domain. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainState {
    version: u32,
    /// Whose.
    pub customer: String,
    /// Which.
    pub domain: String,
    /// First check.
    pub first_checked: u64,
    /// Last check that was answered at least in part.
    pub last_checked: u64,
    /// Last time that something changed.
    pub last_changed: u64,
    /// By requirement: `ownership`, `spf`, `dkim`, `dmarc`.
    pub requirements: BTreeMap<String, Known>,
    /// Oldest first.
    pub history: Vec<Change>,
}

/// What is known of one requirement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Counts as verified, the grace time included.
    pub verified: bool,
    /// Since when it counts, or does not.
    pub since: u64,
    /// When it vanished, while the grace time runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vanished: Option<u64>,
    /// Codes of what is wrong, as of the last check that was answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When.
    pub at: u64,
    /// `ownership`, `spf`, `dkim`, `dmarc`.
    pub requirement: String,
    /// What happened.
    pub change: ChangeKind,
    /// Codes of the faults behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// What happened to a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Seen in order for the first time, or again after it was lost.
    Verified,
    /// Was in order, is not now; still counts until the grace time ends.
    Vanished,
    /// In order again within the grace time.
    Returned,
    /// The grace time is over.
    Lost,
}

impl ChangeKind {
    /// As files and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Verified => "verified",
            ChangeKind::Vanished => "vanished",
            ChangeKind::Returned => "returned",
            ChangeKind::Lost => "lost",
        }
    }

    /// Whether a person must hear of it.
    pub fn is_alarming(self) -> bool {
        matches!(self, ChangeKind::Vanished | ChangeKind::Lost)
    }
}

impl StateError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            StateError::Io { path, .. } | StateError::Unreadable { path, .. } => path,
        }
    }
}

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not ours, or damaged.
    #[error("{}: {reason}; move the file away to start over with this domain", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl DomainState {
    /// Nothing is known yet.
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
        }
    }

    /// What counts as verified.
    pub fn status(&self) -> VerificationStatus {
        let known = |r: &Requirement| self.requirements.get(r.as_str()).is_some_and(|known| known.verified);
        Requirement::ALL.into_iter().filter(known).fold(VerificationStatus::default(), VerificationStatus::with)
    }

    /// Whether any requirement is missing or has vanished.
    pub fn is_incomplete(&self) -> bool {
        Requirement::ALL
            .iter()
            .any(|r| self.requirements.get(r.as_str()).is_none_or(|known| !known.verified || known.vanished.is_some()))
    }

    /// Takes a report in and says what changed. Pure: see the table above.
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

    /// When to look again: soon while the customer is likely to be working on it. `at_random` is from -1 to 1.
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

/// `every`, longer or shorter by up to `share` of it.
pub(super) fn jittered(every: Duration, share: f64, at_random: f64) -> Duration {
    every.mul_f64((1.0 + share.clamp(0.0, 1.0) * at_random.clamp(-1.0, 1.0)).max(0.0))
}

/// One requirement's step.
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
        // The clock was ahead when it vanished: a grace time that begins later would last until then.
        (Seen::Missing, true, Some(vanished)) if vanished > now => {
            known.vanished = Some(now);
            None
        }
        (Seen::Missing, true, Some(vanished))
            if Timestamp::from_millis(now).since(Timestamp::from_millis(vanished)) >= grace =>
        {
            *known = Known { verified: false, since: now, ..Known::default() };
            Some(ChangeKind::Lost)
        }
        _ => None,
    }
}

/// Codes of the faults of one requirement.
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

/// The directory with all domains' states.
#[derive(Clone, Debug)]
pub struct Store {
    /// The onboarding directory, which it lies in.
    parent: PathBuf,
    dir: PathBuf,
}

impl Store {
    /// Below the onboarding directory. Nothing is made before the first write.
    pub fn new(settings: &Settings) -> Self {
        Store { parent: settings.state_dir.clone(), dir: settings.state_dir.join("domains") }
    }

    fn path(&self, domain: &Domain) -> PathBuf {
        self.dir.join(format!("{domain}.json"))
    }

    /// A domain's state; `None` where it was never checked.
    pub fn load(&self, domain: &Domain) -> Result<Option<DomainState>, StateError> {
        self.in_dir(|| read(&self.path(domain)))
    }

    fn in_dir<T: Send>(&self, work: impl FnOnce() -> Result<T, StateError> + Send) -> Result<T, StateError> {
        let placed = files::in_state(&[&self.parent, &self.dir], || Ok::<_, io::Error>(work()));
        placed.map_err(|source| StateError::Io { path: self.dir.clone(), source })?
    }

    /// Reads, changes and writes one state, under a lock: a command and the running relay may do so at once.
    pub fn update<T: Send>(
        &self,
        domain: &Domain,
        change: impl FnOnce(Option<DomainState>) -> (DomainState, T) + Send,
    ) -> Result<T, StateError> {
        self.in_dir(|| self.update_here(domain, change))
    }

    fn update_here<T>(
        &self,
        domain: &Domain,
        change: impl FnOnce(Option<DomainState>) -> (DomainState, T),
    ) -> Result<T, StateError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        files::make_private_dir(&self.dir).map_err(io(&self.dir))?;
        let lock_path = self.dir.join(".lock");
        let lock = files::lock_file(&lock_path).map_err(io(&lock_path))?;
        lock.lock().map_err(io(&lock_path))?;
        let path = self.path(domain);
        let (state, result) = change(read(&path)?);
        write(&path, &state).map_err(io(&path))?;
        Ok(result)
    }

    /// The states of these domains, as far as they were ever checked. Files that cannot be read are reported beside.
    pub fn load_all(&self, domains: &[(CustomerId, Domain)]) -> (HashMap<Domain, DomainState>, Vec<StateError>) {
        let mut states = HashMap::new();
        let mut errors = Vec::new();
        for (customer, domain) in domains {
            match self.load(domain) {
                // A domain that has moved to another customer starts over: its token is another one.
                Ok(Some(state)) if state.customer == customer.as_str() => {
                    states.insert(domain.clone(), state);
                }
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
        }
        (states, errors)
    }

    /// Takes a report in and keeps the result.
    pub fn record(
        &self,
        customer: &CustomerId,
        report: &Report,
        settings: &Settings,
    ) -> Result<(DomainState, Vec<Change>), StateError> {
        self.update(&report.domain, |state| {
            let mut state = state
                .filter(|state| state.customer == customer.as_str())
                .unwrap_or_else(|| DomainState::new(customer, &report.domain, report.checked_at));
            let changes = state.apply(report, settings);
            (state.clone(), (state, changes))
        })
    }
}

fn read(path: &Path) -> Result<Option<DomainState>, StateError> {
    let unreadable = |reason: String| StateError::Unreadable { path: path.to_owned(), reason };
    let text = match files::read_state(path).map(files::without_mark) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Io { path: path.to_owned(), source }),
    };
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let version = serde_json::from_slice::<Versioned>(&text).map_err(|error| unreadable(error.to_string()))?.version;
    if version != VERSION {
        return Err(unreadable(format!("version {version}, and this postbud knows version {VERSION}")));
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(error.to_string()))
}

/// Writes a JSON file whole: a crash leaves the old one or the new one.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    files::replace(path, &text)
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
        let (states, errors) = store.load_all(&[(customer.clone(), domain.clone())]);
        assert!(states[&domain].status().has(Requirement::Spf) && errors.is_empty());
        let other = CustomerId::new("other");
        assert!(store.load_all(&[(other, domain.clone())]).0.is_empty(), "another customer starts over");

        std::fs::write(store.path(&domain), "{\"version\": 9}").unwrap();
        assert!(store.record(&customer, &report(6, Seen::Verified), &settings).is_err());
        assert_eq!(std::fs::read_to_string(store.path(&domain)).unwrap(), "{\"version\": 9}");
    }
}
