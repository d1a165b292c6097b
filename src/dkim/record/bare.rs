//! Finds a key that was published without the tags of a record, or with the lines of a PEM file around it.

use super::{BASE64, Flaw, TAGS};
use crate::dkim::der;
use crate::dkim::tags::{Mistake, TagList};
use crate::plain::{self, Meant};
use base64::Engine;

/// The shortest run of base64 digits that may begin a key. An Ed25519 key has 43.
const SHORTEST_RUN: usize = 40;
/// The longest label of a PEM file in octets: `ENCRYPTED PRIVATE KEY`.
const LONGEST_LABEL: usize = 30;

/// Returns the record with the missing tags before the key, and what was missing. A complete record stays as it is.
pub(super) fn with_tags(txt: &str) -> (String, Option<Flaw>) {
    let inner = without_armour(txt);
    let is_pem = inner.is_some();
    let text = inner.unwrap_or_else(|| txt.to_owned());
    let Some(at) = begin_of_bare_key(&text) else {
        return (text, is_pem.then_some(Flaw::Pem));
    };
    let before = text[..at].trim_end_matches(is_around);
    // The tag is there, and a semicolon stands between it and the key.
    if let Some(tag) = before.strip_suffix(';').filter(|tag| tag.trim_end_matches(is_around).ends_with('=')) {
        return (format!("{tag}{}", &text[at..]), Some(Flaw::Tags(Mistake::EmptyTag)));
    }
    let list = TagList::read(before, &TAGS);
    let key: String = text[at..].chars().filter(|c| is_digit(*c)).collect();
    let kind = match BASE64.decode(&key).ok().as_deref().and_then(der::in_record) {
        Some((der::InRecord::Ed25519 | der::InRecord::WrappedEd25519, _)) => "ed25519",
        _ => "rsa",
    };
    let missing = match list.tags.iter().any(|tag| matches!(tag.name.as_str(), "v" | "k" | "V" | "K")) {
        true => "p=".to_owned(),
        false => format!("v=DKIM1; k={kind}; p="),
    };
    let separator = if before.is_empty() || before.ends_with(';') || !before.contains('=') { " " } else { "; " };
    // A PEM file and a bare key are read without k=, so the key's own type is added.
    let tags = if missing == "p=" { "p=".to_owned() } else { format!("k={kind}; p=") };
    let flaw = if is_pem { Flaw::Pem } else { Flaw::Bare(missing) };
    (format!("{before}{separator}{tags}{}", &text[at..]), Some(flaw))
}

/// Returns true if a value is a key, whole or damaged.
pub(super) fn is_key(value: &str) -> bool {
    begin_of_bare_key(value) == Some(0)
}

/// Returns the value without quotation marks in it and brackets around it, and the first of them, if it is a key without them.
pub(super) fn unquoted(value: &str) -> (String, Option<char>) {
    let is_mark = |c: char| matches!(c, '"' | '\'' | '`' | '\\');
    let inner = value.trim_matches(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '<' | '>'));
    let plain: String = inner.chars().filter(|c| !is_mark(*c)).collect();
    let found = value.chars().find(|c| !is_digit(*c) && !c.is_whitespace());
    match found.filter(|_| is_key(&plain)) {
        Some(mark) if plain.chars().all(|c| is_digit(c) || c.is_whitespace()) => (plain, Some(mark)),
        _ => (value.to_owned(), None),
    }
}

/// Returns the text without lines like `-----BEGIN PUBLIC KEY-----`, or `None` if there is none.
fn without_armour(text: &str) -> Option<String> {
    let mut inner = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some((before, after)) = next_armour(rest) {
        inner.push_str(before);
        inner.push(' ');
        rest = after;
        found = true;
    }
    inner.push_str(rest);
    found.then_some(inner)
}

/// Returns the texts before and after the first line of armour.
fn next_armour(text: &str) -> Option<(&str, &str)> {
    text.match_indices(['B', 'E', 'b', 'e']).find_map(|(at, _)| {
        let (before, label) = text.split_at(at);
        let label = ["begin ", "end "].iter().find_map(|word| {
            let head = label.get(..word.len())?;
            head.eq_ignore_ascii_case(word).then(|| &label[word.len()..])
        })?;
        let small = label.get(..label.floor_char_boundary(LONGEST_LABEL))?.to_ascii_lowercase();
        let kinds = ["key", "certificate", "request"].iter();
        let end = kinds.filter_map(|kind| Some(small.find(kind)? + kind.len())).min()?;
        let is_label = small[..end].bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ');
        let opened = before.trim_end_matches(is_dash);
        // Without its dashes, as some panels store it, the whole name must be there. A note may say "send key".
        let is_named = ["public key", "private key"].iter().any(|kind| small[..end].ends_with(kind));
        let begins = !before.ends_with(char::is_alphanumeric) && (is_named || opened.len() < before.len());
        (is_label && begins).then(|| (opened, label[end..].trim_start_matches(is_dash)))
    })
}

/// Returns the place where a key begins that no tag introduces.
fn begin_of_bare_key(text: &str) -> Option<usize> {
    let at = first_run(text)?;
    let before = text[..at].rsplit(';').next().unwrap_or_default();
    // `p=MII` and `p MII` have the tag.
    let introduced = before.trim_matches(is_around);
    let is_value = introduced.ends_with(['=', ':'])
        || introduced.eq_ignore_ascii_case("p")
        || !before.is_empty() && !before.ends_with(is_around)
        || text[..at].trim_end_matches(is_around).ends_with(';') && text[..at].contains('&')
        || before.trim_start().to_ascii_lowercase().starts_with("n=");
    let key: String =
        text[at..].chars().take_while(|c| is_digit(*c) || is_around(*c)).filter(|c| is_digit(*c)).collect();
    let is_whole = || BASE64.decode(&key).is_ok_and(|key| der::in_record(&key).is_some());
    // Every RSA key begins so, also a damaged one.
    (!is_value && (key.starts_with("MI") || is_whole())).then_some(at)
}

/// Returns the place of the first long run of base64 digits.
fn first_run(text: &str) -> Option<usize> {
    let mut from = 0;
    for run in text.split_inclusive(|c: char| !is_digit(c)) {
        if run.len() > SHORTEST_RUN {
            return Some(from);
        }
        from += run.len();
    }
    None
}

fn is_digit(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

/// Returns true for characters that may come between a tag and a key, or between two parts of a key.
fn is_around(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '(' | ')' | '\u{feff}' | '\u{200b}')
}

fn is_dash(c: char) -> bool {
    c == '-' || plain::meant(c) == Meant::Plain('-')
}
