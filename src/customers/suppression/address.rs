//! The form in which addresses are stored and compared.

use std::fmt::Write;

use crate::smtp::{Host, Mailbox};

/// Returns an address in that form: in lower case, without needless quotes. It is a valid address.
pub fn folded(address: &Mailbox) -> String {
    let mut text: String = folded_local(address.local()).collect();
    let needs_quotes = text.contains(['"', '\\']) || Mailbox::parse(&format!("{text}@x")).is_err();
    if needs_quotes {
        text = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    let _ = match address.host() {
        Host::Domain(domain) => write!(text, "@{domain}"),
        Host::Literal(ip) => write!(text, "@[{ip}]"),
    };
    text
}

/// Returns the characters of a local part in lower case. Quotes and backslashes of a quoted local part are removed.
pub(super) fn folded_local(local: &str) -> impl Iterator<Item = char> {
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut characters = quoted.unwrap_or(local).chars();
    std::iter::from_fn(move || match characters.next() {
        Some('\\') if quoted.is_some() => characters.next(),
        character => character,
    })
    .flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_the_field_takes_for_one_are_one() {
        for (one, other) in [
            ("Anna@Test.DK", "anna@test.dk"),
            ("anna@blåbær.dk", "anna@xn--blbr-roah.dk"),
            ("\"anna\"@test.dk", "anna@test.dk"),
            ("\"a\\nna\"@test.dk", "anna@test.dk"),
            ("\"anna.b\"@test.dk", "anna.b@test.dk"),
            ("ÆØÅ@test.dk", "æøå@test.dk"),
            ("anna@[192.0.2.1]", "ANNA@[192.0.2.1]"),
            ("anna@[IPv6:2001:db8::1]", "anna@[IPv6:2001:DB8:0::1]"),
            ("anna@test.dk.", "anna@test.dk"),
        ] {
            let [one, other] = [one, other].map(|text| folded(&Mailbox::parse(text).unwrap()));
            assert_eq!(one, other);
        }
    }

    #[test]
    fn a_folded_address_is_an_address_and_stays_as_it_is() {
        for text in
            ["\"an na\"@x.dk", "\"a\\\"b\\\\c\"@x.dk", "\".a.\"@x.dk", "\"\"@x.dk", "\"a@b\"@x.dk", "\"anna\"@x.dk"]
        {
            let first = folded(&Mailbox::parse(text).unwrap());
            assert_eq!(folded(&Mailbox::parse(&first).unwrap()), first, "{text}");
        }
        assert_eq!(folded(&Mailbox::parse("\"An na\"@x.dk").unwrap()), "\"an na\"@x.dk");
    }

    #[test]
    fn other_addresses_stay_apart() {
        let all = [
            "anna@test.dk",
            "anna+news@test.dk",
            "an.na@test.dk",
            "anna@sub.test.dk",
            "\"an na\"@test.dk",
            "bo@test.dk",
        ];
        let all: std::collections::HashSet<_> = all.iter().map(|text| folded(&Mailbox::parse(text).unwrap())).collect();
        assert_eq!(all.len(), 6);
    }
}
