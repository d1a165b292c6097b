//! A queue with its spool, routes and event log in a scratch folder that outlives it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use postbud::bounce::{self, Postmaster};
use postbud::customers::suppression::Suppression;
use postbud::customers::{BulkPolicy, Customer, Directory, Routing, Tier, Via};
use postbud::delivery::{self, Delivery, Egress};
use postbud::dkim::Workers;
use postbud::events::{self, Events};
use postbud::message::{Lane, QueueId};
use postbud::queue::{self, Outcomes, Patience, Queue, Schedule};
use postbud::route::{Caps, Login, LoginSecret, Route, TlsMode, TlsPolicy};
use postbud::smtp::Domain;
use postbud::spool::embedded::{self, Embedded};
use postbud::spool::{self, Backoff, Commit, Filter, Inspect, Record, Spool};
use serde_json::Value;

use crate::capture::Capture;
use crate::contract;
use crate::customers;
use crate::drafts::{draft, lane};

/// Who mail goes to.
pub const TO: &str = "b@example.net";

/// Attempts at once, over all routes.
pub const AT_ONCE: u32 = 3;

/// A queue at work.
pub struct Rig {
    pub spool: Arc<Embedded>,
    pub queue: Queue,
    pub routing: Routing,
    log: std::path::PathBuf,
    running: events::Running,
    workers: Workers,
}

impl Rig {
    /// Opens the folder's spool and starts to deliver it.
    pub async fn start(folder: &Path, directory: Directory, patience: Patience, bounces: Option<Arc<Route>>) -> Rig {
        let rig = Rig::stopped(folder);
        rig.deliver(folder, directory, patience, bounces)
    }

    /// The folder's spool, for what is to be there before anything is delivered.
    pub fn stopped(folder: &Path) -> Arc<Embedded> {
        Embedded::open(embedded::Settings {
            dir: folder.join("spool"),
            min_free: 0,
            min_free_inodes: 0,
            segment_size: 1 << 20,
            settle_delay: Duration::from_millis(5),
            has_journal: true,
            ..embedded::Settings::default()
        })
        .unwrap()
    }

    /// Stops in order.
    pub async fn stop(self) -> Vec<Value> {
        self.queue.stop(Duration::from_secs(5)).await;
        self.spool.stop().await;
        let workers = self.workers;
        tokio::task::spawn_blocking(move || workers.stop()).await.unwrap();
        self.running.stop().await;
        contract::check(&self.log);
        logged(&self.log)
    }

    /// Every record that waits in the spool.
    pub async fn records(&self) -> Vec<Record> {
        self.spool.list(Filter::default(), 10_000).await.unwrap()
    }

