//! The signer: prepared once for a domain, then called once for each message.
//!
//! Only `t=`, `x=`, `h=`, `bh=` and `b=` depend on the message; the rest of the field is text made in advance. Successive
//! profiles with the same header list and header canonicalization share the canonical header. In the steady state this module
//! allocates only the output. aws-lc-rs allocates one buffer for each signature (see benches/README.md).

use std::cell::RefCell;
use std::io::Write;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::body::{BodyHash, BodyHasher};
use super::canonical::{self, Canonicalization};
use super::fold::Folded;
use super::headers::{HeaderList, Selection, Signed};
use super::key::{KeyError, MAX_SIGNATURE_LEN, SigningKey};
use super::selector::Selector;
use crate::message::Field;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The input of one signature: the signing domain, the key, and the parts of the message that it covers.
#[derive(Debug)]
pub struct Profile {
    /// The signing domain, `d=`.
    pub domain: Domain,
    /// The selector, `s=` (RFC 6376 §3.5).
    pub selector: Selector,
    /// The private key that signs.
    pub key: SigningKey,
    /// The header canonicalization, the first half of `c=`.
    pub header_canonicalization: Canonicalization,
    /// The body canonicalization, the second half of `c=`.
    pub body_canonicalization: Canonicalization,
    /// The header fields that the signature covers, listed in `h=`.
    pub headers: HeaderList,
    /// The time from `t=` to `x=`. It must be longer than the next server may keep the message in its queue.
    pub expires: Option<Duration>,
    /// The value of `i=`, in the domain `d=` or below it: `@sub.test.dk` or `user@test.dk`.
    pub identity: Option<String>,
}

impl Profile {
    /// Makes a profile with the defaults: relaxed/relaxed, the default header list, no `x=`, no `i=`.
    pub fn new(domain: Domain, selector: Selector, key: SigningKey) -> Self {
        Profile {
            domain,
            selector,
            key,
            header_canonicalization: Canonicalization::Relaxed,
            body_canonicalization: Canonicalization::Relaxed,
            headers: HeaderList::default(),
            expires: None,
            identity: None,
        }
    }
}

/// Signs the messages of one From domain with one or more profiles.
#[derive(Debug)]
pub struct Signer {
    prepared: Vec<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    profile: Profile,
    /// The signature field up to and including ` t=`.
    start: Folded,
    /// True if the previous profile has the same canonical header and the same `h=`.
    shares_header: bool,
}

/// Why a message could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The message has no From field, which every signature must cover (RFC 6376 §5.4).
    #[error("the message has no From field")]
    NoFrom,
    /// The message has several From fields. RFC 5322 §3.6 allows one, and a mail program may show any of several.
    #[error("the message has {0} From fields, and may have one")]
    SeveralFrom(usize),
    /// A line of the header is not part of a field, so verifiers could disagree on what was signed.
    #[error("the header has a line that is not a field")]
    Malformed,
    /// The body hash comes from another signer's hasher and lacks this canonicalization.
    #[error("the body was not hashed with {0} canonicalization: take the hasher from the signer that signs")]
    NotHashed(Canonicalization),
    /// The cryptographic library failed.
    #[error("the cryptographic library failed to sign for {selector}._domainkey.{domain}")]
    Library {
        /// The value of `d=`.
        domain: Domain,
        /// The value of `s=`.
        selector: Selector,
    },
    /// The signer panicked, which is a bug. Only this message fails.
    #[error("the signer panicked on this message")]
    Panicked,
    /// The signer threads have been stopped.
    #[error("the signer threads have been stopped")]
    Stopped,
}

