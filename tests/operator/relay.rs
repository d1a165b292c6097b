//! A relay without its mail lanes: the embedded spool, two customers, routes that can be switched, the event log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbud::bounce::{self, Postmaster};
use postbud::customers::suppression::Suppression;
use postbud::customers::{BulkPolicy, Customer, Directory, Routing, Tier, Via};
use postbud::database::Database;
use postbud::dkim::Workers;
use postbud::events::{self, Event, Events};
use postbud::message::{CustomerId, QueueId};
use postbud::operate::operators::SessionTimes;
use postbud::operate::{
    Acknowledgements, History, Jobs, Links, Nodes, Operators, Readings, Service, SpareKeys, Tokens, alerts, history,
    links, operators, socket, tokens,
};
use postbud::queue::Outcomes;
use postbud::route::{
    Caps, Cause, Login, LoginSecret, Route, RouteControl, RouteId, RouteKind, RouteState, RouteStatus, Switched,
};
use postbud::spool::embedded::{self, Embedded};
use postbud::spool::{self, Commit, Filter, Inspect, Record, Spool};
use postbud::submission::Limits;
use postbud::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::contract;
use crate::customers;
use crate::drafts::draft;

/// Stands in every secret of these tests; must never be seen.
pub const CANARY: &str = "canary-4f1d9c";

pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub spool: Arc<Embedded>,
    pub routes: Arc<Routes>,
    pub events: Events,
    pub outcomes: Outcomes,
    pub service: Service,
    pub counters: Arc<spool::Counters>,
    running: events::Running,
    stopping: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

/// Routes that only remember what they were told.
#[derive(Default)]
pub struct Routes(Mutex<BTreeMap<String, RouteState>>, Mutex<BTreeSet<String>>);

impl Routes {
    pub fn set(&self, route: &str, state: RouteState) {
        self.0.lock().unwrap().insert(route.into(), state);
    }

    /// Since the year 2020.
    pub fn set_in_trouble(&self, route: &str) {
        self.1.lock().unwrap().insert(route.into());
    }

    fn switch(&self, route: &RouteId, state: RouteState) -> Switched {
        let known = self.0.lock().unwrap().get_mut(route.as_str()).map(|slot| *slot = state).is_some();
        Box::pin(std::future::ready(Ok(known)))
    }
}

impl RouteControl for Routes {
    fn suspend(&self, route: &RouteId, reason: &str) -> Switched {
        self.switch(route, suspended(Cause::Operator, reason))
    }

    fn resume(&self, route: &RouteId) -> Switched {
        self.switch(route, RouteState::Ready)
    }

