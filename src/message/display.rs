//! Checks the parts of an address field that readers show besides the address: the name and comments, after their encoded words are decoded
//! (RFC 2047). Many readers show only the name, and some show a name as if it were the address. So the name must not hold another address,
//! nor a character that a reader obeys instead of showing it.
//!
//! The text is read as tolerantly as any mail reader reads it: encoded words are decoded everywhere, even broken ones, quotes are dropped, and
//! characters that look like an `@` or a dot count as one. Where readers differ, each way to read the text counts. An encoded word that
//! other readers may decode in another way, which is not known here, is refused.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mail_parser::decoders::charsets::map::charset_decoder;

use super::address_error::AddressError;
use crate::plain::{Meant, meant};
use crate::visible::is_unseen;

/// The most domains that a value may show.
const MOST_DOMAINS: usize = 20;
/// How often encoded words are decoded. They may decode to encoded words, which some readers decode again.
const ROUNDS: usize = 3;
/// The names of UTF-8, which needs no decoder.
const UTF_8: [&str; 4] = ["utf-8", "utf8", "csutf8", "unicode-1-1-utf-8"];
/// The names of UTF-7 that the library knows.
const UTF_7: [&str; 3] = ["utf-7", "utf_7", "csutf7"];
/// Names of character sets that programs write and the library does not know, with one that it knows.
const ALIASES: [(&str, &str); 9] = [
    ("cp932", "shift_jis"),
    ("cp949", "euc-kr"),
    ("cp950", "big5"),
    ("eucjp", "euc-jp"),
    ("euckr", "euc-kr"),
    ("koi8r", "koi8-r"),
    ("koi8u", "koi8-u"),
    ("latin-1", "latin1"),
    ("windows1252", "windows-1252"),
];

/// Character sets in which readers guess that a text is which is neither encoded nor UTF-8, if they have an `@` of more than one octet.
const GUESSED: [&str; 5] = ["shift_jis", "euc-jp", "gbk", "big5", "euc-kr"];

/// Returns all domains behind an `@` in the value of an address field, the address's own among them. Fails if the value
/// holds a character that is not shown. A value that can show nothing but its address gives an empty list.
pub(super) fn domains(value: &[u8]) -> Result<Vec<String>, AddressError> {
    if is_plain(value) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for text in readings(value)? {
        check_characters(&text)?;
        found.extend(behind_at(&text));
    }
    if std::str::from_utf8(value).is_err() {
        // What a wrong guess makes of other characters says nothing.
        let guesses = GUESSED.iter().filter_map(|charset| charset_decoder(charset.as_bytes()));
        found.extend(guesses.flat_map(|decode| behind_at(&bare(&decode(value)))));
        found.extend(behind_at(&bare(&String::from_utf8_lossy(&without_overlong(value)))));
    }
    found.sort_unstable();
    found.dedup();
    // Each is compared with all domains of the customer.
    if found.len() > MOST_DOMAINS { Err(AddressError::Several) } else { Ok(found) }
}

/// Fails if a text holds a character that is not shown.
fn check_characters(text: &str) -> Result<(), AddressError> {
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_control() && c != '\t' {
            return Err(AddressError::Control);
        }
        // Joiners are not shown, but some scripts and emoji need them between two characters that are not ASCII. A selector chooses
        // between two pictures of the character before it.
        let is_wide = |c: Option<char>| c.is_some_and(|c: char| !c.is_ascii());
        let joins = match c {
            '\u{200c}' | '\u{200d}' => is_wide(before) && is_wide(rest.peek().copied()),
            c => is_picture_selector(c) && is_wide(before),
        };
        if is_unseen(c) && !is_space(c) && !joins {
            return Err(AddressError::Unseen(c));
        }
        before = Some(c);
    }
    Ok(())
}

/// Returns true for the selectors that tell an emoji from a plain sign (U+FE0E and U+FE0F). Ordinary text has them behind many emoji.
pub(super) fn is_picture_selector(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
}

