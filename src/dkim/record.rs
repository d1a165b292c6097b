//! Key records (RFC 6376 §3.6.1): read from what DNS really holds, with everything worth telling the customer, and written
//! in the forms DNS panels and zone files take.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::der;
use super::key::{KeyError, KeyType, MIN_RSA_BITS, SigningKey};
use super::selector::Selector;
use super::tags::{Mistake, TagList};
use crate::smtp::Domain;

/// Reads what lacks padding, too: what is wrong with it is said by itself.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// RFC 6376 §3.6.1; `g` is of its predecessor.
const TAGS: [&str; 8] = ["v", "k", "h", "p", "s", "t", "n", "g"];

/// RFC 8301 §3.2: verifiers consider no signature valid whose RSA key is shorter.
const SHORTEST_VERIFIED: usize = 1024;

/// A published record, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRecord {
    /// `k=` (rsa where it is missing); `None` for a kind nobody knows.
    pub key_type: Option<KeyType>,
    /// `p=` decoded; empty when revoked, missing or unreadable.
    pub public_key: Vec<u8>,
    /// The size of an RSA key, where it could be read.
    pub rsa_bits: Option<usize>,
    /// What is there to say about it.
    pub findings: Vec<Finding>,
}

/// Something to know about a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// `v=` is missing. Allowed.
    #[error("v=DKIM1 is missing: allowed, but publish it")]
    NoVersion,
    /// `v=` is something else than DKIM1: the record is ignored.
    #[error("v={0} is not DKIM1: receivers ignore the record")]
    Version(String),
    /// `v=DKIM1` is not the first tag: the record is ignored.
    #[error("v=DKIM1 is not the first tag: receivers ignore the record")]
    VersionNotFirst,
    /// The name of a tag is in upper case: nobody knows such a tag.
    #[error("{0}= is in upper case: receivers do not know this tag")]
    Case(String),
    /// `p=` is missing.
    #[error("p= is missing: this is no key record")]
    NoKey,
    /// `p=` is empty.
    #[error("p= is empty: the key is revoked")]
    Revoked,
    /// `p=` is not base64.
    #[error("p= is not base64 ({0:?} stands in it): copy the value again as one string")]
    NotBase64(char),
    /// The equals signs that base64 ends in are missing. Some receivers do without, some do not.
    #[error("the = at the end of p= is missing: some receivers cannot read the key without it")]
    NoPadding,
    /// `p=` decodes to no whole key.
    #[error(
        "p= is truncated or damaged: it must reach DNS whole; strings over 255 octets are split and joined without spaces"
    )]
    Truncated,
    /// `k=` unknown.
    #[error("k={0} is a kind of key receivers do not know")]
    KeyType(String),
    /// Few bits.
    #[error("RSA with {0} bits is too weak: publish a 2048-bit key under a new selector")]
    Weak(usize),
    /// `h=` leaves out sha256.
    #[error("h={0} does not allow sha256, which we sign with")]
    Hash(String),
    /// `s=` leaves out email, or has it among others, as not all receivers read it.
    #[error("s={0} does not allow mail, or not as all receivers read it: take it out")]
    Service(String),
    /// `t=y`.
    #[error("t=y: the domain is testing DKIM, and receivers may treat its mail as unsigned: take it out")]
    Testing,
    /// `t=s`.
    #[error("t=s: i= must be in the domain itself, not below it")]
    Strict,
    /// The record departs from the grammar of tags.
    #[error("{0}: receivers may reject the record")]
    Tags(Mistake),
}

impl Finding {
    /// Whether receivers cannot verify our signatures with such a record.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Finding::NoVersion | Finding::Testing | Finding::Strict)
    }

    /// The same for signatures of somebody else, whose key may be shorter than ours has to be: verifiers accept 1024 bits
    /// (RFC 8301 §3.2).
    pub fn is_fatal_to_others(&self) -> bool {
        match self {
            Finding::Weak(bits) => *bits < SHORTEST_VERIFIED,
            other => other.is_fatal(),
        }
    }
}

