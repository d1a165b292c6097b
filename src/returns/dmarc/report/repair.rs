//! The kinds of repairs that made a report readable.

use std::collections::BTreeMap;

use serde::Serialize;

/// A kind of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// The report is truncated. Its complete part is used.
    Truncated,
    /// Elements are not closed, or not in order.
    Nesting,
    /// Elements have other names than in the standard.
    Names,
    /// Some text is not valid in its declared encoding.
    Encoding,
    /// An unknown entity was used. It is left out.
    Entity,
    /// The reporter has no name. The domain of its address is used.
    Reporter,
    /// The report has no id.
    Id,
    /// The report does not name the domain of the policy.
    PolicyDomain,
    /// Times are not in seconds since 1970, are in the wrong order, or are missing.
    Times,
    /// A record has no number of messages and counts as one, or the number has an unusual form.
    Count,
    /// An address cannot be read.
    Address,
    /// A record has several addresses. The first one is used.
    Rows,
    /// A From domain cannot be read. The policy's domain is used.
    From,
    /// A disposition is unknown. It counts as none.
    Disposition,
    /// A record does not say whether DKIM or SPF passed in alignment. It is derived from the results.
    Alignment,
    /// A record is empty. It is left out.
    EmptyRecord,
    /// Records about domains that are not the report's, or not a customer's, are left out.
    ForeignRecords,
    /// There are too many sources. The rest are counted together.
    ManySources,
    /// An archive was inside another archive.
    NestedArchive,
    /// A part of the mail was not encoded as it declares.
    UndeclaredEncoding,
}

impl Repair {
    /// Describes the repair.
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

/// The repairs of one report, with a count for each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs(BTreeMap<Repair, u64>);

impl Repairs {
    pub(in crate::returns::dmarc) fn note(&mut self, repair: Repair) {
        *self.0.entry(repair).or_default() += 1;
    }

    /// Returns the kinds in a fixed order.
    pub fn kinds(&self) -> impl Iterator<Item = Repair> {
        self.0.keys().copied()
    }
}
