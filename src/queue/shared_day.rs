//! The allowance of a day that nodes share: the cap `per_day` of a route that all of them use.
//!
//! A node takes a chunk of the allowance from the database before it spends it, and the next chunk when little of that is left. What is
//! taken counts as spent. So if a node dies, every recipient is counted, and only the rest of its chunk stays unused. A node gives back
//! what it has no mail for, and what is left when it stops. Chunks are small, so that no node waits for what another one does not need.
//!
//! Days are those of the nodes' clocks. What was taken of the next day counts to the present one, too, because then a clock is ahead, and a
//! server may count it to the present day.
//!
//! If the database does not say whether a chunk was taken or given back, it counts as spent, because the cap must hold. If it is certain
//! that nothing was written, the node takes or gives back again later, and nothing is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::inner::Inner;
use super::schedule::throttle::ChunkRequest;
use crate::database::{self, Database, Schema, Transaction};
use crate::route::RouteId;

/// The table. `taken` is what the nodes together have taken of the recipients of a UTC day, counted from 1970.
pub const SCHEMA: Schema = Schema {
    owner: "day",
    steps: &[
        "CREATE TABLE day_taken (route TEXT NOT NULL, day BIGINT NOT NULL, taken BIGINT NOT NULL, PRIMARY KEY (route, day))",
    ],
};

/// How often to look for what is needed and what is not, even if nothing says so.
const LOOK: Duration = Duration::from_secs(1);
/// After nothing was left, when to ask again: another node may have given something back.
const AGAIN: Duration = Duration::from_secs(2);
/// A route that has had nothing to send for so long gives back what it has taken.
const IDLE: Duration = Duration::from_secs(5);
/// How long the counts of past days are kept, in days. A node whose clock is ahead must not remove the count of the present day, so a
/// route's latest counts, as many as these days, are kept as well.
const KEPT: i64 = 8;

/// Takes chunks as they are needed, and gives them back, until the queue stops.
pub(super) async fn run(inner: Arc<Inner>, database: Database) {
    let (mut used_up, mut idle) = (HashMap::<RouteId, Instant>::new(), HashMap::<RouteId, Instant>::new());
    loop {
        let next = async {
            let _ = tokio::time::timeout(LOOK, inner.is_low.notified()).await;
        };
        if inner.stop.run_until_cancelled(next).await.is_none() {
            break;
        }
        let now = Instant::now();
        used_up.retain(|_, until| *until > now);
        for (route, wanted) in inner.with_routes(|routes, now| routes.wanted(now)) {
            if used_up.contains_key(&route) {
                continue;
            }
            let id = route.clone();
            match database.write(move |tables| take(tables, &id, wanted)).await {
                Ok(0) => drop(used_up.insert(route, now + AGAIN)),
                Ok(taken) => {
                    inner.with_routes(|routes, now| routes.reserve(&route, wanted.day, taken, now));
                    inner.wake.notify_one();
                }
                Err(error) => {
                    tracing::warn!("no part of the day's allowance of {route} can be taken: {error}");
                    used_up.insert(route, now + AGAIN);
                }
            }
        }
        let quiet = inner.with_routes(|routes, _| routes.idle());
        idle.retain(|route, _| quiet.contains(route));
        for route in quiet {
            idle.entry(route).or_insert(now);
        }
        let since_long = idle.iter().filter(|(_, since)| now.duration_since(**since) >= IDLE);
        let since_long: Vec<RouteId> = since_long.map(|(route, _)| route.clone()).collect();
        give_back(&inner, &database, &since_long).await;
    }
    let all = inner.parts.routing.routes().into_iter().map(|route| route.id.clone()).collect::<Vec<_>>();
    give_back(&inner, &database, &all).await;
}

/// Gives back what routes have taken and not spent. What could not be given back stays with the node.
async fn give_back(inner: &Inner, database: &Database, routes: &[RouteId]) {
    for (route, day, recipients) in inner.with_routes(|all, _| all.give_up_reserved(routes)) {
        if !is_given_back(database, &route, day, recipients).await {
            inner.with_routes(|routes, now| routes.reserve(&route, day, recipients, now));
        }
    }
}

/// Gives back so many recipients of a day. Returns false if it is certain that nothing was written, so that this node may still spend them.
async fn is_given_back(database: &Database, route: &RouteId, day: u64, recipients: u32) -> bool {
    let may_be_written = Arc::new(AtomicBool::new(false));
    let (id, reached_commit) = (route.clone(), Arc::clone(&may_be_written));
    let given = database.write(move |tables| {
        let sql = "UPDATE day_taken SET taken = taken - $1 WHERE route = $2 AND day = $3";
        tables.execute(sql, &[i64::from(recipients).into(), id.as_str().into(), number(day).into()])?;
        reached_commit.store(true, Ordering::Relaxed);
        Ok::<_, database::Error>(())
    });
    let Err(error) = given.await else { return true };
    let may_be_written = may_be_written.load(Ordering::Relaxed);
    if may_be_written {
        tracing::warn!("{recipients} recipients of the day's allowance of {route} may stay unused: {error}");
    } else {
        tracing::debug!("{recipients} recipients of the day's allowance of {route} are given back later: {error}");
    }
    may_be_written
}

