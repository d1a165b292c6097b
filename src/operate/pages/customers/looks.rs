//! Checks customers' domains for the pages. A page is shown at once from the last result, while a new check runs in the background. Results
//! are only in memory. Which requirements a domain meets is also stored, as after a check by the monitor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::message::CustomerId;
use crate::onboarding::{Item, Severity};
use crate::operate::domains::DomainLook;
use crate::operate::fair::Places;
use crate::operate::{Actor, Error, Service, Site};
use crate::smtp::Domain;
use crate::time::Timestamp;

/// The maximum number of domains that are checked at the same time.
const AT_ONCE: usize = 8;
/// The maximum number of one customer's domains among them. A customer with many domains and a slow name server must not hold up the pages
/// of others.
const OF_ONE: usize = 2;
/// The maximum number of domains whose results are kept in memory.
const KEPT: usize = 2_000;
/// The age of a result after which opening the page starts a new check.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// The minimum time between two checks of a domain, whoever asks.
const LEAST_PAUSE: Duration = Duration::from_secs(5);

/// The result of a check.
pub(super) struct Snapshot {
    /// The customer whose domain was checked.
    pub customer: CustomerId,
    pub look: DomainLook,
}

/// The progress of a check.
#[derive(Clone, Default)]
pub(super) struct Progress {
    /// The checks that have ended, and their severities.
    pub seen: Vec<(Item, Option<Severity>)>,
    /// True if the check has ended.
    pub is_over: bool,
}

/// The current data of a domain.
#[derive(Clone, Default)]
pub(super) struct Known {
    /// The result of the last check.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The progress of the running check.
    pub running: Option<watch::Receiver<Progress>>,
    /// True if the last check failed.
    pub failed: bool,
    /// When the last check ended.
    pub ended: Option<Timestamp>,
}

impl Known {
    /// Returns true if opening the page now should start a check.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        // After the clock was set back, no result counts as fresh.
        self.running.is_none() && self.ended.is_none_or(|at| now.since(at) > FRESH || at > now)
    }

    fn may_start(&self, now: Timestamp) -> bool {
        self.running.is_none() && self.ended.is_none_or(|at| now.since(at) > LEAST_PAUSE || at > now)
    }
}

/// The checks of this process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Looks(Arc<Inner>);

struct Inner {
    service: Service,
    known: Mutex<HashMap<Domain, Known>>,
    places: Places,
    stopping: CancellationToken,
}

impl Looks {
    /// Makes it without any results. Checks end with `stopping`.
    pub fn new(service: Service, stopping: CancellationToken) -> Self {
        let places = Places::new(AT_ONCE, OF_ONE);
        Looks(Arc::new(Inner { service, known: Mutex::default(), places, stopping }))
    }

    /// Returns the current data of a customer's domain.
    pub fn known(&self, customer: &CustomerId, domain: &Domain) -> Known {
        let mut known = self.lock().get(domain).cloned().unwrap_or_default();
        // The result of another customer does not apply to this one.
        if known.snapshot.as_ref().is_some_and(|it| it.customer != *customer) {
            known = Known { running: known.running, ..Known::default() };
        }
        known
    }

    /// Removes the result of a customer's domain, because the customer was changed.
    pub fn forget(&self, domain: &Domain) {
        if let Some(known) = self.lock().get_mut(domain) {
            (known.snapshot, known.ended) = (None, None);
        }
    }

    /// Starts a check that the page's reader commands, unless one is running or has just ended. The audit has a check that starts.
    pub fn begin_commanded(&self, actor: &Actor, customer: &CustomerId, domain: &Domain) {
        if self.begin(actor, customer, domain) {
            self.0.service.tell_of_check(actor, customer, domain);
        }
    }

    /// Starts a check, unless one is running or has just ended. Returns true if it started one.
    pub fn begin(&self, actor: &Actor, customer: &CustomerId, domain: &Domain) -> bool {
        let now = Timestamp::now();
        let (told, running) = watch::channel(Progress::default());
        {
            let mut all = self.lock();
            if !all.get(domain).is_none_or(|known| known.may_start(now)) {
                return false;
            }
            make_room(&mut all);
            all.entry(domain.clone()).or_default().running = Some(running);
        }
        let (looks, actor, customer, domain) = (self.clone(), actor.clone(), customer.clone(), domain.clone());
        tokio::spawn(async move {
            // Whatever happens, the page must not wait for ever.
            let mut ends = Ends { looks: &looks, customer: &customer, domain: &domain, told: &told, found: None };
            let stopping = looks.0.stopping.clone();
            let looked = stopping.run_until_cancelled(looks.look(&actor, &customer, &domain, &told)).await;
            match looked {
                Some(Ok(look)) => ends.found = Some(look),
                Some(Err(error)) => tracing::warn!(customer = %customer, "a look at {domain} failed: {error}"),
                None => {}
            }
        });
        true
    }

    async fn look(
        &self,
        actor: &Actor,
        customer: &CustomerId,
        domain: &Domain,
        told: &watch::Sender<Progress>,
    ) -> Result<DomainLook, Error> {
        let _place = self.0.places.take(customer.as_str()).await;
        let site = site(&self.0.service).await?;
        let seen = |item, severity| told.send_modify(|progress| progress.seen.push((item, severity)));
        site.look(actor, customer.as_str(), domain, &seen).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Domain, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the active configuration and the means to ask DNS. Reads the ownership secret.
pub(super) async fn site(service: &Service) -> Result<Site, Error> {
    let (service, runtime) = (service.clone(), tokio::runtime::Handle::current());
    let opened = tokio::task::spawn_blocking(move || {
        let _runtime = runtime.enter();
        Site::in_relay(&service)
    });
    opened.await.map_err(|error| Error::failed(format!("the work broke off: {error}"), "see the relay's log"))?
}

/// Ends a check, even if it panics.
struct Ends<'a> {
    looks: &'a Looks,
    customer: &'a CustomerId,
    domain: &'a Domain,
    told: &'a watch::Sender<Progress>,
    found: Option<DomainLook>,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let now = Timestamp::now();
        {
            let mut all = self.looks.lock();
            let known = all.entry(self.domain.clone()).or_default();
            known.failed = self.found.is_none();
            known.ended = Some(now);
            known.running = None;
            if let Some(look) = self.found.take() {
                known.snapshot = Some(Arc::new(Snapshot { customer: self.customer.clone(), look }));
            }
        }
        self.told.send_modify(|progress| progress.is_over = true);
    }
}

/// Removes the oldest results if there are too many.
fn make_room(all: &mut HashMap<Domain, Known>) {
    if all.len() < KEPT {
        return;
    }
    let mut ended: Vec<Timestamp> = all.values().filter_map(|known| known.ended).collect();
    ended.sort_unstable();
    let oldest = ended.get(KEPT / 4).copied().unwrap_or(Timestamp::NEVER);
    all.retain(|_, known| known.running.is_some() || known.ended.is_some_and(|at| at > oldest));
}
