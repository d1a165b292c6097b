//! Formats a report as text for people, or as JSON with the texts beside the codes.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::checker::Report;
use super::finding::Severity;
use super::text::{Lang, Word};
use crate::visible::visible;

/// Returns the report of one domain as text, with the worst finding first in each check. With `explain` it includes the steps of each
/// check and the original error texts.
pub fn text(report: &Report, lang: Lang, explain: bool) -> String {
    let mut out = format!("{} ({})\n", lang.name(report.domain.as_str()), report.customer);
    for check in &report.checks {
        let mark = match check.severity() {
            Severity::Good | Severity::Hint => "ok",
            Severity::Warning => "!",
            Severity::Unknown => "?",
            Severity::Fault => "X",
        };
        let _ = writeln!(out, "\n{mark:<3} {} ({})", lang.item(check.item), lang.need(check.need));
        for finding in &check.findings {
            let text = lang.finding(finding);
            let _ = writeln!(out, "      {}", text.what);
            if let Some(detail) = finding.detail().filter(|detail| explain && !text.what.contains(detail.as_str())) {
                let _ = writeln!(out, "        {}", visible(&detail));
            }
            if !text.next.is_empty() {
                let _ = writeln!(out, "      {}: {}", lang.word(Word::Next), text.next);
            }
        }
        if explain {
            check.steps.iter().for_each(|step| out.push_str(&format!("        {}\n", visible(step))));
        }
        if check.severity() >= Severity::Warning {
            for found in &check.found {
                let _ = writeln!(out, "      {}: {}", lang.word(Word::Found), visible(found));
            }
            for expected in &check.expected {
                let _ = writeln!(out, "      {}: {}", lang.word(Word::Expected), visible(expected));
            }
        }
    }
    let _ = writeln!(out, "\n{}", lang.overall(report.overall()));
    out
}

/// Returns the report as JSON.
pub fn json(report: &Report, lang: Lang) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    for (check, shown) in report.checks.iter().zip(value["checks"].as_array_mut().into_iter().flatten()) {
        shown["severity"] = json!(check.severity());
        for (finding, shown) in check.findings.iter().zip(shown["findings"].as_array_mut().into_iter().flatten()) {
            let text = lang.finding(finding);
            shown["severity"] = json!(finding.severity());
            shown["text"] = json!(text.what);
            shown["next"] = json!(text.next);
        }
    }
    value["outcome"] = json!(report.overall());
    value
}