/// Takes a chunk, or what is left. Returns how many recipients.
fn take(tables: &Transaction<'_>, route: &RouteId, wanted: ChunkRequest) -> Result<u32, database::Error> {
    let (route, day) = (route.as_str(), number(wanted.day));
    let old = "DELETE FROM day_taken WHERE route = $1 AND day < $2 AND day NOT IN \
               (SELECT day FROM day_taken WHERE route = $1 ORDER BY day DESC LIMIT $3)";
    tables.execute(old, &[route.into(), (day - KEPT).into(), KEPT.into()])?;
    let begin = "INSERT INTO day_taken (route, day, taken) VALUES ($1, $2, $3) ON CONFLICT (route, day) DO NOTHING";
    tables.execute(begin, &[route.into(), day.into(), i64::from(wanted.sent).into()])?;
    let (sql, mut taken) = ("SELECT taken FROM day_taken WHERE route = $1 AND day BETWEEN $2 AND $2 + 1", 0);
    tables.query(sql, &[route.into(), day.into()], |row| {
        taken += row.integer(0)?;
        Ok::<_, database::Error>(())
    })?;
    let left = (i64::from(wanted.cap) - taken).clamp(0, i64::from(wanted.chunk));
    let sql = "UPDATE day_taken SET taken = taken + $1 WHERE route = $2 AND day = $3";
    tables.execute(sql, &[left.into(), route.into(), day.into()])?;
    Ok(u32::try_from(left).unwrap_or_default())
}

fn number(day: u64) -> i64 {
    i64::try_from(day).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_add_up_to_the_cap_and_what_was_sent_before_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap().of(&SCHEMA);
        let route = RouteId::new("mailjet.starter");
        let take = |day, chunk, sent| {
            let wanted = ChunkRequest { day, cap: 10, chunk, sent };
            database.write_blocking(|tables| super::take(tables, &route, wanted)).unwrap()
        };
        assert_eq!([take(7, 4, 3), take(7, 4, 0), take(7, 4, 0)], [4, 3, 0], "3 were sent before");
        assert_eq!([take(8, 4, 0), take(8, 40, 0), take(8, 1, 9)], [4, 6, 0]);
    }

    #[test]
    fn a_node_whose_clock_is_ahead_takes_nobody_the_count_of_the_present_day() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap().of(&SCHEMA);
        let route = RouteId::new("mailjet.starter");
        let take = |day, chunk| {
            let wanted = ChunkRequest { day, cap: 10, chunk, sent: 0 };
            database.write_blocking(|tables| super::take(tables, &route, wanted)).unwrap()
        };
        assert_eq!(take(1000, 6), 6);
        assert_eq!([take(9000, 3), take(5000, 3), take(1001, 3)], [3, 3, 3], "its own days are new");
        assert_eq!(take(1000, 4), 1, "6 were taken of this day, and 3 of the next one");
        assert_eq!(take(1001, 10), 7);
        // Days that are long over are removed, also if a wrong one stays.
        for day in 1002..1100 {
            assert_eq!(take(day, 10), 10);
        }
        let counts = || {
            database.read_blocking(|tables| tables.first("SELECT count(*) FROM day_taken", &[], |row| row.integer(0)))
        };
        assert!(counts().unwrap() <= Some(2 * KEPT + 2), "{:?}", counts());
    }

    #[tokio::test]
    async fn a_node_keeps_what_it_certainly_did_not_give_back() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap().of(&SCHEMA);
        let route = RouteId::new("mailjet.starter");
        let wanted = ChunkRequest { day: 7, cap: 10, chunk: 4, sent: 0 };
        let take = || database.write_blocking(|tables| super::take(tables, &route, wanted)).unwrap();
        assert_eq!([take(), take(), take()], [4, 4, 2]);
        assert!(is_given_back(&database, &route, 7, 4).await);
        assert_eq!(take(), 4, "another node gets what was given back");
        // As while the database is away: the statement before the commit fails.
        let rename = |sql: &'static str| database.write_blocking(move |tables| tables.execute(sql, &[])).unwrap();
        rename("ALTER TABLE day_taken RENAME TO away");
        assert!(!is_given_back(&database, &route, 7, 4).await);
        rename("ALTER TABLE away RENAME TO day_taken");
        assert_eq!(take(), 0, "nothing was given back");
    }
}
