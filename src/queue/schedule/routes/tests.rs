//! Slots and turns, troubles and suspensions, over reloads and restarts.

use super::*;
use crate::delivery::{Meaning, Outcome, RecipientOutcome, Scope, Trouble, Verdict};
use crate::message::{MailKind, QueueId, Urgency};
use crate::queue::schedule::throttle_state::ThrottleState;
use crate::route::{Caps, Cause, RouteState, TlsMode, TlsPolicy};
use crate::smtp::Domain;
use crate::test_customers;

const ONE: QueueId = QueueId::from_u64(1);
/// One recipient, which counts to no day of these tests.
const TAKEN: Taken = Taken { recipients: 1, day: 0 };

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

/// Takes a configuration with these routes only.
fn reload<const N: usize>(routes: &mut Routes, all: [Arc<Route>; N], now: Timestamp) -> Vec<RouteId> {
    let mut before = routes.routes.iter().map(|(id, entry)| (id.clone(), Arc::clone(&entry.route))).collect();
    routes.reload(&RouteChanges::since(&mut before, all), now)
}

#[test]
fn a_reload_touches_what_has_changed_and_lets_go_what_no_reload_has_taken() {
    let named =
        |name: &str, host: &str| Arc::new(Route { id: RouteId::new(name), ..Route::clone(&route(8, None, host)) });
    let (a, b) = (named("a", "h"), named("b", "h"));
    let (mut routes, mut taken) = (Routes::default(), BTreeMap::new());
    routes.reload(&RouteChanges::since(&mut taken, [Arc::clone(&a), Arc::clone(&b)]), now());
    let again = RouteChanges::since(&mut taken, [Arc::clone(&a), named("b", "h")]);
    assert!(again.current.is_empty() && again.gone.is_empty(), "the same in another allocation");
    let changes = RouteChanges::since(&mut taken, [Arc::clone(&a), named("b", "new.host"), named("c", "h")]);
    assert_eq!(changes.current.iter().map(|route| route.id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    routes.reload(&changes, now());
    let servers = |routes: &mut Routes| -> Vec<String> {
        routes.status(now()).iter().map(|status| format!("{} {}", status.id, status.server)).collect()
    };
    assert_eq!(servers(&mut routes).len(), 3);
    assert!(servers(&mut routes)[1].starts_with("b new.host:"));
    routes.offer(lane("x"), &named("z", "h"), now());
    let changes = RouteChanges::since(&mut taken, [a]);
    assert_eq!(changes.gone, [RouteId::new("b"), RouteId::new("c")]);
    routes.reload(&changes, now());
    assert_eq!(servers(&mut routes).len(), 1, "z was never configured");
}

#[test]
fn trouble_stops_turns_until_the_pause_is_over() {
    let (mut routes, route) = (Routes::default(), route(8, None, "h"));
    routes.offer(lane("a"), &route, now());
    assert!(routes.enter(&route, now()));
    let trouble = Some(Trouble::BackOff { reason: "421".into(), at_least: None, advice: None });
    routes.report(&route, ONE, &Outcome { trouble, ..Outcome::default() }, TAKEN, now(), 0.0);
    assert_eq!(routes.turn(&route.id, false, now()), None);
    let then = routes.next_change(now()).unwrap();
    assert_eq!(then, now() + Duration::from_secs(15));
    assert_eq!(routes.turn(&route.id, false, then).unwrap().most, 1);
}

fn refused(verdict: Verdict, scope: Scope) -> RecipientOutcome {
    Meaning::new(verdict, scope, "550", None).of(0)
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
        reload(&mut routes, [Arc::clone(&route)], now());
        assert!(routes.over(&route.id, now()).is_some());
        routes.report(&route, ONE, &dead, TAKEN, now(), 0.0);
        assert_eq!(routes.over(&route.id, now() + Duration::from_secs(3600)), None, "the pause is over, and no more");
        routes
    };
    let mut routes = in_trouble();
    assert_eq!(routes.status(now())[0].in_trouble_since, Some(now()));
    routes.report(&route, ONE, &refuses, TAKEN, now(), 0.0);
    assert!(routes.over(&route.id, now()).is_some(), "a recipient refused is a server that works");
    let mut routes = in_trouble();
    routes.resume(&route.id, now());
    assert!(routes.over(&route.id, now()).is_some());
    let mut routes = in_trouble();
    reload(&mut routes, [], now());
    assert_eq!(routes.over(&route.id, now()), Some("the route is no longer configured"));
    let mut routes = Routes::default();
    reload(&mut routes, [Arc::clone(&route)], now());
    routes.suspend(&route.id, Cause::Operator, "moving", now());
    assert_eq!(routes.over(&route.id, now()), None, "told at a start, and still so");
    assert!(routes.overdue_troubles(Duration::ZERO, now()).is_empty());
}

#[test]
fn mail_is_next_tried_when_the_route_carries_some_again() {
    let (mut routes, route) = (Routes::default(), route(8, None, "h"));
    assert_eq!(routes.carries_from(&route.id, now()), Some(now()), "not in use yet");
    reload(&mut routes, [Arc::clone(&route)], now());
    let trouble = Some(Trouble::BackOff { reason: "421".into(), at_least: None, advice: None });
    routes.report(&route, ONE, &Outcome { trouble, ..Outcome::default() }, TAKEN, now(), 0.0);
    assert_eq!(routes.carries_from(&route.id, now()), Some(now() + Duration::from_secs(15)));
    routes.suspend(&route.id, Cause::Login, "535", now());
    assert_eq!(routes.carries_from(&route.id, now()), None);
}

#[test]
fn new_credentials_resume_a_suspended_route_and_others_do_not() {
    let (mut routes, old) = (Routes::default(), route(8, None, "h"));
    routes.offer(lane("a"), &old, now());
    routes.suspend(&old.id, Cause::Login, "535", now());
    reload(&mut routes, [route(4, None, "h")], now());
    assert!(matches!(routes.status(now())[0].state, RouteState::Suspended { .. }));
    reload(&mut routes, [route(4, None, "new.host")], now());
    assert_eq!(routes.status(now())[0].state, RouteState::Ready);
    reload(&mut routes, [], now());
    assert!(routes.status(now()).is_empty());
}

#[test]
fn a_route_that_is_gone_leaves_with_its_last_attempt_and_its_day_is_remembered() {
    let (mut routes, route) = (Routes::default(), route(8, Some(100), "h"));
    routes.offer(lane("a"), &route, now());
    assert!(routes.enter(&route, now()) && routes.enter(&route, now()));
    assert_eq!(routes.take(&route.id, 7, now()).recipients, 7);
    reload(&mut routes, [], now());
    routes.leave(&route.id);
    assert_eq!(routes.status(now())[0].in_flight, 1);
    routes.leave(&route.id);
    assert!(routes.status(now()).is_empty());
    reload(&mut routes, [Arc::clone(&route)], now());
    assert_eq!(routes.status(now())[0].sent_today, 7);
}

#[test]
fn tls_where_the_server_wants_it_resumes_a_suspended_route() {
    let (mut routes, old) = (Routes::default(), route(8, None, "h"));
    routes.offer(lane("a"), &old, now());
    routes.suspend(&old.id, Cause::Login, "530 5.7.0 Must issue a STARTTLS command first", now());
    assert!(reload(&mut routes, [Arc::clone(&old)], now()).is_empty());
    let mode = if old.tls.mode == TlsMode::Required { TlsMode::Off } else { TlsMode::Required };
    let mended = Route { tls: TlsPolicy { mode, ..old.tls.clone() }, ..Route::clone(&old) };
    assert_eq!(reload(&mut routes, [Arc::new(mended)], now()), std::slice::from_ref(&old.id));
    assert_eq!(routes.status(now())[0].state, RouteState::Ready);
}

#[test]
fn daily_counts_go_on_after_a_restart_and_unheard_recipients_are_not_counted() {
    let route = route(8, Some(100), "h");
    let today = now().as_millis() / 86_400_000;
    let mut routes = remembering(&route.id, ThrottleState { day: today, recipients: 95, ..ThrottleState::default() });
    routes.offer(lane("a"), &route, now());
    let taken = routes.take(&route.id, 10, now());
    assert_eq!(taken.recipients, 5);
    let heard = Meaning::new(Verdict::Relayed, Scope::Recipient, "250", None).of(0);
    routes.report(&route, ONE, &Outcome { recipients: vec![heard], ..Outcome::default() }, taken, now(), 0.0);
    assert_eq!((routes.throttle_states()[&route.id].day, routes.throttle_states()[&route.id].recipients), (today, 96));
}

#[test]
fn a_route_without_caps_knows_after_a_restart_what_was_sent_today() {
    let (mut routes, route) = (Routes::default(), route(8, None, "h"));
    reload(&mut routes, [Arc::clone(&route)], now());
    assert!(routes.throttle_states().is_empty(), "nothing to remember yet");
    assert_eq!(routes.take(&route.id, 10, now()).recipients, 10);
    let mut routes = after_restart(&routes);
    reload(&mut routes, [Arc::clone(&route)], now());
    assert_eq!(routes.status(now())[0].sent_today, 10);
}

#[test]
fn a_server_that_was_not_reached_uses_up_nothing_of_the_day() {
    let route = route(8, Some(10), "h");
    let mut routes = Routes::default();
    routes.offer(lane("a"), &route, now());
    let taken = routes.take(&route.id, 10, now());
    assert_eq!(taken.recipients, 10);
    assert!(!routes.enter(&route, now()), "the day's cap is used up");
    let recipients =
        (0..10).map(|index| Meaning::new(Verdict::Deferred, Scope::Route, "connection refused", None).of(index));
    let outcome = Outcome { recipients: recipients.collect(), ..Outcome::default() };
    routes.report(&route, ONE, &outcome, taken, now(), 0.0);
    assert_eq!(routes.throttle_states()[&route.id].recipients, 0);
}

#[test]
fn a_route_that_leaves_and_comes_back_goes_on_with_the_days_count() {
    let route = route(8, Some(10), "h");
    let mut routes = Routes::default();
    routes.offer(lane("a"), &route, now());
    assert_eq!(routes.take(&route.id, 7, now()).recipients, 7);
    reload(&mut routes, [], now());
    reload(&mut routes, [Arc::clone(&route)], now());
    assert_eq!(routes.take(&route.id, 10, now()).recipients, 3);
}

/// As after a restart, with what is on disk.
fn after_restart(routes: &Routes) -> Routes {
    Routes::new(routes.throttle_states(), routes.suspended(), routes.fingerprints.clone())
}

#[test]
fn a_refused_login_stays_suspended_over_a_restart_until_it_is_changed() {
    let (mut routes, old) = (Routes::default(), route(8, None, "h"));
    reload(&mut routes, [Arc::clone(&old)], now());
    assert_eq!(routes.suspend(&old.id, Cause::Login, "535", now()), Some(true));
    let later = now() + Duration::from_secs(60);
    let mut routes = after_restart(&routes);
    assert!(reload(&mut routes, [Arc::clone(&old)], later).is_empty());
    routes.offer(lane("a"), &old, later);
    assert!(!routes.enter(&old, later), "nothing is tried");
    let suspended = RouteState::Suspended { cause: Cause::Login, reason: "535".into(), since: now() };
    assert_eq!(routes.status(later)[0].state, suspended);
    // The restart itself may bring the new login.
    let mut routes = after_restart(&routes);
    assert_eq!(reload(&mut routes, [route(8, None, "mended")], later), std::slice::from_ref(&old.id));
    assert_eq!(routes.status(later)[0].state, RouteState::Ready);
    assert!(routes.suspended().is_empty());
}

#[test]
fn an_operators_suspension_outlives_a_restart_a_changed_login_and_a_route_that_was_away() {
    let (mut routes, old) = (Routes::default(), route(8, None, "h"));
    reload(&mut routes, [Arc::clone(&old)], now());
    routes.suspend(&old.id, Cause::Operator, "moving", now());
    let is_suspended = |routes: &mut Routes| matches!(routes.status(now())[0].state, RouteState::Suspended { .. });
    reload(&mut routes, [route(8, None, "new.host")], now());
    assert!(is_suspended(&mut routes), "by a reload");
    let mut routes = after_restart(&routes);
    reload(&mut routes, [route(8, None, "newer.host")], now());
    assert!(is_suspended(&mut routes), "by a restart");
    reload(&mut routes, [], now());
    reload(&mut routes, [route(8, None, "h")], now());
    assert!(is_suspended(&mut routes), "by a while without a configuration");
    assert_eq!(routes.resume(&RouteId::new("h2"), now()), None);
    reload(&mut routes, [], now());
    assert_eq!(routes.resume(&old.id, now()), None, "there is none now");
    reload(&mut routes, [route(8, None, "h")], now());
    assert!(is_suspended(&mut routes), "what was refused changes nothing");
    assert_eq!(routes.resume(&old.id, now()), Some(true));
    assert!(after_restart(&routes).suspended().is_empty());
}

#[test]
fn a_login_refused_after_a_reload_replaced_it_does_not_stop_the_new_one() {
    let (mut routes, old) = (Routes::default(), route(8, None, "h"));
    routes.offer(lane("a"), &old, now());
    reload(&mut routes, [route(8, None, "mended")], now());
    let trouble = Trouble::Suspend { cause: Cause::Login, reason: "535".into(), advice: String::new() };
    let outcome = Outcome { trouble: Some(trouble), ..Outcome::default() };
    assert!(!routes.report(&old, ONE, &outcome, TAKEN, now(), 0.0));
    assert_eq!(routes.status(now())[0].state, RouteState::Ready);
    assert!(routes.report(&route(8, None, "mended"), ONE, &outcome, TAKEN, now(), 0.0));
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
            assert_eq!(routes.turn(&id, false, now()).map(|turn| turn.most), Some(1), "its turn, and no slot besides");
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
