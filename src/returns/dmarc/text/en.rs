//! Findings of DMARC reports in English.

use super::{number, share};
use crate::onboarding::Lang;
use crate::returns::dmarc::summary::{Sender, Summary};

const LANG: Lang = Lang::En;

pub(super) fn heading(domain: &str, days: u32) -> String {
    format!("{domain}: DMARC reports of the last {days} days")
}

pub(super) fn no_reports() -> &'static str {
    "No reports have come."
}

pub(super) fn reports(summary: &Summary) -> String {
    format!(
        "{} reports from {} receivers, of {} days; the newest is of {}.",
        number(summary.reports, LANG),
        summary.reporter_count,
        summary.days_with_reports,
        summary.newest_day.as_deref().unwrap_or("-"),
    )
}

pub(super) fn mail(summary: &Summary) -> String {
    let (all, ours) = (&summary.all, &summary.ours);
    let n = |value| number(value, LANG);
    format!(
        "{} messages, of which {} ({}) are ours. {} pass ({}): {} by DKIM and SPF, {} by DKIM alone, {} by SPF alone. Of ours, {} pass ({}).",
        n(all.messages),
        n(ours.messages),
        share(ours.messages, all.messages, LANG),
        n(all.passing()),
        share(all.passing(), all.messages, LANG),
        n(all.by_both),
        n(all.by_dkim),
        n(all.by_spf),
        n(ours.passing()),
        share(ours.passing(), ours.messages, LANG),
    )
}

pub(super) fn hit(summary: &Summary) -> String {
    let hit = &summary.hit;
    let n = |value| number(value, LANG);
    if hit.messages == 0 {
        return "A policy of quarantine or reject would hit nothing.".to_owned();
    }
    format!(
        "A policy of quarantine or reject would hit {} messages: {} of ours, {} of other senders whose mail mostly passes, {} of senders \
         whose mail fails. Receivers know {} of them as forwarded; {} were put into spam and {} refused.",
        n(hit.messages),
        n(hit.ours),
        n(hit.own_senders),
        n(hit.strangers),
        n(hit.forwarded),
        n(hit.quarantined),
        n(hit.rejected),
    )
}

pub(super) fn claimed() -> &'static str {
    "Reports are not signed: these numbers are what their senders claim."
}

pub(super) fn columns() -> [&'static str; 7] {
    ["SENDER", "MESSAGES", "DKIM", "SPF", "FAIL", "DAYS", ""]
}

pub(super) fn kind(sender: &Sender) -> &'static str {
    match (sender.ours, sender.own, sender.key.as_str()) {
        (true, _, _) => "ours",
        (_, _, "others") => "many small senders together",
        (_, _, "unknown") => "unknown",
        (false, true, _) => "own sender",
        (false, false, _) => "forged or not set up",
    }
}

pub(super) fn more_senders(count: u64) -> String {
    format!("and {} more", number(count, LANG))
}

pub(super) fn next_step() -> &'static str {
    "Next policy"
}

pub(super) fn plot_title(domain: &str, days: u32) -> String {
    format!("{domain}: mail in DMARC reports, last {days} days")
}

pub(super) fn plot_description(summary: &Summary) -> String {
    let n = |value| number(value, LANG);
    let (all, ours) = (&summary.all, &summary.ours);
    format!(
        "Bars, one a day. In all {} messages. From webCRM {} were approved and {} were not; from others {} were approved and {} were not.",
        n(all.messages),
        n(ours.passing()),
        n(ours.failing),
        n(all.passing() - ours.passing()),
        n(all.failing - ours.failing),
    )
}

pub(super) fn plot_parts() -> [&'static str; 4] {
    ["webCRM, approved", "others, approved", "webCRM, not approved", "others, not approved"]
}