/// Returns true for white space within a line. Names hold no-break spaces and the wide space of Chinese and Japanese, and
/// readers show all of these as space.
fn is_space(c: char) -> bool {
    c == '\t' || (c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Checks a local part, which readers show with its address. Fails if it holds a character that is not shown, or an `@`
/// in another form.
pub(super) fn check_local_part(text: &str) -> Result<(), AddressError> {
    match text.chars().find(|c| is_unseen(*c) || (!c.is_ascii() && "@<>".contains(in_ascii(*c)))) {
        Some(c) => Err(AddressError::Unseen(c)),
        None => Ok(()),
    }
}

/// Returns true for the usual case, which is decided without a copy: ASCII, at most one `@`, nothing encoded. The signs of an encoded word
/// may be apart, with a backslash or a quotation mark between them that readers drop.
fn is_plain(value: &[u8]) -> bool {
    value.iter().all(|b| matches!(b, b' '..=b'~' | b'\t' | b'\r' | b'\n'))
        && memchr::memchr_iter(b'@', value).count() <= 1
        && !(memchr::memchr(b'=', value).is_some() && memchr::memchr(b'?', value).is_some())
}

/// Returns the texts that readers may show: unfolded, without quotes, decoded. Fails if they may show yet another one.
fn readings(value: &[u8]) -> Result<Vec<String>, AddressError> {
    let value = String::from_utf8_lossy(value);
    let text = bare(&value);
    if !text.contains("=?") {
        return Ok(vec![text]);
    }
    let mut readings = vec![decoded_fully(text.clone(), goes_on)?, decoded_fully(text.clone(), stands_alone)?];
    // Some readers drop the blanks of a folded line, too, and so join the parts of an encoded word.
    let joined = bare(&without_folding(&value));
    if joined != text {
        readings.push(decoded_fully(joined, goes_on)?);
    }
    readings.dedup();
    Ok(readings)
}

/// Returns a text without quotes and line ends.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\r' | '\n' | '\\' | '"')).collect()
}

/// Returns a value without the line ends and blanks where it is folded.
fn without_folding(value: &str) -> String {
    let mut lines = value.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start_matches([' ', '\t']))
}

/// Decodes encoded words, and those within them. Fails if readers may decode one in another way.
fn decoded_fully(mut text: String, continues: Continues) -> Result<String, AddressError> {
    for _ in 0..ROUNDS {
        if let Some(ambiguous) = ambiguous(&text) {
            return Err(ambiguous);
        }
        match decoded(&text, continues) {
            Cow::Borrowed(_) => break,
            Cow::Owned(decoded) => text = decoded,
        }
    }
    Ok(text)
}

/// Returns the reason why others may read an encoded word in another way.
fn ambiguous(text: &str) -> Option<AddressError> {
    let mut rest = text;
    while let Some(at) = rest.find("=?") {
        let word = &rest[at..];
        rest = match encoded_word(word) {
            Some(found) if found.is_padded_within => return Some(AddressError::Encoded),
            Some(EncodedWord { charset, octets, .. })
                if decoder(charset, &octets).is_none() && without_overlong(&octets) != octets =>
            {
                return Some(AddressError::Encoded);
            }
            Some(EncodedWord { charset, octets, .. }) if !is_read_alike(charset, &octets) => {
                return Some(AddressError::Charset(charset.chars().take(40).collect()));
            }
            Some(found) => found.behind,
            None => &word[1..],
        };
    }
    None
}

/// Replaces ASCII characters that are spelled in more octets than UTF-8 allows. Some readers take them for the characters.
fn without_overlong(octets: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some(first) = rest.first() {
        let (len, octet) = match rest {
            [0xc0 | 0xc1, last @ 0x80..=0xbf, ..] => (2, (first & 1) << 6 | last & 0x3f),
            [0xe0, high @ (0x80 | 0x81), last @ 0x80..=0xbf, ..] => (3, (high & 1) << 6 | last & 0x3f),
            [0xf0, 0x80, high @ (0x80 | 0x81), last @ 0x80..=0xbf, ..] => (4, (high & 1) << 6 | last & 0x3f),
            _ => (1, *first),
        };
        plain.push(octet);
        rest = &rest[len..];
    }
    plain
}

/// Returns true if every reader that knows the character set reads the octets as we do. Octets of a set that is not known here are read as
/// ASCII, so they must be letters that all sets have, without the signs that lead to others (`+` in UTF-7, `~` in HZ, `\` in escapes).
fn is_read_alike(charset: &str, octets: &[u8]) -> bool {
    let is_plain = |b: &u8| matches!(b, b' '..=b'~') && !b"+&~\\".contains(b);
    match decoder(charset, octets) {
        Some(_) => true,
        None => (is_utf_8(charset) && !has_mark_of_utf_16(octets)) || octets.iter().all(is_plain),
    }
}

