//! Metrics of recipients by customer. Only a limited number of customers get a label of their own, because each label makes every scrape
//! longer. The others are counted together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::message::CustomerId;

/// The number of customers with a label of their own: the first ones since the start.
const NAMED: usize = 500;
/// The label of all other customers. A customer's id has no space, so no id equals this text.
const OTHERS: &str = "all others";

/// An outcome that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// The next server took the mail.
    Relayed,
    /// The mail is tried again later.
    Deferred,
    /// A server refused the mail for good, or an operator gave it up.
    Bounced,
    /// The mail was given up because it was too old.
    Expired,
}

impl Counted {
    const ALL: [Counted; 4] = [Counted::Relayed, Counted::Deferred, Counted::Bounced, Counted::Expired];

    fn as_str(self) -> &'static str {
        match self {
            Counted::Relayed => "relayed",
            Counted::Deferred => "deferred",
            Counted::Bounced => "bounced",
            Counted::Expired => "expired",
        }
    }
}

/// The counts. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct ByCustomer(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    named: BTreeMap<CustomerId, [u64; 4]>,
    others: [u64; 4],
}

impl ByCustomer {
    pub fn count(&self, customer: &CustomerId, outcome: Counted) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { named, others } = &mut *counts;
        let is_full = named.len() >= NAMED;
        let of_customer = match named.get_mut(customer) {
            Some(known) => known,
            None if is_full => others,
            None => named.entry(customer.clone()).or_default(),
        };
        of_customer[outcome as usize] += 1;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    customer: String,
    outcome: &'static str,
}

impl Collector for ByCustomer {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        let family = Family::<Labels, Counter>::default();
        {
            let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let named = counts.named.iter().map(|(customer, numbers)| (customer.as_str(), numbers));
            for (customer, numbers) in named.chain([(OTHERS, &counts.others)]) {
                for outcome in Counted::ALL {
                    let number = numbers[outcome as usize];
                    if number > 0 {
                        let labels = Labels { customer: customer.to_owned(), outcome: outcome.as_str() };
                        family.get_or_create(&labels).inc_by(number);
                    }
                }
            }
        }
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
            counts.count(&CustomerId::new(&format!("c{n}")), Counted::Relayed);
        }
        counts.count(&CustomerId::new("c0"), Counted::Bounced);
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(counts));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("customer_recipients_total{customer=\"c0\",outcome=\"bounced\"} 1"), "{text}");
        assert!(text.contains("customer_recipients_total{customer=\"all others\",outcome=\"relayed\"} 10"), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("outcome=")).count(), NAMED + 2);
    }
}