/// Buffers that each thread reuses for one message after the other.
#[derive(Default)]
struct Scratch {
    selection: Selection,
    /// The tag ` h=…;`, folded as in the field.
    names: Vec<u8>,
    /// The canonical header. Each profile appends its own signature field and removes it again.
    header: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The most memory that is kept from one message to the next. The buffers of a larger header are freed.
const SCRATCH_KEPT: usize = 256 * 1024;

impl Signer {
    /// Prepares one signature for each profile; messages are signed in this order. Errors name what the operator must change.
    pub fn new(profiles: Vec<Profile>) -> Result<Self, KeyError> {
        let mut prepared: Vec<Prepared> = Vec::with_capacity(profiles.len());
        for profile in profiles {
            let start = start_of_field(&profile)?;
            let shares_header = prepared.last().is_some_and(|before| {
                before.profile.headers == profile.headers
                    && before.profile.header_canonicalization == profile.header_canonicalization
            });
            prepared.push(Prepared { profile, start, shares_header });
        }
        if prepared.is_empty() {
            return Err(KeyError::NoProfile);
        }
        Ok(Signer { prepared })
    }

    /// Returns the profiles, in the order of their signatures from top to bottom.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.prepared.iter().map(|prepared| &prepared.profile)
    }

    /// Returns the profiles that sign as `domain`. The relay may add a second signature with its own domain, whose key the
    /// customer does not publish.
    pub fn profiles_of<'a>(&'a self, domain: &'a Domain) -> impl Iterator<Item = &'a Profile> {
        self.profiles().filter(move |profile| profile.domain == *domain)
    }

    /// Makes a hasher for the body of a message that this signer will sign.
    pub fn body_hasher(&self) -> BodyHasher {
        BodyHasher::new(self.profiles().map(|profile| profile.body_canonicalization))
    }

    /// Returns true if all keys are Ed25519: signing then takes tens of microseconds, while RSA takes most of a millisecond.
    pub fn is_quick(&self) -> bool {
        self.profiles().all(|profile| profile.key.key_type() == super::key::KeyType::Ed25519)
    }

