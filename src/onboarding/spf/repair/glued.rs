//! Splits tokens that a missing space joins: `ip4:192.0.2.1~all`, `include:a.dkinclude:b.dk`, `-allv=spf1`, `mx-all`.

use super::{Meant, term};

/// Texts that certainly begin a term inside a token, because none of them is ever part of a name or an address.
const BEGINNINGS: [&str; 14] = [
    "include:",
    "include=",
    "exists:",
    "exists=",
    "redirect=",
    "redirect:",
    "exp=",
    "ip4:",
    "ip4=",
    "ip6:",
    "ip6=",
    "ipv4:",
    "ipv6:",
    "v=spf",
];
/// Texts that begin a term unless they are in an IPv6 address, where `a:` is hexadecimal.
const SHORT_BEGINNINGS: [&str; 3] = ["ptr:", "mx:", "a:"];

/// The maximum length of a range of addresses: two IPv4 addresses with their names.
const LONGEST_RANGE: usize = 44;
/// The maximum length of a written IPv6 address.
const LONGEST_ADDRESS: usize = 45;

/// Returns the terms of a token.
pub fn terms(token: &str) -> Vec<Meant> {
    // In `ip4:192.0.2.4-ip4:192.0.2.9` the hyphen is no qualifier of the second address.
    if token.len() <= LONGEST_RANGE
        && let Some(networks) = term::range(token)
    {
        return networks.into_iter().map(Meant::Term).collect();
    }
    let small = token.to_ascii_lowercase();
    let octets = small.as_bytes();
    let mut terms = Vec::new();
    let mut open = Open::at(octets, 0);
    for at in 1..octets.len() {
        if at > open.name && open.ends_before(&small, at) {
            let end = if is_qualifier(octets[at - 1]) { at - 1 } else { at };
            if !is_begun_again(&small[open.start..end], &small[at..]) {
                piece(&token[open.start..end], &mut terms);
            }
            // Of the qualifiers only a plus changes nothing. Another sign between two senders without a space stands for the space, as a
            // panel writes a question mark for a character that it does not know: `include:a.dk?include:b.dk`.
            let start = if octets[at - 1] == b'+' { end } else { at };
            open = Open::at(octets, start);
        }
        if matches!(octets[at], b':' | b'=') {
            open.sign = open.sign.or(Some(at));
        }
    }
    piece(&token[open.start..], &mut terms);
    terms
}

/// Returns true if `head` is only a beginning, and the term behind it begins in the same way: `ip4:ip4:192.0.2.1`. Then it says nothing. Both
/// are in lower case. An address may also stand behind `include:`, where nothing else can have been meant.
fn is_begun_again(head: &str, behind: &str) -> bool {
    let is_sign = |c: char| matches!(c, ':' | '=');
    let head = head.strip_prefix('+').unwrap_or(head);
    let name = head.trim_end_matches(is_sign);
    let again = behind.split(is_sign).next().unwrap_or_default();
    let kind = |name: &str| match name {
        "ip" | "ip4" | "ip6" | "ipv4" | "ipv6" => "ip",
        "include" => "include",
        "exists" => "exists",
        "redirect" => "redirect",
        "mx" => "mx",
        "a" => "a",
        _ => "",
    };
    name.len() < head.len()
        && !kind(name).is_empty()
        && (kind(name) == kind(again) || (name, kind(again)) == ("include", "ip"))
}

/// Returns true if a term certainly begins here.
pub fn begins(text: &str) -> bool {
    let small: String = text.chars().take(10).collect::<String>().to_ascii_lowercase();
    BEGINNINGS.iter().any(|beginning| small.starts_with(beginning))
}

/// The term that is being read.
struct Open {
    start: usize,
    /// The position of its name, after the qualifiers.
    name: usize,
    /// The position of its first colon or equals sign.
    sign: Option<usize>,
}

impl Open {
    fn at(octets: &[u8], start: usize) -> Self {
        let name = start + octets[start..].iter().take_while(|octet| is_qualifier(**octet)).count();
        Open { start, name, sign: None }
    }

