//! The web pages over real HTTP; and that no secret is on them, in the log, or in what commands show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postbud::events::{Secret, Webhook};
use postbud::metrics;
use postbud::operate::queue::Selection;
use postbud::operate::socket;
use postbud::operate::socket::protocol::Command;
use postbud::route::{Cause, RouteKind};
use postbud::web::{Readiness, Sources, router, serve};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::relay::{CANARY, Fixture, route, suspended};

struct Site {
    address: String,
    stopping: CancellationToken,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Site {
    async fn start(fixture: &Fixture, readiness: Readiness) -> Self {
        let mut registry = metrics::registry();
        let stages = metrics::stages(&mut registry);
        fixture.events.counters().register(stages);
        let queue_gauges = metrics::register_queue(stages, fixture.spool.clone(), fixture.routes.clone());
        let sources = Sources {
            hostname: "out.webcrm.com".into(),
            registry: Arc::new(registry),
            queue_gauges,
            readiness,
            health: Readiness::default(),
            spool: fixture.spool.clone(),
            routes: fixture.routes.clone(),
            events: fixture.events.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stopping = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router(sources), stopping.clone()));
        Site { address, stopping, server }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let client = postbud::http_client::builder().build().unwrap();
        let answer = client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.server.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_its_checks_and_says_why() {
    let fixture = Fixture::start();
    let full = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&full);
    let readiness = Readiness::default()
        .with("egress", || Ok(()))
        .with("spool", move || if seen.load(Ordering::Relaxed) { Err("the disk is full".into()) } else { Ok(()) });
    let site = Site::start(&fixture, readiness).await;
    assert_eq!(site.get("/healthz").await, (200, "ok\n".into()));
    let (status, body) = site.get("/readyz").await;
    assert_eq!((status, body.as_str()), (200, r#"{"ready":true,"reasons":[]}"#));
    full.store(true, Ordering::Relaxed);
    let (status, body) = site.get("/readyz").await;
    assert_eq!(
        (status, body.as_str()),
        (503, r#"{"ready":false,"reasons":[{"check":"spool","reason":"the disk is full"}]}"#)
    );
    assert_eq!(site.get("/healthz").await.0, 200, "alive all the same");
    assert!(site.get("/").await.1.contains("spool: the disk is full"));
    assert_eq!(site.get("/nothing").await.0, 404);
    site.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_events_lanes_routes_and_the_process() {
    let fixture = Fixture::start();
    fixture.queue("mj", &["x@example.com"]).await;
    fixture.events.alert("look here");
    fixture.routes.set("mailjet.starter", suspended(Cause::Login, "535"));
    let site = Site::start(&fixture, Readiness::default()).await;
    let (status, text) = site.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "postbud_alerts_total 1",
        "postbud_events_total{event=\"alert\"} 1",
        "postbud_queue_messages{customer=\"mj\",urgency=\"single\",kind=\"mail\"} 1",
        "postbud_route_state{route=\"mailjet.starter\"} 2",
        "postbud_route_state{route=\"own-server.test-as\"} 0",
        "postbud_events_lost_total 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is missing:\n{text}");
    }
    let value = |name: &str| -> f64 {
        let line =
            text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_open_fds") >= 3.0);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(text.ends_with("# EOF\n"));
    site.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_shows_queue_routes_and_alerts_and_no_markup_of_strangers() {
    let fixture = Fixture::start();
    fixture.queue("mj", &["x@example.com"]).await;
    fixture.events.alert("<script>alert(1)</script>");
    fixture.routes.set("mailjet.starter", suspended(Cause::Login, "535 <b>no</b>"));
    let site = Site::start(&fixture, Readiness::default()).await;
    let page = site.get("/").await.1;
    for text in
        ["out.webcrm.com", "1 messages", "mj", "suspended", "own-server.test-as", "&lt;script&gt;", "535 &lt;b&gt;"]
    {
        assert!(page.contains(text), "{text} is missing:\n{page}");
    }
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    site.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_anywhere() {
    let fixture = Fixture::start();
    let id = fixture.queue("test-as", &["x@example.com"]).await;
    let site = Site::start(&fixture, Readiness::default()).await;
    let mut shown = String::new();
    for path in ["/", "/readyz", "/metrics"] {
        shown.push_str(&site.get(path).await.1);
    }
    let all = Selection { all: true, ..Selection::default() };
    for command in [
        Command::List { which: Selection::default(), limit: None },
        Command::Show { id: id.to_string() },
        Command::Stats,
        Command::Routes,
        Command::Bounce { which: all, reason: "x".into() },
    ] {
        let dir = fixture.state_dir().to_owned();
        let work = move || {
            let mut items: Vec<Value> = Vec::new();
            socket::call(&dir, command, |item| items.push(item), |_| {}).unwrap();
            format!("{items:?}")
        };
        shown.push_str(&tokio::task::spawn_blocking(work).await.unwrap());
    }
    shown.push_str(&format!("{:?}", route("r", RouteKind::OwnServer)));
    shown.push_str(&format!("{:?}", Webhook::new("https://x.dk/".parse().unwrap(), Secret::new(CANARY))));
    site.stop().await;
    shown.push_str(&format!("{:?}", fixture.end().await));
    assert!(shown.contains("x@example.com"), "the canary was looked for where something is shown");
    assert!(!shown.contains(CANARY));
}
