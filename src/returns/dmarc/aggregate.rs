//! Adds up the records of one report while it is read, by domain, source and result. The number of sums is limited, however long the report
//! is: further sources are counted together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use super::report::{Disposition, Repair, Repairs, ReportRecord};
use super::sources::{Marks, Source, is_within, organization, source};
use crate::smtp::Domain;

/// The most sources of one report that are counted separately.
const MOST_SOURCES: usize = 300;
/// The most From domains of one report.
const MOST_DOMAINS: usize = 1_000;

/// Messages with the same values in all fields that are kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub source: Source,
    /// True if we sent them.
    pub ours: bool,
    /// True if DKIM passed in alignment.
    pub dkim: bool,
    /// True if SPF passed in alignment.
    pub spf: bool,
    /// The receiver's action.
    pub disposition: Disposition,
    /// True if the reporter recognised them as forwarded.
    pub forwarded: bool,
}

/// The number of such messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    pub messages: u64,
    /// One of the addresses that they came from.
    pub example: Option<IpAddr>,
}

/// Tells which domains are configured.
pub trait Domains {
    /// Returns what identifies mail of the configured domain that is `from`, or of its nearest configured parent.
    fn marks(&self, from: &Domain) -> Option<Marks>;
    fn egress(&self) -> IpAddr;
}

/// The sums of a report.
pub struct Aggregate<'d> {
    domains: &'d dyn Domains,
    /// The owner of each From domain; `None` if it belongs to no customer.
    known: HashMap<Domain, Option<usize>>,
    owners: Vec<Owner>,
    sources: HashSet<Source>,
    /// Records without a From domain. They are about the report's domain, which may come last.
    nameless: Vec<ReportRecord>,
    foreign: u64,
    messages: u64,
    concluded: u64,
    crowded: bool,
}

/// A configured domain in a report.
pub struct Owner {
    marks: Marks,
    /// One of the From domains. It shows whether the report's domain is a parent.
    from: Domain,
    pub rows: BTreeMap<Row, Sum>,
}

impl Owner {
    pub fn domain(&self) -> &Domain {
        &self.marks.domain
    }

    pub fn messages(&self) -> u64 {
        self.rows.values().map(|sum| sum.messages).sum()
    }
}

impl<'d> Aggregate<'d> {
    pub fn new(domains: &'d dyn Domains) -> Self {
        Aggregate {
            domains,
            known: HashMap::new(),
            owners: Vec::new(),
            sources: HashSet::new(),
            nameless: Vec::new(),
            foreign: 0,
            messages: 0,
            concluded: 0,
            crowded: false,
        }
    }

    pub fn add(&mut self, record: &ReportRecord) {
        self.messages = self.messages.saturating_add(record.messages);
        match &record.from {
            Some(from) => self.add_to(from, record),
            // Only a few such records are kept. A report with more of them is nonsense.
            None if self.nameless.len() < 100 => self.nameless.push(record.clone()),
            None => self.foreign += 1,
        }
    }

    fn add_to(&mut self, from: &Domain, record: &ReportRecord) {
        let Some(at) = self.owner(from) else {
            self.foreign += 1;
            return;
        };
        let owner = &mut self.owners[at];
        let (mut source, ours) = source(record, self.domains.egress(), &owner.marks);
        let (dkim, spf) = (aligned(record, from, true), aligned(record, from, false));
        self.concluded += u64::from(record.dkim.is_none() && record.spf.is_none());
        if matches!(source, Source::Domain(_) | Source::Network(_)) && !self.sources.contains(&source) {
            if self.sources.len() < MOST_SOURCES {
                self.sources.insert(source.clone());
            } else {
                self.crowded = true;
                source = Source::Others;
            }
        }
        let row = Row { source, ours, dkim, spf, disposition: record.disposition, forwarded: record.forwarded };
        let sum = owner.rows.entry(row).or_insert(Sum { messages: 0, example: record.source });
        sum.messages = sum.messages.saturating_add(record.messages);
    }

    fn owner(&mut self, from: &Domain) -> Option<usize> {
        if let Some(known) = self.known.get(from) {
            return *known;
        }
        if self.known.len() >= MOST_DOMAINS {
            return None;
        }
        let marks = self.domains.marks(from);
        let owners = &mut self.owners;
        let at = marks.map(|marks| {
            let there = owners.iter().position(|owner| owner.marks.domain == marks.domain);
            there.unwrap_or_else(|| {
                owners.push(Owner { marks, from: from.clone(), rows: BTreeMap::new() });
                owners.len() - 1
            })
        });
        self.known.insert(from.clone(), at);
        at
    }

    /// Ends the report about the policy of `domain`. Returns the sums of each configured domain in it, and the number of all messages.
    pub fn finish(mut self, domain: Option<&Domain>, repairs: &mut Repairs) -> (Vec<Owner>, u64) {
        for record in std::mem::take(&mut self.nameless) {
            match domain {
                Some(domain) => self.add_to(&domain.clone(), &record),
                None => self.foreign += 1,
            }
        }
        // A report may only speak about the domain whose policy it names, and those below it. Anybody could claim anything about others.
        let is_about = |owner: &Owner| {
            let both = |domain: &Domain| owner.from.is_within(domain) || domain.is_within(&owner.marks.domain);
            domain.is_none_or(both)
        };
        let (owners, strangers): (Vec<_>, Vec<_>) = self.owners.into_iter().partition(is_about);
        let notes = [
            (Repair::ForeignRecords, self.foreign > 0 || !strangers.is_empty()),
            (Repair::Alignment, self.concluded > 0),
            (Repair::ManySources, self.crowded),
        ];
        notes.into_iter().filter(|(_, needed)| *needed).for_each(|(repair, _)| repairs.note(repair));
        (owners.into_iter().filter(|owner| !owner.rows.is_empty()).collect(), self.messages)
    }
}

/// Returns true if DKIM (or else SPF) passed for an aligned domain: as the reporter says, or else by its results.
fn aligned(record: &ReportRecord, from: &Domain, by_dkim: bool) -> bool {
    if let Some(told) = if by_dkim { record.dkim } else { record.spf } {
        return told;
    }
    // A reporter that gives only one of the two results means that the other one failed.
    if record.dkim.is_some() || record.spf.is_some() {
        return false;
    }
    let from = organization(from.as_str());
    let aligns = |domain: &str, passes: bool| passes && is_within(domain, from);
    match by_dkim {
        true => record.signatures.iter().any(|it| aligns(&it.domain, it.passes)),
        false => record.envelopes.iter().any(|it| aligns(&it.domain, it.passes)),
    }
}
