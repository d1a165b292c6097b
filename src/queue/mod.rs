//! The queue: decides what is tried when, over which route, and what becomes of the result.
//!
//! The spool holds records and their due times. The queue looks at it whenever it is woken, puts lanes with due mail in line
//! ([`schedule`]) and starts as many workers as the routes bear. Each [`worker`] takes turns: claim, one attempt, [`decide`],
//! [`apply`]. A wake-up is a hint; the due time on disk is the truth.
//!
//! Mail behind a route in trouble gets no turn. Queue [`ageing`] tells its senders that it is late, and gives it up in time.
//! Operators' decisions are applied in the same place as everybody else's ([`Outcomes`]).
//!
//! If results cannot be recorded, delivery stops and tries again later, because sending on would only make duplicates. It does so
//! too where mail cannot be read for want of open files or memory.

mod ageing;
mod apply;
mod clock;
pub(crate) mod decide;
mod holds;
mod retry;
mod schedule;
mod watch;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::customers::Routing;
use crate::delivery::Delivery;
use crate::events::{Action, Event, Events, Subject};
use crate::message::{CustomerId, Lane, MailKind};
use crate::queue::clock::ClockJumpGuard;
use crate::queue::decide::Decision;
use crate::queue::schedule::routes::Routes;
use crate::queue::schedule::suspensions::Store;
use crate::queue::schedule::throttle_state::ThrottleStateFile;
use crate::route::{Cause, Route, RouteControl, RouteId, RouteState, RouteStatus, Switched};
use crate::spool::{self, Lease, Settled, Spool};
use crate::time::Timestamp;

pub use apply::Outcomes;
pub use decide::Patience;
pub use retry::Schedule;

/// Attempts at once over all routes, where nothing else is configured. An egress address has some 28,000 ports for one
/// server, and Azure gives fewer.
pub const AT_ONCE: u32 = 1000;
/// How long a route may carry no mail before somebody is told, where nothing else is configured.
pub const ROUTE_ALERT_AFTER: Duration = Duration::from_secs(15 * 60);
/// No longer than this between two looks at the spool, even if nothing seems due.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Looks at the spool take a tenth of one core's time at most, once they are long enough to matter.
const WORTH_A_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_millis(500);
/// Results could not be recorded, or mail not be read for want of means: nothing is sent for this long.
const HALT: Duration = Duration::from_secs(30);
/// On a stop, how long recording results may take once no attempt is under way any more.
const LAST_RESULTS: Duration = Duration::from_secs(2);
const FORECAST_EVERY: Duration = Duration::from_secs(5);
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Lanes asked of the spool at once.
const LANES_AT_ONCE: usize = 1000;

/// How the queue behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Retries, maximum age, delay notices.
    pub patience: Patience,
    /// The file with the routes' throttle states: counters and troubles that outlive a restart.
    pub throttle_states: PathBuf,
    /// Where suspended routes are kept.
    pub suspensions: PathBuf,
    /// Attempts at once over all routes: each takes a port of the one egress address, a file and memory.
    pub at_once: u32,
    /// A route whose server has taken part in no transaction for this long raises an alert.
    pub route_alert_after: Duration,
}

/// What the queue works with.
pub struct Parts {
    /// Holds the mail.
    pub spool: Arc<dyn Spool>,
    /// Makes the attempts.
    pub delivery: Arc<Delivery>,
    /// Where mail goes.
    pub routing: Routing,
    /// Hears of everything.
    pub events: Events,
    /// Applies what is decided.
    pub outcomes: Outcomes,
}

/// What the queue counts.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Recipients taken by a smarthost.
    pub delivered: Counter,
    /// Recipients to be tried again.
    pub deferred: Counter,
    /// Recipients refused for good.
    pub bounced: Counter,
    /// Recipients given up for their age.
    pub expired: Counter,
    /// Transactions begun.
    pub attempts: Counter,
    /// Times that delivery stopped because results could not be recorded, or mail could not be read for want of means.
    pub halts: Counter,
}

impl Counters {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("recipients_delivered", "Recipients taken by a smarthost", self.delivered.clone());
        registry.register("recipients_deferred", "Deferrals of a recipient", self.deferred.clone());
        registry.register("recipients_bounced", "Recipients refused for good", self.bounced.clone());
        registry.register("recipients_expired", "Recipients given up for their age", self.expired.clone());
        registry.register("attempts", "Transactions begun", self.attempts.clone());
        let halts = "Stops because results could not be recorded, or mail not be read for want of open files or memory";
        registry.register("delivery_halts", halts, self.halts.clone());
    }
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

