//! All routes that mail waits for: each with its throttle, its lanes in line, and the attempts running now. Pure: time
//! comes in as `now`, tasks are started by the caller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::{Outcome, Scope, Trouble, Verdict};
use crate::message::CustomerId;
use crate::queue::forecast::last_leaves;
use crate::queue::lanes::Lanes;
use crate::queue::throttle::Throttle;
use crate::route::{Route, RouteId, RouteState, RouteStatus};
use crate::spool::Lane;
use crate::time::Timestamp;

/// A record that waits for a suspended route is looked at again after this long.
const SUSPENDED_LOOK: Duration = Duration::from_secs(60);

/// The routes in use, and the customers whose mail has no way out.
#[derive(Debug, Default)]
pub struct Routes {
    routes: BTreeMap<RouteId, Entry>,
    parked: BTreeMap<CustomerId, String>,
    spent: BTreeMap<RouteId, (u64, u32)>,
}

#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    throttle: Throttle,
    lanes: Lanes,
    running: u32,
}

/// One turn: claim up to `most` due records of `lane`.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose turn it is.
    pub lane: Lane,
    /// How many attempts may start now.
    pub most: usize,
    /// More slots are free, and other lanes are in line for them.
    pub more: bool,
}

impl Routes {
    /// Starts with what each route had sent on which UTC day (from the ledger).
    pub fn new(spent: BTreeMap<RouteId, (u64, u32)>) -> Self {
        Routes { spent, ..Routes::default() }
    }

    /// Puts `lane` in line for `route`; a lane whose customer changed routes leaves the old line at its next turn.
    pub fn offer(&mut self, lane: Lane, route: &Arc<Route>, now: Timestamp) {
        self.entry(route, now).lanes.offer(lane);
    }

    /// Notes that a customer's mail has no way out. Gives whether that is news.
    pub fn park(&mut self, customer: &CustomerId, reason: &str) -> bool {
        self.parked.insert(customer.clone(), reason.to_owned()).as_deref() != Some(reason)
    }

    /// The next turn on `route`, for a caller that holds one of its slots. `None` where no lane is in line or the route carries
    /// nothing now.
    pub fn turn(&mut self, id: &RouteId, now: Timestamp) -> Option<Turn> {
        let entry = self.routes.get_mut(id)?;
        let free = (entry.throttle.concurrency(now) + 1).checked_sub(entry.running)?;
        let most = free.min(entry.throttle.allowance(now));
        if most == 0 {
            return None;
        }
        let lane = entry.lanes.take_turn()?;
        // Slots that are free beyond this one are shared by the lanes in line.
        let share = (most as usize).div_ceil(entry.lanes.len()).max(1);
        Some(Turn { lane, most: share, more: (most as usize) > share && entry.lanes.len() > 1 })
    }

    /// Nothing in `lane` is due on `route`.
    pub fn exhausted(&mut self, id: &RouteId, lane: &Lane) {
        if let Some(entry) = self.routes.get_mut(id) {
            entry.lanes.exhausted(lane);
        }
    }

    /// Takes a slot for one attempt at a time; [`leave`](Self::leave) gives it back.
    pub fn enter(&mut self, route: &Arc<Route>, now: Timestamp) -> bool {
        let entry = self.entry(route, now);
        let free = entry.running < entry.throttle.concurrency(now) && entry.throttle.allowance(now) > 0;
        entry.running += u32::from(free);
        free
    }

    /// When a record that found no slot on `route` is worth another look: `later`, but not while the route carries nothing.
    pub fn look_again(&mut self, route: &Arc<Route>, later: Timestamp, now: Timestamp) -> Timestamp {
        let throttle = &mut self.entry(route, now).throttle;
        throttle.next_change(now).unwrap_or(now + SUSPENDED_LOOK).max(later)
    }

    /// Gives a slot back.
    pub fn leave(&mut self, id: &RouteId) {
        if let Some(entry) = self.routes.get_mut(id) {
            entry.running = entry.running.saturating_sub(1);
        }
    }

    /// Takes one transaction with up to `wanted` recipients out of the route's caps; gives how many it may have.
    pub fn take(&mut self, id: &RouteId, wanted: usize, now: Timestamp) -> usize {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        self.routes.get_mut(id).map_or(0, |entry| entry.throttle.take(wanted, now)) as usize
    }

    /// Takes note of what a transaction with `taken` recipients says about its route. Gives whether the trouble is news: the
    /// route carried mail until now.
    pub fn report(&mut self, id: &RouteId, outcome: &Outcome, taken: usize, now: Timestamp, jitter: f64) -> bool {
        let Some(entry) = self.routes.get_mut(id) else { return false };
        // No connection, no login, no greeting: the server has counted nobody.
        let heard = outcome.recipients.iter().filter(|r| r.scope != Scope::Route || r.verdict != Verdict::Deferred);
        let unheard = taken.saturating_sub(heard.count());
        entry.throttle.give_back(u32::try_from(unheard).unwrap_or(u32::MAX));
        match &outcome.trouble {
            Some(Trouble::BackOff { reason, at_least, .. }) => entry.throttle.back_off(reason, *at_least, now, jitter),
            Some(Trouble::Suspend { reason, .. }) => entry.throttle.suspend(reason, now),
            None => {
                if outcome.recipients.iter().any(|r| r.verdict == Verdict::Delivered) {
                    entry.throttle.succeeded();
                }
                false
            }
        }
    }

