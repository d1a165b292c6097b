//! Watches lasting trouble. Every few seconds it raises alerts about routes that have carried no mail for long, and ends alerts whose
//! trouble is over, whatever ended it: a relayed message, an operator, a reload, or an empty queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::customers::PauseCause;
use crate::events::Subject;
use crate::message::{CustomerId, Lane};
use crate::queue::inner::Inner;
use crate::route::RouteId;
use crate::spool::{self, LaneStats};
use crate::time::Timestamp;

const EVERY: Duration = Duration::from_secs(2);

/// Runs until the queue stops.
pub(super) async fn run(inner: Arc<Inner>) {
    while tokio::time::timeout(EVERY, inner.stop.cancelled()).await.is_err() {
        tell_of_dead_routes(&inner);
        keep_pauses(&inner).await;
        end_alerts(&inner).await;
    }
}

fn tell_of_dead_routes(inner: &Inner) {
    let after = inner.settings.route_alert_after;
    let overdue = inner.with_routes(|routes, now| routes.overdue_troubles(after, now));
    for (route, trouble) in overdue {
        let (since, reason) = (trouble.since.in_words(), trouble.reason);
        inner.alert_route(&route, format!("the route has carried no mail since {since}: {reason}"));
    }
}

/// Ends pauses whose time is over, and saves pauses that the relay itself began.
async fn keep_pauses(inner: &Arc<Inner>) {
    if inner.parts.outcomes.end_pauses() {
        inner.wake.notify_one();
    }
    if let Err(why) = inner.save_suspensions().await {
        tracing::warn!("the customers' pauses cannot be saved, a restart would forget them: {why}");
    }
}

/// Returns true if the reason for an alert about a customer's volume is over.
fn is_calm(inner: &Inner, customer: &str) -> bool {
    let id = CustomerId::new(customer);
    let Some(customer) = inner.parts.routing.customer(&id) else { return true };
    let is_paused = inner.parts.routing.pauses().get(&id).is_some_and(|pause| pause.cause != PauseCause::Cap);
    !is_paused && inner.parts.outcomes.volumes().is_calm(&id, &customer.limits, Timestamp::now())
}

/// The reason why a customer's mail waits.
#[derive(Default)]
struct Waiting {
    /// True if some mail has no route.
    unrouted: bool,
    held: bool,
}

async fn end_alerts(inner: &Inner) {
    let waiting = match spool::all_lanes(&*inner.parts.spool).await {
        Ok(lanes) => by_customer(inner, lanes),
        // Alerts that depend on waiting mail are checked again in the next round.
        Err(why) => return tracing::warn!("alerts that are over are not ended: {why}"),
    };
    let of = |customer: &str, lasts: fn(&Waiting) -> bool| waiting.get(&CustomerId::new(customer)).is_some_and(lasts);
    inner.parts.events.resolve_where(|subject| match subject {
        Subject::Route(id) => inner.with_routes(|routes, now| routes.over(&RouteId::new(id), now)).map(str::to_owned),
        Subject::Unrouted(customer) if !of(customer, |it| it.unrouted) => {
            Some("its mail has a route again, or none waits".to_owned())
        }
        Subject::Held(customer) if !of(customer, |it| it.held) => {
            Some("none of its messages is held any more".to_owned())
        }
        Subject::Volume(customer) if is_calm(inner, customer) => Some("its mail is as usual again".to_owned()),
        Subject::Clock if inner.trusts_clock() => Some("the clock has kept time for an hour".to_owned()),
        Subject::Delivery if inner.halt.is_over() => Some("delivery goes on".to_owned()),
        _ => None,
    });
}

fn by_customer(inner: &Inner, lanes: BTreeMap<Lane, LaneStats>) -> BTreeMap<CustomerId, Waiting> {
    let routing = inner.parts.routing.view();
    let mut waiting: BTreeMap<CustomerId, Waiting> = BTreeMap::new();
    for (lane, stats) in lanes {
        let has_mail = stats.records > stats.held;
        let unrouted = has_mail && routing.resolve(&lane).is_err();
        let of = waiting.entry(lane.customer).or_default();
        of.unrouted |= unrouted;
        of.held |= stats.held > 0;
    }
    waiting
}