fn is_utf_8(charset: &str) -> bool {
    UTF_8.iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// Returns true if octets begin with a byte order mark of UTF-16.
fn has_mark_of_utf_16(octets: &[u8]) -> bool {
    octets.starts_with(b"\xfe\xff") || octets.starts_with(b"\xff\xfe")
}

/// Returns the decoder of a character set. `None` if there is none, if it is one that only hides what it cannot decode, if it is for UTF-16
/// that does not say the order of its octets, or for UTF-7, of which the library's loses the end. `None` also if the octets begin with the
/// mark of another encoding, because some readers believe the mark.
fn decoder(charset: &str, octets: &[u8]) -> Option<fn(&[u8]) -> String> {
    let charset = charset.to_ascii_lowercase();
    if UTF_7.contains(&&*charset) {
        return None;
    }
    let known = ALIASES.iter().find(|(alias, _)| *alias == charset).map_or(&*charset, |(_, known)| *known);
    let decode = charset_decoder(known.as_bytes())?;
    let holds_ascii = || decode(b"a@b") == "a@b";
    let is_utf16 = || [&b"a\0@\0"[..], b"\0a\0@"].iter().any(|both| decode(both) == "a@");
    let has_mark = has_mark_of_utf_16(octets);
    if octets.starts_with(b"\xef\xbb\xbf") || (has_mark && holds_ascii()) {
        return None;
    }
    let opposite: &[u8] = if charset.ends_with("be") { b"\xff\xfe" } else { b"\xfe\xff" };
    let says_order = charset.ends_with("le") || charset.ends_with("be");
    let is_certain = if says_order { !octets.starts_with(opposite) } else { has_mark };
    (holds_ascii() || (is_certain && is_utf16())).then_some(decode)
}

/// A text with its encoded words decoded, once.
pub(super) fn decoded_text(text: &str) -> Cow<'_, str> {
    decoded(text, goes_on)
}

/// Tells whether an encoded word in this character set goes on with the run.
type Continues = fn(&Run<'_>, &str) -> bool;

/// Consecutive encoded words in one character set. A character may begin in one word and end in the next.
struct Run<'a> {
    charset: &'a str,
    octets: Vec<u8>,
}

/// Returns true for the words of one character set, as readers do that join the octets first.
fn goes_on(run: &Run<'_>, charset: &str) -> bool {
    run.charset.eq_ignore_ascii_case(charset)
}

/// Returns false, as readers do that decode each word by itself: each begins with ASCII (RFC 2047 §2), whatever the last switched to.
fn stands_alone(_: &Run<'_>, _: &str) -> bool {
    false
}

impl Run<'_> {
    fn end(self, out: &mut String) {
        match decoder(self.charset, &self.octets) {
            Some(decode) => out.push_str(&decode(&self.octets)),
            None => out.push_str(&String::from_utf8_lossy(&self.octets)),
        }
    }
}

fn decoded(text: &str, continues: Continues) -> Cow<'_, str> {
    let mut out = String::new();
    let mut run: Option<Run<'_>> = None;
    let mut rest = text;
    let mut any = false;
    while let Some(at) = rest.find("=?") {
        let (before, word) = rest.split_at(at);
        let Some(EncodedWord { charset, octets, behind, .. }) = encoded_word(word) else {
            // The rest may still begin with an encoded word.
            run.take().map(|run| run.end(&mut out)).unwrap_or_default();
            out.push_str(before);
            out.push('=');
            rest = &word[1..];
            continue;
        };
        any = true;
        // RFC 2047 §6.2: space between two encoded words is not shown.
        let is_between = before.bytes().all(|b| matches!(b, b' ' | b'\t'));
        match run.take() {
            Some(mut last) if is_between && continues(&last, charset) => {
                last.octets.extend_from_slice(&octets);
                run = Some(last);
            }
            last => {
                let follows_another = last.is_some();
                last.map(|last| last.end(&mut out)).unwrap_or_default();
                if !(is_between && follows_another) {
                    out.push_str(before);
                }
                run = Some(Run { charset, octets });
            }
        }
        rest = behind;
    }
    if !any {
        return Cow::Borrowed(text);
    }
    run.take().map(|run| run.end(&mut out)).unwrap_or_default();
    out.push_str(rest);
    Cow::Owned(out)
}

/// An encoded word, without its signs.
struct EncodedWord<'a> {
    charset: &'a str,
    octets: Vec<u8>,
    /// The text that follows it.
    behind: &'a str,
    /// Base64 goes on behind its padding. Readers drop the padding, begin anew behind it, or stop there.
    is_padded_within: bool,
}

/// Reads `=?charset?encoding?text?=` at the start of `word`. Some readers decode a word that has no end, so it ends with the text.
fn encoded_word(word: &str) -> Option<EncodedWord<'_>> {
    let (charset, rest) = word.strip_prefix("=?")?.split_once('?')?;
    // Nobody takes other text for a character set: it is shown as it is.
    if !charset.chars().all(|c| c.is_ascii_graphic() && !"@<>()\"".contains(c)) {
        return None;
    }
    let (encoding, rest) = rest.split_once('?').filter(|(encoding, _)| matches!(*encoding, "q" | "Q" | "b" | "B"))?;
    let (text, behind) = rest.split_once("?=").unwrap_or((rest, ""));
    let (octets, is_padded_within) = match encoding {
        "q" | "Q" => (quoted_printable(text.as_bytes()), false),
        _ => (base64(text.as_bytes()), is_padded_within(text)),
    };
    // RFC 2231 §5: a language may follow the character set.
    Some(EncodedWord { charset: charset.split('*').next().unwrap_or_default(), octets, behind, is_padded_within })
}