    /// How long a record that was due at `due` waited for our own caps rather than for the server's trouble.
    pub fn own_waiting(&self, id: &RouteId, due: Timestamp, now: Timestamp) -> Duration {
        self.routes.get(id).map_or(Duration::ZERO, |entry| entry.throttle.own_waiting(due, now))
    }

    /// Routes that have lanes in line and a free slot: a worker should start there.
    pub fn startable(&mut self, now: Timestamp) -> Vec<Arc<Route>> {
        let has_room = |entry: &mut Entry| {
            let waiting = !entry.lanes.is_empty() && entry.throttle.allowance(now) > 0;
            (waiting && entry.running < entry.throttle.concurrency(now)).then(|| Arc::clone(&entry.route))
        };
        self.routes.values_mut().filter_map(has_room).collect()
    }

    /// When a route that lanes wait for may carry mail again by itself.
    pub fn next_change(&mut self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.routes.values_mut().filter(|entry| !entry.lanes.is_empty());
        waiting.filter_map(|entry| entry.throttle.next_change(now)).filter(|at| *at > now).min()
    }

    /// Routes with lanes in line that carry nothing now because of trouble.
    pub fn troubled(&mut self, now: Timestamp) -> Vec<RouteId> {
        let troubled = |(id, entry): (&RouteId, &mut Entry)| {
            let in_trouble = *entry.throttle.state(now) != RouteState::Ready;
            (in_trouble && !entry.lanes.is_empty()).then(|| id.clone())
        };
        self.routes.iter_mut().filter_map(troubled).collect()
    }

    /// Stops a route. `None` if there is no such route, else whether it was running.
    pub fn suspend(&mut self, id: &RouteId, reason: &str, now: Timestamp) -> Option<bool> {
        self.routes.get_mut(id).map(|entry| entry.throttle.suspend(reason, now))
    }

    /// Resumes a route. `None` if there is no such route, else whether it was not running.
    pub fn resume(&mut self, id: &RouteId, now: Timestamp) -> Option<bool> {
        self.routes.get_mut(id).map(|entry| entry.throttle.resume(now))
    }

    /// Takes the routes of a new configuration: caps change at once, a route whose server or login changed is resumed, a route
    /// that is gone leaves once its attempts end. Parked customers are looked at anew.
    pub fn reload(&mut self, current: impl Iterator<Item = Arc<Route>>, now: Timestamp) {
        self.parked.clear();
        // A route that leaves and comes back on the same day goes on with that day's count.
        self.spent = self.spent();
        let current: BTreeMap<RouteId, Arc<Route>> = current.map(|route| (route.id.clone(), route)).collect();
        self.routes.retain(|id, entry| current.contains_key(id) || entry.running > 0);
        for (_, route) in current {
            let entry = self.entry(&route, now);
            let old = std::mem::replace(&mut entry.route, route);
            entry.throttle.set_caps(entry.route.caps);
            let server = |r: &Route| (r.login.clone(), r.host.clone(), r.port, r.tls.clone());
            if server(&old) != server(&entry.route) {
                entry.throttle.resume(now);
            }
        }
    }

    /// Of these backlogs (in messages) those that the caps do not let go in time, with when the last message leaves.
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

    /// What operators see.
    pub fn status(&mut self, now: Timestamp) -> Vec<RouteStatus> {
        let status = |(id, entry): (&RouteId, &mut Entry)| {
            entry.throttle.allowance(now);
            RouteStatus {
                id: id.clone(),
                server: format!("{}:{}", entry.route.host, entry.route.port),
                state: entry.throttle.state(now).clone(),
                in_flight: entry.running,
                sent_today: entry.throttle.sent_today().1,
                per_day: entry.route.caps.per_day,
            }
        };
        self.routes.iter_mut().map(status).collect()
    }

    /// What the ledger keeps: recipients sent by route and UTC day, for routes with a daily cap.
    pub fn spent(&self) -> BTreeMap<RouteId, (u64, u32)> {
        let capped = self.routes.iter().filter(|(_, entry)| entry.route.caps.per_day.is_some());
        let mut spent = self.spent.clone();
        spent.extend(capped.map(|(id, entry)| (id.clone(), entry.throttle.sent_today())));
        spent
    }

