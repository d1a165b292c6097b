//! Did every message arrive, once, and does its signature hold?

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt};
use serde::Serialize;

use super::scratch::KeyRecord;
use super::sink::Arrival;
use super::source::Sent;

/// The books of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Books {
    /// Messages answered 250.
    pub accepted: u64,
    /// Messages refused for good (5xx).
    pub refused: u64,
    /// Messages whose answer never came: they may have been delivered or not.
    pub unknown: u64,
    /// Copies at the sink.
    pub copies: u64,
    /// Copies that were promised and did not come.
    pub missing: u64,
    /// Copies that came more than once.
    pub duplicates: u64,
    /// Copies of messages that were never accepted.
    pub unasked: u64,
}

impl Books {
    /// Compares what was accepted with what arrived; `recipients` copies are owed for each message.
    pub fn balance(sent: &[Sent], arrivals: &[Arrival], recipients: usize) -> Books {
        let mut seen: HashMap<(u64, u32), u64> = HashMap::with_capacity(arrivals.len());
        for arrival in arrivals {
            *seen.entry((arrival.number, arrival.recipient)).or_default() += 1;
        }
        let mut books = Books { copies: arrivals.len() as u64, ..Books::default() };
        books.duplicates = seen.values().map(|n| n - 1).sum();
        for message in sent {
            let copies = (0..recipients as u32).filter(|r| seen.remove(&(message.number, *r)).is_some()).count() as u64;
            match message.code {
                250 => {
                    books.accepted += 1;
                    books.missing += recipients as u64 - copies;
                }
                0 => books.unknown += 1,
                _ => {
                    books.refused += 1;
                    books.unasked += copies;
                }
            }
        }
        books.unasked += seen.len() as u64;
        books
    }

    /// Nothing lost, nothing twice, nothing invented, and every message answered.
    pub fn exactly_once(&self) -> bool {
        self.missing == 0 && self.duplicates == 0 && self.unasked == 0 && self.unknown == 0 && self.refused == 0
    }
}

/// What the signature check found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Signatures {
    /// Messages looked at.
    pub checked: u64,
    /// Messages of which every signature held, and there was at least one.
    pub good: u64,
    /// What was wrong with the first bad one.
    pub first_failure: Option<String>,
}

/// Verifies with mail-auth against the key records.
pub async fn signatures(samples: &[Vec<u8>], records: &[KeyRecord]) -> anyhow::Result<Signatures> {
    let mut zone = Zone(HashMap::new());
    for record in records {
        let key = DomainKey::parse(record.text.as_bytes()).map_err(|e| anyhow::anyhow!("our own record: {e}"))?;
        zone.0.insert(record.name.clone().into(), Txt::DomainKey(Arc::new(key)));
    }
    // No name server is ever asked: what is not in the zone is a failure.
    let authenticator = MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default())?;
    let mut found = Signatures { checked: samples.len() as u64, ..Signatures::default() };
    for sample in samples {
        let verdict = verify(&authenticator, &zone, sample).await;
        match verdict {
            Ok(()) => found.good += 1,
            Err(why) => {
                found.first_failure.get_or_insert(why);
            }
        }
    }
    Ok(found)
}

async fn verify(authenticator: &MessageAuthenticator, zone: &Zone, message: &[u8]) -> Result<(), String> {
    let parsed = AuthenticatedMessage::parse(message).ok_or("not a message")?;
    let parameters = Parameters::new(&parsed).with_txt_cache(zone);
    let results = authenticator.verify_dkim(parameters).await;
    if results.is_empty() {
        return Err("no signature".to_owned());
    }
    match results.iter().find(|output| *output.result() != DkimResult::Pass) {
        Some(bad) => Err(format!("{:?}", bad.result())),
        None => Ok(()),
    }
}

/// A cache that knows the key records and nothing else, in the place of DNS.
struct Zone(HashMap<Box<str>, Txt>);

impl ResolverCache<Box<str>, Txt> for Zone {
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
