//! Finds mail that is stuck: whose it is, how much, and why. Finds the customers whose mail would be stuck. Every interface that reports
//! whether all is well uses this.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::queue::Stats;
use super::{Actor, Error, Service};
use crate::customers::{Customer, RoutingView};
use crate::message::{CustomerId, Lane, MailKind, Urgency};
use crate::route::{RouteId, RouteState, RouteStatus};

/// The most lines of stuck mail that are made. Nobody reads more of them, and thousands may be stuck at once.
const LINES: usize = 200;
/// The reason for held mail.
const HELD: &str = "held: `postbud queue list --state held` says why";

/// Messages of one customer that are stuck for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckMail {
    pub customer: String,
    pub why: String,
    pub messages: u64,
    /// The route that they would take, if there is one.
    pub route: Option<String>,
    /// True if they are held one by one.
    pub held: bool,
}

/// A customer whose mail, or a part of it, would be stuck now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckCustomer {
    pub customer: String,
    pub why: String,
}

/// The state of the queue and the routes.
#[derive(Clone, Debug)]
pub struct QueueOverview {
    /// The numbers of the queue, with the nodes whose part is missing.
    pub stats: Stats,
    pub routes: Vec<RouteStatus>,
    /// Stuck mail, the largest number first: the first 200 lines.
    pub stuck: Vec<StuckMail>,
    /// The number of all such lines.
    pub stuck_count: usize,
}

impl Service {
    /// Returns the state of the queue and the routes now.
    pub async fn overview(&self, actor: &Actor) -> Result<QueueOverview, Error> {
        let (stats, routes) = tokio::join!(self.stats(actor), self.route_statuses(actor));
        let (mut stats, (routes, missing)) = (stats?, routes?);
        stats.missing.extend(missing);
        stats.missing.sort();
        stats.missing.dedup();
        let (stuck, stuck_count) = stuck_mail(&stats, &routes);
        Ok(QueueOverview { stats, routes, stuck, stuck_count })
    }

    /// Returns the customers whose mail would be stuck now, except those that are suspended, and the nodes whose part is missing.
    pub async fn stuck_customers(&self, actor: &Actor) -> Result<(Vec<StuckCustomer>, Vec<String>), Error> {
        actor.may(Need::Read)?;
        let all: Vec<CustomerId> = self.routing.directory().customers().map(|customer| customer.id.clone()).collect();
        let (stuck, missing) = self.stuck_among(actor, &all).await?;
        let named = all.into_iter().zip(stuck);
        let stuck = named.filter_map(|(id, why)| Some(StuckCustomer { customer: id.to_string(), why: why? }));
        Ok((stuck.collect(), missing))
    }

    /// Returns for each of these customers why its mail would be stuck now, and the nodes whose part is missing. Says nothing to an actor
    /// that may not read the state of routes.
    pub async fn stuck_among(
        &self,
        actor: &Actor,
        customers: &[CustomerId],
    ) -> Result<(Vec<Option<String>>, Vec<String>), Error> {
        if !actor.may_see_everything() {
            return Ok((vec![None; customers.len()], Vec::new()));
        }
        let taken: Vec<CustomerRoutes> = {
            let view = self.routing.view();
            let of = |id| {
                view.directory()
                    .get(id)
                    .map_or_else(CustomerRoutes::default, |customer| CustomerRoutes::of(&view, customer))
            };
            customers.iter().map(of).collect()
        };
        let (statuses, missing) = if self.nodes.name().is_empty() {
            let routes: BTreeSet<&RouteId> = taken.iter().flat_map(|taken| &taken.routes).collect();
            (routes.into_iter().filter_map(|route| self.routes.status(route)).collect(), Vec::new())
        } else {
            self.route_statuses(actor).await?
        };
        let at_rest = at_rest(statuses);
        Ok((taken.into_iter().map(|taken| taken.stuck(&at_rest)).collect(), missing))
    }

    /// Returns why mail of a customer would be stuck now, if it would. Returns `None` to an actor that may not read the state of routes.
    pub async fn stuck(&self, actor: &Actor, customer: &str) -> Result<Option<String>, Error> {
        let (mut stuck, _) = self.stuck_among(actor, &[CustomerId::new(customer)]).await?;
        Ok(stuck.pop().flatten())
    }
}

/// The routes that a customer's mail would take now.
#[derive(Default)]
struct CustomerRoutes {
    routes: BTreeSet<RouteId>,
    /// Why mail of a domain has no route, each reason once.
    none: Vec<String>,
}

