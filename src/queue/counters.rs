//! What the queue counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The queue's counters. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Recipients taken by the next server.
    pub relayed: Counter,
    /// Recipients to be tried again.
    pub deferred: Counter,
    /// Recipients refused for good, or given up by an operator who told the sender.
    pub bounced: Counter,
    /// Recipients given up for their age.
    pub expired: Counter,
    /// Transactions that were begun.
    pub attempts: Counter,
    /// Times that delivery stopped because results could not be recorded, or mail could not be read for want of means.
    pub halts: Counter,
}

impl Counters {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("recipients_relayed", "Recipients taken by the next server", self.relayed.clone());
        registry.register("recipients_deferred", "Deferrals of a recipient", self.deferred.clone());
        registry.register("recipients_bounced", "Recipients refused for good", self.bounced.clone());
        registry.register("recipients_expired", "Recipients given up for their age", self.expired.clone());
        registry.register("attempts", "Transactions begun", self.attempts.clone());
        let halts = "Stops because results could not be recorded, or mail not be read for want of open files or memory";
        registry.register("delivery_halts", halts, self.halts.clone());
    }
}
