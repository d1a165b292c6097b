//! All routes, each with its throttle, its lanes in line, and its running attempts. Has no side effects: the time comes
//! in as `now`, and the caller starts the tasks.
//!
//! This file has the slots, the turns and the reload. `trouble` has suspensions and what attempts report about their routes.

mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::forecast::last_leaves;
use super::lanes::Lanes;
use super::suspensions::{Fingerprints, Suspended};
use super::throttle::{ChunkRequest, Taken, Throttle};
use super::throttle_state::{ThrottleState, ThrottleStates};
use crate::message::{CustomerId, Lane};
use crate::route::{Caps, Route, RouteId, RouteState, RouteStatus};
use crate::spool::Expedited;
use crate::time::Timestamp;

/// The routes in use, and the customers whose mail has no route.
#[derive(Debug, Default)]
pub struct Routes {
    routes: BTreeMap<RouteId, Entry>,
    /// Customers whose mail has no route, each with the reasons reported since the last reload.
    parked: BTreeSet<(CustomerId, String)>,
    /// The throttle states of routes that are not in `routes` yet, or no longer.
    throttle_states: ThrottleStates,
    /// All suspensions, including those of routes that are not configured now.
    suspended: Suspended,
    fingerprints: Fingerprints,
    /// The limit of attempts at once over all routes; `None` means no limit.
    most: Option<u32>,
    running: u32,
    /// The route that got a slot last. The next slot goes to another route.
    last_started: Option<RouteId>,
    /// True if a route has mail and room under its own caps, but no slot was free.
    crowded: bool,
    /// True if a route has little left of the chunk of the day's allowance that this node took.
    is_low: bool,
}

#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    /// Its host and port, as operators see them.
    server: Arc<str>,
    throttle: Throttle,
    lanes: Lanes,
    running: u32,
    /// The route is no longer configured, and stays only while attempts run.
    gone: bool,
    /// The last refusal, if it says that the server accepts no passwords.
    password_hint: Option<String>,
}

/// The changes of a new configuration, found before the routes are locked: of ten thousand routes, a change of one customer changes one.
#[derive(Debug)]
pub struct RouteChanges<'a> {
    /// The routes that are new or have changed.
    current: Vec<Arc<Route>>,
    /// The routes that are no longer configured.
    gone: Vec<RouteId>,
    /// All routes of the new configuration.
    all: &'a BTreeMap<RouteId, Arc<Route>>,
}

impl<'a> RouteChanges<'a> {
    /// Returns the changes from the routes that were taken before to these, and keeps these.
    pub fn since(before: &'a mut BTreeMap<RouteId, Arc<Route>>, all: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let now: BTreeMap<RouteId, Arc<Route>> = all.into_iter().map(|route| (route.id.clone(), route)).collect();
        let is_same =
            |route: &Arc<Route>| before.get(&route.id).is_some_and(|old| Arc::ptr_eq(old, route) || old == route);
        let current = now.values().filter(|route| !is_same(route)).cloned().collect();
        let gone = before.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        *before = now;
        RouteChanges { current, gone, all: before }
    }
}

/// A lane's turn: its worker claims up to `most` due records of `lane`.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// The lane that has its turn.
    pub lane: Lane,
    /// The number of attempts that may start now.
    pub most: usize,
    /// True if more slots are free and other lanes are in line.
    pub more: bool,
}

impl Routes {
    /// Starts with the throttle states and suspensions that a former process saved.
    pub fn new(throttle_states: ThrottleStates, suspended: Suspended, fingerprints: Fingerprints) -> Self {
        Routes { throttle_states, suspended, fingerprints, ..Routes::default() }
    }

    /// Limits the attempts at once over all routes. Each attempt takes a port of the one egress address, a file and memory.
    #[must_use]
    pub fn with_at_most(self, most: u32) -> Self {
        Routes { most: Some(most), ..self }
    }

    /// Puts `lane` in line for `route`. If the lane is in line for another route, it leaves that line at its next turn there.
    pub fn offer(&mut self, lane: Lane, route: &Arc<Route>, now: Timestamp) {
        self.entry(route, now).lanes.offer(lane);
    }

    /// Records that a customer's mail has no route. Returns true if this reason was not reported before.
    pub fn park(&mut self, customer: &CustomerId, reason: &str) -> bool {
        self.parked.insert((customer.clone(), reason.to_owned()))
    }

