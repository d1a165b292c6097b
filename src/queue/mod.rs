//! The queue: decides what is tried when, over which route, and what becomes of the result.
//!
//! The spool holds records and their due times. The dispatcher (`dispatch`) looks at it whenever it is woken, puts lanes with due mail
//! in line (`schedule`) and starts as many workers as the routes bear. Each `worker` takes turns: claim, one attempt,
//! `decide`, `apply`. A wake-up is a hint; the due time on disk is the truth.
//!
//! Mail behind a route in trouble gets no turn. Queue `ageing` tells its senders that it is late, and gives it up in time.
//! Operators' decisions are applied in the same place as everybody else's ([`Outcomes`]).
//!
//! If results cannot be recorded, delivery stops and tries again later, because sending on would only make duplicates. It does so
//! too where mail cannot be read for want of open files or memory.

mod ageing;
mod apply;
mod backlog;
mod by_customer;
mod carried;
mod counters;
pub(crate) mod decide;
mod dispatch;
mod halt;
mod holds;
mod inner;
mod retry;
mod schedule;
mod volume;
mod watch;
mod worker;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use apply::Outcomes;
pub use carried::Carrier;
pub use counters::Counters;
pub use decide::Patience;
pub use retry::Schedule;
pub use volume::{Results, Volumes};

use crate::customers::{Pause, PauseCause, Routing};
use crate::delivery::Delivery;
use crate::events::{Action, Event, Events, Subject};
use crate::message::CustomerId;
use crate::queue::inner::Inner;
use crate::queue::schedule::routes::Routes;
use crate::queue::schedule::suspensions::SuspensionFile;
use crate::queue::schedule::throttle_state::ThrottleStateFile;
use crate::queue::volume::VolumeFile;
use crate::route::{Cause, RouteControl, RouteId, RouteState, RouteStatus, Switched};
use crate::spool::Spool;
use crate::time::Timestamp;

/// Attempts at once over all routes, where nothing else is configured. An egress address has some 28,000 ports for one
/// server, and Azure gives fewer.
pub const AT_ONCE: u32 = 1000;
/// How long a route may carry no mail before somebody is told, where nothing else is configured.
pub const ROUTE_ALERT_AFTER: Duration = Duration::from_secs(15 * 60);
/// On a stop, how long results may take to be recorded once no attempt is under way any more.
const LAST_RESULTS: Duration = Duration::from_secs(2);
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How the queue behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Retries, maximum age, delay notices.
    pub patience: Patience,
    /// The file with the routes' throttle states: counters and troubles that outlive a restart.
    pub throttle_states: PathBuf,
    /// The file with the suspended routes.
    pub suspensions: PathBuf,
    /// The file with what each customer has sent.
    pub volumes: PathBuf,
    /// Attempts at once over all routes. Each takes a port of the one egress address, a file and memory.
    pub at_once: u32,
    /// A route whose server has taken part in no transaction for this long raises an alert.
    pub route_alert_after: Duration,
}

/// What the queue works with.
pub struct Parts {
    /// The spool that mail is claimed from.
    pub spool: Arc<dyn Spool>,
    /// The stage that makes one attempt.
    pub delivery: Arc<Delivery>,
    /// Customers, and the routes of their lanes.
    pub routing: Routing,
    /// Where alerts about routes are raised.
    pub events: Events,
    /// Applies what is decided.
    pub outcomes: Outcomes,
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

/// A queue that can be asked and told everything, and delivers nothing yet.
pub struct Waiting {
    queue: Queue,
    throttle_states: ThrottleStateFile,
    volumes: VolumeFile,
}

impl Waiting {
    /// The queue that waits to deliver.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Starts delivering what the spool holds. Call it last: an attempt that is made by a start which then fails is a duplicate in the
    /// next one.
    pub fn deliver(self) -> Queue {
        let Waiting { queue, throttle_states, volumes } = self;
        queue.tell_of_suspensions();
        let inner = &queue.0;
        inner.tasks.spawn(dispatch::run(Arc::clone(inner)));
        inner.tasks.spawn(keep_throttle_states(Arc::clone(inner), throttle_states));
        inner.tasks.spawn(keep_volumes(Arc::clone(inner), volumes));
        inner.tasks.spawn(ageing::run(Arc::clone(inner)));
        inner.tasks.spawn(backlog::run(Arc::clone(inner)));
        inner.tasks.spawn(watch::run(Arc::clone(inner)));
        queue
    }
}

impl Queue {
    /// Reads what the last process left, and takes the routes there are. Errors where the throttle states or the suspensions cannot be
    /// read.
    pub fn open(settings: Settings, parts: Parts) -> std::io::Result<Waiting> {
        let (file, throttle_states) = ThrottleStateFile::open(settings.throttle_states.clone())?;
        let volumes = VolumeFile::open(settings.volumes.clone(), parts.outcomes.volumes())?;
        let (suspensions, (suspended, pauses), fingerprints) = SuspensionFile::open(settings.suspensions.clone())?;
        parts.routing.set_pauses(pauses);
        let routes = Routes::new(throttle_states, suspended, fingerprints).with_at_most(settings.at_once);
        let queue = Queue(Arc::new(Inner::new(settings, parts, routes, suspensions)));
        // Before any command comes: one about a route that is not known yet would be refused.
        queue.reload();
        Ok(Waiting { queue, throttle_states: file, volumes })
    }

    /// Returns the metrics of the queue.
    pub fn counters(&self) -> &Counters {
        self.0.parts.outcomes.counters()
    }

