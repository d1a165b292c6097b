//! Selectors: the names below `_domainkey` at which keys are published (RFC 6376 §3.1).

use std::fmt;
use std::sync::Arc;

use crate::smtp::Domain;

/// A selector in lower case: one or more DNS labels separated by dots (`postbud1`, `2026.brisbane`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(Arc<str>);

/// The error for a text that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a selector: letters, digits and inner hyphens, as in \"postbud1\"")]
pub struct NotASelector(String);

impl Selector {
    /// Reads a selector, which is `sub-domain *( "." sub-domain )` in RFC 6376 §3.1: a label has no underscore, and no hyphen at
    /// its start or end.
    pub fn parse(text: &str) -> Result<Self, NotASelector> {
        let label_is_legal = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // `Signer::new` checks that the whole name, `selector._domainkey.domain`, has at most 253 octets.
        if text.len() > 200 || !text.split('.').all(label_is_legal) {
            return Err(NotASelector(text.to_owned()));
        }
        Ok(Selector(text.to_ascii_lowercase().into()))
    }

    /// Returns the selector as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host of the key record without a trailing dot: `postbud1._domainkey.test.dk`.
    pub fn dns_name(&self, domain: &Domain) -> String {
        key_host(&self.0, domain)
    }
}

/// Returns the host of the key record for any selector, ours or another sender's (RFC 6376 §3.6.2.1).
pub fn key_host(selector: &str, domain: &Domain) -> String {
    format!("{selector}._domainkey.{domain}")
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_dns_name() {
        for text in ["postbud1", "2026.brisbane", "a-b", "S1"] {
            assert_eq!(Selector::parse(text).unwrap().as_str(), text.to_lowercase());
        }
        let long = "x".repeat(64);
        for text in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "a b", "a;b", "å", "a\r\n", long.as_str()] {
            assert!(Selector::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_key_is_published_below_domainkey() {
        let domain = Domain::parse("Test.dk.").unwrap();
        assert_eq!(Selector::parse("postbud1").unwrap().dns_name(&domain), "postbud1._domainkey.test.dk");
    }
}