    /// Returns the next turn on a route, for a caller that holds one of its slots. Returns `None` if no lane is in line or the route
    /// carries nothing now, and also if the caller `had_one` turn already and another route waits for a slot. The caller then gives its
    /// slot back.
    pub fn turn(&mut self, id: &RouteId, had_one: bool, now: Timestamp) -> Option<Turn> {
        if had_one && self.crowded {
            return None;
        }
        // If other routes wait for a slot, free slots go to them.
        let left = if self.crowded { 0 } else { self.left() };
        let entry = self.routes.get_mut(id)?;
        let free = (entry.throttle.concurrency(now) + 1).checked_sub(entry.running)?.min(left.saturating_add(1));
        let most = free.min(entry.throttle.allowance(now));
        if most == 0 {
            return None;
        }
        let lane = entry.lanes.take_turn()?;
        // The lanes in line share the free slots and the caller's own.
        let share = (most as usize).div_ceil(entry.lanes.len()).max(1);
        Some(Turn { lane, most: share, more: (most as usize) > share && entry.lanes.len() > 1 })
    }

    /// Takes `lane` out of line on a route, because none of its mail is due.
    pub fn exhausted(&mut self, id: &RouteId, lane: &Lane) {
        if let Some(entry) = self.routes.get_mut(id) {
            entry.lanes.exhausted(lane);
        }
    }

    /// Takes a slot, which allows one attempt at a time. Returns false if none is free. [`leave`](Self::leave) gives the slot back.
    pub fn enter(&mut self, route: &Arc<Route>, now: Timestamp) -> bool {
        let any_left = self.left() > 0;
        let entry = self.entry(route, now);
        let free = any_left && entry.running < entry.throttle.concurrency(now) && entry.throttle.allowance(now) > 0;
        entry.running += u32::from(free);
        self.running += u32::from(free);
        free
    }

    /// The number of slots that all routes together have left.
    fn left(&self) -> u32 {
        self.most.map_or(u32::MAX, |most| most.saturating_sub(self.running))
    }

    /// Gives a slot back.
    pub fn leave(&mut self, id: &RouteId) {
        if let Some(entry) = self.routes.get_mut(id).filter(|entry| entry.running > 0) {
            entry.running -= 1;
            self.running -= 1;
            if entry.gone && entry.running == 0 {
                self.forget(id);
            }
        }
    }

    /// Takes one transaction with up to `wanted` recipients from a route's caps.
    pub fn take(&mut self, id: &RouteId, wanted: usize, now: Timestamp) -> Taken {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let Some(entry) = self.routes.get_mut(id) else { return Taken { recipients: 0, day: 0 } };
        let taken = entry.throttle.take(wanted, now);
        self.is_low |= entry.throttle.wanted(now).is_some();
        taken
    }

    /// Returns true if a route that nodes share needs a chunk of the day's allowance.
    pub fn is_low(&self) -> bool {
        self.is_low
    }

    /// Returns the chunks of the day's allowance that this node needs for mail in line, by route.
    pub fn wanted(&mut self, now: Timestamp) -> Vec<(RouteId, ChunkRequest)> {
        self.is_low = false;
        let waiting = self.routes.iter_mut().filter(|(_, entry)| !entry.lanes.is_empty() || entry.running > 0);
        waiting.filter_map(|(id, entry)| Some((id.clone(), entry.throttle.wanted(now)?))).collect()
    }

    /// Adds what this node has taken of a route's allowance for a day.
    pub fn reserve(&mut self, id: &RouteId, day: u64, recipients: u32, now: Timestamp) {
        if let Some(entry) = self.routes.get_mut(id) {
            entry.throttle.reserve(day, recipients, now);
        }
    }

    /// Returns the routes that have no mail in line and no attempt under way.
    pub fn idle(&self) -> Vec<RouteId> {
        let idle = self.routes.iter().filter(|(_, entry)| entry.lanes.is_empty() && entry.running == 0);
        idle.map(|(id, _)| id.clone()).collect()
    }

    /// Gives up what these routes have taken of a day's allowance and not spent. Returns the route, the day and the recipients of each.
    pub fn give_up_reserved(&mut self, ids: &[RouteId]) -> Vec<(RouteId, u64, u32)> {
        let given = ids.iter().filter_map(|id| {
            let (day, recipients) = self.routes.get_mut(id)?.throttle.give_up_reserved();
            (recipients > 0).then(|| (id.clone(), day, recipients))
        });
        given.collect()
    }

    /// Returns how long a record that was due at `due` waited for our own caps, and not for a server in trouble. For an expedited record
    /// this also includes the time that it was kept back.
    pub fn own_waiting(&self, id: &RouteId, due: Timestamp, expedited: Option<Expedited>, now: Timestamp) -> Duration {
        let by_throttle = || self.routes.get(id).map_or(Duration::ZERO, |entry| entry.throttle.own_waiting(due, now));
        expedited.map_or_else(by_throttle, Expedited::kept_back)
    }

