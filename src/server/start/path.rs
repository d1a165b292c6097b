//! The stages on the path of a message, behind the sessions.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::super::open::{self, DurableParts, state};
use super::super::{Settings, StartError};
use crate::bounce::Postmaster;
use crate::customers::Routing;
use crate::delivery::{self, Delivery};
use crate::dkim;
use crate::message::ReturnPaths;
use crate::queue::{self, OpenedQueue, Outcomes, Queue};
use crate::resolver::Dns;
use crate::submission::{self, Submission, Submitters};

/// The most messages that wait for a signer thread. More wait in their sessions.
const SIGNER_QUEUE: usize = 256;

/// The stages on the path of a message. The queue waits with its first attempt until all of the relay has started.
pub(super) struct MessagePath {
    pub routing: Routing,
    pub workers: dkim::Workers,
    pub return_paths: Option<Arc<ReturnPaths>>,
    pub delivery: Arc<Delivery>,
    pub outcomes: Outcomes,
    pub opened_queue: OpenedQueue,
    /// The time from a commit to the second attempt.
    pub first_retry: Duration,
}

impl MessagePath {
    pub async fn open(settings: &Settings, stored: &DurableParts) -> Result<Self, StartError> {
        let DurableParts { events, spool, suppression, .. } = stored;
        let routing = Routing::new(settings.directory.clone(), settings.bounce_route.clone());
        let workers = dkim::Workers::start(settings.signer_threads, SIGNER_QUEUE).map_err(StartError::Threads)?;
        let return_paths = open::return_paths(settings.returned_mail.as_ref(), &settings.state_dir).await?;
        let delivery = Arc::new(Delivery::new(delivery::Settings {
            timeouts: settings.timeouts,
            return_paths: return_paths.clone(),
            resolver: Some(Arc::new(Dns::new(&settings.resolver)?)),
            ..delivery::Settings::new(settings.hostname.as_str(), settings.egress.clone())
        })?);
        let postmaster = Postmaster {
            settings: Arc::new(settings.bounce.clone()),
            routing: routing.clone(),
            workers: workers.clone(),
            spool: spool.clone(),
        };
        let outcomes = Outcomes::new(Arc::clone(spool), postmaster, events.clone(), suppression.clone());
        let parts = queue::Parts {
            spool: Arc::clone(spool),
            delivery: Arc::clone(&delivery),
            routing: routing.clone(),
            events: events.clone(),
            outcomes: outcomes.clone(),
        };
        let opened_queue = Queue::open(settings.queue.clone(), parts)
            .map_err(|source| state("cannot read what the queue keeps in", &settings.state_dir, source))?;
        let first_retry = settings.queue.patience.retry.backoff.first;
        Ok(MessagePath { routing, workers, return_paths, delivery, outcomes, opened_queue, first_retry })
    }

    pub fn queue(&self) -> &Queue {
        self.opened_queue.queue()
    }

    /// Binds the listeners and begins to take mail. Returns the submitters besides, whom a reload replaces.
    pub fn take_mail(
        &self,
        settings: Settings,
        stored: &DurableParts,
        counters: submission::Counters,
        accepting: CancellationToken,
    ) -> Result<(Submission, Arc<ArcSwap<Submitters>>), StartError> {
        let submitters = Arc::new(ArcSwap::from_pointee(settings.submitters));
        let context = submission::Context {
            hostname: settings.hostname,
            limits: settings.limits,
            first_retry: self.first_retry,
            bulk_requires: settings.bulk_requires,
            routing: self.routing.clone(),
            suppression: stored.suppression.clone(),
            submitters: Arc::clone(&submitters),
            spool: stored.spool.clone(),
            workers: self.workers.clone(),
            events: stored.events.clone(),
            counters,
            known_clients: Some(settings.state_dir.join("known-clients.json")),
        };
        let submission = Submission::start(settings.listeners, context, accepting).map_err(StartError::Submission)?;
        Ok((submission, submitters))
    }
}
