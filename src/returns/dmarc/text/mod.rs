//! Describes the reports in words, with one file for each language.

mod da;
mod en;

use std::fmt::Write as _;

use super::summary::Summary;
use crate::onboarding::Lang;
use crate::onboarding::dmarc::step::Step;
use crate::visible::visible;

/// The most senders that are shown. JSON has more.
const MOST_SENDERS: usize = 15;

macro_rules! by_language {
    ($lang:expr, $function:ident($($argument:expr),*)) => {
        match $lang {
            Lang::Da => da::$function($($argument),*),
            Lang::En => en::$function($($argument),*),
        }
    };
}

/// The texts of a plot.
pub(super) struct PlotWords {
    pub title: String,
    pub description: String,
    /// The names of the parts: ours that pass, others that pass, ours that fail, others that fail.
    pub parts: [&'static str; 4],
    pub nothing: String,
}

/// Returns the whole report on a domain. `step` is unknown if DNS did not say which policy applies.
pub fn report(summary: &Summary, step: Option<&Step>, lang: Lang) -> String {
    let mut out = format!("{}\n\n", by_language!(lang, heading(&lang.name(&summary.domain), summary.days)));
    if summary.reports == 0 {
        let _ = writeln!(out, "{}", by_language!(lang, no_reports()));
    } else {
        let paragraphs: [String; 4] = [
            by_language!(lang, reports(summary)),
            by_language!(lang, mail(summary)),
            by_language!(lang, hit(summary)),
            by_language!(lang, claimed()).to_owned(),
        ];
        for paragraph in paragraphs {
            let _ = writeln!(out, "{}", visible(&paragraph));
        }
        out.push('\n');
        senders(&mut out, summary, lang);
    }
    let Some(step) = step else { return out };
    let text = lang.dmarc_step(step);
    let _ = writeln!(out, "\n{}: {}", by_language!(lang, next_step()), text.what);
    if !text.next.is_empty() {
        let _ = writeln!(out, "{}", text.next);
    }
    if let Some(record) = &step.record {
        let _ = writeln!(out, "\n  {} TXT \"{}\"", visible(&step.host), visible(record));
    }
    out
}

fn senders(out: &mut String, summary: &Summary, lang: Lang) {
    let heading = by_language!(lang, columns()).map(str::to_owned);
    let mut lines = vec![heading];
    for sender in summary.senders.iter().take(MOST_SENDERS) {
        let results = &sender.results;
        let counts =
            [results.messages, results.by_both + results.by_dkim, results.by_both + results.by_spf, results.failing];
        let [messages, dkim, spf, failing] = counts.map(|count| number(count, lang));
        let kind = by_language!(lang, kind(sender)).to_owned();
        let name = visible(&sender.name).into_owned();
        lines.push([name, messages, dkim, spf, failing, number(sender.days.into(), lang), kind]);
    }
    let widths: Vec<usize> =
        (0..7).map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default()).collect();
    for [name, messages, dkim, spf, failing, days, kind] in &lines {
        let [a, b, c, d, e, f, _] = widths[..] else { return };
        let _ = writeln!(out, "  {name:<a$}  {messages:>b$}  {dkim:>c$}  {spf:>d$}  {failing:>e$}  {days:>f$}  {kind}");
    }
    let more = summary.more_senders + summary.senders.len().saturating_sub(MOST_SENDERS) as u64;
    if more > 0 {
        let _ = writeln!(out, "  {}", by_language!(lang, more_senders(more)));
    }
}

/// Returns the texts of a plot.
pub(super) fn plot(summary: &Summary, lang: Lang) -> PlotWords {
    let name = lang.name(&summary.domain);
    PlotWords {
        title: by_language!(lang, plot_title(&name, summary.days)),
        description: by_language!(lang, plot_description(summary)),
        parts: by_language!(lang, plot_parts()),
        nothing: by_language!(lang, no_reports()).to_owned(),
    }
}

/// Writes a number for people, as [`Lang::number`] does.
pub fn number(value: u64, lang: Lang) -> String {
    lang.number(value)
}

/// Writes a part of a whole: `99.5 %`. Less than everything is never shown as 100 %, and more than nothing never as 0 %.
pub fn share(part: u64, whole: u64, lang: Lang) -> String {
    let tenths = match u128::from(part) * 1000 {
        _ if whole == 0 => 0,
        0 => 0,
        part if part >= u128::from(whole) * 1000 => 1000,
        part => ((part + u128::from(whole) / 2) / u128::from(whole)).clamp(1, 999),
    };
    let point = match lang {
        Lang::Da => ',',
        Lang::En => '.',
    };
    match tenths % 10 {
        0 => format!("{} %", tenths / 10),
        rest => format!("{}{point}{rest} %", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::dmarc::step::step;
    use crate::returns::dmarc::tests::summary;

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        for (part, whole, text) in [
            (0, 0, "0 %"),
            (0, 10, "0 %"),
            (10, 10, "100 %"),
            (999_999, 1_000_000, "99.9 %"),
            (1, 1_000_000, "0.1 %"),
            (1, 3, "33.3 %"),
            (u64::MAX, u64::MAX, "100 %"),
        ] {
            assert_eq!(share(part, whole, Lang::En), text);
        }
        assert_eq!(share(1, 3, Lang::Da), "33,3 %");
    }

    #[test]
    fn both_languages_say_the_same_numbers() {
        let summary = summary(30);
        let step =
            step("_dmarc.test.dk".into(), Some("v=DMARC1; p=none; rua=mailto:a@test.dk"), None, None, &summary.facts());
        let [da, en] = [Lang::Da, Lang::En].map(|lang| report(&summary, Some(&step), lang));
        let numbers = |text: &str| -> Vec<String> {
            let text: String = text.chars().filter(|c| !matches!(c, '.' | ',')).collect();
            let digits = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
            let mut found: Vec<String> = digits.map(str::to_owned).collect();
            found.sort();
            found
        };
        assert_eq!(numbers(&da), numbers(&en), "{da}\n{en}");
        assert!(en.contains("p=quarantine; rua=mailto:a@test.dk; t=y"), "{en}");
    }
}
