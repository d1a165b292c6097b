//! A server's reply about a recipient, as reports quote it, split into codes and text.

use crate::smtp::EnhancedCode;

/// The most octets of text that are kept.
const LONGEST: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The three digits of the reply, if there was one.
    pub code: Option<u16>,
    /// The enhanced status code, from the reply or from the report.
    pub status: Option<EnhancedCode>,
    /// The text on one line.
    pub text: String,
}

impl Said {
    /// Reads a quoted reply: `550 5.1.1 no such user`, `550-5.1.1 first 550 5.1.1 second`, or words without codes.
    pub fn of(words: &str) -> Said {
        let words = on_one_line(words);
        let (code, rest) = match words.as_bytes() {
            [c @ b'2'..=b'5', d @ b'0'..=b'9', e @ b'0'..=b'9', b' ' | b'-', ..] => {
                let code = [c, d, e].iter().fold(0, |code, digit| code * 10 + u16::from(**digit - b'0'));
                (Some(code), words[4..].trim_start())
            }
            _ => (None, words.as_str()),
        };
        let rest = rest.strip_prefix('#').unwrap_or(rest);
        let status = EnhancedCode::parse(rest);
        let text = match status {
            Some(_) => rest.split_once(' ').map_or("", |(_, text)| text.trim_start()),
            None => rest,
        };
        Said { code, status, text: text.to_owned() }
    }

    /// Adds the report's status code, if the text has none.
    pub fn or_status(self, status: Option<EnhancedCode>) -> Said {
        Said { status: self.status.or(status), ..self }
    }

    /// Returns codes and text on one line.
    pub fn line(&self) -> String {
        let code = self.code.map(|code| code.to_string());
        let status = self.status.map(|status| status.to_string());
        let parts = [code.as_deref().unwrap_or_default(), status.as_deref().unwrap_or_default(), &self.text];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// Puts a text on one line, and cuts it at the limit.
pub(super) fn on_one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if line.len() + 1 + word.len() > LONGEST {
            let room = LONGEST.saturating_sub(line.len() + 1);
            line.push(' ');
            line.push_str(&word[..word.floor_char_boundary(room)]);
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line.trim().to_owned()
}

/// Finds the first reply that a text quotes: three digits followed by a status code or preceded by words that announce a reply, or else a
/// status code alone.
pub(super) fn quoted_in(text: &str) -> Option<Said> {
    let mut by_status = None;
    for (at, line) in lines(text) {
        if let Some(found) = reply_in(line) {
            // A reply continues over the next lines, up to a blank one.
            let rest = &text[at + found..];
            let end = rest.find("\n\n").or_else(|| rest.find("\n\r\n")).unwrap_or(rest.len());
            return Some(Said::of(&rest[..rest.floor_char_boundary(end.min(2 * LONGEST))]));
        }
        if by_status.is_none()
            && let Some(status) = status_in(line)
        {
            by_status = Some(Said { code: None, status: Some(status), text: on_one_line(line) });
        }
    }
    by_status
}

/// Returns the paragraph that first names an address, for reports that quote no reply. If it holds hardly more than the address, the next
/// one belongs to it.
pub(super) fn named_in(text: &str) -> Option<Said> {
    let text = text.replace("\r\n", "\n");
    let mut paragraphs = text.split("\n\n").skip_while(|paragraph| !paragraph.contains('@'));
    let mut words = on_one_line(paragraphs.next()?);
    if words.split(' ').count() <= 2 {
        words = on_one_line(&format!("{words} {}", paragraphs.next().unwrap_or_default()));
    }
    Some(Said { text: words, ..Said::default() })
}

/// Returns the lines of a text, each with its offset.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let begin = *at;
        *at += line.len();
        Some((begin, line))
    })
}

