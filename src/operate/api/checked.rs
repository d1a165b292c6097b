//! The result of a check of domains in the API, with texts in one language.

use schemars::JsonSchema;
use serde::Serialize;

use crate::onboarding::text::Lang;
use crate::onboarding::{Report, report};
use crate::operate::jobs::{Checked, Unkept};

/// The results of checks of domains.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct CheckResult {
    /// One report for each domain.
    reports: Vec<DomainReport>,
    /// Reports that could not be stored. They are valid, but the relay does not use them.
    unkept: Vec<Unkept>,
}

/// The result of a check of one domain.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct DomainReport {
    /// The id of the customer whose domain it is.
    customer: String,
    /// The domain that was checked.
    domain: String,
    /// When it was checked, RFC 3339.
    checked_at: String,
    /// The worst outcome of all checks: `good`, `recommendations`, `unknown` or `missing`.
    outcome: String,
    /// One check for each item.
    checks: Vec<DomainCheck>,
}

impl CheckResult {
    /// Makes the result with texts in a language.
    pub fn of(Checked { reports, unkept }: &Checked, lang: Lang) -> Self {
        let reports = reports.iter().map(|report| shown(report, lang)).collect();
        CheckResult { reports, unkept: unkept.clone() }
    }
}

/// A check of one item.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct DomainCheck {
    /// The item that was checked, such as `spf`.
    item: String,
    /// How necessary it is: `required`, `recommended` or `optional`.
    need: String,
    /// The severity: `good`, `hint`, `warning`, `unknown` or `fault`.
    severity: String,
    /// The published values.
    found: Vec<String>,
    /// The values that should be published.
    expected: Vec<String>,
    /// The findings of the check.
    findings: Vec<CheckFinding>,
}

/// One finding of a check.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct CheckFinding {
    /// The code of the finding, for programs.
    code: String,
    /// The severity of the finding.
    severity: String,
    /// The finding, for people.
    text: String,
    /// What to do; empty if nothing must be done.
    next: String,
}

/// Converts a report, with its texts.
fn shown(report: &Report, lang: Lang) -> DomainReport {
    let value = report::json(report, lang);
    let text = |value: &serde_json::Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let texts = |value: &serde_json::Value, name: &str| {
        let list = value[name].as_array().into_iter().flatten();
        list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let findings = |check: &serde_json::Value| {
        let list = check["findings"].as_array().into_iter().flatten();
        list.map(|finding| CheckFinding {
            code: text(finding, "code"),
            severity: text(finding, "severity"),
            text: text(finding, "text"),
            next: text(finding, "next"),
        })
        .collect()
    };
    let checks = value["checks"].as_array().into_iter().flatten().map(|check| DomainCheck {
        item: text(check, "item"),
        need: text(check, "need"),
        severity: text(check, "severity"),
        found: texts(check, "found"),
        expected: texts(check, "expected"),
        findings: findings(check),
    });
    DomainReport {
        customer: text(&value, "customer"),
        domain: text(&value, "domain"),
        checked_at: text(&value, "checked_at"),
        outcome: text(&value, "outcome"),
        checks: checks.collect(),
    }
}
