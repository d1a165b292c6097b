//! The queue's metrics: transactions, outcomes, pauses and halts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::by_customer::{ByCustomer, CountedOutcome};
use crate::message::CustomerId;

/// Histogram buckets in seconds from acceptance to relay: from at once to retries of days.
const TO_RELAYED: [f64; 14] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 28_800.0, 86_400.0];

/// Why a customer's mail was paused.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CauseLabel {
    /// `operator`, `cap`, `leap`, `bounces` or `complaints`.
    pub cause: &'static str,
}

/// The queue's counters. Clones share them.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Recipients whose mail the next server took.
    pub relayed: Counter,
    /// Recipients that are tried again later.
    pub deferred: Counter,
    /// Recipients that a server refused for good, or that an operator gave up with a notification to the sender.
    pub bounced: Counter,
    /// Recipients given up because the mail was too old.
    pub expired: Counter,
    /// Transactions that were started.
    pub attempts: Counter,
    /// Pauses of a customer's mail, by cause.
    pub pauses: Family<CauseLabel, Counter>,
    /// Times that delivery stopped because results could not be recorded, or because mail could not be read for lack of memory or open
    /// files.
    pub halts: Counter,
    to_relayed: Histogram,
    by_customer: ByCustomer,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            relayed: Counter::default(),
            deferred: Counter::default(),
            bounced: Counter::default(),
            expired: Counter::default(),
            attempts: Counter::default(),
            pauses: Family::default(),
            halts: Counter::default(),
            to_relayed: Histogram::new(TO_RELAYED),
            by_customer: ByCustomer::default(),
        }
    }
}

impl Counters {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("recipients_relayed", "Recipients taken by the next server", self.relayed.clone());
        registry.register("recipients_deferred", "Deferrals of a recipient", self.deferred.clone());
        registry.register("recipients_bounced", "Recipients refused for good", self.bounced.clone());
        registry.register("recipients_expired", "Recipients given up for their age", self.expired.clone());
        registry.register("attempts", "Transactions begun", self.attempts.clone());
        registry.register("customer_pauses", "Pauses of a customer's mail by cause", self.pauses.clone());
        let halts = "Stops because results could not be recorded, or mail not be read for want of open files or memory";
        registry.register("delivery_halts", halts, self.halts.clone());
        let help = "Seconds from accepted to taken by the next server, for each recipient";
        registry.register("accepted_to_relayed_seconds", help, self.to_relayed.clone());
        registry.register_collector(Box::new(self.by_customer.clone()));
    }

    /// Counts one recipient of a customer's mail. `since_accepted` is the time since the mail was accepted.
    pub(super) fn count(&self, customer: &CustomerId, outcome: CountedOutcome, since_accepted: Duration) {
        match outcome {
            CountedOutcome::Relayed => {
                self.relayed.inc();
                self.to_relayed.observe(since_accepted.as_secs_f64());
            }
            CountedOutcome::Deferred => {
                self.deferred.inc();
            }
            CountedOutcome::Bounced(_) => {
                self.bounced.inc();
            }
            CountedOutcome::Expired(_) => {
                self.expired.inc();
            }
        }
        self.by_customer.count(customer, outcome);
    }
}
