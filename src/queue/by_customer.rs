//! Metrics of recipients by customer. Only a limited number of customers get a label of their own, because each label makes every scrape
//! longer. The others are counted together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::message::{CustomerId, FailureClass};

/// The number of customers with a label of their own: the first ones since the start.
const NAMED: usize = 500;
/// The label of all other customers. A customer's id has no space, so no id equals this text.
const OTHERS: &str = "all others";

/// An outcome that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountedOutcome {
    /// The next server took the mail.
    Relayed,
    /// The mail is tried again later.
    Deferred,
    /// A server refused the mail for good, or an operator gave it up.
    Bounced(FailureClass),
    /// The mail was given up because it was too old.
    Expired(FailureClass),
}

/// The names of outcomes in metrics, in the order of [`Numbers::outcomes`].
const OUTCOMES: [&str; 4] = ["relayed", "deferred", "bounced", "expired"];

/// The counts of one customer.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    outcomes: [u64; OUTCOMES.len()],
    /// Recipients that were given up, in the order of [`FailureClass::ALL`].
    given_up: [u64; FailureClass::ALL.len()],
}

impl Numbers {
    fn count(&mut self, outcome: CountedOutcome) {
        let (place, class) = match outcome {
            CountedOutcome::Relayed => (0, None),
            CountedOutcome::Deferred => (1, None),
            CountedOutcome::Bounced(class) => (2, Some(class)),
            CountedOutcome::Expired(class) => (3, Some(class)),
        };
        self.outcomes[place] += 1;
        if let Some(class) = class {
            self.given_up[class as usize] += 1;
        }
    }
}

/// The counts. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct ByCustomer(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    named: BTreeMap<CustomerId, Numbers>,
    others: Numbers,
}

impl ByCustomer {
    pub fn count(&self, customer: &CustomerId, outcome: CountedOutcome) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { named, others } = &mut *counts;
        let is_full = named.len() >= NAMED;
        let of_customer = match named.get_mut(customer) {
            Some(known) => known,
            None if is_full => others,
            None => named.entry(customer.clone()).or_default(),
        };
        of_customer.count(outcome);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    customer: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    customer: String,
    class: &'static str,
}

impl Collector for ByCustomer {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        let family = Family::<Labels, Counter>::default();
        let classes = Family::<ClassLabels, Counter>::default();
        {
            let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let named = counts.named.iter().map(|(customer, numbers)| (customer.as_str(), numbers));
            for (customer, numbers) in named.chain([(OTHERS, &counts.others)]) {
                for (outcome, number) in OUTCOMES.into_iter().zip(numbers.outcomes).filter(|(_, number)| *number > 0) {
                    family.get_or_create(&Labels { customer: customer.to_owned(), outcome }).inc_by(number);
                }
                let given_up = FailureClass::ALL.into_iter().zip(numbers.given_up);
                for (class, number) in given_up.filter(|(_, number)| *number > 0) {
                    let labels = ClassLabels { customer: customer.to_owned(), class: class.as_str() };
                    classes.get_or_create(&labels).inc_by(number);
                }
            }
        }
        let help = "Recipients that were given up, by customer and by why";
        let encoder = out.encode_descriptor("customer_failures", help, None, classes.metric_type())?;
        classes.encode(encoder)?;
        let help = "What came of recipients, by customer";
        let encoder = out.encode_descriptor("customer_recipients", help, None, family.metric_type())?;
        family.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_beyond_the_bound_are_counted_together() {
        let counts = ByCustomer::default();
        for n in 0..NAMED + 10 {
            counts.count(&CustomerId::new(&format!("c{n}")), CountedOutcome::Relayed);
        }
        counts.count(&CustomerId::new("c0"), CountedOutcome::Bounced(FailureClass::Hard));
        counts.count(&CustomerId::new("c0"), CountedOutcome::Expired(FailureClass::Unknown));
        counts.count(&CustomerId::new("new"), CountedOutcome::Bounced(FailureClass::Hard));
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(counts));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("customer_recipients_total{customer=\"c0\",outcome=\"bounced\"} 1"), "{text}");
        assert!(text.contains("customer_recipients_total{customer=\"all others\",outcome=\"relayed\"} 10"), "{text}");
        for (customer, class) in [("c0", "hard"), ("c0", "unknown"), ("all others", "hard")] {
            let line = format!("customer_failures_total{{customer=\"{customer}\",class=\"{class}\"}} 1");
            assert!(text.contains(&line), "{line} in {text}");
        }
        assert_eq!(text.lines().filter(|line| line.contains("outcome=")).count(), NAMED + 4);
    }
}
