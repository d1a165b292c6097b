//! The registry of metrics: the counters of all stages with the prefix `postbud_`; the state of the queue, the spool and the routes at each
//! scrape; and the process's own metrics under Prometheus's usual names.
//!
//! A stage has a `Counters` with `register(&self, &mut Registry)`, which registers names without the prefix:
//!
//! ```
//! use std::sync::Arc;
//! use postbud::{events::Events, metrics, route::RouteControl, spool::Spool};
//!
//! async fn wire(events: &Events, spool: Arc<dyn Spool>, routes: Arc<dyn RouteControl>) -> String {
//!     let mut registry = metrics::registry();
//!     let stages = metrics::stages(&mut registry);
//!     events.counters().register(stages);
//!     let queue = metrics::register_queue(stages, spool, routes);
//!     queue.refresh().await;
//!     metrics::Format::Text.encode(&registry)
//! }
//! ```

mod configuration;
mod format;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::customers::Routing;
use crate::message::{Lane, Urgency};
use crate::route::{RouteControl, RouteState};
use crate::spool::{self, Health, Inspect, LaneStats, Spool};
use crate::time::Timestamp;

pub use configuration::{Certificates, Reloads, Signatures, register_build};
pub use format::Format;

/// Makes a registry with the process's metrics.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process { started: Timestamp::now() }));
    registry
}

/// Returns the part of the registry in which stages register.
pub fn stages(registry: &mut Registry) -> &mut Registry {
    registry.sub_registry_with_prefix("postbud")
}

/// Adds metrics about the configured routes as a whole.
pub fn register_routing(stages: &mut Registry, routing: Routing) {
    stages.register_collector(Box::new(Routes(routing)));
}

struct Routes(Routing);

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}

impl Collector for Routes {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        let count = self.0.routes().iter().filter(|route| route.password_at_microsoft365().is_some()).count();
        let help = "Routes that log in at Microsoft 365 with a password, which stops working";
        gauge(&mut out, "routes_microsoft365_passwords", help, &ConstGauge::new(count as i64))
    }
}

/// Adds metrics of the queue by lane, the spool's health and the routes' states. A spool's backend registers its own metrics besides.
pub fn register_queue(stages: &mut Registry, spool: Arc<dyn Spool>, routes: Arc<dyn RouteControl>) -> QueueGauges {
    let lanes = Arc::default();
    stages.register_collector(Box::new(Queue { lanes: Arc::clone(&lanes), health: spool.health(), routes }));
    QueueGauges { spool, lanes }
}

/// The counts of every lane at the last refresh; `None` if the spool did not answer.
type SeenLanes = ArcSwapOption<BTreeMap<Lane, LaneStats>>;

/// Reads the spool's counts for the gauges of the queue. This happens before the registry is encoded, because encoding cannot wait.
#[derive(Clone)]
pub struct QueueGauges {
    spool: Arc<dyn Inspect>,
    lanes: Arc<SeenLanes>,
}

impl QueueGauges {
    /// Reads the counts. If the spool does not answer, the gauges are left out until it does.
    pub async fn refresh(&self) {
        let seen = spool::all_lanes(&*self.spool).await;
        let seen = seen.inspect_err(|error| tracing::warn!(%error, "the spool's counts are missing from the metrics"));
        self.lanes.store(seen.ok().map(Arc::new));
    }
}

/// Memory, time and open files, from /proc.
#[derive(Debug)]
struct Process {
    started: Timestamp,
}

impl Collector for Process {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        let started = ConstGauge::new(self.started.as_millis() as f64 / 1000.0);
        gauge(&mut out, "process_start_time_seconds", "When the process started, Unix time", &started)?;
        if let Some(octets) = resident_octets() {
            gauge(&mut out, "process_resident_memory_bytes", "Resident memory", &ConstGauge::new(octets as i64))?;
        }
        if let Some(count) = open_files() {
            gauge(&mut out, "process_open_fds", "Open file descriptors", &ConstGauge::new(count as i64))?;
        }
        if let Some(seconds) = cpu_seconds() {
            let seconds = ConstCounter::new(seconds);
            let encoder =
                out.encode_descriptor("process_cpu_seconds", "User and system time", None, seconds.metric_type())?;
            seconds.encode(encoder)?;
        }
        Ok(())
    }
}

