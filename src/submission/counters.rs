//! The counters of submission.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::smtp::Reply;

/// The reason for a refusal, from a fixed set of words.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabels {
    /// The word: `size`, `from_domain`, `line_end`, …
    pub reason: &'static str,
}

/// The codes of a reply.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReplyLabels {
    /// The codes of the reply: `552 5.3.4`.
    pub reply: String,
}

/// Logins by how they ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct LoginLabels {
    /// How it ended: `cached`, `verified`, `failed`, `throttled` or `busy`.
    pub result: &'static str,
}

/// TLS handshakes by how they ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HandshakeLabels {
    /// How it ended: `full`, `resumed` or `failed`.
    pub result: &'static str,
}

/// The metrics of submission. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections open at this moment.
    pub open: Gauge,
    /// Connections refused at once or closed by a limit, by reason.
    pub refused_connections: Family<ReasonLabels, Counter>,
    /// TLS handshakes, by how they ended.
    pub handshakes: Family<HandshakeLabels, Counter>,
    /// Logins, by how they ended.
    pub logins: Family<LoginLabels, Counter>,
    /// Messages that were accepted with 250.
    pub accepted: Counter,
    /// Octets of accepted messages.
    pub accepted_bytes: Counter,
    /// Recipients of accepted messages.
    pub accepted_recipients: Counter,
    /// Commands refused, by the codes of the reply.
    pub refused_commands: Family<ReplyLabels, Counter>,
    /// Messages refused after their content was read, by reason.
    pub refused: Family<ReasonLabels, Counter>,
    /// Messages accepted with a warning in their `accepted` event.
    pub warned: Counter,
    /// Octets of messages in memory at this moment.
    pub bytes_in_flight: Gauge,
}

impl Counters {
    /// Adds the counters to the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("submission_connections", "Connections taken", self.connections.clone());
        registry.register("submission_open_connections", "Connections open", self.open.clone());
        registry.register(
            "submission_refused_connections",
            "Connections refused at the door or closed by a limit, by reason",
            self.refused_connections.clone(),
        );
        registry.register("submission_tls_handshakes", "TLS handshakes by result", self.handshakes.clone());
        registry.register("submission_logins", "Logins by result", self.logins.clone());
        registry.register("submission_accepted", "Messages answered with 250", self.accepted.clone());
        registry.register("submission_accepted_bytes", "Octets of accepted messages", self.accepted_bytes.clone());
        registry.register(
            "submission_accepted_recipients",
            "Recipients of accepted messages",
            self.accepted_recipients.clone(),
        );
        registry.register(
            "submission_refused_commands",
            "Commands refused, by the codes of the reply",
            self.refused_commands.clone(),
        );
        registry.register(
            "submission_refused",
            "Messages refused after their content, by reason",
            self.refused.clone(),
        );
        let warned = "Bulk messages taken although their domain or their way to unsubscribe lacks something";
        registry.register("submission_warned", warned, self.warned.clone());
        registry.register("submission_bytes_in_flight", "Octets of messages in memory", self.bytes_in_flight.clone());
    }

    /// Counts a connection refused or closed by a limit.
    pub fn refuse_connection(&self, reason: &'static str) {
        self.refused_connections.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a refused command by its reply. The replies are our own, so there are few.
    pub fn refuse_command(&self, reply: &Reply) {
        let codes = reply.enhanced.map_or(reply.code.to_string(), |enhanced| format!("{} {enhanced}", reply.code));
        self.refused_commands.get_or_create(&ReplyLabels { reply: codes }).inc();
    }

    /// Counts a refused message.
    pub fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts one AUTH by its result.
    pub fn login(&self, result: &'static str) {
        self.logins.get_or_create(&LoginLabels { result }).inc();
    }

    /// Counts one TLS handshake by its result.
    pub fn handshake(&self, result: &'static str) {
        self.handshakes.get_or_create(&HandshakeLabels { result }).inc();
    }
}
