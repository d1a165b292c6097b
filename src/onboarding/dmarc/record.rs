//! DMARC records (RFC 9989 §4.7, §4.8), read as receivers read them.

use crate::smtp::Mailbox;

/// A record, as far as receivers read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `p=`, for the domain itself.
    pub policy: Policy,
    /// `sp=`, for names below it.
    pub subdomain_policy: Option<Policy>,
    /// `aspf=s`.
    pub strict_spf: bool,
    /// `psd=`: `Some(true)` for y, `Some(false)` for n.
    pub public_suffix: Option<bool>,
    /// `t=y`.
    pub testing: bool,
    /// `rua=`.
    pub reports: Vec<String>,
    /// The tag without a usable policy because of which receivers act as if the policy were none (RFC 9989 §4.10.1).
    pub fallback: Option<String>,
    /// Tags that RFC 9989 has removed.
    pub obsolete: Vec<String>,
    /// Parts that are no tag, or tags with a value that is none.
    pub unread: Vec<String>,
}

/// Why receivers cannot use a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A policy is missing, or is none: the tag as written.
    Policy(String),
    /// A tag stands in it twice.
    Twice(String),
}

/// What receivers shall do with mail that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing.
    None,
    /// Spam folder.
    Quarantine,
    /// Refuse.
    Reject,
}

impl Policy {
    /// As records write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Policy::None, Policy::Quarantine, Policy::Reject].into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text))
    }
}

/// Whether a TXT value claims to be a DMARC record: `v=DMARC1` is its first tag, the value in this very case, the name in any
/// (RFC 9989 §4.7, §4.8).
pub fn is_dmarc(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(tag, value)| tag.trim().eq_ignore_ascii_case("v") && value.trim() == "DMARC1")
}

/// Whether a TXT value was meant to be a DMARC record and is none: quotes of a web form kept, a comma for a semicolon, small
/// letters.
pub(super) fn looks_like_dmarc(text: &str) -> bool {
    let squeezed: String = text.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let squeezed = squeezed.to_ascii_lowercase();
    !is_dmarc(text) && (squeezed.starts_with("vdmarc") || squeezed.starts_with("dmarc"))
}

impl Record {
    /// Reads a record. `Err` says why receivers cannot use it.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let mut record = Record {
            policy: Policy::None,
            subdomain_policy: None,
            strict_spf: false,
            public_suffix: None,
            testing: false,
            reports: Vec::new(),
            fallback: None,
            obsolete: Vec::new(),
            unread: Vec::new(),
        };
        let mut policy = None;
        // The first tag that should name a policy and does not.
        let mut without: Option<String> = None;
        let mut tags = vec!["v".to_owned()];
        for part in text.split(';').skip(1).map(str::trim).filter(|part| !part.is_empty()) {
            let Some((tag, value)) = part.split_once('=') else {
                record.unread.push(part.to_owned());
                continue;
            };
            let (tag, value) = (tag.trim().to_ascii_lowercase(), value.trim());
            // RFC 9989 §4.7 takes the syntax of RFC 6376 §3.2: a tag that comes twice makes the whole list invalid.
            if tags.contains(&tag) {
                return Err(Unusable::Twice(tag));
            }
            tags.push(tag.clone());
            let read = match tag.as_str() {
                "p" | "sp" | "np" => {
                    match (Policy::parse(value), tag.as_str()) {
                        (None, _) => without = without.or(Some(part.to_owned())),
                        (found, "p") => policy = found,
                        (found, "sp") => record.subdomain_policy = found,
                        _ => {}
                    }
                    true
                }
                "aspf" | "adkim" => {
                    record.strict_spf |= tag == "aspf" && value.eq_ignore_ascii_case("s");
                    ["r", "s"].iter().any(|v| value.eq_ignore_ascii_case(v))
                }
                "psd" => {
                    let is = |letter| value.eq_ignore_ascii_case(letter);
                    record.public_suffix = (is("y") || is("n")).then(|| is("y"));
                    is("y") || is("n") || is("u")
                }
                "t" => {
                    record.testing = value.eq_ignore_ascii_case("y");
                    record.testing || value.eq_ignore_ascii_case("n")
                }
                "rua" => {
                    record.reports = value.split(',').map(|uri| uri.trim().to_owned()).collect();
                    true
                }
                "ruf" => true,
                "fo" => value.split(':').all(|v| matches!(v.trim(), "0" | "1" | "d" | "s")),
                "pct" | "rf" | "ri" => {
                    record.obsolete.push(tag.clone());
                    true
                }
                _ => false,
            };
            if !read {
                record.unread.push(part.to_owned());
            }
        }
        match (policy, without) {
            (Some(policy), None) => record.policy = policy,
            // RFC 9989 §4.10.1: without a usable p=, or with an sp= or np= that is none, a record with a usable rua= counts as
            // p=none, any other not at all.
            (_, without) if record.reports.iter().any(|uri| destination(uri).is_some()) => {
                record.subdomain_policy = None;
                record.fallback = Some(without.unwrap_or_else(|| "p=".to_owned()));
            }
            (_, without) => return Err(Unusable::Policy(without.unwrap_or_else(|| "p=".to_owned()))),
        }
        Ok(record)
    }
}

