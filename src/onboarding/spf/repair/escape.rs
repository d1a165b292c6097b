//! Undoes the escapes that come into a record with what was pasted: those of zone files (`\;`, `\"`, and `\194\160` for a no-break
//! space, as `dig` shows it) and those of web pages (`&nbsp;`, `<br>`).

use std::borrow::Cow;

use crate::plain;

/// Characters that web pages write by name. Only these occur between terms.
const ENTITIES: [(&str, char); 12] = [
    ("&nbsp;", ' '),
    ("&#160;", ' '),
    ("&#xa0;", ' '),
    ("&#32;", ' '),
    ("&ensp;", ' '),
    ("&emsp;", ' '),
    ("&quot;", '"'),
    ("&#34;", '"'),
    ("&#39;", '\''),
    ("&apos;", '\''),
    ("&#59;", ';'),
    ("&shy;", '\u{ad}'),
];

/// The longest name of a tag, with its slash: `</span>`.
const LONGEST_TAG: usize = 12;

/// Returns a word of the record without escapes.
pub fn undone(word: &str) -> Cow<'_, str> {
    let of_zone_file = if word.contains('\\') { Cow::Owned(without_backslashes(word)) } else { Cow::Borrowed(word) };
    let of_web_page = match of_zone_file.contains(['&', '<']) {
        true => Cow::Owned(without_markup(&of_zone_file)),
        false => of_zone_file,
    };
    // A word processor stored this hyphen as a soft one, which is only visible at a line's end.
    match of_web_page.strip_prefix('\u{ad}') {
        Some(rest) if rest.to_ascii_lowercase().starts_with("all") => Cow::Owned(format!("-{rest}")),
        _ => of_web_page,
    }
}

/// Returns true if a term contains what begins an escape. No name, address or macro does.
pub fn may_begin_in(term: &str) -> bool {
    term.contains(['\\', '&', '<'])
}

/// RFC 1035 §5.1: a backslash and three digits are an octet, and a backslash before another character is that character. Before a
/// letter or a digit it is not an escape, and stays.
fn without_backslashes(word: &str) -> String {
    let octets = word.as_bytes();
    let mut plain: Vec<u8> = Vec::with_capacity(octets.len());
    let mut at = 0;
    while at < octets.len() {
        let digits = octets.get(at + 1..at + 4).filter(|three| three.iter().all(u8::is_ascii_digit));
        let octet = digits.and_then(|three| std::str::from_utf8(three).ok()?.parse::<u8>().ok());
        match (octets[at], octet) {
            (b'\\', Some(octet)) => {
                plain.push(octet);
                at += 4;
                continue;
            }
            (b'\\', None) if !octets.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => {}
            (octet, _) => plain.push(octet),
        }
        at += 1;
    }
    plain::text(&plain)
}

/// Replaces names of characters with the characters, and tags without attributes with spaces.
fn without_markup(word: &str) -> String {
    let mut plain = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let head = rest.get(..8).unwrap_or(rest).to_ascii_lowercase();
        let entity = ENTITIES.iter().find(|(name, _)| c == '&' && head.starts_with(name));
        let (octets, meant) = match (entity, tag(rest)) {
            (Some((name, meant)), _) => (name.len(), *meant),
            (None, Some(octets)) => (octets, ' '),
            (None, None) => (c.len_utf8(), c),
        };
        plain.push(meant);
        rest = &rest[octets..];
    }
    plain
}

/// Returns the length of the tag at the beginning of `text`. A name in angle brackets contains a dot and is not a tag.
fn tag(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('<')?;
    let end = inner.bytes().take(LONGEST_TAG).position(|b| b == b'>')?;
    let name = inner[..end].trim_matches('/');
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic())).then_some(end + 2)
}
