//! The overview: the numbers of the queue, the routes that carry no mail, and stuck mail: whose it is, how much, and why.
//!
//! Open pages show it every few seconds, also with thousands of customers in trouble. So one pass over the lanes adds up everything and copies
//! no text. Words are made only for the lines that are returned. Nothing is kept until the next call, so the answer is true when it is given.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::nodes::Ask;
use super::queue::{Stats, together};
use super::stuck::{suspended, trouble};
use super::{Actor, Error, Service};
use crate::customers::NoRoute;
use crate::message::{CustomerId, QueueId};
use crate::route::{RouteId, RouteState, RouteStatus};
use crate::spool::{self, LaneStats};
use crate::time::Timestamp;

/// The most lines of a list. Nobody reads more of them, and thousands may be stuck at once.
const LINES: usize = 200;
/// The reason for held mail.
const HELD: &str = "held: `postbud queue list --state held` says why";

/// The state of the queue and the routes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct QueueOverview {
    /// The numbers of the queue without those of its lanes, and the nodes whose part is missing.
    pub stats: Stats,
    /// The customers with the most waiting mail: the first 200.
    pub customers: Vec<CustomerMail>,
    /// The number of all customers with waiting mail.
    pub customer_count: usize,
    /// The names of the routes that carry no mail: they are suspended, or their servers take part in no transaction.
    pub in_trouble: BTreeSet<RouteId>,
    /// The first 200 of these routes.
    pub routes_in_trouble: Vec<RouteStatus>,
    /// The number of all routes.
    pub route_count: usize,
    /// Stuck mail, the largest number first: the first 200 lines.
    pub stuck: Vec<StuckMail>,
    /// The number of all such lines.
    pub stuck_count: usize,
}

/// The waiting mail of one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerMail {
    pub customer: String,
    pub counts: Counts,
}

/// The numbers of a customer's waiting mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counts {
    pub messages: u64,
    pub held: u64,
    pub deferred: u64,
    pub delivering: u64,
    pub oldest_secs: u64,
}

/// Messages of one customer that are stuck for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckMail {
    pub customer: String,
    pub why: String,
    pub messages: u64,
    /// The route that they would take, if there is one.
    pub route: Option<String>,
    /// True if they are held one by one.
    pub held: bool,
}

impl Service {
    /// Returns the state of the queue and the routes now.
    pub async fn overview(&self, actor: &Actor) -> Result<QueueOverview, Error> {
        let (own, answers) =
            tokio::join!(self.overview_here(actor), self.ask_others::<QueueOverview>(actor, Ask::Overview, None));
        let (parts, missing) = together(own, answers)?;
        let mut all = parts.into_iter().reduce(QueueOverview::and).unwrap_or_default();
        all.stats.missing = missing;
        Ok(all)
    }

    /// Like [`overview`](Self::overview), for the messages of this node only, and for the routes that it uses.
    pub(super) async fn overview_here(&self, actor: &Actor) -> Result<QueueOverview, Error> {
        actor.may(Need::Read)?;
        let totals = self.spool.totals().await?;
        let lanes = spool::lanes_in_order(&*self.spool).await?;
        let (at_rest, route_count) = self.routes_at_rest();
        let mut sums = Sums::new(&at_rest, Timestamp::now());
        {
            let view = self.routing.view();
            // Lanes and customers come in the same order.
            let mut customers = view.directory().customers().peekable();
            for (lane, counts) in &lanes {
                while customers.next_if(|known| known.id < lane.customer).is_some() {}
                let customer = customers.peek().filter(|known| known.id == lane.customer);
                let route = view.resolve_for(customer.map(|known| &***known), lane);
                sums.add(&lane.customer, counts, route.map(|route| &route.id));
            }
        }
        let mut overview = sums.done();
        overview.stats.disk_bytes = totals.disk_bytes;
        overview.stats.quarantined = totals.quarantined;
        overview.in_trouble = at_rest.into_keys().collect();
        let shown = overview.in_trouble.iter().take(LINES);
        overview.routes_in_trouble = shown.filter_map(|route| self.routes.status(route)).collect();
        overview.route_count = route_count;
        Ok(overview)
    }