/// Where an `rua` URI sends to. Only mailto is used; a size limit (`!10m`) is obsolete and cut.
pub(super) fn destination(uri: &str) -> Option<Mailbox> {
    let (scheme, address) = uri.split_once(':')?;
    let address = address.split(['?', '!']).next()?;
    scheme.eq_ignore_ascii_case("mailto").then(|| Mailbox::parse(address).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_own_record_is_read_and_its_obsolete_tag_named() {
        let text = "v=DMARC1; p=none; pct=100; rua=mailto:yourmail@yourdomain.com; sp=none; aspf=r;";
        let record = Record::parse(text).unwrap();
        assert_eq!(
            (record.policy, &record.obsolete[..], record.unread.len()),
            (Policy::None, &["pct".to_owned()][..], 0)
        );
    }

    #[test]
    fn records_receivers_cannot_use_are_refused() {
        let policy = |tag: &str| Err(Unusable::Policy(tag.to_owned()));
        for (text, refused) in [
            ("v=DMARC1; p=maybe", policy("p=maybe")),
            ("v=DMARC1", policy("p=")),
            ("v=DMARC1; p=reject; sp=maybe", policy("sp=maybe")),
            ("v=DMARC1; p=reject; np=maybe; rua=d@test.dk", policy("np=maybe")),
            ("v=DMARC1; p=none; P=reject; rua=mailto:d@test.dk", Err(Unusable::Twice("p".to_owned()))),
            ("v=DMARC1; v=DMARC1; p=none", Err(Unusable::Twice("v".to_owned()))),
        ] {
            assert_eq!(Record::parse(text), refused, "{text}");
        }
    }

    #[test]
    fn with_an_address_for_reports_an_unusable_policy_counts_as_none() {
        for (text, tag) in [
            ("v=DMARC1; p=maybe; rua=mailto:a@b.dk", "p=maybe"),
            ("v=DMARC1; rua=mailto:a@b.dk", "p="),
            ("v=DMARC1; p=reject; sp=maybe; rua=mailto:a@b.dk", "sp=maybe"),
            ("v=DMARC1; p=reject; sp=reject; np=maybe; rua=mailto:a@b.dk", "np=maybe"),
        ] {
            let record = Record::parse(text).unwrap();
            assert_eq!((record.policy, record.subdomain_policy), (Policy::None, None), "{text}");
            assert_eq!(record.fallback.as_deref(), Some(tag), "{text}");
        }
        assert_eq!(Record::parse("V=DMARC1; P=Reject; SP=none; t=Y").unwrap().fallback, None);
    }

    #[test]
    fn only_the_exact_version_is_dmarc() {
        assert!(is_dmarc("V=DMARC1; p=none") && !is_dmarc("v=dmarc1; p=none"));
        assert!(!is_dmarc("v=DMARC1x; p=none") && !is_dmarc("p=none; v=DMARC1") && is_dmarc("v = DMARC1;p=none"));
    }
}
