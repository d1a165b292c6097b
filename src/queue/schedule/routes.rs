//! All routes that mail waits for, each with its throttle, its lanes in line, and the number of its attempts. Pure: time comes in as
//! `now`, and the caller starts the tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::forecast::last_leaves;
use super::lanes::Lanes;
use super::suspensions::{Fingerprints, Suspended, Suspension};
use super::throttle::{LastingTrouble, Throttle};
use super::throttle_state::ThrottleStates;
use crate::delivery::{Outcome, Scope, Trouble, Verdict};
use crate::message::{CustomerId, Lane, QueueId};
use crate::route::{Cause, Route, RouteId, RouteState, RouteStatus};
use crate::spool::Expedited;
use crate::time::Timestamp;

/// The routes in use, and the customers whose mail has no route.
#[derive(Debug, Default)]
pub struct Routes {
    routes: BTreeMap<RouteId, Entry>,
    /// Customers whose mail has no route, with the reasons that were told since the last reload.
    parked: BTreeSet<(CustomerId, String)>,
    /// The throttle states of routes that are not in `routes` yet, and of those that left.
    throttle_states: ThrottleStates,
    /// All suspensions, also of routes that are not configured now.
    suspended: Suspended,
    fingerprints: Fingerprints,
    /// Attempts at once over all routes; `None` is unlimited.
    most: Option<u32>,
    running: u32,
    /// The route that got a slot last. The next slot goes to another one.
    last_started: Option<RouteId>,
    /// A route that has mail, and room by its own caps, found no slot left.
    crowded: bool,
}

#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    throttle: Throttle,
    lanes: Lanes,
    running: u32,
    /// It is no longer configured, and stays while attempts run.
    gone: bool,
}

/// A lane's turn: its worker claims up to `most` due records of `lane`.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose turn it is.
    pub lane: Lane,
    /// How many attempts may start now.
    pub most: usize,
    /// More slots are free, and other lanes are in line.
    pub more: bool,
}

impl Routes {
    /// Begins with what a former process saved of each route, and with the routes that it had suspended.
    pub fn new(throttle_states: ThrottleStates, suspended: Suspended, fingerprints: Fingerprints) -> Self {
        Routes { throttle_states, suspended, fingerprints, ..Routes::default() }
    }

    /// Bounds the attempts at once over all routes. Each takes a port of the one egress address, a file and memory.
    #[must_use]
    pub fn with_at_most(self, most: u32) -> Self {
        Routes { most: Some(most), ..self }
    }

    /// Puts `lane` in line for `route`. If it is in line for another route, it leaves there at its next turn.
    pub fn offer(&mut self, lane: Lane, route: &Arc<Route>, now: Timestamp) {
        self.entry(route, now).lanes.offer(lane);
    }

    /// Notes that a customer's mail has no route. Returns true if that is news.
    pub fn park(&mut self, customer: &CustomerId, reason: &str) -> bool {
        self.parked.insert((customer.clone(), reason.to_owned()))
    }

    /// The next turn on a route, for a caller that has one of its slots. `None` if no lane is in line or the route carries nothing now.
    /// `None` too if the caller `had_one` and another route waits for a slot: the caller then gives its own back.
    pub fn turn(&mut self, id: &RouteId, had_one: bool, now: Timestamp) -> Option<Turn> {
        if had_one && self.crowded {
            return None;
        }
        // If routes wait for slots, one that came free is the next route's.
        let left = if self.crowded { 0 } else { self.left() };
        let entry = self.routes.get_mut(id)?;
        let free = (entry.throttle.concurrency(now) + 1).checked_sub(entry.running)?.min(left.saturating_add(1));
        let most = free.min(entry.throttle.allowance(now));
        if most == 0 {
            return None;
        }
        let lane = entry.lanes.take_turn()?;
        // The lanes in line share the slots that are free beyond the caller's.
        let share = (most as usize).div_ceil(entry.lanes.len()).max(1);
        Some(Turn { lane, most: share, more: (most as usize) > share && entry.lanes.len() > 1 })
    }

