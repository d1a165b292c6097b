//! Macro strings of SPF (RFC 7208 §7), which are parsed once and expanded for one query.

use std::borrow::Cow;
use std::net::IpAddr;

/// The longest name, without the length octets (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;
/// RFC 7208 §7.1.
const DELIMITERS: &[u8] = b".-+,/_=";
/// The most macros of a term. Real terms have six or seven.
const MOST_MACROS: usize = 32;

/// A domain-spec or explain-string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacroString(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Expand { letter: u8, url_escape: bool, digits: Option<usize>, reverse: bool, delimiters: Vec<u8> },
}

/// The values of the macro letters.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// The address that is checked (`i`, `v`).
    pub ip: IpAddr,
    /// The local part of the sender (`l`, `s`).
    pub local: &'a str,
    /// The domain of the sender (`o`, `s`).
    pub sender_domain: &'a str,
    /// The domain whose record is evaluated (`d`).
    pub domain: &'a str,
    /// The HELO name (`h`).
    pub helo: &'a str,
    /// The validated name of the address (`p`). `None` becomes "unknown".
    pub validated: Option<&'a str>,
}

impl MacroString {
    /// Reads a domain-spec (RFC 7208 §7.1), which ends in a top label that is not all digits, or in a macro.
    pub fn domain_spec(text: &str) -> Option<Self> {
        let parts = parse(text)?;
        let ends_well = match parts.last()? {
            Part::Expand { .. } => true,
            Part::Literal(tail) => {
                let tail = tail.strip_suffix('.').unwrap_or(tail);
                let (before, top) = tail.rsplit_once('.')?;
                // ".dk" alone is valid only after a macro.
                (!before.is_empty() || parts.len() > 1) && is_top_label(top)
            }
        };
        ends_well.then_some(MacroString(parts))
    }

    /// Returns the text itself if it has no macro.
    pub fn literal(&self) -> Option<&str> {
        match &self.0[..] {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Returns true if its expansion needs the validated name.
    pub fn needs_validated_name(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Expand { letter: b'p', .. }))
    }

    /// Returns the name to ask DNS for. If it has more than 253 octets, labels are removed from the left (RFC 7208 §7.3). A single label of
    /// that length is not a valid DNS name. The name is built from its end, so removed labels are never expanded.
    pub fn expand(&self, values: &Values<'_>) -> String {
        // Collects the last octets, in pieces from the right. One octet more than a name and its final dot shows that there is more.
        let mut pieces: Vec<Cow<'_, str>> = Vec::new();
        let mut len = 0;
        for part in self.0.iter().rev() {
            let piece = part.expand(values);
            len += piece.len();
            pieces.push(piece);
            if len > LONGEST_NAME + 1 {
                break;
            }
        }
        let mut name = String::with_capacity(len);
        pieces.iter().rev().for_each(|piece| name.push_str(piece));
        if name.ends_with('.') {
            name.pop();
        }
        let Some(surplus) = name.len().checked_sub(LONGEST_NAME).filter(|surplus| *surplus > 0) else { return name };
        match name.bytes().skip(surplus - 1).position(|octet| octet == b'.') {
            Some(dot) => name.split_off(surplus + dot),
            None => name.split_off(name.ceil_char_boundary(surplus)),
        }
    }
}

impl Part {
    fn expand<'v>(&'v self, values: &Values<'v>) -> Cow<'v, str> {
        let (letter, url_escape, digits, reverse, delimiters) = match self {
            Part::Literal(text) => return text.as_str().into(),
            Part::Expand { letter, url_escape, digits, reverse, delimiters } => {
                (*letter, *url_escape, *digits, *reverse, delimiters)
            }
        };
        let value: Cow<'v, str> = match letter {
            b's' => format!("{}@{}", values.local, values.sender_domain).into(),
            b'l' => values.local.into(),
            b'o' => values.sender_domain.into(),
            b'd' => values.domain.into(),
            b'i' => dotted(values.ip).into(),
            b'p' => values.validated.unwrap_or("unknown").into(),
            b'v' => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.into(),
            _ => values.helo.into(),
        };
        let separator: &[u8] = if delimiters.is_empty() { b"." } else { delimiters };
        let mut labels: Vec<&str> =
            value.split(|c: char| u8::try_from(c).is_ok_and(|octet| separator.contains(&octet))).collect();
        if reverse {
            labels.reverse();
        }
        let kept = digits.unwrap_or(labels.len()).min(labels.len());
        let text = labels[labels.len() - kept..].join(".");
        if url_escape { escape(&text).into() } else { text.into() }
    }
}

