//! Undoes the escapes that come into a record with what was pasted: those of zone files (`\;`, `\"`, and `\194\160` for a no-break
//! space, as `dig` shows it), those of web pages (`&nbsp;`, `<br>`), those of web addresses
//! and mails (`%3B`, `=3D`), and the links that chat programs and wikis make of names (`[a.dk](http://a.dk)`).

use std::borrow::Cow;

use super::text;

/// Characters that web pages write by name or number. Only these occur in records.
const ENTITIES: [(&str, char); 31] = [
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
    ("&#61;", '='),
    ("&#x3b;", ';'),
    ("&#x3d;", '='),
    ("&semi;", ';'),
    ("&equals;", '='),
    ("&colon;", ':'),
    ("&#58;", ':'),
    ("&ndash;", '-'),
    ("&mdash;", '-'),
    ("&minus;", '-'),
    ("&hyphen;", '-'),
    ("&#45;", '-'),
    ("&#8211;", '-'),
    ("&tilde;", '~'),
    ("&sim;", '~'),
    ("&#126;", '~'),
    ("&#43;", '+'),
    ("&#47;", '/'),
    ("&amp;", '&'),
];

/// The names of tags that text brings along from web pages.
const TAGS: [&str; 20] = [
    "b",
    "blockquote",
    "body",
    "br",
    "code",
    "div",
    "em",
    "font",
    "html",
    "i",
    "li",
    "p",
    "pre",
    "span",
    "strong",
    "td",
    "tr",
    "tt",
    "u",
    "ul",
];
/// The longest name of a tag, with its slashes.
const LONGEST_TAG: usize = 12;

/// Returns a word of an SPF record without escapes.
pub fn undone(word: &str) -> Cow<'_, str> {
    let of_zone_file = if word.contains('\\') { Cow::Owned(without_backslashes(word)) } else { Cow::Borrowed(word) };
    let of_web_page = match of_zone_file.contains(['&', '<']) {
        true => Cow::Owned(without_markup(&of_zone_file)),
        false => of_zone_file,
    };
    let of_web_page = match of_web_page.contains('%') || of_web_page.contains("=3D") {
        true => Cow::Owned(without_percents(&of_web_page)),
        false => of_web_page,
    };
    let is_all = |rest: &str| rest.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("all"));
    let first = of_web_page.chars().next();
    match first {
        // A word processor stored this hyphen as a soft one, which is only visible at a line's end.
        Some('\u{ad}') if is_all(&of_web_page[2..]) => Cow::Owned(format!("-{}", &of_web_page[2..])),
        // A panel could not store the dash or the tilde. Nobody knows which it was, and the mildest of the two harms nobody.
        Some('\u{fffd}') if is_all(&of_web_page[3..]) => Cow::Owned(format!("~{}", &of_web_page[3..])),
        _ => of_web_page,
    }
}

/// Replaces links by the text that they show: `[a.dk](http://a.dk)` of wikis, and `<http://a.dk|a.dk>` of chat programs.
pub fn without_links(word: &str) -> Cow<'_, str> {
    let has_link = word.contains("](") || (word.contains('|') && word.contains('<'));
    if !has_link {
        return Cow::Borrowed(word);
    }
    let mut plain = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find(['|', ']']) {
        let (before, middle) = rest.split_at(at);
        let is_chats = middle.starts_with('|');
        let (opens, closes) = if is_chats { ('<', '>') } else { ('[', ')') };
        let after = middle.strip_prefix("](").unwrap_or(&middle[1..]);
        let is_middle = is_chats || middle.starts_with("](");
        let opened = before.rsplit_once(opens).filter(|(_, inner)| is_middle && (!is_chats || inner.contains(':')));
        let Some((first, inner)) = opened else {
            plain.push_str(&rest[..rest.len() - after.len()]);
            rest = after;
            continue;
        };
        let Some((other, behind)) = after.split_once(closes) else { break };
        plain.extend([first, if is_chats { other } else { inner }]);
        rest = behind;
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Returns true if a term contains what begins an escape. No name, address or macro does.
pub fn may_begin_in(term: &str) -> bool {
    term.contains(['\\', '&', '<'])
}

/// RFC 1035 §5.1: a backslash and three digits are an octet, and a backslash before another character is that character. Before a
/// letter or a digit it is not an escape, and stays, but `\n`, `\r` and `\t` are blanks.
pub fn without_backslashes(word: &str) -> String {
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
            // A line end or a tab, as programs write it.
            (b'\\', None) if matches!(octets.get(at + 1), Some(b'n' | b'r' | b't')) => {
                plain.push(b' ');
                at += 1;
            }
            (b'\\', None) if !octets.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => {}
            (octet, _) => plain.push(octet),
        }
        at += 1;
    }
    text(&plain)
}

