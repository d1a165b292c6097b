//! What delivery counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Outcome, Verdict};

/// Recipients by what came of them.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// The route.
    pub route: String,
    /// `delivered`, `deferred` or `failed`.
    pub verdict: &'static str,
    /// How far the reply reaches.
    pub scope: &'static str,
}

/// Connections by how they ended up.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ConnectionLabels {
    /// The route.
    pub route: String,
    /// `established`, or the step it failed in, by the probe's names.
    pub result: &'static str,
}

/// TLS handshakes.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TlsLabels {
    /// `TLSv1.2`, `TLSv1.3` or `none`.
    pub version: &'static str,
}

/// Delivery's metrics.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Recipients' outcomes.
    pub outcomes: Family<OutcomeLabels, Counter>,
    /// Connections tried.
    pub connections: Family<ConnectionLabels, Counter>,
    /// Connections established, by protection.
    pub tls: Family<TlsLabels, Counter>,
    /// Connections open at this moment, idle ones included.
    pub open: Gauge,
    /// Transactions over a connection that had served before.
    pub reused: Counter,
    /// Final dots without an answer.
    pub unknown: Counter,
}

impl Counters {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("delivery_recipients", "Recipients by verdict and scope", self.outcomes.clone());
        registry.register("delivery_connections", "Connections tried, by result", self.connections.clone());
        registry.register("delivery_tls", "Connections established, by TLS version", self.tls.clone());
        registry.register("delivery_connections_open", "Connections open, idle ones included", self.open.clone());
        registry.register("delivery_reused", "Transactions over a kept connection", self.reused.clone());
        registry.register("delivery_unknown_outcomes", "Final dots without an answer", self.unknown.clone());
    }

    pub(super) fn count(&self, route: &str, outcome: &Outcome) {
        for recipient in &outcome.recipients {
            let labels = OutcomeLabels {
                route: route.to_owned(),
                verdict: match recipient.class.verdict {
                    Verdict::Delivered => "delivered",
                    Verdict::Deferred => "deferred",
                    Verdict::Failed => "failed",
                },
                scope: recipient.class.scope.as_str(),
            };
            self.outcomes.get_or_create(&labels).inc();
            if recipient.class.unknown {
                self.unknown.inc();
            }
        }
    }
}