/// A queue that can be asked and told everything, and delivers nothing yet.
pub struct Waiting {
    queue: Queue,
    throttle_states: ThrottleStateFile,
}

struct Inner {
    settings: Settings,
    parts: Parts,
    routes: Mutex<Routes>,
    wake: Notify,
    suspensions: Store,
    clock: Mutex<ClockJumpGuard>,
    /// How long nothing is sent, where delivery has stopped.
    halted_until: ArcSwapOption<Instant>,
    started: Instant,
    stop: CancellationToken,
    /// Attempts under way are dropped.
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Waiting {
    /// The queue.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Starts delivering what the spool holds. Call it last: an attempt by a start that fails is a duplicate in the next one.
    pub fn deliver(self) -> Queue {
        let Waiting { queue, throttle_states } = self;
        queue.tell_of_suspensions();
        let inner = &queue.0;
        inner.tasks.spawn(dispatch(Arc::clone(inner)));
        inner.tasks.spawn(keep_throttle_states(Arc::clone(inner), throttle_states));
        inner.tasks.spawn(ageing::run(Arc::clone(inner)));
        inner.tasks.spawn(foresee(Arc::clone(inner)));
        inner.tasks.spawn(watch::run(Arc::clone(inner)));
        queue
    }
}

impl Queue {
    /// Reads what the last process left, and takes the routes there are. Errors where the daily counters or the suspensions
    /// cannot be read.
    pub fn open(settings: Settings, parts: Parts) -> std::io::Result<Waiting> {
        let (file, throttle_states) = ThrottleStateFile::open(settings.throttle_states.clone())?;
        let (suspensions, suspended, fingerprints) = Store::open(settings.suspensions.clone())?;
        let routes = Routes::new(throttle_states, suspended, fingerprints).with_at_most(settings.at_once);
        let queue = Queue(Arc::new(Inner {
            settings,
            parts,
            routes: Mutex::new(routes),
            wake: Notify::new(),
            suspensions,
            clock: Mutex::new(ClockJumpGuard::new(Timestamp::now())),
            halted_until: ArcSwapOption::empty(),
            started: Instant::now(),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        // Before anybody asks: what is told of a route that is not known yet would be refused, or lost.
        queue.reload();
        Ok(Waiting { queue, throttle_states: file })
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        self.0.parts.outcomes.counters()
    }

    /// Says which routes a former process left suspended: the alert of then is not in this process's memory.
    fn tell_of_suspensions(&self) {
        for route in self.list() {
            if let RouteState::Suspended { cause, reason, since } = route.state {
                let detail =
                    format!("route still suspended, since {since}: {reason}. What lifts it: {}", cause.lifted_by());
                self.0.alert_route(&route.id, detail);
            }
        }
    }

    /// A route was switched, where it is known: ready once that is saved.
    fn switched(&self, known: bool) -> Switched {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.save_suspensions().await.map(|()| known) })
    }

    /// The directory was replaced: routes and caps change from the next attempt on; routes suspended for their login that have a
    /// new one go on.
    pub fn reload(&self) {
        let all = self.0.parts.routing.routes();
        self.0.parts.delivery.retain(&all);
        let lifted = self.0.routes().reload(all.into_iter(), Timestamp::now());
        for route in &lifted {
            let detail = "goes on: its login, server or TLS was changed";
            let event = Event::audit("reload", Action::RouteResume, detail);
            self.0.parts.events.emit(Event { route: Some(route.to_string()), ..event });
        }
        if !lifted.is_empty() {
            let inner = Arc::clone(&self.0);
            self.0.tasks.spawn(async move {
                // Left behind, it is lifted again at the next start.
                if let Err(why) = inner.save_suspensions().await {
                    tracing::warn!("a lifted suspension cannot be saved: {why}");
                }
            });
        }
        self.0.wake.notify_one();
    }

    /// Starts no more attempts, and waits up to `grace` for those under way. What is not done by then is dropped as by a crash:
    /// its outcome is unknown, its mail stays queued and is tried again, and a server that took it meanwhile gets it twice.
    pub async fn stop(&self, grace: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(grace, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(
                "attempts were still under way after {grace:?}; they are dropped and their mail stays queued"
            );
            self.0.cut.cancel();
            // What other attempts brought is still being recorded.
            let _ = tokio::time::timeout(LAST_RESULTS, self.0.tasks.wait()).await;
        }
    }
}

impl RouteControl for Queue {
    fn suspend(&self, route: &RouteId, reason: &str) -> Switched {
        let known = self.0.routes().suspend(route, Cause::Operator, reason, Timestamp::now()).is_some();
        self.switched(known)
    }