    /// Returns the routes that carry no mail, and the number of all routes. Leaves out a customer's own route where another node uses it.
    fn routes_at_rest(&self) -> (HashMap<RouteId, AtRest>, usize) {
        let (mut at_rest, mut count) = (HashMap::new(), 0);
        self.routes.visit(&mut |id, state, in_trouble_since| {
            count += 1;
            if in_trouble_since.is_some() || matches!(state, RouteState::Suspended { .. }) {
                at_rest.insert(id.clone(), AtRest { state: state.clone(), in_trouble_since });
            }
        });
        // Without other nodes, nobody asks who owns what.
        if !at_rest.is_empty() && !self.nodes.name().is_empty() {
            let directory = self.routing.directory();
            for customer in directory.customers().filter(|customer| !self.spool.owns(&customer.id)) {
                customer.own_routes().for_each(|route| drop(at_rest.remove(&route.id)));
            }
        }
        (at_rest, count)
    }
}

/// A route that carries no mail.
struct AtRest {
    state: RouteState,
    in_trouble_since: Option<Timestamp>,
}

impl AtRest {
    fn is_suspended(&self) -> bool {
        matches!(self.state, RouteState::Suspended { .. })
    }

    /// Says why mail of the route waits.
    fn why(&self, route: &RouteId) -> String {
        match (&self.state, self.in_trouble_since) {
            (RouteState::Suspended { reason, .. }, _) => suspended(route, reason),
            (state, Some(since)) => trouble(route, since, state),
            (_, None) => String::new(),
        }
    }
}

/// Why mail is stuck.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Held,
    NoRoute(NoRoute),
    /// This route is suspended, or its server takes part in no transaction.
    Route(RouteId),
}

/// The numbers of the lanes that were added, which come in their order.
struct Sums<'a> {
    at_rest: &'a HashMap<RouteId, AtRest>,
    now: Timestamp,
    stats: Stats,
    oldest: Option<QueueId>,
    /// The customer of the last lane.
    customer: Option<CustomerId>,
    counts: Counts,
    /// The stuck messages of this customer.
    whys: BTreeMap<Why, u64>,
    customers: Top<Counts>,
    stuck: Top<Why>,
}

impl<'a> Sums<'a> {
    fn new(at_rest: &'a HashMap<RouteId, AtRest>, now: Timestamp) -> Self {
        Sums {
            at_rest,
            now,
            stats: Stats::default(),
            oldest: None,
            customer: None,
            counts: Counts::default(),
            whys: BTreeMap::new(),
            customers: Top::default(),
            stuck: Top::default(),
        }
    }

    /// Adds a lane of this customer, whose mail takes this route.
    fn add(&mut self, customer: &CustomerId, lane: &LaneStats, route: Result<&RouteId, NoRoute>) {
        if self.customer.as_ref() != Some(customer) {
            self.end_customer();
            self.customer = Some(customer.clone());
        }
        let free = lane.records.saturating_sub(lane.held + lane.leased);
        let (why, is_stopped) = match route {
            Err(no_route) => (Some(Why::NoRoute(no_route)), true),
            Ok(route) => match self.at_rest.get(route) {
                Some(at_rest) => (Some(Why::Route(route.clone())), at_rest.is_suspended()),
                None => (None, false),
            },
        };
        for (why, messages) in [(why, free), (Some(Why::Held), lane.held)] {
            let Some(why) = why.filter(|_| messages > 0) else { continue };
            *self.whys.entry(why).or_default() += messages;
        }
        if is_stopped {
            self.stats.stopped += free;
        }
        self.stats.bytes += lane.bytes;
        self.oldest = [self.oldest, lane.oldest].into_iter().flatten().min();
        self.counts.add(Counts {
            messages: lane.records,
            held: lane.held,
            deferred: lane.deferred,
            delivering: lane.leased,
            oldest_secs: lane.oldest.map_or(0, |id| self.now.since(id.arrived()).as_secs()),
        });
    }

