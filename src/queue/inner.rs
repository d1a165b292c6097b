//! What all tasks of the queue share: the parts it works with, the routes, and whether delivery is stopped.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::events::{Event, Subject};
use crate::message::{CustomerId, Lane, MailKind};
use crate::queue::decide::Decision;
use crate::queue::halt::{self, Halt};
use crate::queue::schedule::routes::Routes;
use crate::queue::schedule::suspensions::SuspensionFile;
use crate::queue::{Parts, Settings};
use crate::route::RouteId;
use crate::spool::{self, Lease, Settled};
use crate::time::{ClockJumpGuard, Jump, Timestamp};

pub(super) struct Inner {
    pub settings: Settings,
    pub parts: Parts,
    routes: Mutex<Clocked>,
    /// Wakes the dispatcher: something may be sent that could not be sent before.
    pub wake: Notify,
    /// The dispatcher has looked.
    pub looked: Notify,
    pub suspensions: SuspensionFile,
    /// Another node suspended something or let it go on, and the file does not say so yet.
    pub unsaved: AtomicBool,
    pub halt: Halt,
    started: Instant,
    /// No more attempts are started.
    pub stop: CancellationToken,
    /// Attempts under way are dropped.
    pub cut: CancellationToken,
    pub tasks: TaskTracker,
}

/// The routes, and the guard of the clock that they are kept by. One lock for both: no time that was read before a jump back
/// reaches the routes after it.
struct Clocked {
    routes: Routes,
    guard: ClockJumpGuard,
}

impl Inner {
    pub fn new(settings: Settings, parts: Parts, routes: Routes, suspensions: SuspensionFile) -> Self {
        Inner {
            settings,
            parts,
            routes: Mutex::new(Clocked { routes, guard: ClockJumpGuard::new(Timestamp::now()) }),
            wake: Notify::new(),
            looked: Notify::new(),
            suspensions,
            unsaved: AtomicBool::new(false),
            halt: Halt::default(),
            started: Instant::now(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Works on the routes as they are now. `work` gets the time too, and must not come here again.
    pub fn with_routes<T>(&self, work: impl FnOnce(&mut Routes, Timestamp) -> T) -> T {
        let (mut clocked, now, jump) = self.clocked();
        let done = work(&mut clocked.routes, now);
        drop(clocked);
        self.tell_of_jump(jump);
        done
    }

    /// Returns true if mail may be told late or given up for its age. While the clock has just jumped ahead, it may not.
    pub fn trusts_clock(&self) -> bool {
        let (clocked, _, jump) = self.clocked();
        let trusted = clocked.guard.is_trusted();
        drop(clocked);
        self.tell_of_jump(jump);
        trusted
    }

    fn clocked(&self) -> (MutexGuard<'_, Clocked>, Timestamp, Option<Jump>) {
        let mut clocked = self.routes.lock().expect("no panic while the routes are locked");
        let now = Timestamp::now();
        let jump = clocked.guard.look(now, self.started.elapsed());
        if let Some(Jump::Back(by)) = jump {
            clocked.routes.clock_went_back(by, now);
        }
        (clocked, now, jump)
    }

    fn tell_of_jump(&self, jump: Option<Jump>) {
        let Some(Jump::Ahead(by)) = jump else { return };
        let by = Duration::from_secs(by.as_secs());
        let detail =
            format!("the clock jumped ahead by {by:?}: was it set wrong? For an hour no mail is given up for its age");
        self.alert(None, None, Some(Subject::Clock), detail);
    }

    /// Raises an alert about a customer or a route. It has a subject where the trouble lasts; [`watch`](super::watch) finds its end.
    pub fn alert(
        &self,
        customer: Option<&CustomerId>,
        route: Option<&RouteId>,
        subject: Option<Subject>,
        detail: String,
    ) {
        let mut alert = Event { subject, ..Event::alert(detail) };
        if let Some(customer) = customer {
            alert = alert.about_customer(customer);
        }
        if let Some(route) = route {
            alert = alert.about_route(route);
        }
        self.parts.events.emit(alert);
    }

    /// Raises the alert that a route carries no mail.
    pub fn alert_route(&self, route: &RouteId, detail: String) {
        self.alert(None, Some(route), Some(Subject::Route(route.to_string())), detail);
    }

    /// Applies a decision, and stops delivery for a while where its result cannot be recorded.
    pub async fn apply(&self, lease: Lease, mut decision: Decision) {
        // A delay notice that waits behind the trouble it tells of comes too late for anybody, and a million of them would double
        // the queue. There the event has to do.
        if decision.delayed.is_some() && !self.notifications_leave(&lease.record.lane) {
            decision.delayed = None;
        }
        match self.parts.outcomes.apply(lease, decision).await {
            Ok(Settled::Written) => {}
            Ok(Settled::InTrouble(why)) | Err(why) => self.halt(&why),
        }
    }

    /// Returns true if a notification about mail of a lane would leave now.
    fn notifications_leave(&self, lane: &Lane) -> bool {
        let lane = Lane { kind: MailKind::Bounce, ..lane.clone() };
        let route = self.parts.routing.resolve(&lane);
        route.is_ok_and(|route| self.with_routes(|routes, now| routes.trouble(&route.id, now)).is_none())
    }

    /// Stops delivery for a while: results cannot be recorded, or mail cannot be read for want of means.
    pub fn halt(&self, why: &spool::Error) {
        self.parts.outcomes.counters().halts.inc();
        // Every worker comes here at once, and again at the end of every pause while the trouble lasts. One alert tells of it.
        if self.halt.begin() {
            let detail = format!("delivery stops for {:?} at a time: {why}. {}", halt::PAUSE, halt::remedy(why));
            self.alert(None, None, Some(Subject::Delivery), detail);
        }
    }

    /// Writes down which routes are suspended and which customers are paused, if that changed.
    pub async fn save_suspensions(self: &Arc<Self>) -> std::io::Result<()> {
        let inner = Arc::clone(self);
        let save = move || {
            inner.suspensions.save(|| {
                let pauses = inner.parts.routing.pauses();
                (inner.with_routes(|routes, _| routes.suspended()), pauses.as_ref().clone())
            })
        };
        tokio::task::spawn_blocking(save).await.map_err(std::io::Error::other)?
    }
}
