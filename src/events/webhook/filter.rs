//! Selects the events that a webhook gets.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::EventKind;
use crate::message::CustomerId;

/// Selects the events that a webhook gets. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The event kinds; `None` means all kinds.
    pub kinds: Option<BTreeSet<EventKind>>,
    /// The customers; `None` means all customers, and also events that are about no customer.
    pub customers: Option<BTreeSet<CustomerId>>,
}

/// The fields that a filter reads.
#[derive(Deserialize)]
struct Looked<'a> {
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    customer: Option<Cow<'a, str>>,
}

impl Filter {
    /// Returns true if the line is JSON and its event passes the filter.
    pub(super) fn admits(&self, line: &[u8]) -> bool {
        if self.kinds.is_none() && self.customers.is_none() {
            return serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
        }
        let Ok(looked) = serde_json::from_slice::<Looked<'_>>(line) else { return false };
        let is_in =
            |text: &Option<Cow<'_, str>>, is_listed: &dyn Fn(&str) -> bool| text.as_deref().is_some_and(is_listed);
        let kinds = self.kinds.as_ref();
        let customers = self.customers.as_ref();
        kinds.is_none_or(|kinds| is_in(&looked.event, &|name| kinds.iter().any(|kind| kind.as_str() == name)))
            && customers.is_none_or(|ids| is_in(&looked.customer, &|name| ids.iter().any(|id| id.as_str() == name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_it_names_and_nothing_torn() {
        let kinds = |kinds: &[EventKind]| Some(kinds.iter().copied().collect());
        let customers = |ids: &[&str]| Some(ids.iter().map(|id| CustomerId::new(id)).collect());
        let all = Filter::default();
        let bounces = Filter { kinds: kinds(&[EventKind::Bounced, EventKind::DomainVerified]), customers: None };
        let ours = Filter { kinds: None, customers: customers(&["test-as"]) };
        let both = Filter { kinds: kinds(&[EventKind::Bounced]), customers: customers(&["test-as", "b"]) };
        for (line, expected) in [
            (r#"{"event":"bounced","customer":"test-as"}"#, [true, true, true, true]),
            (r#"{"customer":"other","event":"bounced"}"#, [true, true, false, false]),
            (r#"{"event":"relayed","customer":"test-as"}"#, [true, false, true, false]),
            (r#"{"event":"domain.verified"}"#, [true, true, false, false]),
            (r#"{"event":"alert"}"#, [true, false, false, false]),
            (r#"{"event":"b\u006funced","customer":"b"}"#, [true, true, false, true]),
            (r#"{"event":"bounced","customer":"test-"#, [false, false, false, false]),
        ] {
            let found = [&all, &bounces, &ours, &both].map(|filter| filter.admits(line.as_bytes()));
            assert_eq!(found, expected, "{line}");
        }
    }
}
