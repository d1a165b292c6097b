//! What readers show of a From field: no panic, nothing that is obeyed instead of shown, and every address that another parser
//! shows in the name is the field's own or is known.
//!
//! `tests/fuzz/run 120 shown_from`
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail_parser::MessageParser;
use postbud::message::scan::{Bounds, scan};

const BOUNDS: Bounds = Bounds { fields: 200, received: 20 };

fuzz_target!(|value: &[u8]| {
    // A message with any other line end is refused before its header is read.
    let is_folded = value.iter().enumerate().all(|(at, octet)| match octet {
        b'\r' => value.get(at + 1) == Some(&b'\n'),
        b'\n' => at > 0 && value[at - 1] == b'\r' && matches!(value.get(at + 1), Some(b' ' | b'\t')),
        _ => true,
    });
    if !is_folded {
        return;
    }
    let block = [b"From: ", value, b"\r\n"].concat();
    let Ok(header) = scan(&block, BOUNDS) else { return };
    let own = header.from.domain().map(ToString::to_string).unwrap_or_default();
    let known = |domain: &str| {
        // Other letters may go on with the name, which makes it a stranger's all the more.
        let is_it = |other: &str| {
            let (begins, rest) = (other.get(..domain.len()), other.get(domain.len()..).unwrap_or_default());
            begins.is_some_and(|it| it.eq_ignore_ascii_case(domain)) && !rest.starts_with(|c: char| c.is_ascii())
        };
        is_it(&own) || header.shown.iter().any(|(_, other)| is_it(other))
    };
    let whole = [&block[..], b"\r\n"].concat();
    let Some(message) = MessageParser::default().parse(&whole) else { return };
    for address in message.from().into_iter().flat_map(|from| from.iter()) {
        let Some(name) = address.name() else { continue };
        // Octets that are no UTF-8 may become controls above ASCII in that parser. Readers take them for Windows-1252.
        assert!(!name.chars().any(|c| c.is_ascii_control() && c != '\t'), "{name:?}");
        for domain in domains(name) {
            assert!(known(domain), "{name:?} shows {domain}; known are {own} and {:?}", header.shown);
        }
    }
});

/// The plain domains behind an `@`: letters, digits and hyphens, two labels or more, the last of two letters or more.
fn domains(name: &str) -> Vec<&str> {
    let behind = |(at, _): (usize, &str)| {
        let rest = &name[at + 1..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.')).unwrap_or(rest.len());
        // A letter of another script may go on with the name.
        if rest[end..].chars().next().is_some_and(|c| !c.is_ascii()) {
            return None;
        }
        let domain = rest[..end].trim_matches(['.', '-']);
        let labels: Vec<&str> = domain.split('.').collect();
        let is_plain = labels.len() > 1
            && labels.iter().all(|label| !label.is_empty())
            && labels.last().is_some_and(|last| last.len() > 1 && last.bytes().all(|b| b.is_ascii_alphabetic()));
        is_plain.then_some(domain)
    };
    name.match_indices('@').filter_map(behind).collect()
}
