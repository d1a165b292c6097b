//! Queue ageing: mail behind a route in trouble gets no attempt, but still grows old. This task regularly looks for such mail. It tells
//! each sender once that the mail is late. When a message reaches its maximum age, the task gives it up and the sender gets a bounce.
//!
//! The task also corrects due times that were set while the clock was ahead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::message::{Lane, QueueId};
use crate::queue::decide::{self, Moment};
use crate::queue::inner::Inner;
use crate::route::Route;
use crate::spool::{self, Filter, LaneStats};
use crate::time::Timestamp;

/// How often the task looks. It looks more often if the configured delay notice or maximum age is short.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(200);
/// The number of records that are leased at once.
const AT_ONCE: usize = 100;
/// After this many pages without a decision, the task stops, and the next round continues there. Mail that waits for our own caps is not
/// late, so there may be any number of pages to skip.
const PAGES_WITHOUT_DECISION: u32 = 20;

/// The lanes behind routes in trouble.
type Troubled = BTreeMap<Lane, Arc<Route>>;

/// Runs until the queue stops.
pub(super) async fn run(inner: Arc<Inner>) {
    let patience = &inner.settings.patience;
    let shortest = patience.delay_notice.min(patience.retry.give_up);
    let every = (shortest / 4).clamp(LOOK_AT_MOST_EVERY, LOOK_EVERY);
    let (mut given_up_to, mut told_to) = (None, None);
    while tokio::time::timeout(every, inner.stop.cancelled()).await.is_err() {
        inner.parts.outcomes.alert_of_further_holds();
        let clock_trusted = inner.trusts_clock();
        let now = Timestamp::now();
        let lanes = match spool::all_lanes(&*inner.parts.spool).await {
            Ok(lanes) => lanes,
            Err(why) => {
                tracing::error!("old mail cannot be looked for: {why}");
                continue;
            }
        };
        correct_due_times(&inner, &lanes, now).await;
        let troubled = behind_trouble(&inner, lanes);
        if troubled.is_empty() || !clock_trusted {
            continue;
        }
        let names = Arc::new(troubled.keys().cloned().collect());
        let older_than = |age: Duration| Filter {
            lanes: Some(Arc::clone(&names)),
            arrived_before: Some(now - age),
            held: Some(false),
            ..Filter::default()
        };
        look_through(&inner, &troubled, older_than(patience.retry.give_up), &mut given_up_to).await;
        let not_told = Filter { delay_notified: Some(false), ..older_than(patience.delay_notice) };
        look_through(&inner, &troubled, not_told, &mut told_to).await;
        // A route may have recovered while mail of its lanes was leased here and could not be claimed.
        inner.wake.notify_one();
    }
}

/// Returns the lanes whose route carries nothing now. A lane without a route (its customer is gone or suspended) is left out: its mail is
/// kept, however old it is.
fn behind_trouble(inner: &Inner, lanes: BTreeMap<Lane, LaneStats>) -> Troubled {
    let mut troubled = Troubled::new();
    for (lane, _) in lanes.into_iter().filter(|(_, stats)| stats.records > stats.held) {
        if let Ok(route) = inner.parts.routing.resolve(&lane)
            && inner.with_routes(|routes, now| routes.trouble(&route.id, now)).is_some()
        {
            troubled.insert(lane, route);
        }
    }
    troubled
}

/// Decides on the records that match `which`, oldest first, starting after `seen_to`. Stores in `seen_to` where it stopped.
async fn look_through(inner: &Inner, troubled: &Troubled, which: Filter, seen_to: &mut Option<QueueId>) {
    let patience = &inner.settings.patience;
    let mut without_decision = 0;
    while without_decision < PAGES_WITHOUT_DECISION && !inner.stop.is_cancelled() {
        let leases = match inner.parts.spool.seize(Filter { after: *seen_to, ..which.clone() }, AT_ONCE).await {
            Ok(leases) => leases,
            Err(why) => return tracing::error!("old mail cannot be looked through: {why}"),
        };
        *seen_to = leases.last().map(|lease| lease.record.id);
        if leases.is_empty() {
            return;
        }
        without_decision += 1;
        for lease in leases {
            let record = &lease.record;
            let Some(route) = troubled.get(&record.lane) else { continue };
            // Looking through much old mail takes a while, so the trouble may be over by now.
            let (trouble, own_waiting, now) = inner.with_routes(|routes, now| {
                let own_waiting = routes.own_waiting(&route.id, record.due, record.expedited, now);
                (routes.trouble(&route.id, now), own_waiting, now)
            });
            let Some(why) = trouble else { continue };
            let moment = Moment { now, own_waiting, clock_trusted: inner.trusts_clock() };
            if let Some(decision) = decide::while_waiting(record, route, &why, patience, moment) {
                inner.apply(lease, decision).await;
                without_decision = 0;
            }
        }
    }
}

/// Makes records due at once if they are due later than the retry schedule allows. Their due time was set while the clock was ahead.
async fn correct_due_times(inner: &Inner, lanes: &BTreeMap<Lane, LaneStats>, now: Timestamp) {
    let latest = inner.settings.patience.retry.latest(now);
    let beyond = |stats: &LaneStats| stats.last_due.is_some_and(|due| due.believed(latest, now) != due);
    let ahead: BTreeSet<Lane> = lanes.iter().filter(|(_, stats)| beyond(stats)).map(|(lane, _)| lane.clone()).collect();
    if ahead.is_empty() {
        return;
    }
    let filter = Filter { lanes: Some(Arc::new(ahead)), due_after: Some(latest), ..Filter::default() };
    match inner.parts.spool.expedite(filter).await {
        Ok(count) => inner.alert(
            None,
            None,
            None,
            format!("{count} messages were due later than the schedule sets them and are due at once: was the clock set back?"),
        ),
        Err(why) => tracing::error!("due times cannot be mended: {why}"),
    }
}