impl KeyRecord {
    /// Reads a TXT value, its strings joined. Never fails: what is wrong stands in [`Self::findings`].
    pub fn parse(txt: &str) -> Self {
        let mut record = KeyRecord { key_type: Some(KeyType::Rsa), ..KeyRecord::default() };
        let mut list = TagList::read(txt, &TAGS);
        record.findings.extend(std::mem::take(&mut list.mistakes).into_iter().map(Finding::Tags));
        for tag in &mut list.tags {
            // Names of tags are in lower case, and case counts (RFC 6376 §3.2).
            let meant = TAGS.iter().find(|known| tag.name != **known && tag.name.eq_ignore_ascii_case(known));
            if let Some(meant) = meant {
                record.findings.push(Finding::Case(std::mem::replace(&mut tag.name, (*meant).to_owned())));
            }
        }
        let value = |name: &str| list.value(name);

        match value("v") {
            None => record.findings.push(Finding::NoVersion),
            // RFC 6376 §3.6.1: v= must be the first tag and exactly DKIM1.
            Some("DKIM1") if list.tags.first().is_some_and(|tag| tag.name == "v") => {}
            Some("DKIM1") => record.findings.push(Finding::VersionNotFirst),
            Some(other) => record.findings.push(Finding::Version(other.to_owned())),
        }
        match value("k") {
            None | Some("rsa") => {}
            Some("ed25519") => record.key_type = Some(KeyType::Ed25519),
            Some(other) => {
                record.key_type = None;
                record.findings.push(Finding::KeyType(other.to_owned()));
            }
        }
        match value("p") {
            None => record.findings.push(Finding::NoKey),
            Some(p) => record.read_key(p),
        }
        if let Some(h) = value("h").filter(|h| !lists(h, &["sha256"])) {
            record.findings.push(Finding::Hash(h.to_owned()));
        }
        // RFC 6376 §3.6.1 has a list here, and dkimpy reads one value.
        if let Some(s) = value("s").filter(|s| !matches!(*s, "*" | "email")) {
            record.findings.push(Finding::Service(s.to_owned()));
        }
        for (flag, finding) in [("y", Finding::Testing), ("s", Finding::Strict)] {
            if value("t").is_some_and(|t| lists(t, &[flag])) {
                record.findings.push(finding);
            }
        }
        record
    }

    /// Whether receivers can verify our signatures with it.
    pub fn is_usable(&self) -> bool {
        !self.findings.iter().any(Finding::is_fatal)
    }

    /// Whether receivers can verify somebody else's signatures with it.
    pub fn is_usable_for_others(&self) -> bool {
        !self.findings.iter().any(Finding::is_fatal_to_others)
    }

    /// Whether both publish the same key, however it is written: RSA as SubjectPublicKeyInfo or bare.
    pub fn is_same_key(&self, other: &KeyRecord) -> bool {
        let key = |record: &KeyRecord| match record.key_type {
            Some(KeyType::Rsa) => der::rsa_public_key(&record.public_key).map(<[u8]>::to_vec),
            _ => Some(record.public_key.clone()),
        };
        !self.public_key.is_empty() && self.key_type == other.key_type && key(self).is_some() && key(self) == key(other)
    }

    /// Whether it publishes this key's public half, so that mail signed with the key verifies.
    pub fn is_of(&self, key: &SigningKey) -> bool {
        let ours = |public_key| KeyRecord { key_type: Some(key.key_type()), public_key, ..KeyRecord::default() };
        key.public_key().is_ok_and(|public_key| self.is_same_key(&ours(public_key)))
    }

