//! Checks that every message arrived exactly once, with a valid signature.

use std::collections::HashMap;

use postbud::dkim::verify::{Keys, verify};
use postbud::load::Sent;
use postbud::resolver::FixedZone;
use serde::Serialize;

use super::scratch::KeyRecord;
use super::sink::Arrival;

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
    // No name server is ever asked: what is not in the zone is a failure.
    let zone = FixedZone::new();
    for record in records {
        zone.add_txt(&record.name, &record.text);
    }
    let mut found = Signatures { checked: samples.len() as u64, ..Signatures::default() };
    for sample in samples {
        let verdicts = verify(sample, Keys::Dns(&zone)).await?;
        match verdicts.iter().find_map(|verdict| verdict.result.as_ref().err()) {
            Some(why) => _ = found.first_failure.get_or_insert_with(|| why.clone()),
            None if verdicts.is_empty() => _ = found.first_failure.get_or_insert_with(|| "no signature".to_owned()),
            None => found.good += 1,
        }
    }
    Ok(found)
}
