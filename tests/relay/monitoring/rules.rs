//! The alert rules: none speaks while everything works, and each speaks about its trouble.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::recorded::{RELAY, Recorded, Scrape, record};
use super::{rules, source};
use crate::support::skip::skip;

/// The trouble begins after so many minutes.
const WELL: usize = 120;
/// And lasts so long.
const TROUBLED: usize = 180;

/// A trouble: what it changes in the metrics of a relay that works.
enum Trouble {
    /// Nothing: the recorded trouble has it.
    Recorded,
    /// Each series of these has this value.
    Is(&'static [(&'static str, f64)]),
    /// Each series of these is so much more than it was.
    More(&'static [(&'static str, f64)]),
    /// Each series of these grows by so much every minute.
    Grows(&'static str, f64),
}

/// Each alert, its trouble, and after how many minutes it must be told.
const TROUBLES: &[(&str, Trouble, usize)] = &[
    ("PostbudDown", Trouble::Is(&[("up", 0.0)]), 3),
    ("PostbudRestarts", Trouble::Grows("process_start_time_seconds", 300.0), 5),
    ("PostbudReloadRefused", Trouble::Recorded, 6),
    ("PostbudCertificateExpires", Trouble::Is(&[("postbud_certificate_expiry_timestamp_seconds", 86_400.0)]), 11),
    ("PostbudTokenExpires", Trouble::Is(&[("postbud_api_token_expiry_timestamp_seconds", 86_400.0)]), 11),
    ("PostbudSpoolFull", Trouble::Recorded, 2),
    ("PostbudSpoolTroubled", Trouble::Is(&[("postbud_spool_troubled", 1.0)]), 2),
    ("PostbudSpoolTroubled", Trouble::Is(&[("postbud_spool_stopped", 1.0)]), 2),
    ("PostbudQuarantine", Trouble::More(&[("postbud_spool_quarantined_total", 1.0)]), 2),
    ("PostbudDeliveryHalted", Trouble::More(&[("postbud_delivery_halts_total", 1.0)]), 2),
    ("PostbudNothingLeaves", Trouble::Recorded, 45),
    ("PostbudRouteSuspended", Trouble::Recorded, 6),
    ("PostbudRouteThrottled", Trouble::Recorded, 31),
    ("PostbudMailHeld", Trouble::Recorded, 61),
    ("PostbudManyRefused", Trouble::More(&[("postbud_recipients_bounced_total", 500.0)]), 10),
    ("PostbudUnknownOutcomes", Trouble::More(&[("postbud_delivery_unknown_outcomes_total", 50.0)]), 2),
    ("PostbudSubmissionRefused", Trouble::Grows("postbud_submission_refused_total", 10.0), 60),
    ("PostbudWrongLogins", Trouble::Grows("postbud_submission_logins_total", 10.0), 20),
    ("PostbudEventsLost", Trouble::More(&[("postbud_events_lost_total", 1.0)]), 2),
    ("PostbudEventsLost", Trouble::More(&[("postbud_webhook_gaps_total", 1.0)]), 2),
    ("PostbudWebhookBehind", Trouble::Is(&[("postbud_webhook_behind_bytes", 64e6)]), 16),
    ("PostbudSuppressionLost", Trouble::More(&[("postbud_suppression_lost_total", 1.0)]), 2),
    ("PostbudMailjetEventsLate", Trouble::Is(&[("postbud_mailjet_lag_seconds", 900.0)]), 6),
    ("PostbudMailjetSilent", Trouble::Is(&[("postbud_mailjet_oldest_gap_seconds", 90_000.0)]), 61),
    ("PostbudMailjetUnmatched", Trouble::Grows("postbud_mailjet_outcomes_total", 10.0), 62),
    ("PostbudEventsOmitted", Trouble::More(&[("postbud_events_omitted_total", 1.0)]), 2),
    ("PostbudDomainVanished", Trouble::Is(&[("postbud_onboarding_domains", 1.0)]), 61),
    ("PostbudVerificationUnkept", Trouble::More(&[("postbud_onboarding_unkept_total", 1.0)]), 2),
    ("PostbudVerificationUnkept", Trouble::Is(&[("postbud_onboarding_unreadable", 1.0)]), 2),
    ("PostbudDmarcReportsStopped", Trouble::Is(&[("postbud_dmarc_newest_report_seconds", 700_000.0)]), 61),
    ("PostbudMicrosoft365Passwords", Trouble::Is(&[("postbud_routes_microsoft365_passwords", 1.0)]), 61),
    ("PostbudPasswordsRefused", Trouble::Is(&[("postbud_routes_passwords_refused", 1.0)]), 6),
    ("PostbudSignaturesExpire", Trouble::Is(&[("postbud_queue_oldest_seconds", 1_000_000.0)]), 6),
    ("PostbudMailOld", Trouble::Is(&[("postbud_queue_oldest_seconds", 7200.0)]), 6),
    ("PostbudAlertOpen", Trouble::Recorded, 6),
    ("PostbudAlertRaised", Trouble::Recorded, 3),
];