    fn entry(&mut self, route: &Arc<Route>, now: Timestamp) -> &mut Entry {
        let spent = &self.spent;
        self.routes.entry(route.id.clone()).or_insert_with(|| {
            let today = now.as_millis() / 86_400_000;
            let sent = spent.get(&route.id).filter(|(day, _)| *day == today).map_or(0, |(_, sent)| *sent);
            let throttle = Throttle::new(route.caps, sent, now);
            Entry { route: Arc::clone(route), throttle, lanes: Lanes::default(), running: 0 }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::RecipientOutcome;
    use crate::message::Urgency;
    use crate::route::{Caps, RouteKind, TlsMode, TlsPolicy, TlsVersion};
    use crate::spool::Kind;

    fn route(concurrency: u32, per_day: Option<u32>, host: &str) -> Arc<Route> {
        Arc::new(Route {
            id: RouteId::new("own-server.a"),
            kind: RouteKind::OwnServer,
            host: host.into(),
            port: 25,
            tls: TlsPolicy {
                mode: TlsMode::Off,
                ca_file: None,
                pinned_sha256: None,
                server_name: None,
                client_certificate: None,
                minimum: TlsVersion::Tls12,
            },
            login: None,
            caps: Caps {
                concurrency,
                per_minute: None,
                per_day,
                recipients_per_transaction: 100,
                messages_per_connection: 100,
                idle: Duration::from_secs(60),
            },
            message_size: 1 << 20,
        })
    }

    fn lane(customer: &str) -> Lane {
        Lane { customer: CustomerId::new(customer), urgency: Urgency::Bulk, kind: Kind::Mail }
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    #[test]
    fn free_slots_are_shared_by_the_lanes_in_line() {
        let (mut routes, route) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &route, now());
        assert!(routes.enter(&route, now()));
        assert_eq!(routes.turn(&route.id, now()), Some(Turn { lane: lane("a"), most: 8, more: false }));
        routes.offer(lane("b"), &route, now());
        let turn = routes.turn(&route.id, now()).unwrap();
        assert_eq!((turn.most, turn.more), (4, true));
        while routes.enter(&route, now()) {}
        let turn = routes.turn(&route.id, now()).unwrap();
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
        routes.report(&route.id, &Outcome { trouble, ..Outcome::default() }, 1, now(), 0.0);
        assert_eq!(routes.turn(&route.id, now()), None);
        let then = routes.next_change(now()).unwrap();
        assert_eq!(then, now() + Duration::from_secs(15));
        assert_eq!(routes.turn(&route.id, then).unwrap().most, 1);
    }

    #[test]
    fn new_credentials_resume_a_suspended_route_and_others_do_not() {
        let (mut routes, old) = (Routes::default(), route(8, None, "h"));
        routes.offer(lane("a"), &old, now());
        routes.suspend(&old.id, "535", now());
        routes.reload([route(4, None, "h")].into_iter(), now());
        assert!(matches!(routes.status(now())[0].state, RouteState::Suspended { .. }));
        routes.reload([route(4, None, "new.host")].into_iter(), now());
        assert_eq!(routes.status(now())[0].state, RouteState::Ready);
        routes.reload(std::iter::empty(), now());
        assert!(routes.status(now()).is_empty());
    }

    #[test]
    fn daily_counts_go_on_after_a_restart_and_unheard_recipients_are_not_counted() {
        let route = route(8, Some(100), "h");
        let today = now().as_millis() / 86_400_000;
        let mut routes = Routes::new(BTreeMap::from([(route.id.clone(), (today, 95))]));
        routes.offer(lane("a"), &route, now());
        assert_eq!(routes.take(&route.id, 10, now()), 5);
        let heard = RecipientOutcome {
            index: 0,
            verdict: Verdict::Delivered,
            scope: Scope::Recipient,
            reply: "250".into(),
            advice: None,
            unknown: false,
        };
        routes.report(&route.id, &Outcome { recipients: vec![heard], ..Outcome::default() }, 5, now(), 0.0);
        assert_eq!(routes.spent()[&route.id], (today, 96));
    }

    #[test]
    fn a_server_that_was_not_reached_uses_up_nothing_of_the_day() {
        let route = route(8, Some(10), "h");
        let mut routes = Routes::default();
        routes.offer(lane("a"), &route, now());
        assert_eq!(routes.take(&route.id, 10, now()), 10);
        assert!(!routes.enter(&route, now()), "the day's cap is used up");
        let recipients = (0..10).map(|index| RecipientOutcome {
            index,
            verdict: Verdict::Deferred,
            scope: Scope::Route,
            reply: "connection refused".into(),
            advice: None,
            unknown: false,
        });
        let outcome = Outcome { recipients: recipients.collect(), ..Outcome::default() };
        routes.report(&route.id, &outcome, 10, now(), 0.0);
        assert_eq!(routes.spent()[&route.id].1, 0);
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

    #[test]
    fn a_record_without_a_slot_comes_back_when_its_route_carries_mail() {
        let (mut routes, route) = (Routes::default(), route(8, Some(10), "h"));
        let later = now() + Duration::from_secs(2);
        assert_eq!(routes.look_again(&route, later, now()), later);
        routes.take(&route.id, 10, now());
        assert!(routes.look_again(&route, later, now()) > now() + Duration::from_secs(60), "tomorrow");
        routes.suspend(&route.id, "535", now());
        assert_eq!(routes.look_again(&route, later, now()), now() + SUSPENDED_LOOK);
    }
}
