//! What the checks of customers' domains count: how many were made, what they saw, what DNS left unanswered, what changed, and
//! how many domains stand where.

use std::collections::HashMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::finding::Finding;
use super::state::{Change, DomainState};
use super::verdict::Report;
use crate::customers::Requirement;
use crate::smtp::Domain;

/// What one check saw of a requirement.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SeenLabels {
    /// `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: &'static str,
    /// `verified`, `missing` or `unknown`.
    pub seen: &'static str,
}

/// What happened to a requirement.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ChangeLabels {
    /// `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: String,
    /// `verified`, `vanished`, `returned` or `lost`.
    pub change: &'static str,
}

/// Where a domain stands in a requirement.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StateLabels {
    /// `ownership`, `spf`, `dkim` or `dmarc`.
    pub requirement: &'static str,
    /// `verified`, `vanished` (counts as verified until the grace time ends), `missing` or `unchecked`.
    pub state: &'static str,
}

/// Onboarding's metrics. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Checks of a domain that the running relay made.
    pub checks: Counter,
    /// What these saw.
    pub seen: Family<SeenLabels, Counter>,
    /// Things these could not see because a name server did not answer, or not in time.
    pub unanswered: Counter,
    /// What changed.
    pub changes: Family<ChangeLabels, Counter>,
    /// Verdicts that could not be written to disk.
    pub unkept: Counter,
    /// Verdicts on disk that cannot be read, at this moment.
    pub unreadable: Gauge,
    /// Domains by where they stand, at this moment.
    pub domains: Family<StateLabels, Gauge>,
}

const STATES: [&str; 4] = ["verified", "vanished", "missing", "unchecked"];

impl Counters {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("onboarding_checks", "Checks of a domain made", self.checks.clone());
        registry.register("onboarding_seen", "What checks saw, by requirement", self.seen.clone());
        registry.register(
            "onboarding_unanswered",
            "Things that checks could not see because a name server did not answer",
            self.unanswered.clone(),
        );
        registry.register("onboarding_changes", "Changes of domains' verdicts, by requirement", self.changes.clone());
        registry.register("onboarding_unkept", "Verdicts that could not be written to disk", self.unkept.clone());
        registry.register("onboarding_unreadable", "Verdicts on disk that cannot be read", self.unreadable.clone());
        registry.register("onboarding_domains", "Domains by state, for each requirement", self.domains.clone());
    }

    /// Counts a check.
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

    /// Counts a change.
    pub(super) fn change(&self, change: &Change) {
        let labels = ChangeLabels { requirement: change.requirement.clone(), change: change.change.as_str() };
        self.changes.get_or_create(&labels).inc();
    }

    /// Shows where these domains stand; one without a state was never checked.
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
