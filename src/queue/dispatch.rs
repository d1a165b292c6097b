//! The dispatcher. It looks at the spool whenever mail may have become due, puts lanes with due mail in line, and starts workers on routes
//! that have room.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::customers::NoRoute;
use crate::events::Subject;
use crate::message::Lane;
use crate::queue::halt;
use crate::queue::inner::Inner;
use crate::queue::worker;
use crate::spool;
use crate::time::Timestamp;

/// The longest pause between two looks at the spool, even if nothing seems due.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// After each look the dispatcher pauses for nine times as long as the look took, but no longer than [`LONGEST_REST`]. So it uses a tenth of
/// one core, unless looks take long. Pauses shorter than this are skipped.
const WORTH_A_REST: Duration = Duration::from_millis(10);
const LONGEST_REST: Duration = Duration::from_millis(500);
/// The number of lanes that one query to the spool returns.
const LANES_AT_ONCE: usize = 1000;

/// Runs until the queue stops.
pub(super) async fn run(inner: Arc<Inner>) {
    let changed = inner.parts.spool.changed();
    let mut health = inner.parts.spool.health();
    let mut was_well = health.borrow_and_update().may_deliver();
    loop {
        let (now, began) = (Timestamp::now(), Instant::now());
        let pause = look(&inner, now).await.since(now);
        inner.looked.notify_waiters();
        // A look costs time in proportion to the lanes that are due. With thousands of lanes there cannot be a look for every commit.
        let rest = began.elapsed() * 9;
        if rest > WORTH_A_REST {
            tokio::time::sleep(rest.min(LONGEST_REST)).await;
        }
        tokio::select! {
            biased;
            () = inner.stop.cancelled() => return,
            () = changed.notified() => {}
            () = inner.wake.notified() => {}
            Ok(()) = health.changed() => {
                let is_well = health.borrow_and_update().may_deliver();
                if is_well && !was_well {
                    inner.halt.end();
                }
                was_well = is_well;
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Looks at the spool once: puts the lanes with due mail in line, and starts workers. Returns when to look again.
async fn look(inner: &Arc<Inner>, now: Timestamp) -> Timestamp {
    if let Some(left) = inner.halt.left() {
        return now + left;
    }
    let (due, next_due) = match due(inner, now).await {
        Ok(found) => found,
        Err(why) => {
            inner.halt(&why);
            return now + halt::PAUSE;
        }
    };
    let mut unrouted = Vec::new();
    let (started, next_change) = inner.with_routes(|routes, now| {
        let routing = inner.parts.routing.view();
        for lane in due {
            match routing.resolve(&lane) {
                Ok(route) => routes.offer(lane, &route, now),
                // The pause itself was already announced.
                Err(NoRoute::CustomerPaused { .. }) => {}
                Err(why) if routes.park(&lane.customer, &why.to_string()) => unrouted.push((lane.customer, why)),
                Err(_) => {}
            }
        }
        (routes.start(now), routes.next_change(now))
    });
    for route in started {
        inner.tasks.spawn(worker::run(worker::Slot::new(inner, route)));
    }
    for (customer, why) in unrouted {
        let subject = Subject::Unrouted(customer.to_string());
        inner.alert(Some(&customer), None, Some(subject), format!("its queued mail is kept: {why}"));
    }
    [next_due, next_change].into_iter().flatten().fold(now + LONGEST_SLEEP, Timestamp::min)
}

/// Returns the lanes with mail that can be claimed at `now`, and the time at which the next other lane becomes due.
async fn due(inner: &Inner, now: Timestamp) -> Result<(Vec<Lane>, Option<Timestamp>), spool::Error> {
    let (mut lanes, mut after) = (Vec::new(), None);
    loop {
        let page = inner.parts.spool.due(now, after, LANES_AT_ONCE).await?;
        after = page.lanes.last().cloned();
        lanes.extend(page.lanes.into_iter().map(|due| due.lane));
        if !page.more {
            return Ok((lanes, page.next_due));
        }
    }
}
