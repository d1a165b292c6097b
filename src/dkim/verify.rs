//! Verification for operators (`postbud dkim verify`): what a receiver would say.
//!
//! Keys come through our own DNS port or from a record given by hand. mail-auth judges the signatures, but not the body: version 0.13
//! keeps an empty line where white-space-only lines end a body (RFC 6376 §3.4.4 ignores them), loses lone CRs, and counts `l=`
//! before canonicalization. The body's hash is computed here, with the canonicalization that signs.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::LazyLock;
use std::time::Instant;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use mail_auth::common::crypto::Algorithm;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dkim;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator, Parameters, ResolverCache, Txt,
};

use super::canonical::{Body, Canonicalization};
use crate::resolver::{Resolver, joined};

/// Where public keys come from.
pub enum Keys<'a> {
    /// From DNS.
    Dns(&'a dyn Resolver),
    /// This record, whatever a signature's domain and selector.
    Record(&'a str),
}

/// What a receiver would say of one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `d=`; empty where the signature could not be read.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// Verified, or why not.
    pub outcome: Result<(), String>,
}

/// Why nothing could be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not a message.
    #[error("this is no mail message: no header could be read")]
    NoMessage,
    /// The verifier could not be set up.
    #[error("the verifier could not be set up: {0}")]
    Setup(String),
}

/// Set up once: that reads all of the system's certificates. It never asks DNS, for every key is in the cache that it is given.
static VERIFIER: LazyLock<Result<MessageAuthenticator, String>> = LazyLock::new(|| {
    MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).map_err(|error| error.to_string())
});

/// Verifies every signature of a message, from top to bottom; empty where it has none.
pub async fn verify(message: &[u8], keys: Keys<'_>) -> Result<Vec<Verdict>, VerifyError> {
    // Not strict: signatures with `l=` are judged, too.
    let mut parsed = AuthenticatedMessage::parse_with_opts(message, None, false).ok_or(VerifyError::NoMessage)?;
    take_over_body_hashes(&mut parsed);
    let mut records = Records(HashMap::new());
    for header in &parsed.dkim_headers {
        let name = format!("{}._domainkey.{}.", header.header.s, header.header.d);
        let record = record(&name, &keys).await;
        records.0.insert(name.into(), record);
    }
    let verifier = VERIFIER.as_ref().map_err(|error| VerifyError::Setup(error.clone()))?;
    let outputs = verifier.verify_dkim(Parameters::new(&parsed).with_txt_cache(&records)).await;
    Ok(outputs
        .iter()
        .map(|output| Verdict {
            domain: output.signature().map_or_else(String::new, |s| s.d.clone()),
            selector: output.signature().map_or_else(String::new, |s| s.s.clone()),
            outcome: match output.result() {
                DkimResult::Pass => Ok(()),
                DkimResult::None => Err("no signature".to_owned()),
                DkimResult::Neutral(e) | DkimResult::Fail(e) | DkimResult::PermError(e) | DkimResult::TempError(e) => {
                    Err(e.to_string())
                }
            },
        })
        .collect())
}

/// Has mail-auth find every body hash right that is right, and no other: it compares `bh=` with a hash of its own, so each signature
/// is given that one in place of its own, or none.
fn take_over_body_hashes(message: &mut AuthenticatedMessage<'_>) {
    let body = message.raw_message.get(message.body_offset as usize..).unwrap_or_default();
    for signed in &mut message.dkim_headers {
        let signature = &mut signed.header;
        let is_right = body_hash(body, signature, length(signed.value)).is_some_and(|hash| hash == signature.bh);
        let theirs = message.body_hashes.iter().find(|(how, hash, length, _)| {
            *how == signature.cb && *hash == signature.a.into() && *length == signature.l
        });
        signature.bh = theirs.filter(|_| is_right).map(|(.., hash)| hash.clone()).unwrap_or_default();
    }
}

/// The hash of a body as this signature canonicalizes it; `None` where it claims to cover more than there is (RFC 6376 §3.5, `l=`).
fn body_hash(body: &[u8], signature: &dkim::Signature, length: Option<u64>) -> Option<Vec<u8>> {
    let how = match signature.cb {
        dkim::Canonicalization::Simple => Canonicalization::Simple,
        dkim::Canonicalization::Relaxed => Canonicalization::Relaxed,
    };
    let mut canonical = Vec::with_capacity(body.len());
    let mut state = Body::new(how);
    state.update(body, &mut canonical);
    state.finish(&mut canonical);
    let covered = match length {
        Some(length) => canonical.get(..usize::try_from(length).ok()?)?,
        None => &canonical,
    };
    let algorithm = match signature.a {
        Algorithm::RsaSha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::RsaSha256 | Algorithm::Ed25519Sha256 => &SHA256,
    };
    Some(digest(algorithm, covered).as_ref().to_vec())
}

/// `l=` of a signature field. mail-auth's zero may also mean that there is none.
fn length(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let mut tags = text.split(';').filter_map(|tag| tag.split_once('='));
    let (_, digits) = tags.find(|(name, _)| name.trim() == "l")?;
    digits.trim().parse().ok()
}

async fn record(name: &str, keys: &Keys<'_>) -> Txt {
    let texts = match keys {
        Keys::Record(text) => Ok(vec![text.as_bytes().to_vec()]),
        Keys::Dns(resolver) => {
            resolver.txt(name).await.map(|records| records.iter().map(|strings| joined(strings)).collect())
        }
    };
    match texts {
        // A name may hold several TXT records; the first that is a key counts.
        Ok(texts) => texts
            .iter()
            .map(|text| DomainKey::parse(text))
            .reduce(|first, next| first.or(next))
            .unwrap_or(Err(Error::Dns(DnsError::InvalidRecordType)))
            .into(),
        Err(error) => Txt::Error(Error::Dns(DnsError::Resolver(error.to_string()))),
    }
}

/// The records of one message, as the cache that mail-auth looks into first.
struct Records(HashMap<Box<str>, Txt>);

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}
