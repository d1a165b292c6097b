//! What DMARC reports say of the domain, and the next policy that is safe.

use maud::{Markup, html};

use super::text::words;
use crate::onboarding::dmarc::step::{PolicyStage, Safety, Step};
use crate::onboarding::{Item, Lang, RecordTable};
use crate::operate::dmarc::DmarcReport;
use crate::operate::pages::elements::{Mood, badge, copyable, drawing, strange, table};
use crate::returns::dmarc::plot;
use crate::returns::dmarc::summary::{Sender, Summary};
use crate::returns::dmarc::text::number;

/// Senders that are shown. The rest is counted.
const SENDERS: usize = 8;

/// Returns the part of the page about the reports. Before the first one it is a sentence, and nothing if no record asks for reports.
pub(super) fn part(lang: Lang, report: &DmarcReport, records: &RecordTable) -> Markup {
    let (words, summary) = (words(lang), &report.summary);
    let has_record = records.rows.iter().any(|row| row.item == Item::Dmarc && row.present);
    if summary.reports == 0 {
        return html! { @if has_record { p.quiet { (words.reports_none) } } };
    }
    html! {
        div.card #reports {
            h3 { (words.reports) }
            p { ((words.reports_sum)(summary)) }
            (drawing(&plot::svg(summary, lang), &plot::narrow_svg(summary, lang), &plot::description(summary, lang)))
            (senders(lang, summary))
            @if let Ok(step) = &report.step {
                // Until then the record's card says what comes first.
                @if has_record { (next(lang, step, records)) }
            }
        }
    }
}

fn senders(lang: Lang, summary: &Summary) -> Markup {
    let words = words(lang);
    let rows = summary.senders.iter().take(SENDERS).map(|sender| {
        let (mood, who) = who(sender, words.sender_kinds);
        vec![
            html! { (name(sender, words.senders_unnamed)) },
            html! { (badge(mood, who)) },
            html! { (number(sender.results.messages, lang)) },
            html! { (number(sender.results.passing(), lang)) },
            html! { (number(sender.results.failing, lang)) },
        ]
    });
    let more = summary.more_senders + summary.senders.len().saturating_sub(SENDERS) as u64;
    html! {
        (table(words.senders, &words.senders_columns, rows))
        @if more > 0 { p.quiet.small { ((words.senders_more)(&number(more, lang))) } }
    }
}

/// Returns the sender's name, as customers know it. `unnamed` has the names of senders that reports do not name, and of many small ones
/// together.
fn name(sender: &Sender, unnamed: [&'static str; 2]) -> String {
    match (sender.key.as_str(), sender.ours) {
        ("relay", _) => "webCRM".to_owned(),
        ("unknown", _) => unnamed[0].to_owned(),
        ("others", _) => unnamed[1].to_owned(),
        (_, true) => format!("webCRM ({})", strange(&sender.name)),
        (_, false) => strange(&sender.name).into_owned(),
    }
}

/// Returns what kind of sender it is. `kinds` has the words: ours, the customer's own, one that somebody has to know, many together.
fn who(sender: &Sender, kinds: [&'static str; 4]) -> (Mood, &'static str) {
    match (sender.ours, sender.own, sender.key.as_str()) {
        (true, ..) => (Mood::Good, kinds[0]),
        (_, _, "others") => (Mood::Calm, kinds[3]),
        (false, true, _) => (Mood::Good, kinds[1]),
        (false, false, _) => (Mood::Wait, kinds[2]),
    }
}

/// The next policy: the record where it is safe, and what has to come first where it is not.
fn next(lang: Lang, step: &Step, records: &RecordTable) -> Markup {
    let words = words(lang);
    let said = lang.dmarc_step(step);
    let (mood, is_safe) = match step.safety {
        Safety::Reached => (Mood::Good, false),
        Safety::Safe => (Mood::Good, true),
        Safety::SafeUnless { .. } => (Mood::Wait, true),
        Safety::NotYet { .. } => (Mood::Calm, false),
    };
    let effect = match step.next {
        Some(PolicyStage::QuarantineTesting) => Some(words.dmarc_try_quarantine),
        Some(PolicyStage::Quarantine) => Some(words.dmarc_quarantine),
        Some(PolicyStage::RejectTesting) => Some(words.dmarc_try_reject),
        Some(PolicyStage::Reject) => Some(words.dmarc_reject),
        _ => None,
    };
    let row = records.rows.iter().find(|row| row.item == Item::Dmarc && row.host == step.host);
    html! {
        h3 { (words.dmarc_next) }
        div class={ "note " (mood.class()) } {
            p { (strange(&said.what)) }
            @if let Some(effect) = effect { p { (effect) } }
            @if !is_safe && !said.next.is_empty() { p { strong { (strange(&said.next)) } } }
        }
        @if let Some(record) = step.record.as_ref().filter(|_| is_safe) {
            p { strong { (words.dmarc_change) } }
            dl.values {
                dt { (words.kind) }
                dd { code { "TXT" } }
                dt { (words.name) }
                dd { (copyable(lang, "dmarc-name", words.name, row.map_or(step.host.as_str(), |row| row.label.as_str()))) }
                dt { (words.should) }
                dd { (copyable(lang, "dmarc-value", words.value, record)) }
            }
            p.quiet { (words.dmarc_own_time) }
        }
    }
}
