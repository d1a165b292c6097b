//! Verification for operators (`postbud dkim verify`): says which signatures a receiver would accept.
//!
//! Keys come from DNS through our own [`Resolver`] or from a record given by the operator. mail-auth verifies the signatures, but
//! not the body hash. Its version 0.13 keeps an empty line if a body ends in lines of white space (RFC 6376 §3.4.4 ignores
//! them), loses lone CRs, and applies `l=` before canonicalization. So the body hash is computed here, by the code that signs.

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
use crate::digits::digits;
use crate::resolver::dns::without_tls;
use crate::resolver::{Resolver, joined};

/// The source of the public keys.
pub enum Keys<'a> {
    /// Look the key up in DNS.
    Dns(&'a dyn Resolver),
    /// Use this key record for every signature, ignoring its domain and selector.
    Record(&'a str),
}

/// The result of verifying one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureCheck {
    /// The value of `d=`, empty if the signature could not be read.
    pub domain: String,
    /// The value of `s=`, empty if the signature could not be read.
    pub selector: String,
    /// `Ok` if the signature verifies, otherwise the reason why it does not.
    pub result: Result<(), String>,
}

/// Why a message could not be verified at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The input is not a mail message.
    #[error("this is no mail message: no header could be read")]
    NoMessage,
    /// The verifier could not be set up.
    #[error("the verifier could not be set up: {0}")]
    Setup(String),
}

/// The verifier never queries DNS: each call gets a cache that already holds every key.
static VERIFIER: LazyLock<Result<MessageAuthenticator, String>> = LazyLock::new(|| {
    let resolver = without_tls(ResolverConfig::default(), ResolverOpts::default());
    resolver.map(MessageAuthenticator).map_err(|error| error.to_string())
});

/// Verifies every signature of a message. Returns one result per signature, from top to bottom, and none if the message has no
/// signature.
pub async fn verify(message: &[u8], keys: Keys<'_>) -> Result<Vec<SignatureCheck>, VerifyError> {
    // Not strict, so that signatures with `l=` are verified too.
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
        .map(|output| SignatureCheck {
            domain: output.signature().map_or_else(String::new, |s| s.d.clone()),
            selector: output.signature().map_or_else(String::new, |s| s.s.clone()),
            result: match output.result() {
                DkimResult::Pass => Ok(()),
                DkimResult::None => Err("no signature".to_owned()),
                DkimResult::Neutral(e) | DkimResult::Fail(e) | DkimResult::PermError(e) | DkimResult::TempError(e) => {
                    Err(e.to_string())
                }
            },
        })
        .collect())
}

/// Makes mail-auth accept exactly those body hashes that are right. mail-auth compares `bh=` with the hash that it has computed.
/// So if our hash equals `bh=`, `bh=` is replaced with mail-auth's hash, and otherwise with an empty value.
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

/// Returns the hash of a body in this signature's canonicalization. Returns `None` if `l=` is greater than the length of the body
/// (RFC 6376 §3.5).
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

/// Returns the value of `l=` in a signature field. mail-auth gives zero both for `l=0` and for no `l=`.
fn length(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let mut tags = text.split(';').filter_map(|tag| tag.split_once('='));
    let (_, length) = tags.find(|(name, _)| name.trim() == "l")?;
    digits(length.trim())
}

async fn record(name: &str, keys: &Keys<'_>) -> Txt {
    let texts = match keys {
        Keys::Record(text) => Ok(vec![text.as_bytes().to_vec()]),
        Keys::Dns(resolver) => {
            resolver.txt(name).await.map(|records| records.iter().map(|strings| joined(strings)).collect())
        }
    };
    match texts {
        // A name may have several TXT records. Use the first one that is a key record.
        Ok(texts) => texts
            .iter()
            .map(|text| DomainKey::parse(text))
            .reduce(|first, next| first.or(next))
            .unwrap_or(Err(Error::Dns(DnsError::InvalidRecordType)))
            .into(),
        Err(error) => Txt::Error(Error::Dns(DnsError::Resolver(error.to_string()))),
    }
}

/// The key records that one message needs, as a cache for mail-auth, which reads its cache before it queries DNS.
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