fn resident_octets() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn open_files() -> Option<u64> {
    // One of the open files is the directory that is being read.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as u64)
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The process name is in parentheses and may hold any character. utime and stime are the 12th and 13th fields behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let ticks: u64 = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

struct Queue {
    lanes: Arc<SeenLanes>,
    health: watch::Receiver<Health>,
    routes: Arc<dyn RouteControl>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    customer: String,
    urgency: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

impl Collector for Queue {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), fmt::Error> {
        if let Some(lanes) = &*self.lanes.load() {
            encode_lanes(&mut out, lanes)?;
        }
        self.encode_health(&mut out)?;
        self.encode_routes(&mut out)
    }
}

fn encode_lanes(out: &mut DescriptorEncoder, lanes: &BTreeMap<Lane, LaneStats>) -> Result<(), fmt::Error> {
    let by_lane = |value: fn(&LaneStats) -> u64| {
        let family = Family::<LaneLabels, Gauge>::default();
        for (lane, lane_stats) in lanes {
            family.get_or_create(&labels(lane)).inc_by(value(lane_stats) as i64);
        }
        family
    };
    gauge(out, "queue_messages", "Messages in the queue", &by_lane(|s| s.records))?;
    gauge(out, "queue_held", "Of these held", &by_lane(|s| s.held))?;
    gauge(out, "queue_deferred", "Of these tried before", &by_lane(|s| s.deferred))?;
    gauge(out, "queue_leased", "Of these being delivered", &by_lane(|s| s.leased))?;
    gauge(out, "queue_bytes", "Octets of the queue's messages", &by_lane(|s| s.bytes))?;
    let now = Timestamp::now();
    let oldest = Family::<LaneLabels, Gauge>::default();
    for (lane, lane_stats) in lanes {
        let age = lane_stats.oldest.map_or(0, |id| now.since(id.arrived()).as_secs());
        let oldest = oldest.get_or_create(&labels(lane));
        oldest.set(oldest.get().max(age as i64));
    }
    gauge(out, "queue_oldest_seconds", "Age of the oldest message", &oldest)
}

impl Queue {
    fn encode_health(&self, out: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let health = self.health.borrow().clone();
        let is = |reason: &Option<String>| ConstGauge::new(i64::from(reason.is_some()));
        gauge(out, "spool_full", "1 while new mail is refused for want of space", &is(&health.full))?;
        let troubled = "1 while results cannot be written, and nothing is delivered";
        gauge(out, "spool_troubled", troubled, &is(&health.troubled))?;
        gauge(out, "spool_stopped", "1 once no mail is taken or delivered until a restart", &is(&health.stopped))
    }

    fn encode_routes(&self, out: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let state = Family::<RouteLabels, Gauge>::default();
        let in_flight = Family::<RouteLabels, Gauge>::default();
        let sent_today = Family::<RouteLabels, Gauge>::default();
        let mut refused = 0;
        for route in self.routes.list() {
            refused += i64::from(route.password_hint.is_some());
            let labels = RouteLabels { route: route.id.to_string() };
            let number = match route.state {
                RouteState::Ready => 0,
                RouteState::Throttled { .. } => 1,
                RouteState::Suspended { .. } => 2,
            };
            state.get_or_create(&labels).set(number);
            in_flight.get_or_create(&labels).set(i64::from(route.in_flight));
            sent_today.get_or_create(&labels).set(i64::from(route.sent_today));
        }
        let help = "Routes whose server said at the last login that it takes no passwords";
        gauge(out, "routes_passwords_refused", help, &ConstGauge::new(refused))?;
        gauge(out, "route_state", "0 ready, 1 throttled, 2 suspended", &state)?;
        gauge(out, "route_in_flight", "Attempts being made", &in_flight)?;
        gauge(out, "route_sent_today", "Recipients sent to since midnight UTC", &sent_today)
    }
}

fn labels(lane: &Lane) -> LaneLabels {
    LaneLabels {
        customer: lane.customer.to_string(),
        urgency: match lane.urgency {
            Urgency::Single => "single",
            Urgency::Bulk => "bulk",
        },
        kind: lane.kind.as_str(),
    }
}

fn gauge(out: &mut DescriptorEncoder, name: &str, help: &str, metric: &impl EncodeMetric) -> Result<(), fmt::Error> {
    let encoder = out.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}
