//! The registry with the metrics of all stages.

use std::sync::Arc;

use prometheus_client::registry::Registry;

use super::super::open::DurableParts;
use super::domains::Domains;
use super::path::MessagePath;
use super::returns::Returns;
use crate::metrics::{self, QueueGauges};
use crate::operate::{Service, tokens};
use crate::submission::{self, ServerTls};

/// The parts of a relay that have metrics.
pub(super) struct Measured<'a> {
    pub stored: &'a DurableParts,
    pub path: &'a MessagePath,
    pub domains: &'a Domains,
    pub returns: &'a Returns,
    pub service: &'a Service,
    pub submission: &'a submission::Counters,
    pub reloads: &'a metrics::Reloads,
    pub certificates: &'a [ServerTls],
}

impl Measured<'_> {
    /// Returns the registry, and the gauges in it that are read before each scrape.
    pub fn register(self) -> (Registry, QueueGauges) {
        let Measured { stored, path, domains, returns, service, .. } = self;
        let mut registry = metrics::registry();
        let stages = metrics::stages(&mut registry);
        metrics::register_build(stages);
        metrics::register_routing(stages, path.routing.clone());
        self.submission.register(stages);
        stored.spool_counters.register(stages);
        path.queue().counters().register(stages);
        path.delivery.counters().register(stages);
        stored.events.counters().register(stages);
        stored.suppression.counters().register(stages);
        domains.counters.register(stages);
        if let Some(mailjet) = &returns.mailjet {
            mailjet.counters().register(stages);
        }
        domains.dmarc.register(stages);
        self.reloads.register(stages);
        stages.register_collector(Box::new(metrics::Certificates(self.certificates.to_vec())));
        stages.register_collector(Box::new(metrics::Signatures(path.routing.clone())));
        stages.register_collector(Box::new(tokens::Expiry(service.tokens.clone())));
        if let Some(mail) = &returns.mail {
            mail.counters().register(stages);
        }
        let routes = Arc::new(path.queue().clone());
        let queue_gauges = metrics::register_queue(stages, Arc::clone(&stored.spool), routes);
        (registry, queue_gauges)
    }
}