    fn pause(&self, _: &CustomerId, _: &str, _: bool) -> Switched {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn resume_customer(&self, _: &CustomerId) -> Switched {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn list(&self) -> Vec<RouteStatus> {
        let status = |(name, state): (&String, &RouteState)| RouteStatus {
            password_hint: None,
            id: RouteId::new(name),
            server: "mail.example.com:587".into(),
            state: state.clone(),
            in_trouble_since: self.1.lock().unwrap().contains(name).then_some(YEAR_2020),
            in_flight: 1,
            sent_today: 7,
            per_day: Some(100),
        };
        self.0.lock().unwrap().iter().map(status).collect()
    }
}

const YEAR_2020: Timestamp = Timestamp::from_millis(1_577_836_800_000);

/// Since the year 2020.
pub fn suspended(cause: Cause, reason: &str) -> RouteState {
    RouteState::Suspended { cause, reason: reason.into(), since: YEAR_2020 }
}

pub fn route(id: &str, kind: RouteKind) -> Arc<Route> {
    let secret = LoginSecret::Password(CANARY.into());
    let login = Some(Login::new("webcrm", secret));
    let caps = Caps { concurrency: 1, ..Caps::default() };
    Arc::new(Route { kind, login, caps, ..customers::route(id, "mail.example.com") })
}

/// `test-as` with its own server, `mj` through Mailjet; both want bounces by mail, both send as test.dk.
fn directory() -> Directory {
    let signed = customers::ed25519("test.dk");
    let customer = |id: &str, via| Customer {
        bulk: BulkPolicy::Warn,
        bounce_mail: true,
        ..customers::customer(id, [signed.clone()], via)
    };
    let own = Via::OwnServer(route("own-server.test-as", RouteKind::OwnServer));
    let tier = Tier { route: route("mailjet.starter", RouteKind::Mailjet), requires: Vec::new() };
    Directory::new(
        vec![customer("test-as", own), customer("mj", Via::Mailjet { tier: None })],
        BTreeMap::from([("starter".into(), tier)]),
    )
}

impl Fixture {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let counters = Arc::<spool::Counters>::default();
        let spool = Embedded::open(embedded::Settings {
            counters: Arc::clone(&counters),
            dir: dir.path().join("spool"),
            min_free: 0,
            min_free_inodes: 0,
            segment_size: 1 << 20,
            settle_delay: Duration::from_millis(5),
            has_journal: true,
            ..embedded::Settings::default()
        })
        .unwrap();
        let (events, mut running) = Events::start(events::Settings {
            log: Some(dir.path().join("events.jsonl")),
            state_dir: dir.path().to_owned(),
            ..events::Settings::default()
        })
        .unwrap();
        let routes = Arc::new(Routes::default());
        routes.set("own-server.test-as", RouteState::Ready);
        routes.set("mailjet.starter", RouteState::Ready);
        let routing = Routing::new(directory(), None);
        let as_port: Arc<dyn Spool> = spool.clone();
        running.follow(as_port.clone());
        let postmaster = Postmaster {
            settings: Arc::new(bounce::Settings::default()),
            routing: routing.clone(),
            workers: Workers::start(1, 4).unwrap(),
            spool: as_port.clone(),
        };
        let outcomes = Outcomes::new(as_port.clone(), postmaster, events.clone(), Suppression::default());
        let schemas = [links::SCHEMA, tokens::SCHEMA, operators::SCHEMA, alerts::SCHEMA, history::SCHEMA];
        let database = Database::open(dir.path(), &schemas).unwrap();
        let service = Service {
            spare_keys: SpareKeys::default(),
            spool: Arc::clone(&as_port),
            routes: routes.clone(),
            routing,
            events: events.clone(),
            outcomes: outcomes.clone(),
            suppression: Suppression::default(),
            links: Links::new(database.clone(), None),
            tokens: Tokens::open(database.clone()).unwrap(),
            operators: Operators::open(database.clone(), &Limits::default(), SessionTimes::default()).unwrap(),
            acknowledgements: Acknowledgements::new(database.clone()),
            nodes: Nodes::new(&database),
            history: History::new(database),
            jobs: Jobs::default(),
            readings: Readings::default(),
            live: None,
            dmarc: None,
        };
        let stopping = CancellationToken::new();
        let listener = socket::bind(dir.path()).unwrap();
        let server = tokio::spawn(socket::serve(listener, service.clone(), stopping.clone()));
        Fixture { dir, spool, routes, events, outcomes, service, counters, running, stopping, server }
    }

    pub fn state_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Queues a message of `customer` to `to`.
    pub async fn queue(&self, customer: &str, to: &[&str]) -> QueueId {
        self.spool.commit(draft(customer, to, 1, 100)).await.unwrap().id()
    }

    pub async fn records(&self) -> Vec<Record> {
        self.spool.list(Filter::default(), 10_000).await.unwrap()
    }

    /// Every event of the log, after the log was flushed and everything stopped.
    pub async fn end(self) -> Vec<serde_json::Value> {
        self.stopping.cancel();
        self.server.await.unwrap();
        self.spool.stop().await;
        self.running.stop().await;
        let log = self.dir.path().join("events.jsonl");
        contract::check(&log);
        logged(&log)
    }
}

/// The events of a log file.
pub fn logged(path: &Path) -> Vec<serde_json::Value> {
    let text = match path.extension() {
        Some(ending) if ending == "zst" => zstd::stream::decode_all(std::fs::File::open(path).unwrap()).unwrap(),
        _ => std::fs::read(path).unwrap(),
    };
    let lines = std::str::from_utf8(&text).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A numbered event.
pub fn event(number: usize) -> Event<'static> {
    let audit = Event::audit("a test", events::Action::QueueRetry, "a numbered event", Timestamp::now());
    Event { message_id: Some(number.to_string().into()), ..audit }
}

/// The numbers of numbered events.
pub fn numbers(events: &[serde_json::Value]) -> Vec<usize> {
    events.iter().filter_map(|event| event["message_id"].as_str()?.parse().ok()).collect()
}

/// Waits until `fits`, for at most half a minute.
pub async fn wait_until(what: &str, mut fits: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if fits() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain until {what}");
}
