//! The allowance of a day that nodes share: the cap `per_day` of a route that all of them use.
//!
//! A node takes a chunk of the allowance from the database before it spends it, and more once little of that is left. What is taken counts as
//! spent, so no recipient goes uncounted if a node dies: the rest of its chunk is lost, and nothing more.
//! A node gives back what it has no mail for, and what is left when it stops. Chunks are small, so that no node waits for what another one
//! does not need.

use std::collections::HashMap;
use std::sync::Arc;
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
/// How long the counts of past days are kept, in days.
const KEPT: i64 = 2;

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

/// Gives back what routes have taken and not spent. If that cannot be written, it counts as spent.
async fn give_back(inner: &Inner, database: &Database, routes: &[RouteId]) {
    for (route, day, recipients) in inner.with_routes(|all, _| all.give_up_reserved(routes)) {
        let id = route.clone();
        let given = database.write(move |tables| {
            let sql = "UPDATE day_taken SET taken = taken - $1 WHERE route = $2 AND day = $3";
            tables.execute(sql, &[i64::from(recipients).into(), id.as_str().into(), number(day).into()]).map(drop)
        });
        if let Err(error) = given.await {
            tracing::warn!("{recipients} recipients of the day's allowance of {route} stay unused: {error}");
        }
    }
}

/// Takes a chunk, or what is left. Returns how many recipients.
fn take(tables: &Transaction<'_>, route: &RouteId, wanted: ChunkRequest) -> Result<u32, database::Error> {
    let (route, day) = (route.as_str(), number(wanted.day));
    tables.execute("DELETE FROM day_taken WHERE day < $1", &[(day - KEPT).into()])?;
    let begin = "INSERT INTO day_taken (route, day, taken) VALUES ($1, $2, $3) ON CONFLICT (route, day) DO NOTHING";
    tables.execute(begin, &[route.into(), day.into(), i64::from(wanted.sent).into()])?;
    let sql = "SELECT taken FROM day_taken WHERE route = $1 AND day = $2";
    let taken = tables.first(sql, &[route.into(), day.into()], |row| row.integer(0))?.unwrap_or_default();
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
}
