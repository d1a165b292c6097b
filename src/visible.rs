//! Makes text from strangers visible: a TXT record, a header field, a server's answer. On a terminal, in a zone file and in a mail a
//! control character is a command; here it is shown as an escape.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The maximum length of shown text. Records that customers must publish are shorter.
const LONGEST: usize = 4096;

/// Makes every character of a text visible, on one line. Controls (including line ends), and characters that change the direction of
/// writing or show nothing, become escapes such as `\u{1b}`. Very long texts are cut.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST && !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text.chars() {
        if shown.len() >= LONGEST {
            shown.push('…');
            break;
        }
        match is_unseen(c) {
            true => {
                let _ = write!(shown, "{}", c.escape_unicode());
            }
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Does the same for text of any length with several lines: line ends and tabs stay.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_unseen(c) && !matches!(c, '\n' | '\t'), |c, out| write!(out, "{}", c.escape_unicode()))
}

/// Makes every character of JSON visible. Invisible characters become JSON's own escapes, so the meaning for a program is unchanged.
pub fn visible_json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| is_unseen(c) && c != '\n',
        |c, out| c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}")),
    )
}

fn escaped(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String) -> std::fmt::Result,
) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            escape(c, &mut out).expect("a String takes every write");
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Returns true for Unicode's controls, its white space except the plain space, and characters that reorder or hide text or show nothing
/// (UTR #36 §2.1).
pub fn is_unseen(c: char) -> bool {
    c.is_control() || (c != ' ' && c.is_whitespace()) || is_invisible(c)
}

/// Returns true for Unicode's characters without width that are not white space (Default_Ignorable_Code_Point, UAX #44): zero-width spaces,
/// joiners, direction marks, soft hyphens, byte order marks, fillers, variation selectors, tags.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(visible("a\u{a0}b\u{3000}"), "a\\u{a0}b\\u{3000}");
        for text in ["v=spf1 include:spf.webcrm.com -all", "Ærø \"x\" \\ 例", ""] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_shows_nothing_is_seen() {
        for c in "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180e}\u{180f}\u{200b}\u{200d}\u{202e}\u{2060}\u{2066}\u{3164}\u{fe00}\
            \u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{1bca0}\u{1d173}\u{e0001}\u{e0041}\u{e0100}\u{e01ef}"
            .chars()
        {
            assert_eq!(visible(&format!("a{c}b")), format!("a\\u{{{:x}}}b", u32::from(c)));
        }
    }

    #[test]
    fn nothing_a_terminal_obeys_is_left() {
        assert_eq!(
            visible("a\x1b[31m\r\nb\tc\u{9b}2J\u{202e}d\x7f"),
            "a\\u{1b}[31m\\u{d}\\u{a}b\\u{9}c\\u{9b}2J\\u{202e}d\\u{7f}"
        );
    }

    #[test]
    fn lines_stay_lines_and_json_says_the_same() {
        assert_eq!(visible_lines("a\tb\nc\x1b]0;x\x07\r\n"), "a\tb\nc\\u{1b}]0;x\\u{7}\\u{d}\n");
        assert!(matches!(visible_lines("a\n\u{e6}"), Cow::Borrowed(_)));
        let value =
            serde_json::json!({"a\u{202e}": ["\x1b[2J \u{9b}31m \x7f \u{e0041} \u{feff}\n", "\u{e6} \u{1f4e8}"]});
        for text in [value.to_string(), format!("{value:#}")] {
            let seen = visible_json(&text);
            assert!(!seen.chars().any(|c| is_unseen(c) && c != '\n'), "{seen}");
            assert!(seen.contains("\\u202e") && seen.contains("\\udb40\\udc41"), "{seen}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&seen).unwrap(), value);
        }
    }

    #[test]
    fn a_very_long_text_is_cut() {
        let shown = visible(&"æ".repeat(40_000)).into_owned();
        assert!(shown.len() < LONGEST + 8 && shown.ends_with("æ…"));
    }

    #[test]
    fn text_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| drop(visible(text)),
            &[
                ("letters", |size| "a".repeat(size)),
                ("controls", |size| "\x1b".repeat(size)),
                ("wide letters", |size| "æ".repeat(size / 2)),
            ],
        );
    }
}