    fn read_key(&mut self, p: &str) {
        // RFC 6376 §3.6.1 allows white space inside, also where strings were joined.
        let digits: String = p.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if digits.is_empty() {
            return self.findings.push(Finding::Revoked);
        }
        let is_digit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        if let Some(strange) = digits.chars().find(|c| !is_digit(c)) {
            self.findings.retain(|finding| *finding != Finding::Tags(Mistake::Character(strange)));
            return self.findings.push(Finding::NotBase64(strange));
        }
        let Ok(key) = BASE64.decode(&digits) else {
            return self.findings.push(Finding::Truncated);
        };
        if !digits.len().is_multiple_of(4) {
            self.findings.push(Finding::NoPadding);
        }
        match self.key_type {
            Some(KeyType::Rsa) => {
                self.rsa_bits = der::rsa_public_key(&key).and_then(der::rsa_public_bits);
                match self.rsa_bits {
                    None => return self.findings.push(Finding::Truncated),
                    Some(bits) if bits < MIN_RSA_BITS => self.findings.push(Finding::Weak(bits)),
                    Some(_) => {}
                }
            }
            Some(KeyType::Ed25519) if key.len() != 32 => return self.findings.push(Finding::Truncated),
            _ => {}
        }
        self.public_key = key;
    }
}

/// Whether a colon-separated list has one of `wanted`.
fn lists(list: &str, wanted: &[&str]) -> bool {
    list.split(':').any(|item| wanted.iter().any(|w| item.trim().eq_ignore_ascii_case(w)))
}

/// A record to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxtRecord {
    /// The full name, without a trailing dot: `postbud1._domainkey.test.dk`.
    pub name: String,
    /// The value on one line, as DNS panels take it.
    pub value: String,
}

/// The record that publishes a key.
pub fn render(domain: &Domain, selector: &Selector, key: &SigningKey) -> Result<TxtRecord, KeyError> {
    let value = format!("v=DKIM1; k={}; p={}", key.key_type(), key.public_key_base64()?);
    Ok(TxtRecord { name: selector.dns_name(domain), value })
}

impl TxtRecord {
    /// The value as the strings of at most 255 octets that DNS carries (RFC 1035 §3.3.14).
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        // The value is ASCII, so that every place is a character boundary.
        self.value.as_bytes().chunks(255).filter_map(|chunk| std::str::from_utf8(chunk).ok())
    }

    /// A line for a zone file.
    pub fn zone_line(&self) -> String {
        let strings: Vec<String> = self.strings().map(|s| format!("\"{s}\"")).collect();
        match strings.as_slice() {
            [one] => format!("{}. IN TXT {one}", self.name),
            several => format!("{}. IN TXT ( {} )", self.name, several.join(" ")),
        }
    }
}

