//! The parts of a report. The same element means different things in different parts.

use super::tag::Tag;

/// The part of a report that an element belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Outside,
    Metadata,
    Published,
    Record,
    Evaluated,
    Reason,
    Results,
    Signature,
    Envelope,
}

impl Section {
    /// Returns the section of the elements inside this one.
    pub(super) fn inside(self, tag: Tag) -> Section {
        match (self, tag) {
            (_, Tag::ReportMetadata) => Section::Metadata,
            (_, Tag::PolicyPublished) => Section::Published,
            (_, Tag::Record) => Section::Record,
            (Section::Outside | Section::Metadata | Section::Published, _) => self,
            (_, Tag::PolicyEvaluated) => Section::Evaluated,
            (Section::Evaluated, Tag::Reason) => Section::Reason,
            (_, Tag::AuthResults) => Section::Results,
            (Section::Results, Tag::Dkim) => Section::Signature,
            (Section::Results, Tag::Spf) => Section::Envelope,
            (_, Tag::Row | Tag::Identifiers) => Section::Record,
            _ => self,
        }
    }
}
