//! Verification for operators (`postbud dkim verify`), by mail-auth: what a receiver would say.
//!
//! Keys come through our own DNS port or from a record given by hand. mail-auth 0.13 hashes white-space-only lines at the end
//! of a body wrongly; such a message may be called broken here and verify elsewhere.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator, Parameters, ResolverCache, Txt,
};

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

/// Verifies every signature of a message, from top to bottom; empty where it has none.
pub async fn verify(message: &[u8], keys: Keys<'_>) -> Result<Vec<Verdict>, VerifyError> {
    let parsed = AuthenticatedMessage::parse(message).ok_or(VerifyError::NoMessage)?;
    let mut records = Records(HashMap::new());
    for header in &parsed.dkim_headers {
        let name = format!("{}._domainkey.{}.", header.header.s, header.header.d);
        let record = record(&name, &keys).await;
        records.0.insert(name.into(), record);
    }
    // Never asked: every key is in `records`.
    let verifier = MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default())
        .map_err(|e| VerifyError::Setup(e.to_string()))?;
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
