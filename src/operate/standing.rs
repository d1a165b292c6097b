//! Finds mail that is stuck: whose it is, how much, and why. Every interface that reports whether all is well uses this.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::queue::Stats;
use super::{Actor, Error, Service};
use crate::route::RouteStatus;

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
    /// Stuck mail, the largest number first.
    pub still: Vec<StandingStill>,
}

impl Service {
    /// Returns the state of the queue and the routes now.
    pub async fn standing(&self, actor: &Actor) -> Result<Standing, Error> {
        let (stats, routes) = tokio::join!(self.stats(actor), self.route_statuses(actor));
        let (mut stats, (routes, missing)) = (stats?, routes?);
        stats.missing.extend(missing);
        stats.missing.sort();
        stats.missing.dedup();
        let still = standing_still(&stats, &routes);
        Ok(Standing { stats, routes, still })
    }
}

/// Returns stuck messages by customer and reason: held, stopped until a person acts, or on a route in trouble.
fn standing_still(stats: &Stats, routes: &[RouteStatus]) -> Vec<StandingStill> {
    let troubles: BTreeMap<&str, String> =
        routes.iter().filter_map(|route| Some((route.id.as_str(), trouble(route)?))).collect();
    let mut found: BTreeMap<(&str, String), StandingStill> = BTreeMap::new();
    for lane in &stats.lanes {
        let free = lane.messages.saturating_sub(lane.held + lane.delivering);
        let in_trouble = || lane.route.as_deref().and_then(|route| troubles.get(route)).cloned();
        let why = lane.stopped.clone().or_else(in_trouble);
        for (why, messages, held) in [(why, free, false), (Some(HELD.to_owned()), lane.held, true)] {
            if let Some(why) = why.filter(|_| messages > 0) {
                let still = found.entry((lane.customer.as_str(), why.clone())).or_insert_with(|| StandingStill {
                    customer: lane.customer.clone(),
                    why,
                    messages: 0,
                    route: lane.route.clone().filter(|_| !held),
                    held,
                });
                still.messages += messages;
            }
        }
    }
    let mut found: Vec<StandingStill> = found.into_values().collect();
    found.sort_by_key(|still| Reverse(still.messages));
    found
}

/// Returns why mail of a route waits, if its server completes no transaction. Mail of a suspended route is reported as stopped.
fn trouble(route: &RouteStatus) -> Option<String> {
    let since = route.in_trouble_since?;
    let reason = route.state.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(format!("route {} has carried no mail since {}{reason}", route.id, since.in_words()))
}