    /// Takes a slot on every route that has lanes in line and room, and returns these routes. The caller starts a worker on each. If there
    /// are fewer slots than routes, the routes alternate.
    pub fn start(&mut self, now: Timestamp) -> Vec<Arc<Route>> {
        let mut waiting = self.startable(now);
        if let Some(last) = &self.last_started {
            let next = waiting.partition_point(|route| route.id <= *last);
            waiting.rotate_left(next);
        }
        let all = waiting.len();
        waiting.retain(|route| self.enter(route, now));
        self.crowded = waiting.len() < all;
        let lacks = |entry: &mut Entry| !entry.lanes.is_empty() && entry.throttle.wanted(now).is_some();
        self.is_low |= self.routes.values_mut().any(lacks);
        self.last_started = waiting.last().map(|route| route.id.clone()).or(self.last_started.take());
        waiting
    }

    fn startable(&mut self, now: Timestamp) -> Vec<Arc<Route>> {
        let has_room = |entry: &mut Entry| {
            let waiting = !entry.lanes.is_empty() && entry.throttle.allowance(now) > 0;
            (waiting && entry.running < entry.throttle.concurrency(now)).then(|| Arc::clone(&entry.route))
        };
        self.routes.values_mut().filter_map(has_room).collect()
    }

    /// Returns the earliest time at which a route with lanes in line may carry mail again without a person's help.
    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.routes.values_mut().filter(|entry| !entry.lanes.is_empty());
        waiting.filter_map(|entry| entry.throttle.next_change(now)).filter(|at| *at > now).min()
    }

    /// Shifts all stored times, because the clock went back by `by` to `now`.
    pub fn clock_went_back(&mut self, by: Duration, now: Timestamp) {
        self.routes.values_mut().for_each(|entry| entry.throttle.clock_went_back(by, now));
    }

    /// Takes the changes of a new configuration. Caps change at once. A suspended route whose server or login changed resumes, unless an
    /// operator suspended it. A removed route stays until its attempts have ended. Returns the routes whose suspension was lifted.
    pub fn reload(&mut self, changes: &RouteChanges<'_>, now: Timestamp) -> Vec<RouteId> {
        self.parked.clear();
        let mut lifted = Vec::new();
        for route in &changes.current {
            let suspension = self.suspended.get(&route.id);
            if suspension.is_some_and(|suspension| !suspension.stands(route, &self.fingerprints)) {
                self.suspended.remove(&route.id);
                lifted.push(route.id.clone());
            }
        }
        changes.gone.iter().for_each(|id| self.let_go(id));
        let fingerprints = self.fingerprints.clone();
        for route in &changes.current {
            let entry = self.entry(route, now);
            entry.gone = false;
            entry.server = server_of(route);
            let old = std::mem::replace(&mut entry.route, Arc::clone(route));
            entry.throttle.set_caps(route.caps);
            let changed = fingerprints.of(&old) != fingerprints.of(route);
            if changed && !self.suspended.contains_key(&route.id) {
                self.resume(&route.id, now);
            }
        }
        // Mail may have been offered for a route that no reload has taken.
        if self.routes.values().filter(|entry| !entry.gone).count() > changes.all.len() {
            let gone = self.routes.keys().filter(|id| !changes.all.contains_key(*id));
            let gone: Vec<RouteId> = gone.cloned().collect();
            gone.iter().for_each(|id| self.let_go(id));
        }
        lifted
    }

    /// Removes a route that is no longer configured, at once or after its last attempt.
    fn let_go(&mut self, id: &RouteId) {
        let Some(entry) = self.routes.get_mut(id) else { return };
        entry.gone = true;
        if entry.running == 0 {
            self.forget(id);
        }
    }

    /// Removes a route. If it comes back on the same day, it continues with that day's count.
    fn forget(&mut self, id: &RouteId) {
        let Some(entry) = self.routes.remove(id) else { return };
        if let Some(state) = entry.worth_saving() {
            self.throttle_states.insert(id.clone(), state);
        }
    }

    /// Returns the routes whose backlog (in messages) the caps do not let through in time, each with the time at which its last message
    /// leaves.
    pub fn late(
        &mut self,
        backlogs: &BTreeMap<RouteId, (Arc<Route>, u64)>,
        now: Timestamp,
    ) -> BTreeMap<RouteId, Timestamp> {
        let late = |(id, (route, waiting)): (&RouteId, &(Arc<Route>, u64))| {
            let throttle = &mut self.entry(route, now).throttle;
            throttle.allowance(now);
            // Of a day that nodes share, each counts on its part.
            let per_day = route.caps.per_day.map(|cap| (cap / route.caps.day_shared_by.max(1)).max(1));
            let caps = Caps { per_day, ..route.caps };
            Some((id.clone(), last_leaves(*waiting, &caps, throttle.sent_today().1, now)?))
        };
        backlogs.iter().filter_map(late).collect()
    }

    /// The state of every route, for operators.
    pub fn status(&mut self, now: Timestamp) -> Vec<RouteStatus> {
        self.routes.iter_mut().map(|(id, entry)| entry.status(id, now)).collect()
    }

    /// Shows `see` every route: its state, and since when its server has taken part in no transaction.
    pub fn visit(&mut self, now: Timestamp, see: &mut dyn FnMut(&RouteId, &RouteState, Option<Timestamp>)) {
        for (id, entry) in &mut self.routes {
            let state = entry.throttle.state(now).clone();
            see(id, &state, entry.throttle.lasting_trouble().map(|trouble| trouble.since));
        }
    }

    /// The state of one route, for operators.
    pub fn status_of(&mut self, id: &RouteId, now: Timestamp) -> Option<RouteStatus> {
        self.routes.get_mut(id).map(|entry| entry.status(id, now))
    }

    /// Returns the routes that are suspended, and the reason of each.
    pub fn suspensions(&mut self, now: Timestamp) -> Vec<(RouteId, Arc<str>)> {
        let reason = |(id, entry): (&RouteId, &mut Entry)| Some((id.clone(), entry.suspension(now)?));
        self.routes.iter_mut().filter_map(reason).collect()
    }

    /// Returns the reason for which a route is suspended, if it is.
    pub fn suspension(&mut self, id: &RouteId, now: Timestamp) -> Option<Arc<str>> {
        self.routes.get_mut(id)?.suspension(now)
    }

    /// Returns the throttle states to save: those of routes that have caps over time, were used today, or had trouble.
    pub fn throttle_states(&self) -> ThrottleStates {
        let mut states = self.throttle_states.clone();
        let worth = self.routes.iter().filter_map(|(id, entry)| Some((id.clone(), entry.worth_saving()?)));
        states.extend(worth);
        states
    }

    /// Takes over a route with the state in which another node left it.
    pub fn take_over(&mut self, id: &RouteId, state: ThrottleState, now: Timestamp) {
        if let Some(entry) = self.routes.get_mut(id) {
            let suspended = self.suspended.get(id).filter(|one| one.stands(&entry.route, &self.fingerprints));
            entry.throttle = Throttle::new(entry.route.caps, &state, now);
            if let Some(one) = suspended {
                entry.throttle.suspend(one.cause, &one.reason, one.since, now);
            }
        }
        self.throttle_states.insert(id.clone(), state);
    }

    fn entry(&mut self, route: &Arc<Route>, now: Timestamp) -> &mut Entry {
        let Routes { throttle_states, suspended, fingerprints, .. } = self;
        self.routes.entry(route.id.clone()).or_insert_with(|| {
            let state = throttle_states.get(&route.id).cloned().unwrap_or_default();
            let mut throttle = Throttle::new(route.caps, &state, now);
            if let Some(one) = suspended.get(&route.id).filter(|one| one.stands(route, fingerprints)) {
                throttle.suspend(one.cause, &one.reason, one.since, now);
            }
            Entry {
                route: Arc::clone(route),
                server: server_of(route),
                throttle,
                lanes: Lanes::default(),
                running: 0,
                gone: false,
                password_hint: None,
            }
        })
    }
}