    /// Raises the alerts about routes that the last process left suspended: this one does not know of the alerts of then.
    fn tell_of_suspensions(&self) {
        for route in self.list() {
            if let RouteState::Suspended { cause, reason, since } = route.state {
                let detail =
                    format!("route still suspended, since {since}: {reason}. What lifts it: {}", cause.lifted_by());
                self.0.alert_route(&route.id, detail);
            }
        }
        for (customer, pause) in self.0.parts.routing.pauses().iter().filter(|(_, it)| it.cause != PauseCause::Cap) {
            let detail = format!("its mail is still paused, since {}: {}", pause.since(), pause.reason);
            self.0.alert(Some(customer), None, Some(Subject::Volume(customer.to_string())), detail);
        }
    }

    /// Saves a switch of a route, where the route is known.
    fn switched(&self, known: bool) -> Switched {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.save_suspensions().await.map(|()| known) })
    }

    /// Takes the routes of a directory that was replaced. Routes and caps change from the next attempt on; routes that were suspended
    /// for their login go on if they have another one.
    pub fn reload(&self) {
        let inner = &self.0;
        let all = inner.parts.routing.routes();
        inner.parts.delivery.retain(&all);
        let lifted = inner.with_routes(|routes, now| routes.reload(all.into_iter(), now));
        for route in &lifted {
            let detail = "goes on: its login, server or TLS was changed";
            let event = Event::audit("reload", Action::RouteResume, detail, Timestamp::now());
            inner.parts.events.emit(event.about_route(route));
        }
        if !lifted.is_empty() {
            let saving = Arc::clone(inner);
            inner.tasks.spawn(async move {
                // If it cannot be saved, it is lifted again at the next start.
                if let Err(why) = saving.save_suspensions().await {
                    tracing::warn!("a lifted suspension cannot be saved: {why}");
                }
            });
        }
        inner.wake.notify_one();
    }

    /// Wakes the dispatcher and waits until it has looked at the spool and the routes. It never does once the queue stops.
    pub async fn comes_round(&self) {
        let mut looked = pin!(self.0.looked.notified());
        looked.as_mut().enable();
        self.0.wake.notify_one();
        looked.await;
    }

    /// Starts no more attempts, and waits up to `grace` for those under way. What is not done by then is dropped as by a crash: its
    /// outcome is unknown, its mail stays queued and is tried again, and a server that took it meanwhile gets it twice.
    pub async fn stop(&self, grace: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(
                "attempts were still under way after {grace:?}; they are dropped and their mail stays queued"
            );
            self.0.cut.cancel();
            // The results of other attempts are still being recorded.
            let _ = tokio::time::timeout(LAST_RESULTS, self.0.tasks.wait()).await;
        }
    }
}

impl RouteControl for Queue {
    fn suspend(&self, route: &RouteId, reason: &str) -> Switched {
        let suspended = self.0.with_routes(|routes, now| routes.suspend(route, Cause::Operator, reason, now));
        self.switched(suspended.is_some())
    }

    fn resume(&self, route: &RouteId) -> Switched {
        let resumed = self.0.with_routes(|routes, now| routes.resume(route, now));
        self.0.wake.notify_one();
        self.switched(resumed.is_some())
    }

    fn list(&self) -> Vec<RouteStatus> {
        self.0.with_routes(|routes, now| routes.status(now))
    }

    fn pause(&self, customer: &CustomerId, reason: &str, spares_single: bool) -> Switched {
        let pause = Pause::new(PauseCause::Operator, reason, Timestamp::now()).sparing_single(spares_single);
        self.0.parts.outcomes.pause(customer, &pause);
        self.switched(true)
    }

    fn resume_customer(&self, customer: &CustomerId) -> Switched {
        let resumed = self.0.parts.outcomes.resume(customer, "an operator let it go on");
        self.0.wake.notify_one();
        self.switched(resumed)
    }
}

/// Saves what customers have sent as it changes, and once more at the end.
async fn keep_volumes(inner: Arc<Inner>, mut file: VolumeFile) {
    loop {
        let stopping = tokio::time::timeout(volume::SAVE_EVERY, inner.stop.cancelled()).await.is_ok();
        let volumes = inner.parts.outcomes.volumes().clone();
        let saved = tokio::task::spawn_blocking(move || {
            let result = file.save(&volumes);
            (file, result)
        });
        let Ok((kept, result)) = saved.await else { return };
        file = kept;
        if let Err(e) = result {
            tracing::error!("what customers have sent cannot be saved, a restart would forget it: {e}");
        }
        if stopping {
            return;
        }
    }
}

/// Saves the throttle states as they change, and once more at the end.
async fn keep_throttle_states(inner: Arc<Inner>, mut file: ThrottleStateFile) {
    loop {
        let stopping = tokio::time::timeout(SAVE_EVERY, inner.stop.cancelled()).await.is_ok();
        if inner.unsaved.swap(false, Ordering::Relaxed)
            && let Err(why) = inner.save_suspensions().await
        {
            tracing::warn!("what another node suspended cannot be saved: {why}");
        }
        let states = inner.with_routes(|routes, _| routes.throttle_states());
        let saved = tokio::task::spawn_blocking(move || {
            let result = file.save(states);
            (file, result)
        });
        let Ok((kept, result)) = saved.await else { return };
        file = kept;
        if let Err(e) = result {
            tracing::error!("the daily counters cannot be saved, a restart would forget them: {e}");
        }
        if stopping {
            return;
        }
    }
}