    /// Commits a message to a lane.
    pub async fn commit(&self, lane: Lane, seed: u64) -> QueueId {
        let draft = spool::Draft { lane, ..draft("", &[TO], seed, 100) };
        self.spool.commit(draft).await.unwrap().id()
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Value> {
        logged(&self.log)
    }

    /// Waits until the events fit.
    pub async fn wait_for_events(&self, what: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..1500 {
            let events = self.events();
            if fits(&events) {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("waited in vain until {what}: {:#?}", self.events());
    }
}

/// What can be delivered from.
pub trait Deliver: Sized {
    /// Starts a queue on this spool.
    fn deliver(self, folder: &Path, directory: Directory, patience: Patience, bounces: Option<Arc<Route>>) -> Rig {
        let (rig, waiting) = self.opened(folder, directory, patience, bounces);
        waiting.deliver();
        rig
    }

    /// The same, up to the moment before.
    fn opened(
        self,
        folder: &Path,
        directory: Directory,
        patience: Patience,
        bounces: Option<Arc<Route>>,
    ) -> (Rig, queue::OpenedQueue);
}

impl Deliver for Arc<Embedded> {
    fn opened(
        self,
        folder: &Path,
        directory: Directory,
        patience: Patience,
        bounces: Option<Arc<Route>>,
    ) -> (Rig, queue::OpenedQueue) {
        let log = folder.join("events.jsonl");
        let settings =
            events::Settings { log: Some(log.clone()), state_dir: folder.to_owned(), ..events::Settings::default() };
        let (events, mut running) = Events::start(settings).unwrap();
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let egress = Egress::bound(local, local);
        let delivery = Arc::new(Delivery::new(delivery::Settings::new("out.example.com", egress)).unwrap());
        let routing = Routing::new(directory, bounces);
        let workers = Workers::start(1, 4).unwrap();
        let spool: Arc<dyn Spool> = self.clone();
        running.follow(spool.clone());
        let postmaster = Postmaster {
            settings: Arc::new(bounce::Settings::default()),
            routing: routing.clone(),
            workers: workers.clone(),
            spool: spool.clone(),
        };
        let parts = queue::Parts {
            spool: Arc::clone(&spool),
            delivery,
            routing: routing.clone(),
            events: events.clone(),
            outcomes: Outcomes::new(spool, postmaster, events, Suppression::default()),
        };
        let settings = queue::Settings {
            patience,
            throttle_states: folder.join("daily-counters.json"),
            suspensions: folder.join("suspensions.json"),
            volumes: folder.join("customer-volumes.json"),
            at_once: AT_ONCE,
            route_alert_after: queue::ROUTE_ALERT_AFTER,
        };
        let waiting = Queue::open(settings, parts).unwrap();
        let queue = waiting.queue().clone();
        (Rig { spool: self, queue, routing, log, running, workers }, waiting)
    }
}

fn logged(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The events of a kind.
pub fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// How long is waited: notice after one, giving up after three seconds.
pub fn impatient() -> Patience {
    let second = Duration::from_secs(1);
    Patience {
        retry: Schedule { backoff: Backoff { first: second, factor: 1.0, longest: second }, give_up: 3 * second },
        delay_notice: second,
    }
}

/// A plaintext route to a server.
pub fn route(id: &str, server: SocketAddr) -> Route {
    Route {
        port: server.port(),
        tls: TlsPolicy { mode: TlsMode::Off, ..TlsPolicy::default() },
        caps: Caps { concurrency: 2, ..Caps::default() },
        ..customers::route(id, &server.ip().to_string())
    }
}

/// The same with a login.
pub fn with_login(id: &str, server: SocketAddr, password: &str) -> Route {
    let login = Login { allow_plaintext: true, ..Login::new("webcrm", LoginSecret::Password(password.into())) };
    Route { login: Some(login), ..route(id, server) }
}

/// A customer with these domains who wants bounces by mail.
pub fn customer(id: &str, domains: &[&str], via: Via) -> Customer {
    let domains = domains.iter().map(|name| customers::ed25519(name));
    Customer { bulk: BulkPolicy::Warn, bounce_mail: true, ..customers::customer(id, domains, via) }
}

/// One customer, `x`, with the domain of [`lane`] and a server of its own.
pub fn own_server(route: Route) -> Directory {
    Directory::new(vec![customer("x", &["test.dk"], Via::OwnServer(Arc::new(route)))], BTreeMap::new())
}

/// A second customer, `z`, whose server takes mail. What it gets shows what the queue has done meanwhile: nothing has to be waited for.
pub struct Witness {
    server: Capture,
    /// How many messages its server still defers.
    refusals: Arc<AtomicUsize>,
}

impl Witness {
    /// Starts the witness's server.
    pub fn start() -> Self {
        let refusals = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&refusals);
        let is_left = move || left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        let script = move |line: &str| (line.starts_with("MAIL") && is_left()).then(|| "451 4.7.1 later".to_owned());
        Witness { server: Capture::scripted("127.0.0.1:0", Box::new(script)), refusals }
    }

    /// The directory of [`own_server`] with the witness beside it.
    pub fn beside(&self, route: Route) -> Directory {
        let own = Via::OwnServer(Arc::new(self::route("own-server.z", self.server.address)));
        let customers =
            vec![customer("x", &["test.dk"], Via::OwnServer(Arc::new(route))), customer("z", &["z.example"], own)];
        Directory::new(customers, BTreeMap::new())
    }

    /// Has so many messages go, one after the other. The queue turns to what was due before at least as often.
    pub async fn sees_turns(&self, rig: &Rig, turns: usize) {
        for _ in 0..turns {
            self.sees_one(rig).await;
        }
    }

    /// Has a message go that is deferred so many times. By then other mail would have been tried again as often by the same schedule.
    pub async fn sees_retries(&self, rig: &Rig, retries: usize) {
        self.refusals.store(retries, SeqCst);
        self.sees_one(rig).await;
    }

    async fn sees_one(&self, rig: &Rig) {
        let id = rig.commit(lane_of("z", "z.example"), 1).await.to_string();
        let went = |events: &[Value]| of_kind(events, "relayed").iter().any(|event| event["queue_id"] == id.as_str());
        rig.wait_for_events("the witness's mail went", went).await;
    }
}

/// Tiers of Mailjet by their names.
pub fn tiers(tiers: Vec<(&str, Tier)>) -> BTreeMap<String, Tier> {
    tiers.into_iter().map(|(name, tier)| (name.to_owned(), tier)).collect()
}

/// The lane of a customer's mail from a domain.
pub fn lane_of(customer: &str, domain: &str) -> Lane {
    Lane { domain: Domain::parse(domain).unwrap(), ..lane(customer) }
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