    /// Takes `lane` out of line on a route: nothing in it is due.
    pub fn exhausted(&mut self, id: &RouteId, lane: &Lane) {
        if let Some(entry) = self.routes.get_mut(id) {
            entry.lanes.exhausted(lane);
        }
    }

    /// Takes a slot, for one attempt at a time, and returns true if there was one. [`leave`](Self::leave) gives it back.
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
                self.throttle_states = self.throttle_states();
                self.routes.remove(id);
            }
        }
    }

    /// Takes one transaction with up to `wanted` recipients out of a route's caps. Returns how many recipients it may have.
    pub fn take(&mut self, id: &RouteId, wanted: usize, now: Timestamp) -> usize {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        self.routes.get_mut(id).map_or(0, |entry| entry.throttle.take(wanted, now)) as usize
    }

    /// Notes what a transaction says about its route. `route` is the route as it was configured then, and `taken` the number of
    /// recipients that were taken out of its caps. Returns true if there is trouble and that is news: the route carried mail until now.
    pub fn report(
        &mut self,
        route: &Route,
        message: QueueId,
        outcome: &Outcome,
        taken: usize,
        now: Timestamp,
        jitter: f64,
    ) -> bool {
        let Some(entry) = self.routes.get_mut(&route.id) else { return false };
        // Without a connection, a greeting or a login the server has counted nobody.
        let heard =
            outcome.recipients.iter().filter(|r| r.class.scope != Scope::Route || r.class.verdict != Verdict::Deferred);
        let unheard = taken.saturating_sub(heard.count());
        entry.throttle.give_back(u32::try_from(unheard).unwrap_or(u32::MAX));
        // The list of routes shows what a person can do beside what was heard.
        let told = outcome.trouble.as_ref().map(Trouble::in_words).unwrap_or_default();
        match &outcome.trouble {
            Some(Trouble::BackOff { at_least, .. }) => entry.throttle.back_off(&told, *at_least, now, jitter),
            Some(Trouble::Doubt { at_least, .. }) => entry.throttle.doubt(message, &told, *at_least, now, jitter),
            // If a reload replaced the login while it was tried, its refusal says nothing about the new one.
            Some(Trouble::Suspend { .. }) if self.fingerprints.of(route) != self.fingerprints.of(&entry.route) => false,
            Some(Trouble::Suspend { cause, .. }) => self.suspend(&route.id, *cause, &told, now).unwrap_or_default(),
            None => {
                if outcome.recipients.iter().any(|r| r.class.verdict == Verdict::Delivered) {
                    entry.throttle.succeeded();
                } else if unheard < taken {
                    entry.throttle.reached();
                }
                false
            }
        }
    }

    /// How long a record that was due at `due` waited for our own caps, not for the server's trouble. For an expedited record this is the
    /// time that it was kept back.
    pub fn own_waiting(&self, id: &RouteId, due: Timestamp, expedited: Option<Expedited>, now: Timestamp) -> Duration {
        let by_throttle = || self.routes.get(id).map_or(Duration::ZERO, |entry| entry.throttle.own_waiting(due, now));
        expedited.map_or_else(by_throttle, Expedited::kept_back)
    }

    /// Takes a slot on every route that has lanes in line and room, and returns these routes: a worker must start on each. If there are
    /// fewer slots than routes that want one, they alternate.
    pub fn start(&mut self, now: Timestamp) -> Vec<Arc<Route>> {
        let mut waiting = self.startable(now);
        if let Some(last) = &self.last_started {
            let next = waiting.partition_point(|route| route.id <= *last);
            waiting.rotate_left(next);
        }
        let all = waiting.len();
        waiting.retain(|route| self.enter(route, now));
        self.crowded = waiting.len() < all;
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

    /// The earliest time at which a route with lanes in line may carry mail again by itself.
    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.routes.values_mut().filter(|entry| !entry.lanes.is_empty());
        waiting.filter_map(|entry| entry.throttle.next_change(now)).filter(|at| *at > now).min()
    }

    /// Why a route carries nothing now, if that is its server's trouble or a suspension.
    pub fn trouble(&mut self, id: &RouteId, now: Timestamp) -> Option<String> {
        let state = self.routes.get_mut(id)?.throttle.state(now);
        state.reason().map(|reason| format!("route {id} is {}: {reason}", state.as_str()))
    }

    /// When a route next carries mail, as far as its caps and its server's trouble tell. `None` if only a person can help.
    pub fn carries_from(&mut self, id: &RouteId, now: Timestamp) -> Option<Timestamp> {
        self.routes.get_mut(id).map_or(Some(now), |entry| entry.throttle.next_change(now))
    }

    /// Routes that have carried no mail for `after` since their trouble began. Each is given once.
    pub fn overdue_troubles(&mut self, after: Duration, now: Timestamp) -> Vec<(RouteId, LastingTrouble)> {
        let overdue = |(id, entry): (&RouteId, &mut Entry)| {
            let trouble = entry.throttle.overdue_trouble(after, now)?;
            (!entry.gone).then(|| (id.clone(), trouble))
        };
        self.routes.iter_mut().filter_map(overdue).collect()
    }

    /// Why an alert about a route may end. `None` while its trouble or its suspension lasts.
    pub fn over(&mut self, id: &RouteId, now: Timestamp) -> Option<&'static str> {
        let Some(entry) = self.routes.get_mut(id).filter(|entry| !entry.gone) else {
            return Some("the route is no longer configured");
        };
        let lasts = entry.throttle.lasting_trouble().is_some()
            || matches!(entry.throttle.state(now), RouteState::Suspended { .. });
        (!lasts).then_some("the route goes on")
    }

    /// Stops a route. Returns `None` if there is no such route, else true if it was not suspended before.
    pub fn suspend(&mut self, id: &RouteId, cause: Cause, reason: &str, now: Timestamp) -> Option<bool> {
        let entry = self.routes.get_mut(id)?;
        let news = entry.throttle.suspend(cause, reason, now, now);
        if let RouteState::Suspended { cause, reason, since } = entry.throttle.state(now).clone() {
            let fingerprint = self.fingerprints.of(&entry.route);
            self.suspended.insert(id.clone(), Suspension { cause, reason, since, fingerprint });
        }
        Some(news)
    }

    /// Resumes a route. Returns `None` if there is no such route, else true if it was not ready before.
    pub fn resume(&mut self, id: &RouteId, now: Timestamp) -> Option<bool> {
        let news = self.routes.get_mut(id)?.throttle.resume(now);
        self.suspended.remove(id);
        Some(news)
    }

    /// The suspensions that outlive the process.
    pub fn suspended(&self) -> Suspended {
        let kept = self.suspended.iter().filter(|(_, suspension)| suspension.cause.is_kept());
        kept.map(|(id, suspension)| (id.clone(), suspension.clone())).collect()
    }

    /// The clock went back by `by`, and says `now`.
    pub fn clock_went_back(&mut self, by: Duration, now: Timestamp) {
        self.routes.values_mut().for_each(|entry| entry.throttle.clock_went_back(by, now));
    }

    /// Takes the routes of a new configuration. Caps change at once. A suspended route whose server or login changed goes on, unless an
    /// operator stopped it. A route that is gone leaves once its attempts have ended. Returns the routes whose suspension was lifted.
    pub fn reload(&mut self, current: impl Iterator<Item = Arc<Route>>, now: Timestamp) -> Vec<RouteId> {
        self.parked.clear();
        // If a route comes back on the same day, it goes on with that day's count.
        self.throttle_states = self.throttle_states();
        let current: BTreeMap<RouteId, Arc<Route>> = current.map(|route| (route.id.clone(), route)).collect();
        let stands = |id: &RouteId, suspension: &mut Suspension| {
            current.get(id).is_none_or(|route| suspension.stands(route, &self.fingerprints))
        };
        let lifted =
            self.suspended.extract_if(.., |id, suspension| !stands(id, suspension)).map(|(id, _)| id).collect();
        self.routes.retain(|id, entry| {
            entry.gone = !current.contains_key(id);
            !entry.gone || entry.running > 0
        });
        let fingerprints = self.fingerprints.clone();
        for (id, route) in current {
            let entry = self.entry(&route, now);
            let old = std::mem::replace(&mut entry.route, route);
            entry.throttle.set_caps(entry.route.caps);
            let changed = fingerprints.of(&old) != fingerprints.of(&entry.route);
            if changed && !self.suspended.contains_key(&id) {
                self.resume(&id, now);
            }
        }
        lifted
    }

    /// Which of these backlogs, in messages, the caps do not let go in time, and when the last message of each leaves.
    pub fn late(
        &mut self,
        backlogs: &BTreeMap<RouteId, (Arc<Route>, u64)>,
        now: Timestamp,
    ) -> BTreeMap<RouteId, Timestamp> {
        let late = |(id, (route, waiting)): (&RouteId, &(Arc<Route>, u64))| {
            let throttle = &mut self.entry(route, now).throttle;
            throttle.allowance(now);
            Some((id.clone(), last_leaves(*waiting, &route.caps, throttle.sent_today().1, now)?))
        };
        backlogs.iter().filter_map(late).collect()
    }

    /// The state of every route, for operators.
    pub fn status(&mut self, now: Timestamp) -> Vec<RouteStatus> {
        let status = |(id, entry): (&RouteId, &mut Entry)| {
            entry.throttle.allowance(now);
            RouteStatus {
                id: id.clone(),
                server: format!("{}:{}", entry.route.host, entry.route.port),
                state: entry.throttle.state(now).clone(),
                in_trouble_since: entry.throttle.lasting_trouble().map(|trouble| trouble.since),
                in_flight: entry.running,
                sent_today: entry.throttle.sent_today().1,
                per_day: entry.route.caps.per_day,
            }
        };
        self.routes.iter_mut().map(status).collect()
    }

    /// The throttle states that are kept on disk: those of routes that have caps over time, were used today, or had trouble.
    pub fn throttle_states(&self) -> ThrottleStates {
        let mut states = self.throttle_states.clone();
        let now = self.routes.iter().map(|(id, entry)| (id, entry.route.caps, entry.throttle.persisted()));
        let worth = now.filter(|(_, caps, state)| {
            let has_caps = caps.per_day.is_some() || caps.per_minute.is_some();
            has_caps || state.recipients > 0 || !state.troubles.is_empty()
        });
        states.extend(worth.map(|(id, _, state)| (id.clone(), state)));
        states
    }

    fn entry(&mut self, route: &Arc<Route>, now: Timestamp) -> &mut Entry {
        let Routes { throttle_states, suspended, fingerprints, .. } = self;
        self.routes.entry(route.id.clone()).or_insert_with(|| {
            let state = throttle_states.get(&route.id).cloned().unwrap_or_default();
            let mut throttle = Throttle::new(route.caps, &state, now);
            if let Some(one) = suspended.get(&route.id).filter(|one| one.stands(route, fingerprints)) {
                throttle.suspend(one.cause, &one.reason, one.since, now);
            }
            Entry { route: Arc::clone(route), throttle, lanes: Lanes::default(), running: 0, gone: false }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::throttle_state::ThrottleState;
    use super::*;
    use crate::delivery::{Class, RecipientOutcome};
    use crate::message::{MailKind, Urgency};
    use crate::route::{Caps, TlsMode, TlsPolicy};
    use crate::smtp::Domain;
    use crate::test_customers;

    const ONE: QueueId = QueueId::from_u64(1);

    fn route(concurrency: u32, per_day: Option<u32>, host: &str) -> Arc<Route> {
        Arc::new(Route {
            caps: Caps { concurrency, per_day, ..Caps::default() },
            ..test_customers::route("own-server.a", host)
        })
    }

    fn lane(customer: &str) -> Lane {
        let domain = Domain::parse("test.dk").unwrap();
        Lane { customer: CustomerId::new(customer), domain, urgency: Urgency::Bulk, kind: MailKind::Mail }
    }

    fn remembering(id: &RouteId, state: ThrottleState) -> Routes {
        Routes::new(BTreeMap::from([(id.clone(), state)]), Suspended::new(), Fingerprints::default())
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    #[test]
    fn a_record_that_was_expedited_waited_for_us_only_as_long_as_it_was_kept_back() {
        let (mut routes, route) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &route, now());
        let (due, day) = (now() - Duration::from_secs(5), Duration::from_secs(86_400));
        let waited = |expedited| routes.own_waiting(&route.id, due, expedited, now());
        assert_eq!(waited(None), Duration::from_secs(5));
        assert_eq!(waited(Some(Expedited::Requested)), Duration::ZERO);
        assert_eq!(waited(Some(Expedited::Released { kept_back: 9 * day })), 9 * day);
    }

    #[test]
    fn free_slots_are_shared_by_the_lanes_in_line() {
        let (mut routes, route) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &route, now());
        assert!(routes.enter(&route, now()));
        assert_eq!(routes.turn(&route.id, false, now()), Some(Turn { lane: lane("a"), most: 8, more: false }));
        routes.offer(lane("b"), &route, now());
        let turn = routes.turn(&route.id, false, now()).unwrap();
        assert_eq!((turn.most, turn.more), (4, true));
        while routes.enter(&route, now()) {}
        let turn = routes.turn(&route.id, false, now()).unwrap();
        assert_eq!((turn.most, turn.more), (1, false), "the caller's own slot");
        assert!(routes.startable(now()).is_empty());
        routes.leave(&route.id);
        assert_eq!(routes.startable(now()).len(), 1);
    }

    #[test]
    fn trouble_stops_turns_until_the_pause_is_over() {
        let (mut routes, route) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &route, now());
        assert!(routes.enter(&route, now()));
        let trouble = Some(Trouble::BackOff { reason: "421".into(), at_least: None, advice: None });
        routes.report(&route, ONE, &Outcome { trouble, ..Outcome::default() }, 1, now(), 0.0);
        assert_eq!(routes.turn(&route.id, false, now()), None);
        let then = routes.next_change(now()).unwrap();
        assert_eq!(then, now() + Duration::from_secs(15));
        assert_eq!(routes.turn(&route.id, false, then).unwrap().most, 1);
    }

    fn refused(verdict: Verdict, scope: Scope) -> RecipientOutcome {
        Class::new(verdict, scope, "550").of(0)
    }

    #[test]
    fn a_route_is_in_trouble_until_its_server_answers_a_transaction_is_resumed_or_is_gone() {
        let route = route(8, None, "h");
        let dead = Outcome {
            recipients: vec![refused(Verdict::Deferred, Scope::Route)],
            trouble: Some(Trouble::BackOff { reason: "connection refused".into(), at_least: None, advice: None }),
            ..Outcome::default()
        };
        let refuses = Outcome { recipients: vec![refused(Verdict::Failed, Scope::Recipient)], ..Outcome::default() };
        let in_trouble = || {
            let mut routes = Routes::default();
            routes.reload([Arc::clone(&route)].into_iter(), now());
            assert!(routes.over(&route.id, now()).is_some());
            routes.report(&route, ONE, &dead, 1, now(), 0.0);
            assert_eq!(
                routes.over(&route.id, now() + Duration::from_secs(3600)),
                None,
                "the pause is over, and no more"
            );
            routes
        };
        let mut routes = in_trouble();
        assert_eq!(routes.status(now())[0].in_trouble_since, Some(now()));
        routes.report(&route, ONE, &refuses, 1, now(), 0.0);
        assert!(routes.over(&route.id, now()).is_some(), "a recipient refused is a server that works");
        let mut routes = in_trouble();
        routes.resume(&route.id, now());
        assert!(routes.over(&route.id, now()).is_some());
        let mut routes = in_trouble();
        routes.reload(std::iter::empty(), now());
        assert_eq!(routes.over(&route.id, now()), Some("the route is no longer configured"));
        let mut routes = Routes::default();
        routes.reload([Arc::clone(&route)].into_iter(), now());
        routes.suspend(&route.id, Cause::Operator, "moving", now());
        assert_eq!(routes.over(&route.id, now()), None, "told at a start, and still so");
        assert!(routes.overdue_troubles(Duration::ZERO, now()).is_empty());
    }

    #[test]
    fn mail_is_next_tried_when_the_route_carries_some_again() {
        let (mut routes, route) = (Routes::default(), route(8, None, "h"));
        assert_eq!(routes.carries_from(&route.id, now()), Some(now()), "not in use yet");
        routes.reload([Arc::clone(&route)].into_iter(), now());
        let trouble = Some(Trouble::BackOff { reason: "421".into(), at_least: None, advice: None });
        routes.report(&route, ONE, &Outcome { trouble, ..Outcome::default() }, 1, now(), 0.0);
        assert_eq!(routes.carries_from(&route.id, now()), Some(now() + Duration::from_secs(15)));
        routes.suspend(&route.id, Cause::Login, "535", now());
        assert_eq!(routes.carries_from(&route.id, now()), None);
    }

    #[test]
    fn new_credentials_resume_a_suspended_route_and_others_do_not() {
        let (mut routes, old) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &old, now());
        routes.suspend(&old.id, Cause::Login, "535", now());
        routes.reload([route(4, None, "h")].into_iter(), now());
        assert!(matches!(routes.status(now())[0].state, RouteState::Suspended { .. }));
        routes.reload([route(4, None, "new.host")].into_iter(), now());
        assert_eq!(routes.status(now())[0].state, RouteState::Ready);
        routes.reload(std::iter::empty(), now());
        assert!(routes.status(now()).is_empty());
    }

    #[test]
    fn a_route_that_is_gone_leaves_with_its_last_attempt_and_its_day_is_remembered() {
        let (mut routes, route) = (Routes::default(), route(8, Some(100), "h"));
        routes.offer(lane("a"), &route, now());
        assert!(routes.enter(&route, now()) && routes.enter(&route, now()));
        assert_eq!(routes.take(&route.id, 7, now()), 7);
        routes.reload(std::iter::empty(), now());
        routes.leave(&route.id);
        assert_eq!(routes.status(now())[0].in_flight, 1);
        routes.leave(&route.id);
        assert!(routes.status(now()).is_empty());
        routes.reload([Arc::clone(&route)].into_iter(), now());
        assert_eq!(routes.status(now())[0].sent_today, 7);
    }

    #[test]
    fn tls_where_the_server_wants_it_resumes_a_suspended_route() {
        let (mut routes, old) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &old, now());
        routes.suspend(&old.id, Cause::Login, "530 5.7.0 Must issue a STARTTLS command first", now());
        assert!(routes.reload([Arc::clone(&old)].into_iter(), now()).is_empty());
        let mode = if old.tls.mode == TlsMode::Required { TlsMode::Off } else { TlsMode::Required };
        let mended = Route { tls: TlsPolicy { mode, ..old.tls.clone() }, ..Route::clone(&old) };
        assert_eq!(routes.reload([Arc::new(mended)].into_iter(), now()), std::slice::from_ref(&old.id));
        assert_eq!(routes.status(now())[0].state, RouteState::Ready);
    }

    #[test]
    fn daily_counts_go_on_after_a_restart_and_unheard_recipients_are_not_counted() {
        let route = route(8, Some(100), "h");
        let today = now().as_millis() / 86_400_000;
        let mut routes =
            remembering(&route.id, ThrottleState { day: today, recipients: 95, ..ThrottleState::default() });
        routes.offer(lane("a"), &route, now());
        assert_eq!(routes.take(&route.id, 10, now()), 5);
        let heard = Class::new(Verdict::Delivered, Scope::Recipient, "250").of(0);
        routes.report(&route, ONE, &Outcome { recipients: vec![heard], ..Outcome::default() }, 5, now(), 0.0);
        assert_eq!(
            (routes.throttle_states()[&route.id].day, routes.throttle_states()[&route.id].recipients),
            (today, 96)
        );
    }

    #[test]
    fn a_route_without_caps_knows_after_a_restart_what_was_sent_today() {
        let (mut routes, route) = (Routes::default(), route(8, None, "h"));
        routes.reload([Arc::clone(&route)].into_iter(), now());
        assert!(routes.throttle_states().is_empty(), "nothing to remember yet");
        assert_eq!(routes.take(&route.id, 10, now()), 10);
        let mut routes = after_restart(&routes);
        routes.reload([Arc::clone(&route)].into_iter(), now());
        assert_eq!(routes.status(now())[0].sent_today, 10);
    }

    #[test]
    fn a_server_that_was_not_reached_uses_up_nothing_of_the_day() {
        let route = route(8, Some(10), "h");
        let mut routes = Routes::default();
        routes.offer(lane("a"), &route, now());
        assert_eq!(routes.take(&route.id, 10, now()), 10);
        assert!(!routes.enter(&route, now()), "the day's cap is used up");
        let recipients =
            (0..10).map(|index| Class::new(Verdict::Deferred, Scope::Route, "connection refused").of(index));
        let outcome = Outcome { recipients: recipients.collect(), ..Outcome::default() };
        routes.report(&route, ONE, &outcome, 10, now(), 0.0);
        assert_eq!(routes.throttle_states()[&route.id].recipients, 0);
    }

    #[test]
    fn a_route_that_leaves_and_comes_back_goes_on_with_the_days_count() {
        let route = route(8, Some(10), "h");
        let mut routes = Routes::default();
        routes.offer(lane("a"), &route, now());
        assert_eq!(routes.take(&route.id, 7, now()), 7);
        routes.reload(std::iter::empty(), now());
        routes.reload([Arc::clone(&route)].into_iter(), now());
        assert_eq!(routes.take(&route.id, 10, now()), 3);
    }

    /// As after a restart, with what is on disk.
    fn after_restart(routes: &Routes) -> Routes {
        Routes::new(routes.throttle_states(), routes.suspended(), routes.fingerprints.clone())
    }

    #[test]
    fn a_refused_login_stays_suspended_over_a_restart_until_it_is_changed() {
        let (mut routes, old) = (Routes::default(), route(8, None, "h"));
        routes.reload([Arc::clone(&old)].into_iter(), now());
        assert_eq!(routes.suspend(&old.id, Cause::Login, "535", now()), Some(true));
        let later = now() + Duration::from_secs(60);
        let mut routes = after_restart(&routes);
        assert!(routes.reload([Arc::clone(&old)].into_iter(), later).is_empty());
        routes.offer(lane("a"), &old, later);
        assert!(!routes.enter(&old, later), "nothing is tried");
        let suspended = RouteState::Suspended { cause: Cause::Login, reason: "535".into(), since: now() };
        assert_eq!(routes.status(later)[0].state, suspended);
        // The restart itself may bring the new login.
        let mut routes = after_restart(&routes);
        assert_eq!(routes.reload([route(8, None, "mended")].into_iter(), later), std::slice::from_ref(&old.id));
        assert_eq!(routes.status(later)[0].state, RouteState::Ready);
        assert!(routes.suspended().is_empty());
    }

    #[test]
    fn an_operators_suspension_outlives_a_restart_a_changed_login_and_a_route_that_was_away() {
        let (mut routes, old) = (Routes::default(), route(8, None, "h"));
        routes.reload([Arc::clone(&old)].into_iter(), now());
        routes.suspend(&old.id, Cause::Operator, "moving", now());
        let is_suspended = |routes: &mut Routes| matches!(routes.status(now())[0].state, RouteState::Suspended { .. });
        routes.reload([route(8, None, "new.host")].into_iter(), now());
        assert!(is_suspended(&mut routes), "by a reload");
        let mut routes = after_restart(&routes);
        routes.reload([route(8, None, "newer.host")].into_iter(), now());
        assert!(is_suspended(&mut routes), "by a restart");
        routes.reload(std::iter::empty(), now());
        routes.reload([route(8, None, "h")].into_iter(), now());
        assert!(is_suspended(&mut routes), "by a while without a configuration");
        assert_eq!(routes.resume(&RouteId::new("h2"), now()), None);
        routes.reload(std::iter::empty(), now());
        assert_eq!(routes.resume(&old.id, now()), None, "there is none now");
        routes.reload([route(8, None, "h")].into_iter(), now());
        assert!(is_suspended(&mut routes), "what was refused changes nothing");
        assert_eq!(routes.resume(&old.id, now()), Some(true));
        assert!(after_restart(&routes).suspended().is_empty());
    }

    #[test]
    fn a_login_refused_after_a_reload_replaced_it_does_not_stop_the_new_one() {
        let (mut routes, old) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &old, now());
        routes.reload([route(8, None, "mended")].into_iter(), now());
        let trouble = Trouble::Suspend { cause: Cause::Login, reason: "535".into(), advice: String::new() };
        let outcome = Outcome { trouble: Some(trouble), ..Outcome::default() };
        assert!(!routes.report(&old, ONE, &outcome, 1, now(), 0.0));
        assert_eq!(routes.status(now())[0].state, RouteState::Ready);
        assert!(routes.report(&route(8, None, "mended"), ONE, &outcome, 1, now(), 0.0));
        assert_eq!(routes.suspended().len(), 1);
    }

    #[test]
    fn a_wrong_address_is_tried_again_by_a_restart() {
        let (mut routes, route) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &route, now());
        routes.suspend(&route.id, Cause::Address, "seen as 192.0.2.1", now());
        assert!(routes.suspended().is_empty());
    }

    #[test]
    fn routes_share_the_slots_of_the_whole_relay_by_turns() {
        let mut routes = Routes::default().with_at_most(2);
        let named = |name: &str| Arc::new(Route { id: RouteId::new(name), ..Route::clone(&route(8, None, "h")) });
        let all: Vec<Arc<Route>> = ["a", "b", "c", "d", "e"].map(named).into();
        for route in &all {
            routes.offer(lane("x"), route, now());
        }
        let ids = |started: Vec<Arc<Route>>| started.iter().map(|route| route.id.to_string()).collect::<String>();
        let mut order = String::new();
        let mut running: Vec<RouteId> = Vec::new();
        for _ in 0..5 {
            for id in running.drain(..) {
                assert_eq!(
                    routes.turn(&id, false, now()).map(|turn| turn.most),
                    Some(1),
                    "its turn, and no slot besides"
                );
                assert_eq!(routes.turn(&id, true, now()), None, "others wait");
                routes.leave(&id);
            }
            let started = routes.start(now());
            running.extend(started.iter().map(|route| route.id.clone()));
            order += &ids(started);
        }
        assert_eq!(order, "abcdeabcde");
        assert!(!routes.enter(&all[0], now()));
        for id in running {
            routes.leave(&id);
        }
        for route in &all[1..] {
            routes.exhausted(&route.id, &lane("x"));
        }
        assert_eq!(ids(routes.start(now())), "a");
        assert_eq!(routes.turn(&all[0].id, true, now()).map(|turn| turn.most), Some(2), "nobody else waits");
    }
}