/// Writes an IPv6 address as dotted nibbles (RFC 7208 §7.3, `i`).
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|octet| match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
            _ => format!("%{octet:02X}"),
        })
        .collect()
}

fn is_top_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
        && !label.bytes().all(|b| b.is_ascii_digit())
}

fn parse(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut macros = 0;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c != '%' {
            if !c.is_ascii_graphic() {
                return None;
            }
            literal.push(c);
            rest = &rest[1..];
            continue;
        }
        match rest.as_bytes().get(1)? {
            b'%' => literal.push('%'),
            b'_' => literal.push(' '),
            b'-' => literal.push_str("%20"),
            b'{' => {
                let end = rest.find('}')?;
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                macros += 1;
                if macros > MOST_MACROS {
                    return None;
                }
                parts.push(expansion(&rest[2..end])?);
                rest = &rest[end + 1..];
                continue;
            }
            _ => return None,
        }
        rest = &rest[2..];
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    (!parts.is_empty()).then_some(parts)
}

/// Reads the text between `%{` and `}`. The letters c, r and t are for explanations only (RFC 7208 §7.2), which are not evaluated here.
fn expansion(text: &str) -> Option<Part> {
    let letter = *text.as_bytes().first()?;
    if !b"slodiphv".contains(&letter.to_ascii_lowercase()) {
        return None;
    }
    let rest = &text[1..];
    let digits_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(digits_end);
    let digits = match digits {
        "" => None,
        // RFC 7208 §7.1: zero is a syntax error. A number above that of the labels keeps all of them.
        digits if digits.bytes().all(|b| b == b'0') => return None,
        digits => Some(digits.parse().unwrap_or(usize::MAX)),
    };
    let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !delimiters.bytes().all(|b| DELIMITERS.contains(&b)) {
        return None;
    }
    // Each delimiter counts once, however often it is written.
    let delimiters = DELIMITERS.iter().copied().filter(|delimiter| delimiters.as_bytes().contains(delimiter)).collect();
    Some(Part::Expand {
        letter: letter.to_ascii_lowercase(),
        url_escape: letter.is_ascii_uppercase(),
        digits,
        reverse,
        delimiters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, ip: &str) -> String {
        let values = Values {
            ip: ip.parse().unwrap(),
            local: "strong-bad",
            sender_domain: "email.example.com",
            domain: "email.example.com",
            helo: "mx.example.org",
            validated: None,
        };
        MacroString(parse(text).unwrap()).expand(&values)
    }

    #[test]
    fn rfc7208_section_7_4_examples() {
        for (text, expected) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ] {
            assert_eq!(expand(text, "192.0.2.3"), expected, "{text}");
        }
        assert_eq!(
            expand("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01"),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
        assert_eq!(expand("%{S}", "192.0.2.3"), "strong-bad%40email.example.com");
    }

    #[test]
    fn domain_specs_end_in_a_top_label_or_a_macro() {
        for good in ["example.com", "example.com.", "_spf.%{d}", "%{d}.dk", "a.b-c.xn--x", "%{ir}.origin.asn.example"] {
            assert!(MacroString::domain_spec(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "example",
            ".dk",
            "111.222.333.444",
            "a..",
            "a.dk-",
            "%{x}.dk",
            "%{d",
            "%d.dk",
            "a b.dk",
            "%{d0}.dk",
            "ø.dk",
        ] {
            assert!(MacroString::domain_spec(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn long_names_lose_labels_from_the_left() {
        let label = "x".repeat(60);
        let text = format!("first.{label}.{label}.{label}.{label}.example.com");
        let name = expand(&text, "192.0.2.3");
        assert!(name.len() <= 253 && name.ends_with(".example.com") && !name.starts_with("first"));
    }

    /// Does what RFC 7208 §7.3 describes: the whole text first, then label after label from the left.
    fn label_by_label(text: &str) -> String {
        let values = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            part => expand(
                match part {
                    Part::Expand { letter: b'd', reverse: true, .. } => "%{dr}",
                    Part::Expand { letter: b'd', .. } => "%{d}",
                    _ => "%{ir}",
                },
                "192.0.2.3",
            ),
        };
        let mut name: String = parse(text).unwrap().iter().map(values).collect();
        name.truncate(name.trim_end_matches('.').len().max(name.len() - 1));
        while name.len() > 253 {
            name = name.split_once('.').expect("labels").1.to_owned();
        }
        name
    }

    #[test]
    fn a_name_is_the_same_whether_it_is_made_from_the_left_or_from_the_right() {
        for pad in 0..300 {
            for text in [
                format!("{}.%{{d}}.dk", "x".repeat(pad)),
                format!("%{{dr}}.{}.%{{ir}}.{}", "a.".repeat(pad), "b.".repeat(40)),
                format!("{}%{{d}}", "%{ir}.".repeat(pad % 31)),
                format!("x.{}.%{{d}}.{}.", "y".repeat(pad % 60), "%{d}.z.".repeat(pad % 16)),
            ] {
                let name = expand(&text, "192.0.2.3");
                assert_eq!(name, label_by_label(&text), "{text}");
                assert!(name.len() <= 253, "{text}");
            }
        }
        let whole = expand(&format!("%{{d}}{}", "x".repeat(400)), "192.0.2.3");
        assert_eq!(whole, "x".repeat(253), "no zone holds such a label");
    }

    #[test]
    fn a_term_has_a_bounded_number_of_macros() {
        let of = |count: usize| MacroString::domain_spec(&"%{d}".repeat(count));
        assert!(of(MOST_MACROS).is_some() && of(MOST_MACROS + 1).is_none());
        assert_eq!(expand("%{d.-.-.-}", "192.0.2.3"), expand("%{d-.}", "192.0.2.3"));
    }

    #[test]
    fn a_name_costs_in_proportion_to_its_term() {
        let long = "x.".repeat(126) + "d";
        let values = Values {
            ip: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            local: &long,
            sender_domain: &long,
            domain: &long,
            helo: &long,
            validated: Some(&long),
        };
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| drop(parse(text).map(|parts| MacroString(parts).expand(&values))),
            &[
                ("macros", |size| "%{d}".repeat(size / 4)),
                ("macros of the sender, reversed and escaped", |size| "%{Sr-}.".repeat(size / 7)),
                ("labels", |size| "a.".repeat(size / 2)),
                ("one label", |size| "a".repeat(size)),
                ("dots", |size| ".".repeat(size)),
                ("delimiters", |size| format!("%{{d{}}}", ".-+".repeat(size / 3))),
                ("digits", |size| format!("%{{d{}}}", "1".repeat(size))),
                ("unfinished macros", |size| "%{".repeat(size / 2)),
                ("percents", |size| "%%".repeat(size / 2)),
            ],
        );
    }

    #[test]
    fn the_most_macros_of_one_term_cost_what_one_name_costs() {
        let long = "x.".repeat(126) + "d";
        let values = Values {
            ip: [192, 0, 2, 1].into(),
            local: "a",
            sender_domain: &long,
            domain: &long,
            helo: &long,
            validated: None,
        };
        fn name(macros: usize) -> MacroString {
            let part = || Part::Expand {
                letter: b'd',
                url_escape: false,
                digits: None,
                reverse: false,
                delimiters: Vec::new(),
            };
            MacroString((0..macros).map(|_| part()).collect())
        }
        // More labels than any record has: those removed on the left are never expanded.
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |name: &MacroString| drop(name.expand(&values)),
            &[("macros", name)],
        );
    }
}
