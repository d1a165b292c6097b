//! The question of a walk, its limits, and what it found.

use std::net::IpAddr;

use crate::onboarding::spf::record::{Qualifier, SyntaxError};
use crate::resolver;

/// The question: may `ip` send mail whose MAIL FROM is `local@domain`?
#[derive(Clone, Debug)]
pub struct Query<'a> {
    pub ip: IpAddr,
    /// The domain whose record is evaluated. It is also the sender's.
    pub domain: &'a str,
    /// The sender's local part.
    pub local: &'a str,
    pub helo: &'a str,
    /// A record to evaluate in place of the published one, to see what would change if it were published.
    pub instead: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// Asks whether `ip` may send for `domain`, with a sender and a HELO name that have no influence.
    pub fn of_domain(ip: IpAddr, domain: &'a str) -> Self {
        Query { ip, domain, local: "postmaster", helo: domain, instead: None }
    }
}

/// The result of an evaluation (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpfResult {
    /// There is no record (`none`).
    None,
    /// The record says nothing about the address (`neutral`).
    Neutral,
    /// The address may send (`pass`).
    Pass,
    /// The address may not send (`fail`).
    Fail,
    /// The address probably may not send (`softfail`).
    SoftFail,
    /// DNS did not answer (`temperror`).
    TempError,
    /// The record cannot be evaluated (`permerror`).
    PermError,
}

impl SpfResult {
    /// Returns the word that Received-SPF has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            SpfResult::None => "none",
            SpfResult::Neutral => "neutral",
            SpfResult::Pass => "pass",
            SpfResult::Fail => "fail",
            SpfResult::SoftFail => "softfail",
            SpfResult::TempError => "temperror",
            SpfResult::PermError => "permerror",
        }
    }
}

impl From<Qualifier> for SpfResult {
    fn from(qualifier: Qualifier) -> Self {
        match qualifier {
            Qualifier::Pass => SpfResult::Pass,
            Qualifier::Fail => SpfResult::Fail,
            Qualifier::SoftFail => SpfResult::SoftFail,
            Qualifier::Neutral => SpfResult::Neutral,
        }
    }
}

/// The limits of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub(super) lookups: u32,
    pub(super) voids: u32,
    pub(super) stop_at_match: bool,
}

/// The most lookups of a receiver (RFC 7208 §4.6.4).
pub const MOST_LOOKUPS: u32 = 10;
/// The most lookups that find nothing (RFC 7208 §4.6.4).
pub const MOST_VOID_LOOKUPS: u32 = 2;
/// The most lookups of a survey, so that a hostile record costs us little.
const SURVEY_LOOKUPS: u32 = 60;

impl Limits {
    /// The limits of a receiver.
    pub fn receiver() -> Self {
        Limits { lookups: MOST_LOOKUPS, voids: MOST_VOID_LOOKUPS, stop_at_match: true }
    }

    /// The limits of a survey, which goes to the end of every record.
    pub fn survey() -> Self {
        Limits { lookups: SURVEY_LOOKUPS, voids: SURVEY_LOOKUPS, stop_at_match: false }
    }
}

/// A problem of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no record where one is needed.
    NoRecord {
        /// The domain without a record.
        domain: String,
        /// TXT values that were probably meant to be a record.
        near_misses: Vec<String>,
    },
    /// There is more than one record, so none counts (§4.5).
    Several {
        /// The domain that has them.
        domain: String,
        /// All records of the domain.
        records: Vec<String>,
    },
    /// The record has terms that are not SPF. If there are many, the first are named.
    Syntax {
        /// The domain whose record has it.
        domain: String,
        /// The terms at fault.
        faults: Vec<SyntaxError>,
    },
    /// The record has more than `MOST_OCTETS` octets.
    TooLong {
        /// The domain whose record has it.
        domain: String,
        /// The length of the record in octets.
        octets: usize,
    },
    /// The record has terms that are legal but without effect, and were meant to have one: `include=` in place of `include:`, or a second
    /// `v=spf1`.
    NoEffect {
        /// The domain whose record has it.
        domain: String,
        /// The terms it is about.
        terms: Vec<String>,
    },
    /// The record has terms after `all`, which never count (§5.1).
    AfterAll {
        /// The domain whose record has it.
        domain: String,
        /// The terms it is about.
        terms: Vec<String>,
    },
    /// Everybody may send, because of `+all` or a network that is a large part of the Internet.
    EverybodyPasses {
        /// The domain whose record has it.
        domain: String,
        /// The term that allows it.
        term: String,
    },
    /// The record uses `ptr`, which should not be used (§5.5).
    Ptr {
        /// The domain whose record has it.
        domain: String,
    },
    /// The record leads back to itself.
    Loop {
        /// The domain whose record has it.
        domain: String,
    },
    /// The evaluation needs more than ten lookups.
    TooManyLookups,
    /// More than two lookups found nothing.
    TooManyVoidLookups,
    /// An `mx` has more than ten exchanges.
    TooManyExchanges {
        /// The domain whose record has it.
        domain: String,
    },
    /// DNS did not answer.
    Unanswered(resolver::Error),
}

impl Problem {
    /// Returns the domain of a record that cannot be used, with `none`, `several`, `syntax` or `loop`.
    pub(in crate::onboarding::spf) fn of_included(&self) -> Option<(&str, &'static str)> {
        match self {
            Problem::NoRecord { domain, .. } => Some((domain, "none")),
            Problem::Several { domain, .. } => Some((domain, "several")),
            Problem::Syntax { domain, .. } | Problem::TooLong { domain, .. } => Some((domain, "syntax")),
            Problem::Loop { domain } => Some((domain, "loop")),
            _ => None,
        }
    }
}

/// A term that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The depth of its record: 0 for the domain's own.
    pub depth: usize,
    /// The domain whose record it is.
    pub domain: String,
    /// The term as it is written in the record.
    pub term: String,
    /// True if it matched.
    pub matched: bool,
}

/// The findings of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The result for the sender (RFC 7208 §2.6).
    pub result: SpfResult,
    /// The domain's own record, if there is exactly one.
    pub record: Option<String>,
    /// The number of lookups.
    pub lookups: u32,
    /// The number of lookups that found nothing.
    pub void_lookups: u32,
    /// The terms that were tried, in order. Of very long records only the first are kept.
    pub steps: Vec<Step>,
    /// Everything that is wrong on the way.
    pub problems: Vec<Problem>,
    /// The names whose records were included or redirected to, in order.
    pub visited: Vec<String>,
}
