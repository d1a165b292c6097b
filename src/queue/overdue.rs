//! Mail that waits behind a route in trouble grows old without an attempt of its own. This task looks through it now and then:
//! its sender hears once that it is late, and at its maximum age it is given up, with its bounce. It also mends the due times
//! that a clock left which ran ahead and was set back; and while a clock has just leapt ahead, it gives nothing up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::queue::leap::Leap;
use crate::queue::{Inner, verdict, worker};
use crate::route::Route;
use crate::spool::{Filter, Lane, LaneStats};
use crate::time::Timestamp;

/// How often, where the patience configured is not shorter than usual.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_AT_MOST_EVERY: Duration = Duration::from_millis(200);
/// Records in hand at once.
const AT_ONCE: usize = 100;
/// Pages looked through in vain before the rest is left to the next sweep: what our own caps hold is not late.
const IN_VAIN: u32 = 20;

/// The lanes behind routes in trouble: which, and why.
type Troubled = BTreeMap<Lane, (Arc<Route>, String)>;

/// Runs until the queue stops.
pub(super) async fn sweep(inner: Arc<Inner>) {
    let patience = &inner.settings.patience;
    let shortest = patience.delay_notice.min(patience.retry.give_up);
    let every = (shortest / 4).clamp(SWEEP_AT_MOST_EVERY, SWEEP_EVERY);
    let mut leap = Leap::new(Timestamp::now());
    let started = Instant::now();
    while tokio::time::timeout(every, inner.stop.cancelled()).await.is_err() {
        let now = Timestamp::now();
        if let Some(gained) = leap.look(now, started.elapsed()) {
            let gained = Duration::from_secs(gained.as_secs());
            let detail = format!(
                "the clock leapt ahead by {gained:?}: was it set wrong? For an hour no mail behind a route in trouble is given up"
            );
            inner.alert(None, None, detail);
        }
        let lanes = inner.parts.spool.stats().lanes;
        mend_due_times(&inner, &lanes, now).await;
        let troubled = behind_trouble(&inner, lanes, now);
        if troubled.is_empty() || !leap.is_trusted() {
            continue;
        }
        let names = Arc::new(troubled.keys().cloned().collect());
        let older_than = |age: Duration| Filter {
            lanes: Some(Arc::clone(&names)),
            arrived_before: Some(now - age),
            held: Some(false),
            ..Filter::default()
        };
        look_through(&inner, &troubled, older_than(patience.retry.give_up)).await;
        let not_told = Filter { delay_notified: Some(false), ..older_than(patience.delay_notice) };
        look_through(&inner, &troubled, not_told).await;
        // A route may have recovered while its lanes' mail was in hand here and not to be claimed.
        inner.wake.notify_one();
    }
}

/// Mail whose way out exists and carries nothing. Mail without a way out (its customer is gone or suspended) is kept, whatever its
/// age.
fn behind_trouble(inner: &Arc<Inner>, lanes: BTreeMap<Lane, LaneStats>, now: Timestamp) -> Troubled {
    let directory = inner.parts.directory.load();
    let mut troubled = Troubled::new();
    for (lane, _) in lanes.into_iter().filter(|(_, stats)| stats.records > stats.held) {
        if let Ok(route) = inner.way_out(&directory, &lane)
            && let Some(why) = inner.routes().trouble(&route.id, now)
        {
            troubled.insert(lane, (route, why));
        }
    }
    troubled
}

/// Decides on records that fit, oldest first.
async fn look_through(inner: &Arc<Inner>, troubled: &Troubled, which: Filter) {
    let patience = &inner.settings.patience;
    let (mut after, mut in_vain) = (None, 0);
    while in_vain < IN_VAIN && !inner.stop.is_cancelled() {
        let leases = match inner.parts.spool.seize(Filter { after, ..which.clone() }, AT_ONCE).await {
            Ok(leases) => leases,
            Err(why) => return tracing::error!("old mail cannot be looked through: {why}"),
        };
        let Some(last) = leases.last() else { return };
        after = Some(last.record.id);
        in_vain += 1;
        let now = Timestamp::now();
        for lease in leases {
            let Some((route, why)) = troubled.get(&lease.record.lane) else { continue };
            let own_waiting = inner.routes().own_waiting(&route.id, lease.record.due, now);
            if let Some(decision) = verdict::overdue(&lease.record, &route.id, why, patience, own_waiting, now) {
                worker::apply(inner, lease, decision).await;
                in_vain = 0;
            }
        }
    }
}

/// No attempt is due later than the schedule sets it: what is, would wait for the wrong time to come again.
async fn mend_due_times(inner: &Arc<Inner>, lanes: &BTreeMap<Lane, LaneStats>, now: Timestamp) {
    let latest = inner.settings.patience.retry.latest(now);
    let beyond = |stats: &LaneStats| stats.last_due.is_some_and(|due| due > latest);
    let ahead: BTreeSet<Lane> = lanes.iter().filter(|(_, stats)| beyond(stats)).map(|(lane, _)| lane.clone()).collect();
    if ahead.is_empty() {
        return;
    }
    let filter = Filter { lanes: Some(Arc::new(ahead)), due_after: Some(latest), ..Filter::default() };
    match inner.parts.spool.expedite(filter).await {
        Ok(count) => inner.alert(
            None,
            None,
            format!("{count} messages were due later than the schedule sets them and are due at once: was the clock set back?"),
        ),
        Err(why) => tracing::error!("due times cannot be mended: {why}"),
    }
}
