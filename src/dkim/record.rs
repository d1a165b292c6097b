//! Key records (RFC 6376 §3.6.1). Published records are read leniently, and their flaws are listed for the customer. New records
//! are written in the forms that DNS panels and zone files accept.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::der;
use super::key::{KeyError, KeyType, MIN_RSA_BITS, SigningKey};
use super::selector::Selector;
use super::tags::{Mistake, TagList};
use crate::smtp::Domain;

/// Decodes base64 without padding too: missing padding is a [`Flaw`] of its own.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The tags of RFC 6376 §3.6.1, and `g` of its predecessor RFC 4871.
const TAGS: [&str; 8] = ["v", "k", "h", "p", "s", "t", "n", "g"];

/// The smallest RSA key in bits that verifiers accept (RFC 8301 §3.2).
const SHORTEST_VERIFIED: usize = 1024;

/// A published key record, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key type in `k=`, which is rsa if `k=` is missing. `None` if receivers do not know the type.
    pub key_type: Option<KeyType>,
    /// The decoded value of `p=`. Empty if the key is revoked, missing or unreadable.
    pub public_key: Vec<u8>,
    /// The size of an RSA key in bits, if it could be read.
    pub rsa_bits: Option<usize>,
    /// The flaws of the record.
    pub flaws: Vec<Flaw>,
}

/// A flaw of a key record. Some flaws keep receivers from verifying signatures: see [`Flaw::is_fatal`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// `v=` is missing, which is allowed.
    #[error("v=DKIM1 is missing: allowed, but publish it")]
    NoVersion,
    /// `v=` is not DKIM1, so receivers ignore the record.
    #[error("v={0} is not DKIM1: receivers ignore the record")]
    Version(String),
    /// `v=DKIM1` is not the first tag, so receivers ignore the record.
    #[error("v=DKIM1 is not the first tag: receivers ignore the record")]
    VersionNotFirst,
    /// The name of a tag is in upper case, so receivers do not know the tag.
    #[error("{0}= is in upper case: receivers do not know this tag")]
    Case(String),
    /// The tag `p=` is missing (RFC 6376 §3.6.1).
    #[error("p= is missing: this is no key record")]
    NoKey,
    /// The tag `p=` is empty, which revokes the key (RFC 6376 §3.6.1).
    #[error("p= is empty: the key is revoked")]
    Revoked,
    /// `p=` is not base64.
    #[error("p= is not base64 ({0:?} stands in it): copy the value again as one string")]
    NotBase64(char),
    /// The equals signs at the end of the base64 are missing. Only some receivers accept that.
    #[error("the = at the end of p= is missing: some receivers cannot read the key without it")]
    NoPadding,
    /// The decoded value of `p=` is not a complete key.
    #[error(
        "p= is truncated or damaged: it must reach DNS whole; strings over 255 octets are split and joined without spaces"
    )]
    Truncated,
    /// Receivers do not know the key type in `k=`.
    #[error("k={0} is a key type that receivers do not know")]
    KeyType(String),
    /// The RSA key has too few bits to sign mail.
    #[error("RSA with {0} bits is too weak: publish a 2048-bit key under a new selector")]
    Weak(usize),
    /// `h=` does not allow sha256.
    #[error("h={0} does not allow sha256, and our signatures use sha256")]
    Hash(String),
    /// `s=` does not allow email, or it lists several services, which not all receivers can read.
    #[error("s={0} does not allow mail, or only some receivers understand it: remove the tag")]
    Service(String),
    /// `t=y` says that the domain is testing DKIM.
    #[error("t=y: the domain is testing DKIM, and receivers may treat its mail as unsigned: remove the tag")]
    Testing,
    /// `t=s` forbids an `i=` below the domain.
    #[error("t=s: i= must be in the domain itself, not below it")]
    Strict,
    /// The record departs from the grammar of tags.
    #[error("{0}: receivers may reject the record")]
    Tags(Mistake),
}