    fn resume(&self, route: &RouteId) -> Switched {
        let known = self.0.routes().resume(route, Timestamp::now()).is_some();
        self.0.wake.notify_one();
        self.switched(known)
    }

    fn list(&self) -> Vec<RouteStatus> {
        self.0.routes().status(Timestamp::now())
    }
}

impl Inner {
    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().expect("no panic while the routes are locked")
    }

    /// Writes down which routes are suspended, if that changed.
    async fn save_suspensions(self: &Arc<Self>) -> std::io::Result<()> {
        let inner = Arc::clone(self);
        let saved = tokio::task::spawn_blocking(move || inner.suspensions.save(|| inner.routes().suspended()));
        saved.await.map_err(std::io::Error::other)?
    }

    /// An alert about a customer or a route; with a subject where the trouble lasts, whose end [`watch`] finds.
    fn alert(&self, customer: Option<&CustomerId>, route: Option<&RouteId>, subject: Option<Subject>, detail: String) {
        self.parts.events.emit(Event {
            customer: customer.map(ToString::to_string),
            route: route.map(ToString::to_string),
            subject,
            ..Event::alert(detail)
        });
    }

    /// A route carries no mail.
    fn alert_route(&self, route: &RouteId, detail: String) {
        self.alert(None, Some(route), Some(Subject::Route(route.to_string())), detail);
    }

    /// Applies a decision, and stops delivery for a while where its result cannot be recorded.
    async fn apply(&self, lease: Lease, mut decision: Decision) {
        // A delay notice behind the trouble that it tells of comes too late for anybody, and a million of them would double the
        // queue: there the event has to do.
        if decision.delayed.is_some() && !self.bounces_leave(&lease.record.lane) {
            decision.delayed = None;
        }
        match self.parts.outcomes.apply(lease, decision).await {
            Ok(Settled::Written) => {}
            Ok(Settled::InTrouble(why)) | Err(why) => self.halt(&why),
        }
    }

    /// Whether a notification about mail of a lane would leave now.
    fn bounces_leave(&self, lane: &Lane) -> bool {
        let lane = Lane { kind: MailKind::Bounce, ..lane.clone() };
        let route = self.parts.routing.resolve(&lane);
        route.is_ok_and(|route| self.routes().trouble(&route.id, Timestamp::now()).is_none())
    }

    /// Whether mail may be told late or given up for its age: not while the clock has just jumped ahead. Says so when it does.
    fn trusts_clock(&self, now: Timestamp) -> bool {
        let (gained, trusted) = {
            let mut clock = self.clock.lock().expect("no panic while the clock is looked at");
            (clock.look(now, self.started.elapsed()), clock.is_trusted())
        };
        if let Some(gained) = gained {
            let gained = Duration::from_secs(gained.as_secs());
            let detail = format!(
                "the clock jumped ahead by {gained:?}: was it set wrong? For an hour no mail is given up for its age"
            );
            self.alert(None, None, Some(Subject::Clock), detail);
        }
        trusted
    }

    /// Results cannot be recorded, or no mail can be read for want of means: nothing more is sent for a while.
    fn halt(&self, why: &spool::Error) {
        let now = Instant::now();
        let before = self.halted_until.swap(Some(Arc::new(now + HALT)));
        self.parts.outcomes.counters().halts.inc();
        // Every worker comes here at once, and again at every end of the pause while the trouble lasts: one alert.
        if before.is_some_and(|until| *until + HALT > now) {
            return;
        }
        let detail = format!("delivery stops for {HALT:?} at a time: {why}. {}", remedy(why));
        self.alert(None, None, Some(Subject::Delivery), detail);
    }

