//! The metrics of returned mail.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The result of a message, or the reason why a client was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WordLabel {
    /// One of a fixed set of words.
    pub what: &'static str,
}

/// The counters of returned mail. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub(super) open: Gauge,
    pub(super) bytes_in_flight: Gauge,
    pub(super) waiting_bytes: Gauge,
    pub(super) taken: Counter,
    pub(super) refused: Family<WordLabel, Counter>,
    pub(super) read: Family<WordLabel, Counter>,
    pub(super) forwarded: Family<WordLabel, Counter>,
}

impl Counters {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let open = "Connections to the listener of returned mail";
        registry.register("returned_mail_connections", open, self.open.clone());
        let bytes = "Octets of returned mail in memory on its way in";
        registry.register("returned_mail_bytes_in_flight", bytes, self.bytes_in_flight.clone());
        let waiting = "Octets of returned mail on disk that wait to be read";
        registry.register("returned_mail_waiting_bytes", waiting, self.waiting_bytes.clone());
        registry.register("returned_mail_taken", "Messages that the listener answered with 250", self.taken.clone());
        let refused = "Connections, recipients and messages that the listener refused, by reason";
        registry.register("returned_mail_refused", refused, self.refused.clone());
        let read = "What messages were, for each of their recipients";
        registry.register("returned_mail_read", read, self.read.clone());
        let forwarded = "Messages for the original envelope sender, by what became of them";
        registry.register("returned_mail_forwarded", forwarded, self.forwarded.clone());
    }

    pub(super) fn refuse(&self, what: &'static str) {
        self.refused.get_or_create(&WordLabel { what }).inc();
    }

    pub(super) fn read(&self, what: &'static str) {
        self.read.get_or_create(&WordLabel { what }).inc();
    }

    pub(super) fn forwarded(&self, what: &'static str) {
        self.forwarded.get_or_create(&WordLabel { what }).inc();
    }
}