impl Flaw {
    /// Returns true if receivers cannot verify our signatures with a record that has this flaw.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Flaw::NoVersion | Flaw::Testing | Flaw::Strict)
    }

    /// Returns true if receivers cannot verify signatures by another sender, for example Mailjet. Such a key may be shorter than
    /// ours: verifiers accept 1024 bits (RFC 8301 §3.2).
    pub fn is_fatal_to_others(&self) -> bool {
        match self {
            Flaw::Weak(bits) => *bits < SHORTEST_VERIFIED,
            other => other.is_fatal(),
        }
    }
}

impl KeyRecord {
    /// Reads a TXT value whose strings are joined. Never fails: everything that is wrong is in [`Self::flaws`].
    pub fn parse(txt: &str) -> Self {
        let mut record = KeyRecord { key_type: Some(KeyType::Rsa), ..KeyRecord::default() };
        let mut list = TagList::read(txt, &TAGS);
        record.flaws.extend(std::mem::take(&mut list.mistakes).into_iter().map(Flaw::Tags));
        for tag in &mut list.tags {
            // Tag names are in lower case and are case-sensitive (RFC 6376 §3.2).
            let meant = TAGS.iter().find(|known| tag.name != **known && tag.name.eq_ignore_ascii_case(known));
            if let Some(meant) = meant {
                record.flaws.push(Flaw::Case(std::mem::replace(&mut tag.name, (*meant).to_owned())));
            }
        }
        let value = |name: &str| list.value(name);

        match value("v") {
            None => record.flaws.push(Flaw::NoVersion),
            // RFC 6376 §3.6.1: v= must be the first tag and exactly DKIM1.
            Some("DKIM1") if list.tags.first().is_some_and(|tag| tag.name == "v") => {}
            Some("DKIM1") => record.flaws.push(Flaw::VersionNotFirst),
            Some(other) => record.flaws.push(Flaw::Version(other.to_owned())),
        }
        match value("k") {
            None | Some("rsa") => {}
            Some("ed25519") => record.key_type = Some(KeyType::Ed25519),
            Some(other) => {
                record.key_type = None;
                record.flaws.push(Flaw::KeyType(other.to_owned()));
            }
        }
        match value("p") {
            None => record.flaws.push(Flaw::NoKey),
            Some(p) => record.read_key(p),
        }
        if let Some(h) = value("h").filter(|h| !lists(h, &["sha256"])) {
            record.flaws.push(Flaw::Hash(h.to_owned()));
        }
        // RFC 6376 §3.6.1 allows a list, but dkimpy expects one value.
        if let Some(s) = value("s").filter(|s| !matches!(*s, "*" | "email")) {
            record.flaws.push(Flaw::Service(s.to_owned()));
        }
        for (flag, flaw) in [("y", Flaw::Testing), ("s", Flaw::Strict)] {
            if value("t").is_some_and(|t| lists(t, &[flag])) {
                record.flaws.push(flaw);
            }
        }
        record
    }

    /// Returns true if receivers can verify our signatures with this record.
    pub fn is_usable(&self) -> bool {
        !self.flaws.iter().any(Flaw::is_fatal)
    }

    /// Returns true if receivers can verify signatures by another sender with this record.
    pub fn is_usable_for_others(&self) -> bool {
        !self.flaws.iter().any(Flaw::is_fatal_to_others)
    }

    /// Returns true if both records publish the same key. An RSA key may be a SubjectPublicKeyInfo in one and bare in the other.
    pub fn is_same_key(&self, other: &KeyRecord) -> bool {
        let key = |record: &KeyRecord| match record.key_type {
            Some(KeyType::Rsa) => der::rsa_public_key(&record.public_key).map(<[u8]>::to_vec),
            _ => Some(record.public_key.clone()),
        };
        !self.public_key.is_empty() && self.key_type == other.key_type && key(self).is_some() && key(self) == key(other)
    }

