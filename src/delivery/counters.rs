//! Counts attempts and connections, for the metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Outcome, Verdict};

/// Labels of the recipients' outcomes.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabels {
    pub route: String,
    /// `relayed`, `deferred` or `failed`.
    pub verdict: &'static str,
    /// How far the reply reaches, as [`Scope`](super::Scope) names it.
    pub scope: &'static str,
}

/// Labels of the connections that were tried.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ConnectionLabels {
    pub route: String,
    /// `established`, or the step that failed, by the probe's names.
    pub result: &'static str,
}

/// Labels of the connections that were established.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TlsLabels {
    /// `TLSv1.2`, `TLSv1.3` or `none`.
    pub version: &'static str,
}

/// Counts attempts and connections.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Recipients, by route, verdict and scope.
    pub outcomes: Family<OutcomeLabels, Counter>,
    /// Connections tried, by route and result.
    pub connections: Family<ConnectionLabels, Counter>,
    /// Connections established, by TLS version.
    pub tls: Family<TlsLabels, Counter>,
    /// Connections that are open now, idle ones included.
    pub open: Gauge,
    /// Transactions over a connection that had served before.
    pub reused: Counter,
    /// Recipients of transactions whose final dot had no reply.
    pub unknown: Counter,
}

impl Counters {
    /// Registers the metrics for export.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("delivery_recipients", "Recipients by verdict and scope", self.outcomes.clone());
        registry.register("delivery_connections", "Connections tried, by result", self.connections.clone());
        registry.register("delivery_tls", "Connections established, by TLS version", self.tls.clone());
        registry.register("delivery_connections_open", "Connections open, idle ones included", self.open.clone());
        registry.register("delivery_reused", "Transactions over a kept connection", self.reused.clone());
        registry.register(
            "delivery_unknown_outcomes",
            "Recipients of transactions whose final dot had no reply",
            self.unknown.clone(),
        );
    }

    pub(super) fn count(&self, route: &str, outcome: &Outcome) {
        for recipient in &outcome.recipients {
            let labels = OutcomeLabels {
                route: route.to_owned(),
                verdict: match recipient.meaning.verdict {
                    Verdict::Relayed => "relayed",
                    Verdict::Deferred => "deferred",
                    Verdict::Failed => "failed",
                },
                scope: recipient.meaning.scope.as_str(),
            };
            self.outcomes.get_or_create(&labels).inc();
            if recipient.meaning.unknown {
                self.unknown.inc();
            }
        }
    }
}