    /// Returns true if another term begins at octet `at`.
    fn ends_before(&self, text: &str, at: usize) -> bool {
        // The first letters of all beginnings.
        if !matches!(text.as_bytes()[at], b'a' | b'e' | b'i' | b'm' | b'p' | b'r' | b'v') {
            return false;
        }
        let rest = &text[at..];
        if BEGINNINGS.iter().any(|beginning| rest.starts_with(beginning)) {
            return true;
        }
        // The colon of the term itself comes first. A second one belongs to another term, or to an IPv6 address.
        let before = text.as_bytes()[at - 1];
        SHORT_BEGINNINGS.iter().any(|beginning| rest.starts_with(beginning))
            && (before.is_ascii_alphabetic() || is_qualifier(before))
            && self.sign.is_some_and(|sign| !is_ipv6(&text.as_bytes()[sign + 1..]))
    }
}

/// Returns true if an argument begins like an IPv6 address.
fn is_ipv6(argument: &[u8]) -> bool {
    let address =
        argument.iter().take(LONGEST_ADDRESS).take_while(|octet| octet.is_ascii_hexdigit() || **octet == b':');
    address.filter(|octet| **octet == b':').count() >= 2
}

/// Adds one piece. `all`, `a` and `mx` at its end are cut off if this makes it a term.
fn piece(text: &str, terms: &mut Vec<Meant>) {
    let mut rest = text;
    // In `-allmx` and `-all-all` the first term ends after `all`.
    if let Some(tail) = after_all(rest) {
        terms.push(term::one(&rest[..rest.len() - tail.len()]));
        rest = tail;
    }
    let small = rest.to_ascii_lowercase();
    let all = small.len().checked_sub(4).filter(|at| *at > 0 && small.is_char_boundary(*at));
    if let Some(at) = all.filter(|at| small[*at..].ends_with("all") && is_qualifier(small.as_bytes()[*at])) {
        if rest[..at].chars().all(is_qualifier_char) {
            return terms.push(term::one(rest));
        }
        piece_without_all(&rest[..at], terms);
        return terms.push(term::one(&rest[at..]));
    }
    piece_without_all(rest, terms);
}

/// Returns the text after a qualified `all` at the beginning.
fn after_all(text: &str) -> Option<&str> {
    let name = text.strip_prefix(is_qualifier_char)?;
    let head = name.get(..3).filter(|head| head.eq_ignore_ascii_case("all"))?;
    let tail = &name[head.len()..];
    let is_term = |meant: Meant| matches!(meant, Meant::Term(_));
    (!tail.is_empty() && tail.len() < 300 && (tail.starts_with(is_qualifier_char) || is_term(term::one(tail))))
        .then_some(tail)
}

fn piece_without_all(text: &str, terms: &mut Vec<Meant>) {
    // A form of a web page writes a plus for each space.
    let text = text.strip_suffix('+').filter(|rest| !rest.is_empty()).unwrap_or(text);
    if text.is_empty() {
        return;
    }
    // In `all~` the qualifier belongs to the term before it.
    if let whole @ Meant::Term(_) = term::one(text) {
        return terms.push(whole);
    }
    // In `a+mx`: no name contains a plus, a tilde or a question mark.
    if !text.contains([':', '=', '%', '/']) && text.chars().skip(1).any(|c| matches!(c, '+' | '~' | '?')) {
        let mut start = 0;
        for (at, _) in text.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '~' | '?')) {
            terms.push(term::one(&text[start..at]));
            start = at;
        }
        return terms.push(term::one(&text[start..]));
    }
    let whole = term::one(text);
    if matches!(whole, Meant::Unread(_)) {
        if let Some(networks) = term::range(text) {
            terms.extend(networks.into_iter().map(Meant::Term));
            return;
        }
        // In `ip4:192.0.2.1mx`: an address ends with a digit. `amx` alone is no name.
        for tail in [&["a", "mx"][..], &["mx", "a"], &["mx"], &["a"]] {
            let whole = tail.concat();
            let cut = text.len().checked_sub(whole.len()).filter(|at| text.is_char_boundary(*at));
            let Some((head, found)) = cut.map(|at| text.split_at(at)) else { continue };
            if !found.eq_ignore_ascii_case(&whole) {
                continue;
            }
            let head = match head {
                "" => None,
                head if head.ends_with(|c: char| c.is_ascii_digit()) => Some(term::one(head)),
                _ => continue,
            };
            if head.as_ref().is_none_or(|head| matches!(head, Meant::Term(_))) {
                terms.extend(head);
                terms.extend(tail.iter().map(|name| Meant::Term((*name).to_owned())));
                return;
            }
        }
    }
    terms.push(whole);
}

fn is_qualifier(octet: u8) -> bool {
    is_qualifier_char(char::from(octet))
}

fn is_qualifier_char(c: char) -> bool {
    matches!(c, '+' | '-' | '~' | '?')
}