impl Entry {
    /// Returns the throttle state, if it differs from that of a new route.
    fn worth_saving(&self) -> Option<ThrottleState> {
        let Caps { per_day, per_minute, .. } = self.route.caps;
        let state = self.throttle.persisted();
        let is_worth = per_day.is_some() || per_minute.is_some() || state.recipients > 0 || !state.troubles.is_empty();
        is_worth.then_some(state)
    }

    fn status(&mut self, id: &RouteId, now: Timestamp) -> RouteStatus {
        self.throttle.allowance(now);
        RouteStatus {
            id: id.clone(),
            server: Arc::clone(&self.server),
            state: self.throttle.state(now).clone(),
            in_trouble_since: self.throttle.lasting_trouble().map(|trouble| trouble.since),
            in_flight: self.running,
            sent_today: self.throttle.sent_today().1,
            per_day: self.route.caps.per_day,
            password_hint: self.password_hint.clone(),
        }
    }

    fn suspension(&mut self, now: Timestamp) -> Option<Arc<str>> {
        match self.throttle.state(now) {
            RouteState::Suspended { reason, .. } => Some(Arc::clone(reason)),
            _ => None,
        }
    }
}

fn server_of(route: &Route) -> Arc<str> {
    format!("{}:{}", route.host, route.port).into()
}

#[cfg(test)]
mod tests;
