//! Counts events by minute, hour and day: all events, and those of each route that carries mail.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::database::{Error, Transaction, Value};
use crate::time::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// How long counts are kept, by the width of their buckets in seconds.
const KEPT: [(u64, Duration); 3] = [
    (MINUTE, Duration::from_secs(25 * HOUR)),
    (HOUR, Duration::from_secs(32 * DAY)),
    (DAY, Duration::from_secs(400 * DAY)),
];
/// The maximum number of routes with their own counts in one hour. Further routes are only in the total counts.
const ROUTES: usize = 1_000;

/// Counts of recipients, except `waiting`, which counts messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recipients accepted from webCRM.
    pub accepted: u64,
    /// Recipients that the next server accepted.
    pub relayed: u64,
    /// Recipients whose own server accepted the mail.
    pub delivered: u64,
    /// Attempts that must be repeated.
    pub deferred: u64,
    /// Recipients that were given up.
    pub bounced: u64,
    /// The maximum number of waiting messages.
    pub waiting: u64,
    /// The age in seconds of the oldest waiting message.
    pub oldest_secs: u64,
}

impl Counts {
    /// Counts an event. Returns false if events of this kind are not counted.
    pub(super) fn count(&mut self, event: &str) -> bool {
        let counted = match event {
            "accepted" => &mut self.accepted,
            "relayed" => &mut self.relayed,
            "delivered" => &mut self.delivered,
            "deferred" => &mut self.deferred,
            "bounced" | "expired" | "removed" | "lost" => &mut self.bounced,
            _ => return false,
        };
        *counted += 1;
        true
    }

    fn add(&mut self, other: &Counts) {
        self.accepted += other.accepted;
        self.relayed += other.relayed;
        self.delivered += other.delivered;
        self.deferred += other.deferred;
        self.bounced += other.bounced;
        self.waiting = self.waiting.max(other.waiting);
        self.oldest_secs = self.oldest_secs.max(other.oldest_secs);
    }
}

/// The counts from a start time until the next bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub start: Timestamp,
    pub counts: Counts,
}

/// The period of a chart and its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// Three hours, in steps of three minutes.
    Hours,
    /// A day, in steps of half an hour.
    #[default]
    Day,
    /// A week, in steps of four hours.
    Week,
    /// A month, in steps of a day.
    Month,
    /// A year, in steps of eight days.
    Year,
}

impl Span {
    /// All periods, the shortest first.
    pub const ALL: [Span; 5] = [Span::Hours, Span::Day, Span::Week, Span::Month, Span::Year];

    /// Returns the name in URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Span::Hours => "3h",
            Span::Day => "24h",
            Span::Week => "7d",
            Span::Month => "30d",
            Span::Year => "1y",
        }
    }

    /// Returns the width of the stored buckets, the step that they are added up to, and the number of steps.
    fn shape(self) -> (u64, u64, u64) {
        match self {
            Span::Hours => (MINUTE, 3 * MINUTE, 60),
            Span::Day => (MINUTE, 30 * MINUTE, 48),
            Span::Week => (HOUR, 4 * HOUR, 42),
            Span::Month => (DAY, DAY, 30),
            Span::Year => (DAY, 8 * DAY, 46),
        }
    }
}

/// Counts that are not stored yet.
#[derive(Debug, Default)]
pub(super) struct Sums {
    sums: BTreeMap<(u64, String, u64), Counts>,
    /// The routes with their own counts in an hour.
    routes: (u64, HashSet<String>),
}

impl Sums {
    /// Counts an event of a recipient.
    pub fn count(&mut self, event: &str, at: Timestamp, route: Option<&str>) {
        let mut one = Counts::default();
        if !one.count(event) {
            return;
        }
        self.add("", at, &one);
        if let Some(route) = route.filter(|route| !route.is_empty())
            && self.has_room_for(route, at)
        {
            self.add(route, at, &one);
        }
    }