#[test]
fn every_alert_rule_is_silent_while_all_is_well_and_speaks_about_its_trouble() {
    let this = "every_alert_rule_is_silent_while_all_is_well_and_speaks_about_its_trouble";
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip(this, "promtool is not installed");
    }
    let cases: BTreeSet<&str> = TROUBLES.iter().map(|(alert, ..)| *alert).collect();
    assert_eq!(cases, rules().iter().map(String::as_str).collect(), "each rule has its trouble here");

    let recorded = record();
    let tests: Vec<Value> =
        TROUBLES.iter().map(|(alert, trouble, after)| case(&recorded, alert, trouble, *after)).collect();
    let rules = source("deploy/prometheus/postbud.rules.yml");
    // JSON is YAML.
    let file = json!({ "rule_files": [rules], "evaluation_interval": "1m", "tests": tests });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rules.test.yml");
    std::fs::write(&path, file.to_string()).unwrap();
    promtool(&["check", "rules", rules.to_str().unwrap()]);
    promtool(&["test", "rules", path.to_str().unwrap()]);
}

fn promtool(arguments: &[&str]) {
    let judged = Command::new("promtool").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat()).into_owned();
    assert!(judged.status.success(), "promtool {arguments:?}: {said}");
}

fn case(recorded: &Recorded, alert: &str, trouble: &Trouble, after: usize) -> Value {
    let Recorded { well, troubled } = recorded;
    let series: BTreeSet<&String> = match trouble {
        Trouble::Recorded => well.keys().chain(troubled.keys()).collect(),
        // Lanes that are empty have no series, and what was never refused has none. Others' trouble stays away.
        Trouble::Is(_) | Trouble::More(_) | Trouble::Grows(..) => {
            let is_changed = |series: &str| trouble.names().any(|name| is_of(series, name));
            well.keys().chain(troubled.keys().filter(|series| is_changed(series))).collect()
        }
    };
    for name in trouble.names() {
        assert!(series.iter().any(|series| is_of(series, name)), "{alert}: the run has no {name}");
    }
    let input: Vec<Value> = series
        .into_iter()
        .map(|series| json!({ "series": series, "values": values(series, well, troubled, trouble) }))
        .collect();
    let firing = |which: &str| format!("count(ALERTS{{alertname{which},alertstate=\"firing\"}}) > bool 0 or vector(0)");
    let named = firing(&format!("=\"{alert}\""));
    let expect = |query: &str, minute: usize, value: u8| json!({ "expr": query, "eval_time": format!("{minute}m"), "exp_samples": [{ "labels": "{}", "value": value }] });
    json!({
        "name": alert,
        "interval": "1m",
        "input_series": input,
        "promql_expr_test": [
            expect(&firing("=~\".+\""), WELL - 1, 0),
            expect(&named, WELL - 1, 0),
            expect(&named, WELL + after, 1),
        ],
    })
}

impl Trouble {
    fn names(&self) -> Box<dyn Iterator<Item = &'static str>> {
        match self {
            Trouble::Recorded => Box::new(std::iter::empty()),
            Trouble::Is(changes) | Trouble::More(changes) => Box::new(changes.iter().map(|(name, _)| *name)),
            Trouble::Grows(name, _) => Box::new(std::iter::once(*name)),
        }
    }
}

fn is_of(series: &str, name: &str) -> bool {
    series.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) && series.contains(RELAY)
}

/// A series in promtool's notation, a value a minute: as it was while all was well, and then in trouble. A series that was not there
/// is missing.
fn values(series: &str, well: &Scrape, troubled: &Scrape, trouble: &Trouble) -> String {
    let before = well.get(series);
    let first = before.map_or(format!("_x{WELL}"), |value| format!("{value}+0x{}", WELL - 1));
    let steady = |value: f64| format!("{value}+0x{TROUBLED}");
    let usual = before.copied().unwrap_or(0.0);
    let second = match trouble {
        Trouble::Recorded => troubled.get(series).map_or(format!("_x{TROUBLED}"), |value| steady(*value)),
        Trouble::Is(changes) => {
            steady(changes.iter().find(|(name, _)| is_of(series, name)).map_or(usual, |(_, to)| *to))
        }
        Trouble::More(changes) => {
            steady(usual + changes.iter().find(|(name, _)| is_of(series, name)).map_or(0.0, |(_, more)| *more))
        }
        Trouble::Grows(name, by) if is_of(series, name) => format!("{usual}+{by}x{TROUBLED}"),
        Trouble::Grows(..) => steady(usual),
    };
    format!("{first} {second}")
}