fn is_padded_within(text: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    text.split_once('=').is_some_and(|(_, behind)| behind.contains(is_digit))
}

fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&b) = text.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        let octet = hex.filter(|_| b == b'=').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        at += if octet.is_some() { 3 } else { 1 };
        octets.push(octet.unwrap_or(if b == b'_' { b' ' } else { b }));
    }
    octets
}

fn base64(text: &[u8]) -> Vec<u8> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let mut digits: Vec<u8> =
        text.iter().copied().filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).collect();
    // A single digit that is left over holds no whole octet.
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    GeneralPurpose::new(&STANDARD, lenient).decode(&digits).unwrap_or_default()
}

/// Returns everything behind an `@` that looks like a domain or an address literal. Space, quotes and brackets after the `@` are skipped. A
/// local part behind a bracket is none: `Support @ <first.last@a.dk>` shows one address.
fn behind_at(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| in_ascii(*c) == '@') {
        rest = rest[at + c.len_utf8()..].trim_start();
        let is_literal = rest.starts_with('[');
        let is_around = |c: char| c.is_whitespace() || "\"'`<({".contains(in_ascii(c));
        let domain: String = match is_literal {
            true => rest.chars().take_while(|c| *c != ']').skip(1).map(in_ascii).collect(),
            false => {
                let within = rest.trim_start_matches(is_around);
                let (domain, behind) = domain_at_start(within);
                let is_bracket = |c: char| "<({".contains(in_ascii(c)) || c == '\u{2039}';
                let is_local_part =
                    behind.trim_start_matches(|c| c == '+' || belongs(in_ascii(c))).starts_with(|c| in_ascii(c) == '@');
                if is_local_part && rest[..rest.len() - within.len()].contains(is_bracket) {
                    continue;
                }
                domain
            }
        };
        let domain = domain.trim_matches(['.', '-', '_']);
        if is_literal && domain.contains(['.', ':']) {
            found.push(format!("[{domain}]"));
        } else if looks_like_a_domain(domain) {
            found.push(domain.to_owned());
        }
    }
    found
}

/// Returns the signs of a domain that a text begins with, and what follows them. A narrow space beside a dot is left out, because nobody sees
/// it there. Elsewhere it stands between words, as any space does.
fn domain_at_start(text: &str) -> (String, &str) {
    let (mut domain, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let behind = rest.trim_start_matches(is_narrow);
        if behind.len() < rest.len() && (domain.ends_with('.') || behind.starts_with(|c| in_ascii(c) == '.')) {
            rest = behind;
        } else if !is_narrow(c) && belongs(in_ascii(c)) {
            domain.push(in_ascii(c));
            rest = &rest[c.len_utf8()..];
        } else {
            break;
        }
    }
    (domain, rest)
}

/// Returns true for the signs of a domain.
fn belongs(c: char) -> bool {
    !c.is_whitespace() && (c.is_alphanumeric() || !c.is_ascii_punctuation() || "-_.".contains(c))
}

/// Returns true for spaces of a third of a letter and less.
fn is_narrow(c: char) -> bool {
    matches!(c, '\u{2004}'..='\u{200a}' | '\u{202f}' | '\u{205f}')
}

/// Returns true for two labels or more of which the last is neither a number nor an initial: `12.30` and `B.C` are no
/// domains.
fn looks_like_a_domain(text: &str) -> bool {
    let mut labels = text.split('.').filter(|label| !label.is_empty());
    labels.next_back().is_some_and(|last| last.chars().count() > 1 && last.chars().any(char::is_alphabetic))
        && labels.next().is_some()
}

/// Returns the ASCII character that readers show or compare this one as, or that it looks like in an address (UTS #39).
fn in_ascii(c: char) -> char {
    match c {
        '\u{24b6}' | '\u{24d0}' => return '@',
        // Dots in the middle of the line, and full stops, digits and marks of other scripts.
        '\u{b7}' | '\u{387}' | '\u{660}' | '\u{6d4}' | '\u{6f0}' | '\u{701}' | '\u{702}' | '\u{2027}' | '\u{2219}'
        | '\u{22c5}' | '\u{2e31}' | '\u{2e33}' | '\u{2e3c}' | '\u{a4f8}' | '\u{a60e}' | '\u{10a50}' | '\u{1d16d}' => {
            return '.';
        }
        _ => {}
    }
    match meant(c) {
        Meant::Plain(plain) => plain,
        Meant::Same | Meant::Nothing => c,
    }
}

#[cfg(test)]
mod tests;