    /// Records the state of the queue.
    pub fn sample(&mut self, at: Timestamp, waiting: u64, oldest_secs: u64) {
        self.add("", at, &Counts { waiting, oldest_secs, ..Counts::default() });
    }

    fn add(&mut self, route: &str, at: Timestamp, counts: &Counts) {
        for (width, _) in KEPT {
            let start = at.as_secs() / width * width;
            self.sums.entry((width, route.to_owned(), start)).or_default().add(counts);
        }
    }

    fn has_room_for(&mut self, route: &str, at: Timestamp) -> bool {
        let hour = at.as_secs() / HOUR;
        let (of_hour, routes) = &mut self.routes;
        if *of_hour != hour {
            *of_hour = hour;
            routes.clear();
        }
        routes.contains(route) || (routes.len() < ROUTES && routes.insert(route.to_owned()))
    }

    /// Adds the counts to the stored ones.
    pub fn write(&self, tables: &Transaction<'_>) -> Result<(), Error> {
        let sql = "INSERT INTO history_sum (node, width, route, start_secs, accepted, relayed, delivered, deferred, bounced, waiting, \
                   oldest_secs) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                   ON CONFLICT (node, width, route, start_secs) DO UPDATE SET \
                   accepted = history_sum.accepted + excluded.accepted, relayed = history_sum.relayed + excluded.relayed, \
                   delivered = history_sum.delivered + excluded.delivered, deferred = history_sum.deferred + excluded.deferred, \
                   bounced = history_sum.bounced + excluded.bounced, \
                   waiting = CASE WHEN excluded.waiting > history_sum.waiting THEN excluded.waiting ELSE history_sum.waiting END, \
                   oldest_secs = CASE WHEN excluded.oldest_secs > history_sum.oldest_secs THEN excluded.oldest_secs \
                   ELSE history_sum.oldest_secs END";
        for ((width, route, start), counts) in &self.sums {
            let numbers = [
                counts.accepted,
                counts.relayed,
                counts.delivered,
                counts.deferred,
                counts.bounced,
                counts.waiting,
                counts.oldest_secs,
            ];
            let (width, start) = (signed(*width), signed(*start));
            let mut row: Vec<Value<'_>> = vec![tables.node().into(), width.into(), route.as_str().into(), start.into()];
            row.extend(numbers.map(|number| Value::from(signed(number))));
            tables.execute(sql, &row)?;
        }
        Ok(())
    }
}

/// Removes counts that are too old.
pub(super) fn tidy(tables: &Transaction<'_>, now: Timestamp) -> Result<(), Error> {
    for (width, kept) in KEPT {
        let oldest = signed((now - kept).as_secs());
        tables.execute(
            "DELETE FROM history_sum WHERE width = $1 AND start_secs < $2",
            &[signed(width).into(), oldest.into()],
        )?;
    }
    Ok(())
}

