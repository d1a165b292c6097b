//! Key records (RFC 6376 §3.6.1). Published records are read leniently, and their flaws are listed for the customer. New records
//! are written in the forms that DNS panels and zone files accept.

mod bare;

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::der::{self, InRecord};
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

/// The most characters of a value that a flaw quotes.
const LONGEST_QUOTE: usize = 60;

/// The smallest RSA key in bits that verifiers accept (RFC 8301 §3.2).
const SHORTEST_VERIFIED: usize = 1024;

/// A published key record, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRecord {
    /// The type of the key in `p=`, or that in `k=` if there is no readable key. `None` if it is no type that receivers know.
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
    /// The value is not a key record at all. Holds its beginning.
    #[error("{0:?} is no key record")]
    NoRecord(String),
    /// The tag `p=` is missing (RFC 6376 §3.6.1).
    #[error("p= is missing: this is no key record")]
    NoKey,
    /// The key stands there without the tags before it. Holds the tags that are missing.
    #[error("the key stands there without \"{0}\" before it")]
    Bare(String),
    /// The key is in a tag that receivers do not know.
    #[error("{0}= is no tag of a key record: the key must be in p=")]
    OtherName(String),
    /// The key is still in the armour of a PEM file.
    #[error(
        "the lines BEGIN and END of a PEM file are part of the value: enter only what is between them, after v=DKIM1; k=rsa; p="
    )]
    Pem,
    /// The record publishes a private key.
    #[error(
        "this is the private key: now everybody can sign with it; remove it, and make a new key under a new selector"
    )]
    Private,
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
    /// `k=` names a type, and the key is of the other type.
    #[error("the key is of the type {0}, and k= says otherwise: it must be k={0}")]
    OtherKeyType(KeyType),
    /// An Ed25519 key is in a SubjectPublicKeyInfo, and receivers expect its 32 octets alone (RFC 8463 §4.1).
    #[error("p= must have only the 32 octets of an Ed25519 key, without the type around them")]
    Wrapped,
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
        let (txt, flaw) = bare::with_tags(txt);
        let is_bare = matches!(&flaw, Some(Flaw::Bare(missing)) if missing.starts_with('v'));
        record.flaws.extend(flaw);
        let mut list = TagList::read(&txt, &TAGS);
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
            None if is_bare || record.flaws.contains(&Flaw::Pem) => {}
            None => record.flaws.push(Flaw::NoVersion),
            // RFC 6376 §3.6.1: v= must be the first tag and exactly DKIM1.
            Some("DKIM1") if list.tags.first().is_some_and(|tag| tag.name == "v") => {}
            Some("DKIM1") => record.flaws.push(Flaw::VersionNotFirst),
            Some(other) => record.flaws.push(Flaw::Version(other.to_owned())),
        }
        let kind = value("k").unwrap_or("rsa");
        record.key_type = [KeyType::Rsa, KeyType::Ed25519].into_iter().find(|known| known.to_string() == kind);
        if record.key_type.is_none() {
            record.flaws.push(Flaw::KeyType(kind.to_owned()));
        }
        match value("p") {
            Some(p) => record.read_key(p),
            None => match list.tags.iter().find(|tag| !TAGS.contains(&&*tag.name) && bare::is_key(&tag.value)) {
                Some(tag) => {
                    record.flaws.push(Flaw::OtherName(tag.name.clone()));
                    record.read_key(&tag.value);
                }
                None => record.flaws.push(Flaw::NoKey),
            },
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

    /// Stands for a TXT value that is no key record.
    pub fn of_another_kind(txt: &str) -> Self {
        let mut begin: String = txt.chars().take(LONGEST_QUOTE).collect();
        if begin.len() < txt.len() {
            begin.push('…');
        }
        KeyRecord { flaws: vec![Flaw::NoRecord(begin)], ..KeyRecord::default() }
    }

    /// Returns true if a TXT value is a key record, good or bad.
    pub fn is_meant(txt: &str) -> bool {
        let (txt, flaw) = bare::with_tags(txt);
        let list = TagList::read(&txt, &["v", "k", "p"]);
        flaw.is_some()
            || list.tags.iter().any(|tag| match tag.name.as_str() {
                "v" | "V" => tag.value.to_ascii_lowercase().starts_with("dkim"),
                name => matches!(name, "p" | "P" | "k" | "K"),
            })
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

    /// Reads the value of `p=`. The key shows its own type, so a wrong `k=` does not hide which key it is.
    fn read_key(&mut self, p: &str) {
        let (p, mark) = bare::unquoted(p);
        let is_noted = |flaw: &Flaw| matches!(flaw, Flaw::Tags(Mistake::Quoting(_) | Mistake::ZoneLine));
        if let Some(mark) = mark.filter(|_| !self.flaws.iter().any(is_noted)) {
            self.flaws.push(Flaw::Tags(Mistake::Quoting(mark)));
        }
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
        let Some((found, public_key)) = der::in_record(&key) else {
            // A key of an unknown type may have any form, so it has no flaw.
            return match self.key_type {
                Some(_) => self.flaws.push(Flaw::Truncated),
                None => self.public_key = key,
            };
        };
        let found = match found {
            InRecord::Private => return self.flaws.push(Flaw::Private),
            InRecord::Rsa { bits } => {
                self.rsa_bits = Some(bits);
                if bits < MIN_RSA_BITS {
                    self.flaws.push(Flaw::Weak(bits));
                }
                KeyType::Rsa
            }
            InRecord::Ed25519 => KeyType::Ed25519,
            InRecord::WrappedEd25519 => {
                self.flaws.push(Flaw::Wrapped);
                KeyType::Ed25519
            }
        };
        if !digits.len().is_multiple_of(4) {
            self.flaws.push(Flaw::NoPadding);
        }
        if self.key_type.is_some_and(|said| said != found) {
            self.flaws.push(Flaw::OtherKeyType(found));
        }
        self.key_type = Some(found);
        self.public_key = public_key.to_vec();
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
mod tests;
