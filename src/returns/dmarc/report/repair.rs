//! What had to be repaired to read a report, by kind.

use std::collections::BTreeMap;

use serde::Serialize;

/// A kind of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// The report is broken off. What was complete is taken.
    Truncated,
    /// Elements are not closed, or not in order.
    Nesting,
    /// Elements are not written as the standard writes them.
    Names,
    /// Something is no text in the encoding that it is said to have.
    Encoding,
    /// An entity is used that has no meaning, and is left out.
    Entity,
    /// The reporter does not name itself. The domain of its address is taken.
    Reporter,
    /// The report has no id.
    Id,
    /// The report does not name the domain whose policy it is about.
    PolicyDomain,
    /// Times are not seconds since 1970, are in the wrong order, or one of them is missing.
    Times,
    /// A record has no number of messages, and counts as one, or the number is written unusually.
    Count,
    /// An address cannot be read.
    Address,
    /// A record has several addresses. The first one is taken.
    Rows,
    /// A From domain cannot be read. The policy's domain is taken.
    From,
    /// A disposition is none. Nothing was done, as it seems.
    Disposition,
    /// A record does not say whether DKIM or SPF passed in alignment. It is concluded from the results.
    Alignment,
    /// A record is empty and left out.
    EmptyRecord,
    /// Records are about other domains than the report, or than those of customers. They are left out.
    ForeignRecords,
    /// There are more sources than are told apart. The rest count as one.
    ManySources,
    /// An archive was inside of an archive.
    NestedArchive,
    /// A part of the mail was encoded in another way than it says.
    UndeclaredEncoding,
}

impl Repair {
    /// What was done, in words.
    pub fn words(self) -> &'static str {
        match self {
            Repair::Truncated => "broken off; what was complete is taken",
            Repair::Nesting => "elements not closed in order",
            Repair::Names => "names of elements not as in the standard",
            Repair::Encoding => "octets that are no text in its encoding",
            Repair::Entity => "unknown entities left out",
            Repair::Reporter => "no org_name; the address of the reporter taken",
            Repair::Id => "no report_id",
            Repair::PolicyDomain => "no domain in policy_published",
            Repair::Times => "times not as in the standard",
            Repair::Count => "counts missing or not as in the standard",
            Repair::Address => "addresses that cannot be read",
            Repair::Rows => "several addresses in one record; the first one taken",
            Repair::From => "From domains that cannot be read",
            Repair::Disposition => "unknown dispositions",
            Repair::Alignment => "alignment concluded from the results",
            Repair::EmptyRecord => "empty records left out",
            Repair::ForeignRecords => "records of other domains left out",
            Repair::ManySources => "more sources than are told apart",
            Repair::NestedArchive => "an archive in an archive",
            Repair::UndeclaredEncoding => "an encoding that the mail does not declare",
        }
    }
}

/// The repairs of one report, each kind with how often it was needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs(BTreeMap<Repair, u64>);

impl Repairs {
    pub(in crate::returns::dmarc) fn note(&mut self, repair: Repair) {
        *self.0.entry(repair).or_default() += 1;
    }

    /// The kinds, in a fixed order.
    pub fn kinds(&self) -> impl Iterator<Item = Repair> {
        self.0.keys().copied()
    }
}
