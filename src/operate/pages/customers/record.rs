//! Shows one record: where to publish it, its purpose, and what is published now.

use maud::{Markup, html};

use super::text::{Words, words};
use crate::onboarding::records::Row;
use crate::onboarding::{DnsProvider, Item, Lang, Need, RecordTable, Report};
use crate::operate::pages::elements::{Mood, badge, copyable, strange};

/// The longest string in a TXT record (RFC 1035 §3.3.14). A value may have several strings.
const TXT_STRING: usize = 255;

/// The state of a record on the page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    There,
    /// It is published, but should be changed.
    Flawed,
    /// A different record is published.
    Other,
    /// It is missing.
    Missing,
    /// DNS did not answer.
    Unknown,
}

/// Returns a record with everything that a person needs to publish it. `at` makes its ids unique on the page.
pub(super) fn card(
    lang: Lang,
    table: &RecordTable,
    row: &Row,
    report: &Report,
    provider: DnsProvider,
    at: usize,
) -> Markup {
    let words = words(lang);
    let state = match (row.present, row.obstacles.is_empty(), row.replaces) {
        _ if row.unanswered => State::Unknown,
        (true, true, _) => State::There,
        (true, false, _) => State::Flawed,
        (false, _, 0) => State::Missing,
        (false, ..) => State::Other,
    };
    let title = match state {
        State::There | State::Unknown => (words.record_there)(row.kind, &row.label),
        State::Flawed => (words.record_fix)(row.kind, &row.label),
        State::Other => (words.record_change)(row.kind, &row.label),
        State::Missing => (words.record_new)(row.kind, &row.label),
    };
    let inside = html! {
        p { (lang.why(table, row)) }
        @if state == State::Other { p { strong { (words.change_not_add) } } }
        @for remark in row.remarks(lang) { div class="note wait" { (remark) } }
        (values(lang, table, row, report, at))
        @if let Some(url) = &row.alternative { p { ((words.or_file)(&lang.name(url))) } }
        @if row.kind == "TXT" && row.value.len() > TXT_STRING {
            details open[provider == DnsProvider::Route53] {
                summary { (words.too_long) }
                p { (words.split) }
                (copyable(lang, &format!("split-{at}"), words.value, &split(&row.value)))
            }
        }
    };
    html! {
        div.card.record.(mood(state, row.need).class()) {
            div.head { h3 { (title) } (badge(mood(state, row.need), word(words, state, row.need))) }
            @if state == State::There {
                details { summary { (words.show_record) } (inside) }
            } @else {
                (inside)
            }
        }
    }
}

fn mood(state: State, need: Need) -> Mood {
    match (state, need) {
        (State::There, _) => Mood::Good,
        (State::Unknown, _) => Mood::Calm,
        (State::Flawed, _) | (_, Need::Recommended) => Mood::Wait,
        (_, Need::Optional) => Mood::Calm,
        (_, Need::Required) => Mood::Bad,
    }
}

fn word(words: &Words, state: State, need: Need) -> &'static str {
    match (state, need) {
        (State::There, _) => words.done,
        (State::Unknown, _) => words.not_known,
        (_, Need::Required) => words.required,
        _ => words.recommended,
    }
}

fn values(lang: Lang, table: &RecordTable, row: &Row, report: &Report, at: usize) -> Markup {
    let words = words(lang);
    let found = found(row, report);
    html! {
        dl.values {
            dt { (words.kind) }
            dd { code { (row.kind) } }
            dt { (words.name) }
            dd {
                (copyable(lang, &format!("name-{at}"), words.name, &row.label))
                @if row.label == "@" { span.quiet.small { (words.root_name) } }
            }
            @if let Some(zone) = row.zone.as_ref().filter(|zone| table.zone.as_ref() != Some(*zone)) {
                dt { (words.zone) }
                dd { code { (zone) } }
            }
            @if row.label != row.host {
                dt { (words.whole_name) }
                dd { code { (row.host) } }
            }
            @if !row.present && row.item == Item::Spf {
                dt { (words.now) }
                dd {
                    @if found.is_empty() { span.quiet { (words.nothing) } }
                    @for text in &found { code.block { (strange(text)) } }
                }
            }
            dt { @if found.is_empty() || row.present { (words.value) } @else { (words.should) } }
            dd {
                div.copy {
                    code #{ "value-" (at) } { (marked(row, &found)) }
                    (copier(lang, at))
                }
                @if row.item == Item::Spf && !row.present && !found.is_empty() { span.quiet.small { (words.marked) } }
            }
            @if !row.present && row.item != Item::Spf && !found.is_empty() {
                dt { (words.now) }
                dd { @for text in &found { code.block { (strange(text)) } } }
            }
        }
    }
}

fn copier(lang: Lang, at: usize) -> Markup {
    crate::operate::pages::elements::copier(lang, &format!("value-{at}"), words(lang).value)
}

/// Returns what is published in the place of a record, if the report has it separately.
fn found(row: &Row, report: &Report) -> Vec<String> {
    let alone = matches!(row.item, Item::Spf | Item::Dmarc | Item::MailjetDkim | Item::ReturnPath);
    match report.check(row.item) {
        Some(check) if alone => check.found.iter().take(5).cloned().collect(),
        _ => Vec::new(),
    }
}

/// Returns the value, with the new words of an SPF record marked. Its plain text is exactly the value.
fn marked(row: &Row, found: &[String]) -> Markup {
    let old: Vec<&str> = found.iter().flat_map(|text| text.split_ascii_whitespace()).collect();
    if row.item != Item::Spf || row.present || old.is_empty() {
        return html! { (row.value) };
    }
    html! {
        @for (at, word) in row.value.split(' ').enumerate() {
            @if at > 0 { " " }
            @if old.contains(&word) { (word) } @else { mark { (word) } }
        }
    }
}

/// Splits a long value into strings of at most 255 octets, each in quotation marks.
fn split(value: &str) -> String {
    let mut pieces = Vec::new();
    let mut rest = value;
    while !rest.is_empty() {
        let end = (0..=TXT_STRING.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end.max(1));
        pieces.push(format!("\"{}\"", piece.replace('\\', "\\\\").replace('"', "\\\"")));
        rest = after;
    }
    pieces.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::pages::customers::made_of_strangers::table;
    use crate::smtp::Domain;
    use crate::time::Timestamp;

    #[test]
    fn a_record_is_to_be_created_only_if_dns_answered() {
        let domain = Domain::parse("test.dk").unwrap();
        let report = Report { customer: "x".to_owned(), domain, checked_at: Timestamp::EPOCH, checks: Vec::new() };
        for (unanswered, title, badge) in
            [(false, "Create a TXT record at lx", "Missing"), (true, ">TXT record at lx<", "Could not be checked")]
        {
            let mut table = table("x", 1);
            (table.rows[0].replaces, table.rows[0].unanswered) = (0, unanswered);
            let shown = card(Lang::En, &table, &table.rows[0], &report, DnsProvider::Other, 0).into_string();
            assert!(shown.contains(title) && shown.contains(badge), "{shown}");
        }
    }

    #[test]
    fn a_long_value_is_split_into_strings_that_dns_takes() {
        assert_eq!(split("abc"), "\"abc\"");
        let long = "x".repeat(600);
        let pieces: Vec<String> = split(&long).split(' ').map(|piece| piece.trim_matches('"').to_owned()).collect();
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [255, 255, 90]);
        assert_eq!(pieces.concat(), long);
        assert_eq!(split(""), "");
        assert!(split(&"æ".repeat(300)).starts_with('"'));
    }
}
