//! The web pages over real HTTP; and that no secret is on them, in the log, or in what commands show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postbud::events::{Secret, Webhook};
use postbud::metrics;
use postbud::operate::queue::Selection;
use postbud::operate::socket;
use postbud::operate::socket::protocol::Command;
use postbud::route::{Cause, RouteKind, RouteState};
use postbud::spool::{Filter, Intervene, LinesById};
use postbud::status::{Sources, router};
use postbud::web::{Endpoint, Readiness, Settings, serve};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::http;
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
            service: fixture.service.clone(),
        };
        let settings = Settings::plaintext("127.0.0.1:0".parse().unwrap());
        let endpoint = Endpoint::bind(settings, "relay.internal".to_owned()).await.unwrap();
        let address = endpoint.address().unwrap();
        let stopping = CancellationToken::new();
        let server = tokio::spawn(serve(endpoint, router(sources), stopping.clone()));
        Site { address: address.to_string(), stopping, server }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let client = postbud::http_client::builder().build().unwrap();
        let answer = client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Sends a request as it is; gives all that is answered.
    fn raw(&self, request: &str) -> String {
        http::text(&self.address, request.as_bytes()).expect("the pages answer")
    }

    fn ask(&self, path: &str, headers: &[(&str, &str)]) -> String {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"))
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
    assert!(text.contains("# TYPE postbud_alerts_total counter\n") && !text.contains("# EOF"), "{text}");
    let asked = [("Accept", "application/openmetrics-text;version=1.0.0;q=0.5, text/plain;q=0.3")];
    let answer = site.ask("/metrics", &asked);
    assert!(
        answer.contains("content-type: application/openmetrics-text; version=1.0.0") && answer.ends_with("# EOF\n")
    );
    let answer = site.ask("/metrics", &[("Accept", "text/plain; version=0.0.4")]);
    assert!(answer.contains("content-type: text/plain; version=0.0.4") && !answer.contains("# EOF"), "{answer}");
    assert!(answer.contains("vary: Accept"), "{answer}");
    site.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_stands_still_is_named_with_its_reason_though_the_relay_is_ready() {
    let fixture = Fixture::start();
    let site = Site::start(&fixture, Readiness::default()).await;
    assert!(site.get("/").await.1.contains("Ready: takes mail and sends it."));
    fixture.queue("mj", &["x@example.com"]).await;
    let held = fixture.queue("test-as", &["x@example.com"]).await;
    assert!(site.get("/").await.1.contains("Ready: takes mail and sends it."), "mail waits for its turn");
    fixture.spool.hold(Filter::one(held), "wait".into(), LinesById::new()).await.unwrap();
    fixture.routes.set("mailjet.starter", suspended(Cause::Login, "535 5.7.8"));
    let page = site.get("/").await.1;
    assert!(page.contains("Takes mail, but not all of it leaves.") && !page.contains("Ready: takes"), "{page}");
    let (_, still) = page.split_once("Mail that stands still").expect("a list");
    let (still, _) = still.split_once("</table>").unwrap();
    for row in [
        "<td>mj<td class=\"n\">1<td class=\"no\">route mailjet.starter is suspended: 535 5.7.8",
        "<td>test-as<td class=\"n\">1<td class=\"no\">held: ",
    ] {
        assert!(still.contains(row), "{row}: {still}");
    }
    fixture.routes.set("mailjet.starter", RouteState::Ready);
    fixture.spool.release(Filter::one(held), LinesById::new()).await.unwrap();
    assert!(site.get("/").await.1.contains("Ready: takes mail and sends it."));
    fixture.routes.set_in_trouble("mailjet.starter");
    let page = site.get("/").await.1;
    assert!(page.contains("route mailjet.starter has carried no mail since 2020-01-01 00:00:00 UTC"), "{page}");
    site.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_calls_the_pages_by_a_foreign_name_is_refused() {
    let fixture = Fixture::start();
    let site = Site::start(&fixture, Readiness::default()).await;
    let status = |request: String| site.raw(&request).split(' ').nth(1).unwrap_or_default().to_owned();
    for path in ["/", "/healthz", "/metrics", "/readyz", "/nothing"] {
        let expected = if path == "/nothing" { "404" } else { "200" };
        for host in [site.address.as_str(), "localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:8025", "relay.internal"]
        {
            let heard = status(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            assert_eq!(heard, expected, "{path} {host}");
        }
        for host in ["evil.example", "evil.example:8025", "192.0.2.1", "localhost.evil.example", "x@localhost"] {
            let heard = status(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            assert!(["421", "400"].contains(&heard.as_str()), "{path} {host}: {heard}");
        }
    }
    for (request, expected) in [
        ("GET /healthz HTTP/1.0\r\n\r\n", "200"),
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", "421"),
        ("GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", "421"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421"),
        ("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "421"),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "421"),
        ("GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "200"),
    ] {
        assert_eq!(status(request.to_owned()), expected, "{request}");
    }
    site.stop().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_keep_their_connections_or_never_end_a_request_lock_out_no_health_check() {
    const CLIENTS: usize = 200;
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let fixture = Fixture::start();
    let site = Site::start(&fixture, Readiness::default()).await;
    let connect = || async {
        let mut stream = tokio::net::TcpStream::connect(&site.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        (stream.write_all(REQUEST).await.unwrap(), stream).1
    };
    let is_answered = |mut stream: tokio::net::TcpStream| async {
        let mut answer = [0; 512];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await.expect("in time");
        (read.is_ok_and(|n| answer[..n].starts_with(b"HTTP/1.1 200 ")), stream)
    };
    let healthy = || async {
        let check = tokio::time::timeout(Duration::from_secs(5), site.get("/healthz")).await;
        assert_eq!(check.expect("a health check is answered"), (200, "ok\n".into()));
    };
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (answered, stream) = is_answered(connect().await).await;
        assert!(answered, "whoever comes gets in");
        clients.push(stream);
    }
    healthy().await;
    // All of them ask again, the last first: those that are still connected, and the others anew.
    let mut kept = 0;
    for mut client in std::mem::take(&mut clients).into_iter().rev() {
        let (answered, stream) = match client.write_all(REQUEST).await {
            Ok(()) => is_answered(client).await,
            Err(_) => (false, client),
        };
        kept += usize::from(answered);
        let stream = if answered { stream } else { is_answered(connect().await).await.1 };
        clients.push(stream);
    }
    assert!((100..CLIENTS).contains(&kept), "a connection carries more than one request, where there is room: {kept}");
    healthy().await;
    let mut stuck = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = tokio::net::TcpStream::connect(&site.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").await.unwrap();
        stuck.push(stream);
    }
    healthy().await;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        silent.push(tokio::net::TcpStream::connect(&site.address).await.unwrap());
    }
    healthy().await;
    drop((clients, stuck, silent));
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
    shown.push_str(&format!("{:?}", Webhook::new("webcrm", "https://x.dk/".parse().unwrap(), Secret::new(CANARY))));
    site.stop().await;
    shown.push_str(&format!("{:?}", fixture.end().await));
    assert!(shown.contains("x@example.com"), "the canary was looked for where something is shown");
    assert!(!shown.contains(CANARY));
}
