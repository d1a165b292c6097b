//! The message to the person who manages the customer's DNS: plain text with only the missing records.

use std::fmt::Write as _;

use maud::{Markup, html};
use url::form_urlencoded::byte_serialize;

use super::text::words;
use crate::onboarding::{Lang, RecordTable, records};
use crate::operate::pages::elements::copyable_lines;
use crate::visible::visible;

/// The maximum length of a `mailto:` address. Programs cut longer ones.
const LONGEST_MAILTO: usize = 1_900;

/// Returns the subject and the text of the message.
pub(super) fn message(lang: Lang, customer: &str, table: &RecordTable) -> (String, String) {
    let words = words(lang);
    let domain = lang.name(&table.domain);
    let mut text = (words.forward_opening)(&domain, &visible(customer));
    for (at, row) in table.rows.iter().filter(|row| !row.present).enumerate() {
        let _ = write!(text, "\n{}. {} {}\n", at + 1, words.kind, row.kind);
        let _ = writeln!(text, "   {}: {}", words.name, row.label);
        if let Some(zone) = &row.zone {
            let _ = writeln!(text, "   {}: {zone}", words.zone);
        }
        if row.label != row.host {
            let _ = writeln!(text, "   {}: {}", words.whole_name, row.host);
        }
        let _ = writeln!(text, "   {}: {}", words.value, visible(&row.value));
        if row.replaces > 0 {
            let _ = writeln!(text, "   {}", words.forward_replaces);
        }
        for remark in row.remarks(lang) {
            let _ = writeln!(text, "   {remark}");
        }
    }
    let _ = write!(text, "\n{}", words.forward_closing);
    ((words.forward_subject)(&domain), text)
}

/// Returns true if something is missing that somebody else may publish.
pub(super) fn is_due(table: &RecordTable) -> bool {
    table.rows.iter().any(|row| !row.present)
}

/// Returns the part of the page with the message, or nothing if no record is missing.
pub(super) fn part(lang: Lang, customer: &str, table: &RecordTable) -> Markup {
    if !is_due(table) {
        return html! {};
    }
    let words = words(lang);
    let (subject, text) = message(lang, customer, table);
    html! {
        section.card #forward aria-labelledby="forward-title" {
            h2 #forward-title { (words.forward[0]) }
            p { (words.forward[1]) }
            (copyable_lines(lang, "message", words.forward_copy, &text))
            details {
                summary { (words.forward_zone) }
                (copyable_lines(lang, "zone-lines", words.forward_zone, &records::zone(table, lang)))
            }
            p.actions { a.button.plain href=(mailto(&subject, &text, words.forward_paste)) { (words.forward_mail) } }
        }
    }
}

/// Returns a link that opens a mail (RFC 6068). If the text is too long for one, the reader pastes it.
fn mailto(subject: &str, text: &str, paste: &str) -> String {
    let whole =
        |text: &str| format!("mailto:?subject={}&body={}", encoded(subject), encoded(&text.replace('\n', "\r\n")));
    let link = whole(text);
    if link.len() <= LONGEST_MAILTO { link } else { whole(paste) }
}

fn encoded(text: &str) -> String {
    let form: String = byte_serialize(text.as_bytes()).collect();
    // In a form a plus sign is a space, and in a link it is a plus sign.
    form.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_link_holds_the_text_or_says_to_paste_it() {
        assert_eq!(mailto("a b", "x & y\næ+", "paste"), "mailto:?subject=a%20b&body=x%20%26%20y%0D%0A%C3%A6%2B");
        assert_eq!(mailto("a", &"x".repeat(3000), "paste"), "mailto:?subject=a&body=paste");
    }
}
