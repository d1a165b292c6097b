//! International names in their owners' script. DNS has `xn--blbr-roah.dk`; the customer knows it as `blåbær.dk`.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// Returns the text with international names in their own script. At its first occurrence a name is followed by its form in DNS, which has
/// to be typed and cannot be confused with another name. In URLs this form is left out. A name in a record's value (after `:`, `=` or `@`)
/// stays unchanged.
pub(super) fn in_own_letters(text: &str) -> Cow<'_, str> {
    if !text.contains("xn--") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 64);
    let mut named = BTreeSet::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_of_a_name) {
        let (before, from_name) = rest.split_at(start);
        let end = from_name.find(|c| !is_of_a_name(c)).unwrap_or(from_name.len());
        let name = from_name[..end].trim_end_matches('.');
        shown.push_str(before);
        let in_value = before.ends_with([':', '=', '@']);
        let url = before.ends_with("://");
        match own_letters(name).filter(|_| !in_value) {
            Some(own) if url || !named.insert(name) => shown.push_str(&own),
            Some(own) => shown.push_str(&format!("{own} ({name})")),
            None => shown.push_str(name),
        }
        rest = &from_name[name.len()..];
        // Dots at the end of a sentence are not part of a name.
        let dots = rest.len() - rest.trim_start_matches('.').len();
        shown.push_str(&rest[..dots]);
        rest = &rest[dots..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Converts a name's A-labels to U-labels. Returns `None` if it has none, or an invalid one (RFC 5890 §2.3.2.1).
fn own_letters(name: &str) -> Option<String> {
    let label = |text: &str| match idna::domain_to_unicode(text) {
        _ if !text.starts_with("xn--") => Some(text.to_owned()),
        (own, Ok(())) => Some(own),
        (_, Err(_)) => None,
    };
    let own = name.split('.').map(label).collect::<Option<Vec<String>>>()?.join(".");
    (own != name).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_their_owners_write_them_with_what_dns_holds_beside() {
        for (text, shown) in [
            ("test.dk er jeres eget domæne.", "test.dk er jeres eget domæne."),
            ("xn--blbr-roah.dk er jeres.", "blåbær.dk (xn--blbr-roah.dk) er jeres."),
            ("Flyt den til _dmarc.xn--blbr-roah.dk.", "Flyt den til _dmarc.blåbær.dk (_dmarc.xn--blbr-roah.dk)."),
            ("xn--blbr-roah.dk, xn--blbr-roah.dk.", "blåbær.dk (xn--blbr-roah.dk), blåbær.dk."),
            ("en fil på http://xn--blbr-roah.dk/x.txt.", "en fil på http://blåbær.dk/x.txt."),
            ("nyt.xn--blbr-roah.xn--4ca.dk", "nyt.blåbær.ä.dk (nyt.xn--blbr-roah.xn--4ca.dk)"),
            (
                "v=spf1 include:xn--blbr-roah.dk redirect=xn--blbr-roah.dk",
                "v=spf1 include:xn--blbr-roah.dk redirect=xn--blbr-roah.dk",
            ),
            ("dmarc@xn--blbr-roah.dk", "dmarc@xn--blbr-roah.dk"),
            ("xn--a.dk og xn--.dk", "xn--a.dk og xn--.dk"),
            ("ikke-xn--blbr-roah.dk", "ikke-xn--blbr-roah.dk"),
            ("… xn--blbr-roah.dk…", "… blåbær.dk (xn--blbr-roah.dk)…"),
        ] {
            assert_eq!(in_own_letters(text), shown);
        }
    }
}