/// Reads the counts of a period that ends now.
pub(super) fn read(tables: &Transaction<'_>, route: &str, span: Span, now: Timestamp) -> Result<Vec<Bucket>, Error> {
    let (width, step, steps) = span.shape();
    let last = now.as_secs() / step * step;
    let first = last.saturating_sub((steps - 1) * step);
    let mut buckets: Vec<Bucket> = (0..steps)
        .map(|n| Bucket { start: Timestamp::from_millis((first + n * step) * 1000), counts: Counts::default() })
        .collect();
    let sums = ["accepted", "relayed", "delivered", "deferred", "bounced", "waiting"];
    let sums = sums.map(|column| format!("CAST(sum({column}) AS BIGINT)")).join(", ");
    let sql = format!(
        "SELECT start_secs, {sums}, max(oldest_secs) FROM history_sum \
         WHERE width = $1 AND route = $2 AND start_secs >= $3 GROUP BY start_secs"
    );
    tables.query(&sql, &[signed(width).into(), route.into(), signed(first).into()], |row| {
        let number = |column| Ok::<_, Error>(u64::try_from(row.integer(column)?).unwrap_or_default());
        let counts = Counts {
            accepted: number(1)?,
            relayed: number(2)?,
            delivered: number(3)?,
            deferred: number(4)?,
            bounced: number(5)?,
            waiting: number(6)?,
            oldest_secs: number(7)?,
        };
        let which = usize::try_from((number(0)? - first) / step).unwrap_or(usize::MAX);
        // Counts from before the clock was set back lie in the future.
        if let Some(bucket) = buckets.get_mut(which) {
            bucket.counts.add(&counts);
        }
        Ok::<_, Error>(())
    })?;
    Ok(buckets)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::SCHEMA;
    use super::*;
    use crate::database::Database;

    const NOW: Timestamp = Timestamp::from_millis(1_795_458_240_000);

    fn ago(secs: u64) -> Timestamp {
        NOW - Duration::from_secs(secs)
    }

    fn written(database: &Database, sums: &mut Sums) {
        database.write_blocking(|tables| sums.write(tables)).unwrap();
        sums.sums.clear();
    }

    fn total(database: &Database, route: &str, span: Span) -> Counts {
        let read = database.read_blocking(|tables| read(tables, route, span, NOW)).unwrap();
        read.iter().fold(Counts::default(), |mut all, bucket| {
            all.add(&bucket.counts);
            all
        })
    }

    #[test]
    fn sums_add_up_over_several_writes_and_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        let mut sums = Sums::default();
        for (event, secs) in [("accepted", 10), ("accepted", 70), ("relayed", 9), ("bounced", 3_000), ("expired", 5)] {
            sums.count(event, ago(secs), Some("own-server.a"));
            written(&database, &mut sums);
        }
        sums.count("rejected", NOW, None);
        sums.sample(ago(20), 7, 300);
        sums.sample(ago(10), 5, 310);
        written(&database, &mut sums);
        drop(database);
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        let expected =
            Counts { accepted: 2, relayed: 1, bounced: 2, waiting: 7, oldest_secs: 310, ..Counts::default() };
        for span in Span::ALL {
            assert_eq!(total(&database, "", span), expected, "{span:?}");
            let of_route = Counts { waiting: 0, oldest_secs: 0, ..expected };
            assert_eq!(total(&database, "own-server.a", span), of_route, "{span:?}");
            assert_eq!(total(&database, "own-server.b", span), Counts::default());
        }
    }

    #[test]
    fn a_span_has_all_its_steps_in_order_and_ends_now() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        for span in Span::ALL {
            let (_, step, steps) = span.shape();
            let read = database.read_blocking(|tables| read(tables, "", span, NOW)).unwrap();
            assert_eq!(read.len() as u64, steps);
            assert!(read.windows(2).all(|two| two[1].start.since(two[0].start).as_secs() == step));
            let last = read.last().unwrap().start;
            assert!(last <= NOW && NOW.since(last).as_secs() < step);
        }
    }

    #[test]
    fn old_sums_are_removed_and_routes_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path(), &[SCHEMA]).unwrap();
        let mut sums = Sums::default();
        sums.count("accepted", ago(500 * DAY), None);
        sums.count("accepted", ago(40 * DAY), None);
        for n in 0..2 * ROUTES {
            sums.count("accepted", NOW, Some(&format!("own-server.{n}")));
        }
        written(&database, &mut sums);
        database.write_blocking(|tables| tidy(tables, NOW)).unwrap();
        let rows = |sql: &str| database.read_blocking(|tables| tables.first(sql, &[], |row| row.integer(0))).unwrap();
        let old = "SELECT COUNT(*) FROM history_sum WHERE route = '' AND width = ";
        assert_eq!([60, 3600, 86_400].map(|width| rows(&format!("{old}{width}")).unwrap()), [1, 1, 2]);
        let routes = rows("SELECT COUNT(DISTINCT route) FROM history_sum WHERE route <> ''").unwrap();
        assert_eq!(routes, i64::try_from(ROUTES).unwrap());
        assert_eq!(total(&database, "", Span::Day).accepted, 2 * ROUTES as u64);
    }
}