/// Replaces percent signs with digits after them. No macro of SPF has a digit there.
fn without_percents(word: &str) -> String {
    replaced(word, percent)
}

/// Replaces names of characters with the characters, and tags without attributes with spaces.
fn without_markup(word: &str) -> String {
    replaced(word, markup)
}

/// Replaces each escape with the character that it stands for. `escape` returns the length of an escape at the beginning of a text, and
/// that character.
fn replaced(word: &str, escape: fn(&str) -> Option<(usize, char)>) -> String {
    let mut plain = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let (octets, meant) = escape(rest).unwrap_or((c.len_utf8(), c));
        plain.push(meant);
        rest = &rest[octets..];
    }
    plain
}

/// Returns the length of the name of a character, or of a tag, at the beginning of `text`, and the character that it stands for.
pub fn markup(text: &str) -> Option<(usize, char)> {
    let entity = || {
        let head = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        ENTITIES.iter().find(|(name, _)| head.starts_with(name)).map(|(name, meant)| (name.len(), *meant))
    };
    match text.as_bytes().first()? {
        b'&' => entity(),
        b'<' => tag(text).map(|octets| (octets, ' ')),
        _ => None,
    }
}

/// Returns the character that a percent sign and two digits at the beginning of `text` stand for, if it occurs in records. Mail writes an
/// equals sign as `=3D` (RFC 2045 §6.7).
pub fn percent(text: &str) -> Option<(usize, char)> {
    if text.starts_with("=3D") {
        return Some((3, '='));
    }
    let digits = text.strip_prefix('%')?.get(..2)?;
    let c = char::from(u8::from_str_radix(digits, 16).ok()?);
    matches!(c, ' ' | '"' | ';' | '=' | '+' | '/' | ':' | ',' | '\r' | '\n').then_some((3, c))
}

/// Returns the length of the tag at the beginning of `text`. Another name in angle brackets is the author's own.
fn tag(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('<')?;
    let end = inner.bytes().take(LONGEST_TAG).position(|b| b == b'>')?;
    let name = inner[..end].trim_matches(['/', ' ']);
    TAGS.iter().any(|tag| tag.eq_ignore_ascii_case(name)).then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_read_as_what_it_shows() {
        for (written, meant) in [
            ("include:[a.dk](http://a.dk)", "include:a.dk"),
            ("[include:a.dk](https://a.dk/)", "include:a.dk"),
            ("include:<http://a.dk|a.dk>", "include:a.dk"),
            ("mailto:[a@b.dk](mailto:a@b.dk),[c@d.dk](mailto:c@d.dk)", "mailto:a@b.dk,c@d.dk"),
            ("<mailto:a@b.dk|a@b.dk>", "a@b.dk"),
            // No links.
            ("ip6:[2001:db8::1]", "ip6:[2001:db8::1]"),
            ("a|b", "a|b"),
            ("<a|b>", "<a|b>"),
            ("[a](b", "[a](b"),
            ("a](b)", "a](b)"),
        ] {
            assert_eq!(without_links(written), meant, "{written}");
        }
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| drop(without_links(text)),
            &[
                ("links", |size| "[a](b)".repeat(size / 6)),
                ("beginnings", |size| format!("{}](b)", "[".repeat(size))),
                ("middles", |size| format!("[{}", "](".repeat(size / 2))),
                ("middles and an end", |size| format!("<{}>", "|".repeat(size))),
                ("both", |size| format!("[<{}", "](|".repeat(size / 3))),
            ],
        );
    }
}