    /// Returns true if the record publishes the public key of `key`, so that mail signed with `key` verifies.
    pub fn is_of(&self, key: &SigningKey) -> bool {
        let ours = |public_key| KeyRecord { key_type: Some(key.key_type()), public_key, ..KeyRecord::default() };
        key.public_key().is_ok_and(|public_key| self.is_same_key(&ours(public_key)))
    }

    fn read_key(&mut self, p: &str) {
        // RFC 6376 §3.6.1 allows white space inside the value.
        let digits: String = p.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if digits.is_empty() {
            return self.flaws.push(Flaw::Revoked);
        }
        let is_digit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        if let Some(strange) = digits.chars().find(|c| !is_digit(c)) {
            self.flaws.retain(|flaw| *flaw != Flaw::Tags(Mistake::Character(strange)));
            return self.flaws.push(Flaw::NotBase64(strange));
        }
        let Ok(key) = BASE64.decode(&digits) else {
            return self.flaws.push(Flaw::Truncated);
        };
        if !digits.len().is_multiple_of(4) {
            self.flaws.push(Flaw::NoPadding);
        }
        match self.key_type {
            Some(KeyType::Rsa) => {
                self.rsa_bits = der::rsa_public_key(&key).and_then(der::rsa_public_bits);
                match self.rsa_bits {
                    None => return self.flaws.push(Flaw::Truncated),
                    Some(bits) if bits < MIN_RSA_BITS => self.flaws.push(Flaw::Weak(bits)),
                    Some(_) => {}
                }
            }
            Some(KeyType::Ed25519) if key.len() != 32 => return self.flaws.push(Flaw::Truncated),
            _ => {}
        }
        self.public_key = key;
    }
}

/// Returns true if a colon-separated list has one of `wanted`.
fn lists(list: &str, wanted: &[&str]) -> bool {
    list.split(':').any(|item| wanted.iter().any(|w| item.trim().eq_ignore_ascii_case(w)))
}

/// A TXT record to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxtRecord {
    /// The full host name without a trailing dot: `postbud1._domainkey.test.dk`.
    pub name: String,
    /// The value on one line, as entered in a DNS panel.
    pub value: String,
}

/// Returns the key record that publishes the public half of `key`.
pub fn render(domain: &Domain, selector: &Selector, key: &SigningKey) -> Result<TxtRecord, KeyError> {
    let value = format!("v=DKIM1; k={}; p={}", key.key_type(), key.public_key_base64()?);
    Ok(TxtRecord { name: selector.dns_name(domain), value })
}

impl TxtRecord {
    /// Splits the value into strings of at most 255 octets, the most that DNS allows (RFC 1035 §3.3.14).
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        // The value is ASCII, so every octet begins a character.
        self.value.as_bytes().chunks(255).filter_map(|chunk| std::str::from_utf8(chunk).ok())
    }

    /// Returns the record as a line for a zone file.
    pub fn zone_line(&self) -> String {
        let strings: Vec<String> = self.strings().map(|s| format!("\"{s}\"")).collect();
        match strings.as_slice() {
            [one] => format!("{}. IN TXT {one}", self.name),
            several => format!("{}. IN TXT ( {} )", self.name, several.join(" ")),
        }
    }
}