    fn end_customer(&mut self) {
        let (counts, whys) = (std::mem::take(&mut self.counts), std::mem::take(&mut self.whys));
        let Some(customer) = self.customer.take() else { return };
        self.stats.messages += counts.messages;
        self.stats.held += counts.held;
        self.stats.deferred += counts.deferred;
        self.stats.delivering += counts.delivering;
        for (why, messages) in whys {
            self.stuck.add(messages, &customer, why);
        }
        self.customers.add(counts.messages, &customer, counts);
    }

    /// Makes words of the lines that are shown.
    fn done(mut self) -> QueueOverview {
        self.end_customer();
        self.stats.oldest_secs = self.oldest.map(|id| self.now.since(id.arrived()).as_secs());
        let Sums { at_rest, stats, customers, stuck, .. } = self;
        let (customer_count, stuck_count) = (customers.count, stuck.count);
        let customers =
            customers.lines().map(|line| CustomerMail { customer: line.customer.to_string(), counts: line.what });
        let stuck = stuck.lines().map(|Line { messages: Reverse(messages), customer, what }| {
            let (why, route) = match &what {
                Why::Held => (HELD.to_owned(), None),
                Why::NoRoute(why) => (why.to_string(), None),
                Why::Route(route) => {
                    let why = at_rest.get(route).map(|at_rest| at_rest.why(route)).unwrap_or_default();
                    (why, Some(route.to_string()))
                }
            };
            StuckMail { customer: customer.to_string(), why, messages, route, held: what == Why::Held }
        });
        QueueOverview {
            stats,
            customers: customers.collect(),
            customer_count,
            stuck: stuck.collect(),
            stuck_count,
            ..QueueOverview::default()
        }
    }
}

/// The lines with the most messages. Lines are added in the order of their customers.
struct Top<T> {
    lines: Vec<Line<T>>,
    count: usize,
    /// A line with no more messages than this has no place any more.
    least: u64,
}

/// A line about one customer. The one with the most messages comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Line<T> {
    messages: Reverse<u64>,
    customer: CustomerId,
    what: T,
}

impl<T> Default for Top<T> {
    fn default() -> Self {
        Top { lines: Vec::new(), count: 0, least: 0 }
    }
}

impl<T: Ord> Top<T> {
    fn add(&mut self, messages: u64, customer: &CustomerId, what: T) {
        self.count += 1;
        if messages <= self.least {
            return;
        }
        self.lines.push(Line { messages: Reverse(messages), customer: customer.clone(), what });
        if self.lines.len() == 2 * LINES {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.lines.sort_unstable();
        self.lines.truncate(LINES);
        if self.lines.len() == LINES {
            self.least = self.lines.last().map_or(0, |line| line.messages.0);
        }
    }

    fn lines(mut self) -> impl Iterator<Item = Line<T>> {
        self.cut();
        self.lines.into_iter()
    }
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.messages += other.messages;
        self.held += other.held;
        self.deferred += other.deferred;
        self.delivering += other.delivering;
        self.oldest_secs = self.oldest_secs.max(other.oldest_secs);
    }
}

