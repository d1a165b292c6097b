//! The queue: decides when each message is tried, over which route, and what happens with the result.
//!
//! The spool holds records and their due times. When the dispatcher (`dispatch`) is woken, it looks at the spool, puts lanes with due mail
//! in line (`schedule`), and starts as many workers as the routes allow. Each `worker` takes turns: claim, one attempt, `decide`, `apply`.
//! A wake-up is only a hint; the due times on disk decide.
//!
//! Mail behind a route in trouble gets no turn. Queue `ageing` tells its senders that it is late, and gives it up at its maximum age.
//! Operators' decisions are applied in the same place as all others ([`Outcomes`]).
//!
//! If results cannot be recorded, delivery pauses and tries again later, because further attempts would only make duplicates. It also
//! pauses if mail cannot be read for lack of memory or open files.

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
pub(crate) mod shared_day;
mod volume;
mod watch;
mod worker;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub use apply::Outcomes;
pub use carried::Carrier;
pub use counters::Counters;
pub use decide::Patience;
pub use retry::Schedule;
pub use volume::{Results, Volumes};

use crate::customers::{Pause, PauseCause, Routing};
use crate::database::Database;
use crate::delivery::Delivery;
use crate::events::{Action, Event, Events, Subject};
use crate::machine::threads;
use crate::message::CustomerId;
use crate::queue::inner::Inner;
use crate::queue::schedule::routes::{RouteChanges, Routes};
use crate::queue::schedule::suspensions::SuspensionFile;
use crate::queue::schedule::throttle_state::ThrottleStateFile;
use crate::queue::volume::VolumeFile;
use crate::route::{Cause, RouteControl, RouteId, RouteState, RouteStatus, Switched};
use crate::spool::Spool;
use crate::time::Timestamp;

/// The default limit of attempts at once over all routes. An egress address has some 28,000 ports for one server, and Azure gives fewer.
pub const AT_ONCE: u32 = 1000;
/// By default, a route raises an alert if its server has taken part in no transaction for this long.
pub const ROUTE_ALERT_AFTER: Duration = Duration::from_secs(15 * 60);
/// On a stop, the time for recording results after the last attempt has ended.
const LAST_RESULTS: Duration = Duration::from_secs(2);
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How the queue behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The retry schedule, the maximum age, and when delay notices are sent.
    pub patience: Patience,
    /// The file with the routes' throttle states, so that counters and troubles survive a restart.
    pub throttle_states: PathBuf,
    /// The file with the suspended routes and paused customers.
    pub suspensions: PathBuf,
    /// The file with the counts of what each customer has sent.
    pub volumes: PathBuf,
    /// The limit of attempts at once over all routes. Each attempt takes a port of the one egress address, a file and memory.
    pub at_once: u32,
    /// A route raises an alert if its server has taken part in no transaction for this long.
    pub route_alert_after: Duration,
}

/// The other stages that the queue uses.
pub struct Parts {
    /// The spool that mail is claimed from.
    pub spool: Arc<dyn Spool>,
    /// The stage that makes one attempt.
    pub delivery: Arc<Delivery>,
    /// Customers, and the routes of their lanes.
    pub routing: Routing,
    /// Raises alerts about routes.
    pub events: Events,
    /// Applies the results of attempts and operators' decisions to the spool.
    pub outcomes: Outcomes,
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

/// A queue that has been opened: it answers queries and commands, but does not deliver yet.
pub struct OpenedQueue {
    queue: Queue,
    throttle_states: ThrottleStateFile,
    volumes: VolumeFile,
}

impl OpenedQueue {
    /// Returns the queue.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Starts to deliver the spool's mail. Call this last: if the start fails after an attempt was made, the next start may send that mail
    /// again.
    pub fn deliver(self) -> Queue {
        let OpenedQueue { queue, throttle_states, volumes } = self;
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
    /// Reads the state that the last process saved, and the configured routes. Fails if the throttle states, the suspensions or the volumes
    /// cannot be read.
    pub fn open(settings: Settings, parts: Parts) -> std::io::Result<OpenedQueue> {
        let (file, throttle_states) = ThrottleStateFile::open(settings.throttle_states.clone())?;
        let volumes = VolumeFile::open(settings.volumes.clone(), parts.outcomes.volumes())?;
        let (suspensions, (suspended, pauses), fingerprints) = SuspensionFile::open(settings.suspensions.clone())?;
        parts.routing.set_pauses(pauses);
        let routes = Routes::new(throttle_states, suspended, fingerprints).with_at_most(settings.at_once);
        let queue = Queue(Arc::new(Inner::new(settings, parts, routes, suspensions)));
        // Load the routes before any command comes, because a command about an unknown route would be refused.
        queue.reload();
        Ok(OpenedQueue { queue, throttle_states: file, volumes })
    }

    /// Returns the metrics of the queue.
    pub fn counters(&self) -> &Counters {
        self.0.parts.outcomes.counters()
    }

    /// Raises the alerts about routes that the last process left suspended, because alerts do not survive a restart.
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

    /// Saves that a route was suspended or resumed, if the route is known.
    fn switched(&self, known: bool) -> Switched {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.save_suspensions().await.map(|()| known) })
    }

