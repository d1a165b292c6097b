//! Whatever the relay counts is on the dashboard or in an alert rule, or stands here with the reason why not.

use std::collections::BTreeSet;

use super::recorded::record;
use super::text;

/// What is asked for by hand, when something else has drawn attention.
const BY_HAND: &[(&str, &str)] = &[
    ("postbud_attempts", "recipients by verdict are on the dashboard"),
    ("postbud_build_info", "says which version runs"),
    ("postbud_customer_failures", "outcomes by customer are on the dashboard; this says why"),
    ("postbud_delivery_reused", "how well connections are kept, for whoever measures"),
    ("postbud_delivery_tls", "which versions servers speak, before one is switched off"),
    ("postbud_mailjet_relayed", "recipients relayed are on the dashboard"),
    ("postbud_onboarding_seen", "domains by state are on the dashboard"),
    ("postbud_queue_deferred", "part of what waits"),
    ("postbud_queue_leased", "attempts being made are on the dashboard, by route"),
    ("postbud_reload_success_timestamp_seconds", "when the configuration was taken over; a refusal is an alert"),
    ("postbud_returned_mail_bytes_in_flight", "what the listener for returned mail holds at this moment"),
    ("postbud_returned_mail_connections", "what the listener for returned mail holds at this moment"),
    ("postbud_returned_mail_forwarded", "forwarded mail is mail: it is among what was relayed"),
    ("postbud_spool_commits", "messages taken are on the dashboard"),
    ("postbud_spool_copied", "what compaction costs, for whoever measures"),
    ("postbud_spool_records", "what waits is on the dashboard"),
    ("postbud_spool_syncs", "the time of a sync is on the dashboard"),
    ("postbud_spool_written_bytes", "octets on disk are on the dashboard"),
    ("postbud_submission_accepted_bytes", "messages taken are on the dashboard"),
    ("postbud_submission_accepted_recipients", "messages taken are on the dashboard"),
    ("postbud_webhook_events", "what a webhook lacks is on the dashboard"),
];

#[test]
fn every_metric_is_on_the_dashboard_or_in_a_rule_or_named_here() {
    let used = text("deploy/grafana/postbud.json") + &text("deploy/prometheus/postbud.rules.yml");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let recorded = record();
    let series = recorded.well.keys().chain(recorded.troubled.keys());
    let names: BTreeSet<&str> = series.filter_map(|series| series.split('{').next()).collect();
    let family = |name: &str| -> String {
        let parts = ["_bucket", "_sum", "_count", "_total"];
        parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned()
    };
    let families: BTreeSet<String> =
        names.into_iter().filter(|name| name.starts_with("postbud_")).map(family).collect();
    assert!(families.len() > 50, "{families:?}");
    let used: BTreeSet<String> = used.split(|c| !is_name(c)).map(family).collect();
    let is_by_hand = |family: &str| BY_HAND.iter().any(|(name, _)| *name == family);
    let unseen: Vec<&String> = families.iter().filter(|it| !used.contains(*it) && !is_by_hand(it)).collect();
    assert!(unseen.is_empty(), "nobody sees {unseen:#?}");
}