impl CustomerRoutes {
    /// A suspended customer has none: it is reported as suspended.
    fn of(view: &RoutingView<'_>, customer: &Customer) -> Self {
        let mut taken = CustomerRoutes::default();
        for domain in customer.domains.keys().filter(|_| customer.suspended.is_none()) {
            // A pause always stops bulk mail.
            let (urgency, kind) = (Urgency::Bulk, MailKind::Mail);
            match view.resolve(&Lane { customer: customer.id.clone(), domain: domain.clone(), urgency, kind }) {
                Ok(route) => drop(taken.routes.insert(route.id.clone())),
                Err(why) => taken.none.push(why.to_string()),
            }
        }
        taken.none.dedup();
        taken
    }

    /// Returns why mail would be stuck on these routes: the first reason, and the number of the others.
    fn stuck(self, at_rest: &HashMap<RouteId, String>) -> Option<String> {
        let routes = self.routes.iter().filter_map(|route| at_rest.get(route).cloned());
        let mut reasons = routes.chain(self.none);
        let first = reasons.next()?;
        Some(match reasons.count() {
            0 => first,
            more => format!("{first}; and {more} more"),
        })
    }
}

/// Returns the routes that carry no mail: they are suspended, or their servers complete no transaction.
fn at_rest(routes: Vec<RouteStatus>) -> HashMap<RouteId, String> {
    let why = |route: &RouteStatus| match &route.state {
        RouteState::Suspended { reason, .. } => Some(format!("route {} is suspended: {reason}", route.id)),
        _ => trouble(route),
    };
    routes.into_iter().filter_map(|route| Some((route.id.clone(), why(&route)?))).collect()
}

/// Why mail is stuck.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Why<'a> {
    Held,
    /// Stopped, for this reason.
    Stopped(&'a str),
    /// The server of this route completes no transaction.
    Trouble(&'a str),
}

/// Returns stuck messages by customer and reason: held, stopped, or on a route in trouble. Returns the largest ones,
/// and the number of all. Words are made for those only.
fn stuck_mail(stats: &Stats, routes: &[RouteStatus]) -> (Vec<StuckMail>, usize) {
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
    let stuck = found.into_iter().take(LINES).map(|(customer, why, route, messages)| StuckMail {
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
    (stuck.collect(), count)
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
    use crate::route::Cause;
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
        let (stuck, count) = stuck_mail(&Stats { lanes, ..Stats::default() }, &routes);
        let found: Vec<_> = stuck.iter().map(|it| (&*it.customer, it.messages, it.route.as_deref(), it.held)).collect();
        assert_eq!(
            found,
            [("c", 99, None, false), ("a", 12, Some("r.bad"), false), ("a", 3, None, true), ("c", 1, None, true)]
        );
        assert_eq!(count, 4);
        assert_eq!(stuck[0].why, "suspended: unpaid");
        assert!(stuck[1].why.starts_with("route r.bad has carried no mail since"), "{}", stuck[1].why);
        assert!(stuck[1].why.ends_with(": 421"), "{}", stuck[1].why);
    }

    #[test]
    fn a_customer_is_stuck_if_a_route_of_its_mail_is_suspended_or_carries_nothing() {
        let suspended =
            RouteState::Suspended { cause: Cause::Operator, reason: "moves".into(), since: Timestamp::now() };
        let routes = vec![
            route("r.bad", Some(Timestamp::from_millis(0))),
            RouteStatus { state: suspended, ..route("r.suspended", None) },
            // It was refused once, and is tried again.
            route("r.throttled", None),
        ];
        let at_rest = at_rest(routes);
        let stuck = |routes: &[&str], none: &[&str]| {
            let routes = routes.iter().map(|route| RouteId::new(route)).collect();
            CustomerRoutes { routes, none: none.iter().map(ToString::to_string).collect() }.stuck(&at_rest)
        };
        assert_eq!(stuck(&["r.throttled", "r.unknown"], &[]), None);
        assert_eq!(stuck(&["r.suspended", "r.throttled"], &[]).unwrap(), "route r.suspended is suspended: moves");
        let trouble = stuck(&["r.bad"], &[]).unwrap();
        assert!(
            trouble.starts_with("route r.bad has carried no mail since") && trouble.ends_with(": 421"),
            "{trouble}"
        );
        assert_eq!(stuck(&["r.bad", "r.suspended"], &["no tier"]).unwrap(), format!("{trouble}; and 2 more"));
        assert_eq!(stuck(&["r.throttled"], &["no tier"]).unwrap(), "no tier");
    }

    #[test]
    fn of_thousands_that_are_stuck_the_largest_are_shown_and_all_counted() {
        let lanes = (0..3000).map(|n| lane(&format!("c{n}"), None, Some("paused"), n + 2, 0)).collect();
        let (stuck, count) = stuck_mail(&Stats { lanes, ..Stats::default() }, &[]);
        assert_eq!((stuck.len(), count), (LINES, 3000));
        assert_eq!((&*stuck[0].customer, stuck[0].messages), ("c2999", 3000));
    }
}