/// `name TXT value`, for people.
impl fmt::Display for TxtRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} TXT {}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_and_record() -> (SigningKey, TxtRecord) {
        let key = SigningKey::generate_rsa(2048).unwrap();
        let domain = Domain::parse("test.dk").unwrap();
        let record = render(&domain, &Selector::parse("postbud1").unwrap(), &key).unwrap();
        (key, record)
    }

    #[test]
    fn what_is_rendered_is_read_back_and_matches_its_key_only() {
        let (key, record) = key_and_record();
        let parsed = KeyRecord::parse(&record.value);
        assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
        assert_eq!((parsed.key_type, parsed.rsa_bits), (Some(KeyType::Rsa), Some(2048)));
        assert!(parsed.is_of(&key));
        assert!(!parsed.is_of(&SigningKey::generate_rsa(2048).unwrap()));
        let ed = SigningKey::generate_ed25519().unwrap();
        assert!(!parsed.is_of(&ed));
        let text = format!("v=DKIM1; k=ed25519; p={}", ed.public_key_base64().unwrap());
        assert!(KeyRecord::parse(&text).is_of(&ed));
    }

    #[test]
    fn a_long_value_is_split_into_strings_of_255_octets() {
        let (_, record) = key_and_record();
        let strings: Vec<_> = record.strings().collect();
        assert_eq!(strings.concat(), record.value);
        assert_eq!(strings[0].len(), 255);
        let line = record.zone_line();
        assert!(line.starts_with("postbud1._domainkey.test.dk. IN TXT ( \"v=DKIM1; k=rsa; p="));
        assert!(line.ends_with("\" )"));
    }

    #[test]
    fn a_bare_rsa_public_key_is_accepted() {
        let (key, record) = key_and_record();
        let spki = key.public_key().unwrap();
        let bare = base64::engine::general_purpose::STANDARD.encode(der::rsa_public_key(&spki).unwrap());
        assert!(KeyRecord::parse(&format!("p={bare}")).is_of(&key));
        let spaced = KeyRecord::parse(&record.value.replace("; ", " ;\t").replace("IDAQAB", "IDAQ AB"));
        assert!(spaced.is_of(&key) && spaced.is_usable());
    }

    #[test]
    fn findings_name_what_is_wrong() {
        let (_, record) = key_and_record();
        let good = record.value;
        let p = good.split("p=").nth(1).unwrap();
        let weak = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
        for (text, finding, fatal) in [
            (good.replace("v=DKIM1; ", ""), Finding::NoVersion, false),
            (format!("{}; v=DKIM1", good.replace("v=DKIM1; ", "")), Finding::VersionNotFirst, true),
            (good.replace("DKIM1", "dkim1"), Finding::Version("dkim1".into()), true),
            (good.replace("DKIM1", "DKIM2"), Finding::Version("DKIM2".into()), true),
            ("v=DKIM1".into(), Finding::NoKey, true),
            ("v=DKIM1; p=".into(), Finding::Revoked, true),
            (format!("v=DKIM1; p={}", &p[..200]), Finding::Truncated, true),
            (format!("v=DKIM1; p={}", &p[..201]), Finding::Truncated, true),
            ("v=DKIM1; p=MIIB…".into(), Finding::NotBase64('…'), true),
            (format!("v=DKIM1; p={weak}"), Finding::Weak(1024), true),
            (good.replace("k=rsa", "k=ec"), Finding::KeyType("ec".into()), true),
            (good.replace("k=rsa", "k=ed25519"), Finding::Truncated, true),
            (good.replace("k=rsa", "h=sha1"), Finding::Hash("sha1".into()), true),
            (good.replace("k=rsa", "s=tlsrpt"), Finding::Service("tlsrpt".into()), true),
            (good.replace("k=rsa", "t=y"), Finding::Testing, false),
            (good.replace("k=rsa", "t=s"), Finding::Strict, false),
            (good.replace("k=rsa", "k=RSA"), Finding::KeyType("RSA".into()), true),
            (good.replace("k=rsa", "s=email:tlsrpt"), Finding::Service("email:tlsrpt".into()), true),
            (good.replace("p=", "P="), Finding::Case("P".into()), true),
            (format!("v=DKIM1; k=ed25519; p={}", "A".repeat(43)), Finding::NoPadding, true),
            (format!("{good}; p={p}"), Finding::Tags(Mistake::Twice("p".into())), true),
            (format!("{good}; junk"), Finding::Tags(Mistake::NoTag("junk".into())), true),
            (format!("\"{good}\""), Finding::Tags(Mistake::Quoting('"')), true),
            (good.replace(';', "\\;"), Finding::Tags(Mistake::Quoting('\\')), true),
            (good.replace(" p=", "\u{a0}p="), Finding::Tags(Mistake::Character('\u{a0}')), true),
            (format!("\u{feff}{good}"), Finding::Tags(Mistake::Character('\u{feff}')), true),
            (good.replace("k=rsa;", "h=sha256"), Finding::Tags(Mistake::NoSemicolon("p".into())), true),
            (format!("s._domainkey IN TXT {good}"), Finding::Tags(Mistake::ZoneLine), true),
        ] {
            let parsed = KeyRecord::parse(&text);
            // What follows from a mistake is no other one: the customer hears of this one only.
            assert_eq!(parsed.findings, std::slice::from_ref(&finding), "{text}");
            assert_eq!(finding.is_fatal(), fatal, "{text}");
            assert_eq!(parsed.is_usable(), !fatal, "{text}: {:?}", parsed.findings);
        }
        assert!(KeyRecord::parse(&format!("v=DKIM1; p={weak}")).is_usable_for_others());
        assert!(Finding::Weak(1023).is_fatal_to_others() && Finding::Revoked.is_fatal_to_others());
    }
}