impl QueueOverview {
    /// Joins the overviews of two nodes. A customer's mail may be at both while it moves from one to the other.
    fn and(mut self, other: QueueOverview) -> QueueOverview {
        let mut customers: BTreeMap<String, Counts> = BTreeMap::new();
        for line in self.customers.into_iter().chain(other.customers) {
            customers.entry(line.customer).or_default().add(line.counts);
        }
        let mut customers: Vec<CustomerMail> =
            customers.into_iter().map(|(customer, counts)| CustomerMail { customer, counts }).collect();
        customers.sort_by_key(|line| Reverse(line.counts.messages));
        customers.truncate(LINES);
        let mut stuck: BTreeMap<_, u64> = BTreeMap::new();
        for StuckMail { customer, why, messages, route, held } in self.stuck.into_iter().chain(other.stuck) {
            *stuck.entry((customer, why, route, held)).or_default() += messages;
        }
        let line = |((customer, why, route, held), messages)| StuckMail { customer, why, messages, route, held };
        let mut stuck: Vec<StuckMail> = stuck.into_iter().map(line).collect();
        stuck.sort_by_key(|line| Reverse(line.messages));
        stuck.truncate(LINES);
        let mut routes: BTreeMap<RouteId, RouteStatus> = BTreeMap::new();
        for status in self.routes_in_trouble.into_iter().chain(other.routes_in_trouble) {
            let both = match routes.remove(&status.id) {
                Some(known) => known.and(status),
                None => status,
            };
            routes.insert(both.id.clone(), both);
        }
        self.in_trouble.extend(other.in_trouble);
        QueueOverview {
            stats: self.stats.and(other.stats),
            customers,
            customer_count: self.customer_count + other.customer_count,
            in_trouble: self.in_trouble,
            routes_in_trouble: routes.into_values().take(LINES).collect(),
            route_count: self.route_count.max(other.route_count),
            stuck,
            stuck_count: self.stuck_count + other.stuck_count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Cause;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn counts(records: u64, held: u64) -> LaneStats {
        LaneStats { records, held, leased: 1, bytes: 10, ..LaneStats::default() }
    }

    /// `r.bad` is in trouble, `r.stopped` is suspended.
    fn at_rest() -> HashMap<RouteId, AtRest> {
        let throttled = RouteState::Throttled { until: NOW, reason: "421".into() };
        let suspended = RouteState::Suspended { cause: Cause::Operator, reason: "moves".into(), since: NOW };
        HashMap::from([
            (RouteId::new("r.bad"), AtRest { state: throttled, in_trouble_since: Some(Timestamp::from_millis(0)) }),
            (RouteId::new("r.stopped"), AtRest { state: suspended, in_trouble_since: None }),
        ])
    }

    /// Adds up lanes: the customer, the route or the reason that there is none, all messages, held ones.
    fn summed(lanes: &[(&str, Result<&str, &str>, u64, u64)]) -> QueueOverview {
        let at_rest = at_rest();
        let mut sums = Sums::new(&at_rest, NOW);
        for (customer, route, records, held) in lanes {
            let customer = CustomerId::new(customer);
            let (id, reason) = (route.map(RouteId::new), route.err().unwrap_or_default().to_owned());
            let no_route = NoRoute::CustomerSuspended { customer: customer.clone(), reason };
            sums.add(&customer, &counts(*records, *held), id.as_ref().map_err(|_| no_route));
        }
        sums.done()
    }

    #[test]
    fn stuck_mail_is_added_up_by_customer_and_reason_and_the_largest_comes_first() {
        let found = summed(&[
            ("a", Ok("r.bad"), 11, 3),
            ("a", Ok("r.bad"), 6, 0),
            ("a", Ok("r.good"), 5, 0),
            ("b", Ok("r.good"), 50, 0),
            ("c", Err("unpaid"), 100, 0),
            ("c", Err("unpaid"), 2, 1),
            // Its only message is being delivered.
            ("d", Err("unpaid"), 1, 0),
            ("e", Ok("r.stopped"), 3, 0),
        ]);
        let lines = found.stuck.iter().map(|it| (&*it.customer, it.messages, it.route.as_deref(), it.held));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                ("c", 99, None, false),
                ("a", 12, Some("r.bad"), false),
                ("a", 3, None, true),
                ("e", 2, Some("r.stopped"), false),
                ("c", 1, None, true)
            ]
        );
        assert_eq!(found.stuck_count, 5);
        assert_eq!(found.stuck[0].why, "customer c is suspended: unpaid");
        let why = &found.stuck[1].why;
        assert!(why.starts_with("route r.bad has carried no mail since") && why.ends_with(": 421"), "{why}");
        assert_eq!(found.stuck[3].why, "route r.stopped is suspended: moves");
        let Stats { messages, held, stopped, delivering, bytes, .. } = found.stats;
        assert_eq!((messages, held, stopped, delivering, bytes), (178, 4, 101, 8, 80));
        let customers = found.customers.iter().map(|it| (&*it.customer, it.counts.messages, it.counts.held));
        assert_eq!(
            customers.collect::<Vec<_>>(),
            [("c", 102, 1), ("b", 50, 0), ("a", 22, 3), ("e", 3, 0), ("d", 1, 0)]
        );
    }

