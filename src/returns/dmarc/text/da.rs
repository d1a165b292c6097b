//! Findings of DMARC reports in Danish.

use super::{number, share};
use crate::onboarding::Lang;
use crate::returns::dmarc::summary::{Sender, Summary};

const LANG: Lang = Lang::Da;

pub(super) fn heading(domain: &str, days: u32) -> String {
    format!("{domain}: DMARC-rapporter for de sidste {days} dage")
}

pub(super) fn no_reports() -> &'static str {
    "Der er ikke kommet nogen rapporter."
}

pub(super) fn reports(summary: &Summary) -> String {
    format!(
        "{} rapporter fra {} modtagere, fra {} dage; den nyeste er fra {}.",
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
        "{} mails, hvoraf {} ({}) er vores. {} er godkendt ({}): {} ved DKIM og SPF, {} ved DKIM alene, {} ved SPF alene. Af vores er {} godkendt ({}).",
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
        return "En politik med quarantine eller reject ville ikke ramme noget.".to_owned();
    }
    format!(
        "En politik med quarantine eller reject ville ramme {} mails: {} af vores, {} fra andre afsendere, hvis mails for det meste er godkendt, \
         {} fra afsendere, hvis mails ikke er godkendt. Modtagerne ved om {} af dem, at de er videresendt; {} kom i spam, og {} blev afvist.",
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
    "Rapporter er ikke signeret: tallene er, hvad deres afsendere påstår."
}

pub(super) fn columns() -> [&'static str; 7] {
    ["AFSENDER", "MAILS", "DKIM", "SPF", "IKKE GODKENDT", "DAGE", ""]
}

pub(super) fn kind(sender: &Sender) -> &'static str {
    match (sender.ours, sender.own, sender.key.as_str()) {
        (true, _, _) => "vores",
        (_, _, "others") => "mange små afsendere tilsammen",
        (_, _, "unknown") => "ukendt",
        (false, true, _) => "egen afsender",
        (false, false, _) => "forfalsket eller ikke sat op",
    }
}

pub(super) fn more_senders(count: u64) -> String {
    format!("og {} mere", number(count, LANG))
}

pub(super) fn next_step() -> &'static str {
    "Næste politik"
}

pub(super) fn plot_title(domain: &str, days: u32) -> String {
    format!("{domain}: mails i DMARC-rapporter, sidste {days} dage")
}

pub(super) fn plot_description(summary: &Summary) -> String {
    let n = |value| number(value, LANG);
    let (all, ours) = (&summary.all, &summary.ours);
    format!(
        "Søjler, en for hver dag. I alt {} mails. Fra webCRM blev {} godkendt og {} ikke; fra andre blev {} godkendt og {} ikke.",
        n(all.messages),
        n(ours.passing()),
        n(ours.failing),
        n(all.passing() - ours.passing()),
        n(all.failing - ours.failing),
    )
}

pub(super) fn plot_parts() -> [&'static str; 4] {
    ["webCRM, godkendt", "andre, godkendt", "webCRM, ikke godkendt", "andre, ikke godkendt"]
}