    /// Takes the routes of a new directory. Routes and caps change from the next attempt on. A route that was suspended for its login
    /// resumes if it has another login now.
    pub fn reload(&self) {
        let inner = &self.0;
        // Held to the end, so that of two reloads at once the later one is taken last.
        let mut configured = inner.configured.lock().unwrap_or_else(PoisonError::into_inner);
        let all = inner.parts.routing.routes();
        inner.parts.delivery.retain(&all);
        let changes = RouteChanges::since(&mut configured, all);
        let lifted = inner.with_routes(|routes, now| routes.reload(&changes, now));
        drop(configured);
        for route in &lifted {
            let detail = "goes on: its login, server or TLS was changed";
            let event = Event::audit("reload", Action::RouteResume, detail, Timestamp::now());
            inner.parts.events.emit(event.about_route(route));
        }
        if !lifted.is_empty() {
            let saving = Arc::clone(inner);
            inner.tasks.spawn(async move {
                // If this cannot be saved, the next start lifts the suspension again.
                if let Err(why) = saving.save_suspensions().await {
                    tracing::warn!("a lifted suspension cannot be saved: {why}");
                }
            });
        }
        inner.wake.notify_one();
    }

    /// Shares the allowance of a day with the other nodes that use the same routes, in this database. Called once, if there are any.
    pub fn share_days(&self, database: &Database) {
        self.0.tasks.spawn(shared_day::run(Arc::clone(&self.0), database.of(&shared_day::SCHEMA)));
    }

    /// Wakes the dispatcher and waits until it has looked at the spool and the routes. Waits forever once the queue has stopped.
    pub async fn wait_for_dispatcher(&self) {
        let mut looked = pin!(self.0.looked.notified());
        looked.as_mut().enable();
        self.0.wake.notify_one();
        looked.await;
    }

    /// Starts no more attempts, and waits up to `grace` for the running ones. Attempts that are still running then are dropped, as in a
    /// crash: their outcome is unknown, their mail stays queued and is tried again, and a server that took it meanwhile gets it twice.
    pub async fn stop(&self, grace: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(
                "attempts were still under way after {grace:?}; they are dropped and their mail stays queued"
            );
            self.0.cut.cancel();
            // Other attempts may still record their results.
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

    fn visit(&self, see: &mut dyn FnMut(&RouteId, &RouteState, Option<Timestamp>)) {
        self.0.with_routes(|routes, now| routes.visit(now, see));
    }

    fn status(&self, route: &RouteId) -> Option<RouteStatus> {
        self.0.with_routes(|routes, now| routes.status_of(route, now))
    }

    fn suspended(&self) -> Vec<(RouteId, Arc<str>)> {
        self.0.with_routes(|routes, now| routes.suspensions(now))
    }

    fn suspension(&self, route: &RouteId) -> Option<Arc<str>> {
        self.0.with_routes(|routes, now| routes.suspension(route, now))
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

/// Saves the customers' counts as they change, and a last time when the queue begins to stop.
async fn keep_volumes(inner: Arc<Inner>, mut file: VolumeFile) {
    loop {
        let stopping = tokio::time::timeout(volume::SAVE_EVERY, inner.stop.cancelled()).await.is_ok();
        let volumes = inner.parts.outcomes.volumes().clone();
        let saved = threads::blocking(move || {
            let result = file.save(&volumes);
            (file, result)
        });
        let Ok((kept, result)) = saved.await else { return };
        file = kept;
        if let Err(e) = result {
            tracing::error!(
                "the counts of what customers have sent cannot be saved, so a restart would lose them: {e}"
            );
        }
        if stopping {
            return;
        }
    }
}

/// Saves the throttle states as they change, and a last time when the queue begins to stop.
async fn keep_throttle_states(inner: Arc<Inner>, mut file: ThrottleStateFile) {
    loop {
        let stopping = tokio::time::timeout(SAVE_EVERY, inner.stop.cancelled()).await.is_ok();
        if inner.unsaved.swap(false, Ordering::Relaxed)
            && let Err(why) = inner.save_suspensions().await
        {
            tracing::warn!("a suspension from another node cannot be saved: {why}");
        }
        let states = inner.with_routes(|routes, _| routes.throttle_states());
        let saved = threads::blocking(move || {
            let result = file.save(states);
            (file, result)
        });
        let Ok((kept, result)) = saved.await else { return };
        file = kept;
        if let Err(e) = result {
            tracing::error!("the daily counters cannot be saved, so a restart would lose them: {e}");
        }
        if stopping {
            return;
        }
    }
}