    /// How long nothing is to be sent, if delivery stopped.
    fn halt_left(&self) -> Option<Duration> {
        let until = self.halted_until.load();
        let until = until.as_deref()?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Puts lanes with due mail in line and starts workers where a route has room. Gives when to look again.
    async fn look(self: &Arc<Self>, now: Timestamp) -> Timestamp {
        if let Some(left) = self.halt_left() {
            return now + left;
        }
        let (due, next_due) = match self.due(now).await {
            Ok(found) => found,
            Err(why) => {
                self.halt(&why);
                return now + HALT;
            }
        };
        let routing = self.parts.routing.view();
        let mut news = Vec::new();
        let mut routes = self.routes();
        for lane in due {
            match routing.resolve(&lane) {
                Ok(route) => routes.offer(lane, &route, now),
                Err(reason) if routes.park(&lane.customer, &reason.to_string()) => news.push((lane.customer, reason)),
                Err(_) => {}
            }
        }
        for route in routes.start(now) {
            self.tasks.spawn(worker::run(worker::Slot::new(self, route)));
        }
        let next_change = routes.next_change(now);
        drop(routes);
        for (customer, reason) in news {
            let subject = Subject::Unrouted(customer.to_string());
            self.alert(Some(&customer), None, Some(subject), format!("its queued mail is kept: {reason}"));
        }
        [next_due, next_change].into_iter().flatten().fold(now + LONGEST_SLEEP, Timestamp::min)
    }

    /// The lanes with mail that can be claimed at `now`, and when the next of the others becomes due.
    async fn due(&self, now: Timestamp) -> Result<(Vec<Lane>, Option<Timestamp>), spool::Error> {
        let (mut lanes, mut after) = (Vec::new(), None);
        loop {
            let page = self.parts.spool.due(now, after, LANES_AT_ONCE).await?;
            after = page.lanes.last().cloned();
            lanes.extend(page.lanes.into_iter().map(|due| due.lane));
            if !page.more {
                return Ok((lanes, page.next_due));
            }
        }
    }
}

/// What an operator does where delivery stops.
fn remedy(why: &spool::Error) -> &'static str {
    match why {
        why if spool::is_short_of_means(why) => {
            "Mail cannot be read: give the process more open files (LimitNOFILE=, ulimit -n) or memory, or allow it fewer \
             [limits] connections and [delivery] connections"
        }
        spool::Error::Stopped(_) => "A restart reads what is on disk",
        _ => "Results cannot be recorded: see to the spool's disk",
    }
}

/// Looks at the spool whenever something may have become due.
async fn dispatch(inner: Arc<Inner>) {
    let changed = inner.parts.spool.changed();
    loop {
        let (now, began) = (Timestamp::now(), Instant::now());
        let pause = inner.look(now).await.since(now);
        // A look costs what lanes are due: with thousands of them, not at every commit.
        let rest = began.elapsed() * 9;
        if rest > WORTH_A_REST {
            tokio::time::sleep(rest.min(LONGEST_REST)).await;
        }
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = changed.notified() => {}
            () = inner.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Saves the throttle states as they change, and once more at the end.
async fn keep_throttle_states(inner: Arc<Inner>, mut file: ThrottleStateFile) {
    loop {
        let stopping = tokio::time::timeout(SAVE_EVERY, inner.stop.cancelled()).await.is_ok();
        let states = inner.routes().throttle_states();
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

/// Says it once when more mail was accepted for a route than its caps let go in time.
async fn foresee(inner: Arc<Inner>) {
    let mut said = BTreeSet::new();
    while tokio::time::timeout(FORECAST_EVERY, inner.stop.cancelled()).await.is_err() {
        let now = Timestamp::now();
        let Ok(lanes) = spool::all_lanes(&*inner.parts.spool).await else { continue };
        let routing = inner.parts.routing.view();
        let mut backlogs: BTreeMap<RouteId, (Arc<Route>, u64)> = BTreeMap::new();
        for (lane, stats) in lanes {
            if let Ok(route) = routing.resolve(&lane) {
                let waiting = stats.records - stats.held;
                backlogs.entry(route.id.clone()).or_insert((route, 0)).1 += waiting;
            }
        }
        let late = inner.routes().late(&backlogs, now);
        said.retain(|id| late.contains_key(id));
        for (id, last) in late {
            if said.insert(id.clone()) {
                let (route, waiting) = &backlogs[&id];
                let caps = describe_caps(route);
                let detail =
                    format!("{waiting} messages wait for a route that carries {caps}: the last leaves about {last}");
                inner.alert(None, Some(&id), Some(Subject::Backlog(id.to_string())), detail);
            }
        }
        inner.parts.events.resolve_where(|subject| match subject {
            Subject::Backlog(id) if !said.contains(&RouteId::new(id)) => Some("what waits leaves in time".into()),
            _ => None,
        });
    }
}

fn describe_caps(route: &Route) -> String {
    let minute = route.caps.per_minute.map(|cap| format!("{cap} messages a minute"));
    let day = route.caps.per_day.map(|cap| format!("{cap} recipients a day"));
    minute.into_iter().chain(day).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_about_a_stop_says_what_to_do() {
        let of = |errno: rustix::io::Errno| remedy(&spool::Error::Io { what: "reading".into(), source: errno.into() });
        assert!(of(rustix::io::Errno::MFILE).contains("LimitNOFILE="));
        assert!(of(rustix::io::Errno::IO).contains("the spool's disk"));
    }
}
