//! What a walk is asked, where it ends, and what it found.

use std::net::IpAddr;

use crate::onboarding::spf::record::{Qualifier, SyntaxError};
use crate::resolver;

/// What is asked: may `ip` send mail whose MAIL FROM is `local@domain`?
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// The sending address.
    pub ip: IpAddr,
    /// Whose record is evaluated, and the sender's domain.
    pub domain: &'a str,
    /// The sender's local part.
    pub local: &'a str,
    /// The HELO name.
    pub helo: &'a str,
    /// A record to evaluate for `domain` in place of the published one: what would change if it were published.
    pub instead: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// May `ip` send for `domain`, as far as that depends on neither a sender nor a server?
    pub fn of_domain(ip: IpAddr, domain: &'a str) -> Self {
        Query { ip, domain, local: "postmaster", helo: domain, instead: None }
    }
}

/// RFC 7208 §2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// There is no record (`none`).
    None,
    /// The record says nothing about the address.
    Neutral,
    /// It may send.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// DNS did not answer.
    TempError,
    /// The record cannot be evaluated.
    PermError,
}

impl Verdict {
    /// As Received-SPF writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::None => "none",
            Verdict::Neutral => "neutral",
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::SoftFail => "softfail",
            Verdict::TempError => "temperror",
            Verdict::PermError => "permerror",
        }
    }
}

impl From<Qualifier> for Verdict {
    fn from(qualifier: Qualifier) -> Self {
        match qualifier {
            Qualifier::Pass => Verdict::Pass,
            Qualifier::Fail => Verdict::Fail,
            Qualifier::SoftFail => Verdict::SoftFail,
            Qualifier::Neutral => Verdict::Neutral,
        }
    }
}

/// Where a walk ends at the latest.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub(super) lookups: u32,
    pub(super) voids: u32,
    pub(super) stop_at_match: bool,
}

/// RFC 7208 §4.6.4.
pub const MOST_LOOKUPS: u32 = 10;
/// RFC 7208 §4.6.4.
pub const MOST_VOID_LOOKUPS: u32 = 2;
/// A survey goes no further, so that a hostile record costs us little.
const SURVEY_LOOKUPS: u32 = 60;

impl Limits {
    /// As a receiver evaluates.
    pub fn receiver() -> Self {
        Limits { lookups: MOST_LOOKUPS, voids: MOST_VOID_LOOKUPS, stop_at_match: true }
    }

    /// To the end of every record.
    pub fn survey() -> Self {
        Limits { lookups: SURVEY_LOOKUPS, voids: SURVEY_LOOKUPS, stop_at_match: false }
    }
}

/// Something wrong on the way. `domain` is whose record it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No record where one is needed.
    NoRecord {
        /// The domain whose record has it.
        domain: String,
        /// TXT values that were probably meant to be one.
        near_misses: Vec<String>,
    },
    /// More than one record: none counts (§4.5).
    Several {
        /// The domain whose record has it.
        domain: String,
        /// All of them.
        records: Vec<String>,
    },
    /// Terms that are not SPF; the first of them, where there are many.
    Syntax {
        /// The domain whose record has it.
        domain: String,
        /// The terms at fault.
        faults: Vec<SyntaxError>,
    },
    /// A record of more than [`MOST_OCTETS`](crate::onboarding::spf::record::MOST_OCTETS) octets.
    TooLong {
        /// The domain whose record has it.
        domain: String,
        /// How many octets.
        octets: usize,
    },
    /// Terms that are legal and without effect, and were plainly meant to have one: `include=` in place of `include:`, a second
    /// `v=spf1`.
    NoEffect {
        /// The domain whose record has it.
        domain: String,
        /// The terms it is about.
        terms: Vec<String>,
    },
    /// Terms after `all` never count (§5.1).
    AfterAll {
        /// The domain whose record has it.
        domain: String,
        /// The terms it is about.
        terms: Vec<String>,
    },
    /// `+all`, or a network that is a large part of the Internet: everybody may send.
    EverybodyPasses {
        /// The domain whose record has it.
        domain: String,
        /// What says so.
        term: String,
    },
    /// `ptr` should not be used (§5.5).
    Ptr {
        /// The domain whose record has it.
        domain: String,
    },
    /// A record that leads back to itself.
    Loop {
        /// The domain whose record has it.
        domain: String,
    },
    /// More than ten lookups.
    TooManyLookups,
    /// More than two lookups of names that are not there.
    TooManyVoidLookups,
    /// An `mx` with more than ten exchanges.
    TooManyExchanges {
        /// The domain whose record has it.
        domain: String,
    },
    /// DNS did not answer.
    Unanswered(resolver::Error),
}

impl Problem {
    /// A record that cannot be used, as a domain and `none`, `several`, `syntax` or `loop`.
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

/// One term that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// 0 for the domain's own record.
    pub depth: usize,
    /// The domain whose record it is.
    pub domain: String,
    /// The term as written.
    pub term: String,
    /// True if it matched.
    pub matched: bool,
}

/// What a walk found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The verdict on the sender.
    pub verdict: Verdict,
    /// The domain's own record, where there is exactly one.
    pub record: Option<String>,
    /// Terms that cost a lookup.
    pub lookups: u32,
    /// Lookups that found nothing.
    pub void_lookups: u32,
    /// What was tried, in order; the beginning of it, where records are very long.
    pub steps: Vec<Step>,
    /// Everything that is wrong on the way.
    pub problems: Vec<Problem>,
    /// Names whose records were included or redirected to, in order.
    pub visited: Vec<String>,
}
