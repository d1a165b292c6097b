//! For tests over tables of records: shows all cases that came out differently, not only the first.

use std::fmt::Debug;

use super::finding::Finding;
use super::text::Lang;

/// The cases that came out differently than the table says.
#[derive(Default)]
pub(super) struct Differences(Vec<String>);

impl Differences {
    /// Compares what was found for a case with what its table says.
    pub fn compare<T: Debug + PartialEq>(&mut self, case: impl Debug, found: &T, expected: &T) {
        if found != expected {
            self.0.push(format!("{case:?}\n  found {found:?}\n  not   {expected:?}"));
        }
    }

    /// Fails and shows all differences, if there are any.
    pub fn assert_none(&self) {
        assert!(self.0.is_empty(), "{} are wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Makes sure that every language has words for a finding.
pub(super) fn assert_worded(finding: &Finding) {
    for lang in [Lang::En, Lang::Da] {
        assert!(!lang.finding(finding).what.is_empty(), "{finding:?}");
    }
}

pub(super) fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
