//! The state that all tasks of the queue share.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::events::{Event, Subject};
use crate::machine::threads;
use crate::message::{CustomerId, Lane, MailKind};
use crate::queue::decide::Decision;
use crate::queue::halt::{self, Halt};
use crate::queue::schedule::routes::Routes;
use crate::queue::schedule::suspensions::SuspensionFile;
use crate::queue::{Parts, Settings};
use crate::route::{Route, RouteId};
use crate::spool::{self, Lease, Settled};
use crate::time::{ClockJumpGuard, Jump, Timestamp};

pub(super) struct Inner {
    pub settings: Settings,
    pub parts: Parts,
    routes: Mutex<Clocked>,
    /// The routes that the last reload took.
    pub configured: Mutex<BTreeMap<RouteId, Arc<Route>>>,
    /// Wakes the dispatcher, because mail may be able to leave that could not leave before.
    pub wake: Notify,
    /// Notified after each look of the dispatcher.
    pub looked: Notify,
    pub suspensions: SuspensionFile,
    /// True if another node changed a suspension or a pause that this node's file does not have yet.
    pub unsaved: AtomicBool,
    pub halt: Halt,
    /// Notified when a chunk of a day's allowance is needed that nodes share.
    pub is_low: Notify,
    started: Instant,
    /// Cancelled when no more attempts may start.
    pub stop: CancellationToken,
    /// Cancelled when running attempts are dropped.
    pub cut: CancellationToken,
    pub tasks: TaskTracker,
}

/// The routes and the clock-jump guard share one lock, so that a time that was read before a jump back never reaches the routes after the
/// jump.
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
            configured: Mutex::default(),
            wake: Notify::new(),
            looked: Notify::new(),
            suspensions,
            unsaved: AtomicBool::new(false),
            halt: Halt::default(),
            is_low: Notify::new(),
            started: Instant::now(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Calls `work` with the routes, corrected for clock jumps, and the present time. `work` must not call this function again.
    pub fn with_routes<T>(&self, work: impl FnOnce(&mut Routes, Timestamp) -> T) -> T {
        let (mut clocked, now, jump) = self.clocked();
        let done = work(&mut clocked.routes, now);
        let is_low = clocked.routes.is_low();
        drop(clocked);
        if is_low {
            self.is_low.notify_one();
        }
        self.tell_of_jump(jump);
        done
    }

    /// Returns true if mail may be reported late or given up for its age. Right after the clock jumped ahead it may not.
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

    /// Raises an alert about a customer or a route. If the trouble lasts, the alert has a subject, and [`watch`](super::watch) ends it.
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

    /// Applies a decision. If the result cannot be recorded, pauses delivery.
    pub async fn apply(&self, lease: Lease, mut decision: Decision) {
        // If the notice itself would wait behind the trouble that it reports, it would arrive too late, and a million such notices would
        // double the queue. In that case only the event tells of the delay.
        if decision.delayed.is_some() && !self.notifications_leave(&lease.record.lane) {
            decision.delayed = None;
        }
        match self.parts.outcomes.apply(lease, decision).await {
            Ok(Settled::Written) => {}
            Ok(Settled::InTrouble(why)) | Err(why) => self.halt(&why),
        }
    }

    /// Returns true if a notification about mail of this lane could leave now.
    fn notifications_leave(&self, lane: &Lane) -> bool {
        let lane = Lane { kind: MailKind::Bounce, ..lane.clone() };
        let route = self.parts.routing.resolve(&lane);
        route.is_ok_and(|route| self.with_routes(|routes, now| routes.trouble(&route.id, now)).is_none())
    }

    /// Pauses delivery, because results cannot be recorded, or mail cannot be read for lack of memory or open files.
    pub fn halt(&self, why: &spool::Error) {
        self.parts.outcomes.counters().halts.inc();
        // Attempts that were running when the spool recovered may still fail a moment later.
        let has_recovered = self.parts.spool.health().borrow().may_deliver() && !spool::is_short_of_means(why);
        let pause = if has_recovered { halt::SHORT_PAUSE } else { halt::PAUSE };
        // All workers call this at once, and again after each pause while the trouble lasts. One alert is enough.
        if self.halt.begin(pause) {
            let detail = format!("delivery stops for {pause:?} at a time: {why}. {}", halt::remedy(why));
            self.alert(None, None, Some(Subject::Delivery), detail);
        }
    }

    /// Saves the suspended routes and paused customers, if they have changed.
    pub async fn save_suspensions(self: &Arc<Self>) -> std::io::Result<()> {
        let inner = Arc::clone(self);
        let save = move || {
            inner.suspensions.save(|| {
                let pauses = inner.parts.routing.pauses();
                (inner.with_routes(|routes, _| routes.suspended()), pauses.as_ref().clone())
            })
        };
        threads::blocking(save).await.map_err(std::io::Error::other)?
    }
}
