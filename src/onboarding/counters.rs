//! The metrics of onboarding: how many checks were made, what they saw, what DNS did not answer, what changed, and how many domains
//! are in each state.

use std::collections::HashMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::checker::Report;
use super::finding::Finding;
use super::state::{Change, DomainState};
use crate::customers::Requirement;
use crate::smtp::Domain;

/// The labels for what a check saw of a requirement.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SeenLabels {
    /// The requirement: `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: &'static str,
    /// What the check saw: `verified`, `missing` or `unknown`.
    pub seen: &'static str,
}

/// The labels for a change of a requirement.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ChangeLabels {
    /// The requirement: `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: String,
    /// The change: `verified`, `vanished`, `returned` or `lost`.
    pub change: &'static str,
}

/// The labels for the state of a requirement.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StateLabels {
    /// The requirement: `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: &'static str,
    /// The state: `verified`, `vanished` (counts as verified until the grace time ends), `missing` or `unchecked`.
    pub state: &'static str,
}

/// The metrics of onboarding. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// The checks of a domain that the running relay has made.
    pub checks: Counter,
    /// What these checks saw.
    pub seen: Family<SeenLabels, Counter>,
    /// The number of things that these checks could not see, because a name server did not answer in time.
    pub unanswered: Counter,
    /// The changes of requirements.
    pub changes: Family<ChangeLabels, Counter>,
    /// How often a verification status could not be written to disk.
    pub unkept: Counter,
    /// The number of state files that cannot be read at present.
    pub unreadable: Gauge,
    /// The number of domains in each state at present.
    pub domains: Family<StateLabels, Gauge>,
}

const STATES: [&str; 4] = ["verified", "vanished", "missing", "unchecked"];

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("onboarding_checks", "Checks of a domain made", self.checks.clone());
        registry.register("onboarding_seen", "What checks saw, by requirement", self.seen.clone());
        registry.register(
            "onboarding_unanswered",
            "Things that checks could not see because a name server did not answer",
            self.unanswered.clone(),
        );
        registry.register(
            "onboarding_changes",
            "Changes of domains' verification status, by requirement",
            self.changes.clone(),
        );
        registry.register(
            "onboarding_unkept",
            "Verification statuses that could not be written to disk",
            self.unkept.clone(),
        );
        registry.register(
            "onboarding_unreadable",
            "Verification status files that cannot be read",
            self.unreadable.clone(),
        );
        registry.register("onboarding_domains", "Domains by state, for each requirement", self.domains.clone());
    }

    /// Counts a check and what it saw.
    pub(super) fn check(&self, report: &Report) {
        self.checks.inc();
        for requirement in Requirement::ALL {
            let labels = SeenLabels { requirement: requirement.as_str(), seen: report.seen(requirement).as_str() };
            self.seen.get_or_create(&labels).inc();
        }
        let findings = report.checks.iter().flat_map(|check| &check.findings);
        let unanswered =
            findings.filter(|finding| matches!(finding, Finding::Unanswered { .. } | Finding::OutOfTime { .. }));
        self.unanswered.inc_by(unanswered.count() as u64);
    }

    /// Counts a change of a requirement.
    pub(super) fn change(&self, change: &Change) {
        let labels = ChangeLabels { requirement: change.requirement.clone(), change: change.change.as_str() };
        self.changes.get_or_create(&labels).inc();
    }

    /// Sets the number of domains in each state. A domain without a state was never checked.
    pub(super) fn show<'a>(&self, domains: impl Iterator<Item = &'a Domain>, states: &HashMap<Domain, DomainState>) {
        let mut counts: HashMap<StateLabels, i64> = HashMap::new();
        for domain in domains {
            for requirement in Requirement::ALL {
                let requirement = requirement.as_str();
                let known = states.get(domain).and_then(|state| state.requirements.get(requirement));
                let state = match known {
                    None => "unchecked",
                    Some(known) if known.vanished.is_some() => "vanished",
                    Some(known) if known.verified => "verified",
                    Some(_) => "missing",
                };
                *counts.entry(StateLabels { requirement, state }).or_default() += 1;
            }
        }
        for requirement in Requirement::ALL.map(Requirement::as_str) {
            for state in STATES {
                let labels = StateLabels { requirement, state };
                let count = counts.get(&labels).copied().unwrap_or_default();
                self.domains.get_or_create(&labels).set(count);
            }
        }
    }
}