/// Returns the offset of a reply in a line.
fn reply_in(line: &str) -> Option<usize> {
    let octets = line.as_bytes();
    (0..octets.len()).find(|at| {
        let [b'4' | b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-', rest @ ..] = &octets[*at..] else { return false };
        let begins =
            *at == 0 || matches!(octets[at - 1], b' ' | b'\t' | b';' | b'\'' | b'"' | b'<' | b'#' | b':' | b'(');
        let has_status = || {
            let word = rest.split(|octet| matches!(octet, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
            word.len() <= 16 && std::str::from_utf8(word).is_ok_and(|word| EnhancedCode::parse(word).is_some())
        };
        begins && (has_status() || is_announced(&octets[at.saturating_sub(40)..*at]))
    })
}

/// Returns true if these words announce a reply.
fn is_announced(before: &[u8]) -> bool {
    let before = String::from_utf8_lossy(before).to_ascii_lowercase();
    let before = before.trim_end_matches([' ', '\t', '\'', '"', '<', '#']);
    before.is_empty()
        || [
            "said:",
            "said",
            "returned",
            "responded with",
            "response:",
            "error:",
            "reply:",
            "smtp;",
            ">:",
            "data:",
            "message:",
        ]
        .iter()
        .any(|word| before.ends_with(word))
}

/// Returns the first status code in a line, such as `(#5.1.1)`. Versions and addresses have other forms.
fn status_in(line: &str) -> Option<EnhancedCode> {
    line.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .filter(|word| (5..=9).contains(&word.len()))
        .find_map(EnhancedCode::parse)
        .filter(|code| code.0 != 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_from_words() {
        for (words, code, status, text) in [
            ("550 5.1.1 no such user", Some(550), Some("5.1.1"), "no such user"),
            ("550-5.1.1 The account\r\n 550 5.1.1 is gone", Some(550), Some("5.1.1"), "The account 550 5.1.1 is gone"),
            ("550 Unknown user", Some(550), None, "Unknown user"),
            ("550 #5.1.0 Address rejected", Some(550), Some("5.1.0"), "Address rejected"),
            ("5.1.1 gone", None, Some("5.1.1"), "gone"),
            (
                "connect to mx[192.0.2.1]:25: Connection timed out",
                None,
                None,
                "connect to mx[192.0.2.1]:25: Connection timed out",
            ),
            ("", None, None, ""),
            ("550", None, None, "550"),
            ("999 x", None, None, "999 x"),
        ] {
            let said = Said::of(words);
            let found = (said.code, said.status.map(|status| status.to_string()), said.text.as_str());
            assert_eq!(found, (code, status.map(str::to_owned), text), "{words}");
        }
        let long = Said::of(&format!("550 5.1.1 {}", "æ".repeat(9_000)));
        assert!(long.text.len() <= LONGEST + 4 && long.text.ends_with('…'), "{}", long.text.len());
    }

    #[test]
    fn a_reply_is_found_in_prose() {
        for (text, line) in [
            ("host mx said: 550 5.1.1 <a@x.dk>: no\n  user\n\nmore", "550 5.1.1 <a@x.dk>: no user"),
            ("SMTP error from remote mail server after RCPT TO:<a@x.dk>: 550 Unknown user\n", "550 Unknown user"),
            (
                "Remote Server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found'",
                "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found'",
            ),
            ("Sorry, no mailbox here by that name. (#5.1.1)", "5.1.1 Sorry, no mailbox here by that name. (#5.1.1)"),
            ("<mx.x.dk #5.1.1>", "5.1.1 <mx.x.dk #5.1.1>"),
            ("553 sorry, that domain isn't in my list", "553 sorry, that domain isn't in my list"),
        ] {
            assert_eq!(quoted_in(text).map(|said| said.line()).as_deref(), Some(line), "{text}");
        }
        for text in ["I am away until 550 years have passed", "call 4512 3456", "version 12.0.1.5", "192.0.2.1", ""] {
            assert_eq!(quoted_in(text), None, "{text}");
        }
    }

    #[test]
    fn looking_for_a_reply_costs_in_proportion_to_the_text() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| drop(quoted_in(text)),
            &[
                ("numbers", |size| "550 ".repeat(size / 4)),
                ("numbers on lines", |size| "x 550 y\n".repeat(size / 8)),
                ("status codes", |size| "5.1.1.1 ".repeat(size / 8)),
                ("digits", |size| "5".repeat(size)),
                ("letters", |size| "550-æ".repeat(size / 6)),
                ("a long reply", |size| format!("said: 550 {}", "x ".repeat(size / 2))),
            ],
        );
    }
}
