//! Finds mail that is stuck: whose it is, how much, and why. Every interface that reports whether all is well uses this.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::queue::Stats;
use super::{Actor, Error, Service};
use crate::route::RouteStatus;

/// The most lines of stuck mail that are made. Nobody reads more of them, and thousands may be stuck at once.
const LINES: usize = 200;
/// The reason for held mail.
const HELD: &str = "held: `postbud queue list --state held` says why";

/// Messages of one customer that are stuck for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingStill {
    pub customer: String,
    pub why: String,
    pub messages: u64,
    /// The route that they would take, if there is one.
    pub route: Option<String>,
    /// True if they are held one by one.
    pub held: bool,
}

/// The state of the queue and the routes.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The numbers of the queue, with the nodes whose part is missing.
    pub stats: Stats,
    pub routes: Vec<RouteStatus>,
    /// Stuck mail, the largest number first: the first 200 lines.
    pub still: Vec<StandingStill>,
    /// The number of all such lines.
    pub still_count: usize,
}

impl Service {
    /// Returns the state of the queue and the routes now.
    pub async fn standing(&self, actor: &Actor) -> Result<Standing, Error> {
        let (stats, routes) = tokio::join!(self.stats(actor), self.route_statuses(actor));
        let (mut stats, (routes, missing)) = (stats?, routes?);
        stats.missing.extend(missing);
        stats.missing.sort();
        stats.missing.dedup();
        let (still, still_count) = standing_still(&stats, &routes);
        Ok(Standing { stats, routes, still, still_count })
    }
}

/// Why mail is stuck.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Why<'a> {
    Held,
    /// Stopped until a person acts, in these words.
    Stopped(&'a str),
    /// The server of this route completes no transaction.
    Trouble(&'a str),
}

/// Returns stuck messages by customer and reason: held, stopped until a person acts, or on a route in trouble. Returns the largest ones,
/// and the number of all. Words are made for those only.
fn standing_still(stats: &Stats, routes: &[RouteStatus]) -> (Vec<StandingStill>, usize) {
    let in_trouble = routes.iter().filter(|route| route.in_trouble_since.is_some());
    let troubles: HashMap<&str, &RouteStatus> = in_trouble.map(|route| (route.id.as_str(), route)).collect();
    let mut places = HashMap::new();
    let mut found: Vec<(&str, Why<'_>, Option<&str>, u64)> = Vec::new();
    for lane in &stats.lanes {
        let free = lane.messages.saturating_sub(lane.held + lane.delivering);
        let route = lane.route.as_deref();
        let trouble = || route.filter(|route| troubles.contains_key(route)).map(Why::Trouble);
        let why = lane.stopped.as_deref().map(Why::Stopped).or_else(trouble);
        for (why, messages) in [(why, free), (Some(Why::Held), lane.held)] {
            let Some(why) = why.filter(|_| messages > 0) else { continue };
            let customer = lane.customer.as_str();
            let place = *places.entry((customer, why)).or_insert(found.len());
            match found.get_mut(place) {
                Some(known) => known.3 += messages,
                None => found.push((customer, why, route.filter(|_| why != Why::Held), messages)),
            }
        }
    }
    let count = found.len();
    found.sort_by_key(|(customer, _, _, messages)| (Reverse(*messages), *customer));
    let still = found.into_iter().take(LINES).map(|(customer, why, route, messages)| StandingStill {
        customer: customer.to_owned(),
        why: match why {
            Why::Held => HELD.to_owned(),
            Why::Stopped(why) => why.to_owned(),
            Why::Trouble(route) => troubles.get(route).and_then(|route| trouble(route)).unwrap_or_default(),
        },
        messages,
        route: route.map(str::to_owned),
        held: why == Why::Held,
    });
    (still.collect(), count)
}

/// Returns why mail of a route waits, if its server completes no transaction. Mail of a suspended route is reported as stopped.
fn trouble(route: &RouteStatus) -> Option<String> {
    let since = route.in_trouble_since?;
    let reason = route.state.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(format!("route {} has carried no mail since {}{reason}", route.id, since.in_words()))
}

#[cfg(test)]
mod tests {
    use super::super::queue::LaneStats;
    use super::*;
    use crate::route::{RouteId, RouteState};
    use crate::time::Timestamp;

    fn lane(customer: &str, route: Option<&str>, stopped: Option<&str>, messages: u64, held: u64) -> LaneStats {
        LaneStats {
            customer: customer.to_owned(),
            domain: "a.dk".to_owned(),
            urgency: "single".into(),
            kind: "mail".into(),
            route: route.map(str::to_owned),
            stopped: stopped.map(str::to_owned),
            messages,
            held,
            deferred: 0,
            delivering: 1,
            oldest_secs: 7,
        }
    }

    fn route(id: &str, in_trouble_since: Option<Timestamp>) -> RouteStatus {
        RouteStatus {
            id: RouteId::new(id),
            server: "a.dk:25".into(),
            state: RouteState::Throttled { until: Timestamp::now(), reason: "421".into() },
            in_trouble_since,
            in_flight: 0,
            sent_today: 0,
            per_day: None,
            password_hint: None,
        }
    }

    #[test]
    fn stuck_mail_is_added_up_by_customer_and_reason_and_the_largest_comes_first() {
        let lanes = vec![
            lane("a", Some("r.bad"), None, 11, 3),
            lane("b", Some("r.good"), None, 50, 0),
            lane("c", None, Some("suspended: unpaid"), 100, 0),
            lane("a", Some("r.bad"), None, 6, 0),
            lane("c", None, Some("suspended: unpaid"), 2, 1),
            lane("d", None, Some("paused"), 1, 0),
        ];
        let routes = [route("r.bad", Some(Timestamp::from_millis(0))), route("r.good", None)];
        let (still, count) = standing_still(&Stats { lanes, ..Stats::default() }, &routes);
        let found: Vec<_> = still.iter().map(|it| (&*it.customer, it.messages, it.route.as_deref(), it.held)).collect();
        assert_eq!(
            found,
            [("c", 99, None, false), ("a", 12, Some("r.bad"), false), ("a", 3, None, true), ("c", 1, None, true)]
        );
        assert_eq!(count, 4);
        assert_eq!(still[0].why, "suspended: unpaid");
        assert!(still[1].why.starts_with("route r.bad has carried no mail since"), "{}", still[1].why);
        assert!(still[1].why.ends_with(": 421"), "{}", still[1].why);
    }

    #[test]
    fn of_thousands_that_are_stuck_the_largest_are_shown_and_all_counted() {
        let lanes = (0..3000).map(|n| lane(&format!("c{n}"), None, Some("paused"), n + 2, 0)).collect();
        let (still, count) = standing_still(&Stats { lanes, ..Stats::default() }, &[]);
        assert_eq!((still.len(), count), (LINES, 3000));
        assert_eq!((&*still[0].customer, still[0].messages), ("c2999", 3000));
    }
}