    /// Appends the finished `DKIM-Signature:` fields, each with its CRLF, to `out`. `fields` is the header from top to bottom,
    /// including the fields that the relay adds; the signatures go above it. On an error `out` is unchanged.
    pub fn sign(
        &self,
        fields: &[Field<'_>],
        body: &BodyHash,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), SignError> {
        match fields.iter().filter(|field| field.is("from")).count() {
            0 => return Err(SignError::NoFrom),
            1 => {}
            several => return Err(SignError::SeveralFrom(several)),
        }
        let before = out.len();
        let result = SCRATCH.with_borrow_mut(|scratch| {
            let result = self.prepared.iter().try_for_each(|prepared| {
                if !prepared.shares_header {
                    scratch.take_header(&prepared.profile, fields);
                }
                if out.len() == before {
                    out.reserve(self.prepared.iter().map(|each| each.room(scratch.names.len())).sum());
                }
                prepared.sign(scratch, body, now, out)
            });
            scratch.give_back();
            result
        });
        if result.is_err() {
            out.truncate(before);
        }
        result
    }
}

impl Prepared {
    fn sign(&self, scratch: &mut Scratch, body: &BodyHash, now: Timestamp, out: &mut Vec<u8>) -> Result<(), SignError> {
        let profile = &self.profile;
        let how = profile.body_canonicalization;
        let body_hash = body.get(how).ok_or(SignError::NotHashed(how))?;

        let start = out.len();
        self.start.append_to(out);
        // Writing to a vector cannot fail.
        let _ = write!(out, "{};", now.as_secs());
        if let Some(expires) = profile.expires {
            let _ = write!(out, " x={};", (now + expires).as_secs());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&scratch.names);
        out.extend_from_slice(b"\r\n bh=");
        out.extend_from_slice(body_hash);
        out.extend_from_slice(b"; b=");

        // RFC 6376 §3.7: the signature field itself is hashed last, with an empty b= and without its CRLF.
        let header_len = scratch.header.len();
        match profile.header_canonicalization {
            Canonicalization::Simple => scratch.header.extend_from_slice(&out[start..]),
            Canonicalization::Relaxed => {
                scratch.header.extend_from_slice(b"dkim-signature:");
                canonical::relaxed_value(&out[start + NAME.len()..], &mut scratch.header);
            }
        }
        let hash = digest(&SHA256, &scratch.header);
        scratch.header.truncate(header_len);

        let mut signature = [0; MAX_SIGNATURE_LEN];
        let signature = &mut signature[..profile.key.signature_len()];
        profile
            .key
            .sign_digest(&hash, signature)
            .map_err(|_| SignError::Library { domain: profile.domain.clone(), selector: profile.selector.clone() })?;
        let mut text = [0; MAX_SIGNATURE_LEN.div_ceil(3) * 4];
        let len = BASE64.encode_slice(signature, &mut text).expect("the text has room for the longest signature");
        Folded::append_base64(&text[..len], " bh=; b=".len() + body_hash.len(), out);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Returns an upper bound for the length of the finished field. `names` is the length of ` h=…;`.
    fn room(&self, names: usize) -> usize {
        let signature = self.profile.key.signature_len().div_ceil(3) * 4;
        let dates = 2 * "; x=18446744073709551615".len();
        self.start.len() + dates + names + 80 + signature + signature / 25
    }
}

impl Scratch {
    fn take_header(&mut self, profile: &Profile, fields: &[Field<'_>]) {
        let Scratch { selection, names, header } = self;
        selection.choose(&profile.headers, fields);
        names.clear();
        header.clear();
        let mut column = 0;
        for signed in selection.iter(&profile.headers) {
            let name = match signed {
                Signed::Field { name, index } => {
                    canonical::field(profile.header_canonicalization, fields[index], header);
                    name
                }
                Signed::Seal { name } => name,
            };
            Folded::append_name(name, &mut column, names);
        }
        names.push(b';');
    }

    fn give_back(&mut self) {
        if self.header.capacity() + self.names.capacity() > SCRATCH_KEPT {
            *self = Scratch::default();
        }
    }
}

const NAME: &str = "DKIM-Signature:";

/// Returns the part of the field that is the same for all messages: `DKIM-Signature: v=1; a=…; c=…; d=…; s=…; i=…; t=`.
fn start_of_field(profile: &Profile) -> Result<Folded, KeyError> {
    let Profile { domain, selector, key, header_canonicalization, body_canonicalization, .. } = profile;
    let published_at = selector.dns_name(domain);
    if published_at.len() > 253 {
        return Err(KeyError::NameTooLong(published_at));
    }
    let mut start = Folded::new(NAME);
    start.tag("v=1;");
    start.tag(&format!("a={};", key.algorithm()));
    start.tag(&format!("c={header_canonicalization}/{body_canonicalization};"));
    start.tag(&format!("d={domain};"));
    start.tag(&format!("s={selector};"));
    if let Some(identity) = &profile.identity {
        check_identity(identity, domain)?;
        start.tag(&format!("i={identity};"));
    }
    // Leave room for the ten digits of t= (until the year 2286), and for as many of x=.
    let dates = if profile.expires.is_some() { "t=0123456789; x=0123456789;" } else { "t=0123456789;" };
    start.tag_with_room("t=", dates.len());
    Ok(start)
}

/// Checks that the domain of i= is d= or below it (RFC 6376 §3.5). The local part may only have characters that need no
/// quoted-printable encoding.
fn check_identity(identity: &str, domain: &Domain) -> Result<(), KeyError> {
    let refused = || KeyError::Identity { identity: identity.to_owned(), domain: domain.to_string() };
    let (local, host) = identity.rsplit_once('@').ok_or_else(refused)?;
    let is_safe = |b: u8| (0x21..=0x7e).contains(&b) && !matches!(b, b';' | b'=');
    let host = Domain::parse(host).map_err(|_| refused())?;
    (local.bytes().all(is_safe) && host.is_within(domain)).then_some(()).ok_or_else(refused)
}