/// Writes `name TXT value`.
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
        assert!(parsed.flaws.is_empty(), "{:?}", parsed.flaws);
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
        for (text, flaw, fatal) in [
            (good.replace("v=DKIM1; ", ""), Flaw::NoVersion, false),
            (format!("{}; v=DKIM1", good.replace("v=DKIM1; ", "")), Flaw::VersionNotFirst, true),
            (good.replace("DKIM1", "dkim1"), Flaw::Version("dkim1".into()), true),
            (good.replace("DKIM1", "DKIM2"), Flaw::Version("DKIM2".into()), true),
            ("v=DKIM1".into(), Flaw::NoKey, true),
            ("v=DKIM1; p=".into(), Flaw::Revoked, true),
            (format!("v=DKIM1; p={}", &p[..200]), Flaw::Truncated, true),
            (format!("v=DKIM1; p={}", &p[..201]), Flaw::Truncated, true),
            ("v=DKIM1; p=MIIB…".into(), Flaw::NotBase64('…'), true),
            (format!("v=DKIM1; p={weak}"), Flaw::Weak(1024), true),
            (good.replace("k=rsa", "k=ec"), Flaw::KeyType("ec".into()), true),
            (good.replace("k=rsa", "k=ed25519"), Flaw::Truncated, true),
            (good.replace("k=rsa", "h=sha1"), Flaw::Hash("sha1".into()), true),
            (good.replace("k=rsa", "s=tlsrpt"), Flaw::Service("tlsrpt".into()), true),
            (good.replace("k=rsa", "t=y"), Flaw::Testing, false),
            (good.replace("k=rsa", "t=s"), Flaw::Strict, false),
            (good.replace("k=rsa", "k=RSA"), Flaw::KeyType("RSA".into()), true),
            (good.replace("k=rsa", "s=email:tlsrpt"), Flaw::Service("email:tlsrpt".into()), true),
            (good.replace("p=", "P="), Flaw::Case("P".into()), true),
            (format!("v=DKIM1; k=ed25519; p={}", "A".repeat(43)), Flaw::NoPadding, true),
            (format!("{good}; p={p}"), Flaw::Tags(Mistake::Twice("p".into())), true),
            (format!("{good}; junk"), Flaw::Tags(Mistake::NoTag("junk".into())), true),
            (format!("\"{good}\""), Flaw::Tags(Mistake::Quoting('"')), true),
            (good.replace(';', "\\;"), Flaw::Tags(Mistake::Quoting('\\')), true),
            (good.replace(" p=", "\u{a0}p="), Flaw::Tags(Mistake::Character('\u{a0}')), true),
            (format!("\u{feff}{good}"), Flaw::Tags(Mistake::Character('\u{feff}')), true),
            (good.replace("k=rsa;", "h=sha256"), Flaw::Tags(Mistake::NoSemicolon("p".into())), true),
            (format!("s._domainkey IN TXT {good}"), Flaw::Tags(Mistake::ZoneLine), true),
        ] {
            let parsed = KeyRecord::parse(&text);
            // One mistake gives one flaw: what follows from it is not reported again.
            assert_eq!(parsed.flaws, std::slice::from_ref(&flaw), "{text}");
            assert_eq!(flaw.is_fatal(), fatal, "{text}");
            assert_eq!(parsed.is_usable(), !fatal, "{text}: {:?}", parsed.flaws);
        }
        assert!(KeyRecord::parse(&format!("v=DKIM1; p={weak}")).is_usable_for_others());
        assert!(Flaw::Weak(1023).is_fatal_to_others() && Flaw::Revoked.is_fatal_to_others());
    }

    #[test]
    fn a_record_that_receivers_cannot_read_never_counts() {
        let (_, record) = key_and_record();
        let good = record.value;
        let p = good.split("p=").nth(1).unwrap();
        let broken = [
            format!("v=DKIM1&#59; k=rsa; p={p}"),
            format!("v=DKIM1;&nbsp;k=rsa; p={p}"),
            format!("<{good}>"),
            format!("({good})"),
            format!("'{good}'"),
            format!("{good}\""),
            format!("v=DKIM1; k=rsa; p=\"{p}\""),
            format!("v=DKIM1: k=rsa: p={p}"),
            format!("v=DKIM1 | k=rsa | p={p}"),
            format!("v:DKIM1; k:rsa; p:{p}"),
            format!("v=DKIM1; k=rsa; p {p}"),
            format!("v=DKIM1; k=rsa; p=={p}"),
            format!("{good}."),
            format!("v=DKIM1;\u{202f}k=rsa; p={p}"),
            format!("v=DKIM1;\u{2003}k=rsa; p={p}"),
            format!("v=DKIM1;\u{85}k=rsa; p={p}"),
            good.replace("IDAQAB", "IDAQ\u{200b}AB"),
            good.replace("IDAQAB", "IDAQ\u{ad}AB"),
            format!("v=DKIM1\u{37e} k=rsa; p={p}"),
            format!("v\u{ff1d}DKIM1; k=rsa; p={p}"),
            format!("v=DKIM1; k=rsa; \u{440}={p}"),
            format!("{good} {good}"),
            format!("TXT {good}"),
            format!("sel._domainkey {good}"),
            format!("sel._domainkey.test.dk={good}"),
            format!("sel._domainkey.test.dk:{good}"),
            format!("v=DKIM1 k=rsa p={p}"),
            format!("v=DKIM1, k=rsa, p={p}"),
            format!("v=DKIM1\\059 k=rsa; p={p}"),
            format!("v=DKIM1; k=rsa; p=-----BEGIN PUBLIC KEY-----{p}-----END PUBLIC KEY-----"),
            format!("{good}; k=rsa; p="),
            format!("v=DKIM1; K=RSA; P={p}"),
            format!("v=DKIM1; k=rsa; p={}", p.replace('+', "%2B").replace('/', "%2F")),
            format!("{good}<br>"),
            format!("{good}\0"),
            // RFC 6376 §3.2: no hyphen stands in a tag's name.
            format!("v=DKIM1; x-vendor=1; p={p}"),
            good.replace("v=DKIM1", "v=DKIM-1"),
            good.replace("k=rsa", "k=rsa-sha256"),
        ];
        for text in broken {
            let read = KeyRecord::parse(&text);
            assert!(!read.is_usable() && !read.flaws.is_empty(), "{text}: {read:?}");
        }
        for text in [
            format!("v=DKIM1;k=rsa;p={p};"),
            format!("k=rsa; p={p}"),
            format!("p = {p}"),
            format!(" v = DKIM1 ;\r\n\tk = rsa ; p = {p}"),
            format!("v=DKIM1; t=s:y; p={p}"),
            format!("v=DKIM1; n=a note, with k=x in it; p={p}"),
            format!("v=DKIM1; h=sha1:sha256; s=*; p={p}"),
            format!("v=DKIM1; x_vendor=1; p={p}"),
        ] {
            assert!(KeyRecord::parse(&text).is_usable(), "{text}");
        }
    }

    #[test]
    fn a_record_costs_in_proportion_to_its_length() {
        crate::test_cost::is_linear(
            crate::test_cost::LONG,
            |text: &String| drop(KeyRecord::parse(text)),
            &[
                ("different tags", |size| (0..size / 8).map(|at| format!("x{at:05}=;")).collect()),
                ("the same tag", |size| "t=y; ".repeat(size / 5)),
                ("no semicolons", |size| "t=y ".repeat(size / 4)),
                ("semicolons", |size| ";".repeat(size)),
                ("equals signs", |size| "=".repeat(size)),
                ("names without a sign", |size| "junk;".repeat(size / 5)),
                ("blanks", |size| format!("v=DKIM1;{}", " ".repeat(size))),
                ("words before", |size| format!("{}v=DKIM1; p=", "word ".repeat(size / 5))),
                ("base64", |size| format!("v=DKIM1; p={}", "MIIB".repeat(size / 4))),
                ("base64 with blanks", |size| format!("v=DKIM1; p={}", "MI ".repeat(size / 3))),
                ("lists", |size| format!("v=DKIM1; h={}; p=", "sha1:".repeat(size / 5))),
                ("quotation marks", |size| "\"\\".repeat(size / 2)),
                ("no-break spaces", |size| format!("v=DKIM1;{}p=", "\u{a0}".repeat(size / 2))),
                ("strange letters", |size| {
                    (0..size as u32 / 3).filter_map(|at| char::from_u32(0x4e00 + at % 9000)).collect()
                }),
            ],
        );
    }
}
