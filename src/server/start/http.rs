//! Gives each HTTP address its router: status page, API, pages, Mailjet's events.

use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::super::endpoints::{BoundEndpoint, Endpoints};
use super::super::{Settings, ready};
use crate::metrics::QueueGauges;
use crate::operate::Service;
use crate::operate::api::Api;
use crate::operate::pages::customers::Customers;
use crate::operate::pages::operators::{Operators, Surroundings};
use crate::returns::mailjet::Mailjet;
use crate::status;

/// A bound address with what answers there.
pub(super) type Answering = (BoundEndpoint, Router);

/// Makes the routers of all bound addresses. The relay counts as ready until `accepting` is cancelled; requests end with `stopping`.
pub(super) fn answering(
    endpoints: Endpoints,
    settings: &Settings,
    service: &Service,
    mailjet: Option<&Mailjet>,
    (registry, queue_gauges): (Registry, QueueGauges),
    accepting: &CancellationToken,
    stopping: &CancellationToken,
) -> Vec<Answering> {
    let (limits, hostname) = (&settings.limits, settings.hostname.to_string());
    let spool = &service.spool;
    let readiness = ready::readiness(accepting, spool);
    let api = endpoints.api.map(|it| (it, Api::new(service.clone(), limits, stopping.clone()).router()));
    let customers = endpoints
        .customers
        .zip(settings.customers_pages.as_ref())
        .map(|(it, settings)| (it, Customers::new(service.clone(), limits, stopping.clone()).router(settings)));
    let operators = endpoints.operators.zip(settings.operators_pages.as_ref()).map(|(it, settings)| {
        let surroundings =
            Surroundings { hostname: hostname.clone(), readiness: readiness.clone(), stopping: stopping.clone() };
        (it, Operators::new(service.clone(), surroundings, settings).router(settings))
    });
    let mailjet = endpoints.mailjet.zip(mailjet).map(|(it, mailjet)| (it, mailjet.router(limits)));
    let sources = status::Sources {
        registry: Arc::new(registry),
        queue_gauges,
        health: ready::health(spool),
        service: service.clone(),
        hostname,
        readiness,
    };
    let status = endpoints.status.map(|it| (it, status::router(sources)));
    [api, customers, operators, mailjet, status].into_iter().flatten().collect()
}