    #[test]
    fn of_thousands_that_are_stuck_the_largest_are_shown_and_all_counted() {
        let names: Vec<String> = (0..3000).map(|n| format!("c{n:04}")).collect();
        // The numbers go up and down, and each occurs several times.
        let messages = (0..).map(|n: u64| n * 7919 % 1000 + 2);
        let lanes: Vec<_> = names.iter().zip(messages).map(|(name, n)| (&**name, Err("unpaid"), n, 0)).collect();
        let found = summed(&lanes);
        let mut expected: Vec<(Reverse<u64>, &str)> =
            lanes.iter().map(|(customer, _, records, _)| (Reverse(records - 1), *customer)).collect();
        expected.sort_unstable();
        let shown: Vec<_> = found.stuck.iter().map(|it| (Reverse(it.messages), &*it.customer)).collect();
        assert_eq!(shown, expected[..LINES]);
        assert_eq!((found.stuck_count, found.customer_count, found.customers.len()), (3000, 3000, LINES));
        assert_eq!(found.stats.stopped, lanes.iter().map(|(_, _, records, _)| records - 1).sum::<u64>());
    }

    #[test]
    fn nodes_overviews_become_one() {
        let route = |id: &str| RouteStatus {
            id: RouteId::new(id),
            server: "a.dk:25".into(),
            state: RouteState::Ready,
            in_trouble_since: Some(NOW),
            in_flight: 1,
            sent_today: 2,
            per_day: None,
            password_hint: None,
        };
        let part = |lanes: &[_], routes: &[&str]| QueueOverview {
            in_trouble: routes.iter().map(|id| RouteId::new(id)).collect(),
            routes_in_trouble: routes.iter().map(|id| route(id)).collect(),
            route_count: 7,
            ..summed(lanes)
        };
        let one = part(&[("a", Err("unpaid"), 5, 0), ("b", Ok("r.bad"), 3, 0)], &["mailjet.x", "own-server.b"]);
        // The rest of a's mail is still here.
        let other = part(&[("a", Err("unpaid"), 9, 0), ("c", Ok("r.good"), 4, 1)], &["mailjet.x"]);
        let both = one.and(other);
        let stuck: Vec<_> = both.stuck.iter().map(|it| (&*it.customer, it.messages)).collect();
        assert_eq!(stuck, [("a", 12), ("b", 2), ("c", 1)]);
        let customers: Vec<_> = both.customers.iter().map(|it| (&*it.customer, it.counts.messages)).collect();
        assert_eq!(customers, [("a", 14), ("c", 4), ("b", 3)]);
        let routes: Vec<_> = both.routes_in_trouble.iter().map(|it| (it.id.as_str(), it.in_flight)).collect();
        assert_eq!(routes, [("mailjet.x", 2), ("own-server.b", 1)]);
        assert_eq!((both.in_trouble.len(), both.route_count, both.stats.messages), (2, 7, 21));
    }
}
