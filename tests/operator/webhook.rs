//! The webhook against servers that fail, disappear, redirect and come back.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::post;
use postbud::events::{
    Action, Event, EventKind, Events, Filter, Running, Secret, Settings, Subject, Webhook, signature,
};
use postbud::message::CustomerId;
use postbud::time::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::contract;
use crate::relay::{CANARY, event, numbers, wait_until};

/// A receiver that answers with the statuses it was given, then with 200, and remembers what it took.
#[derive(Clone, Default)]
struct Receiver {
    statuses: Arc<Mutex<Vec<u16>>>,
    taken: Arc<Mutex<Vec<Value>>>,
    calls: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    elsewhere: Arc<Mutex<u32>>,
}

impl Receiver {
    fn taken(&self) -> Vec<usize> {
        numbers(&self.taken.lock().unwrap())
    }

    async fn serve(&self, listener: TcpListener) {
        let router = Router::new()
            .route("/hook", post(take))
            .route("/elsewhere", post(elsewhere))
            .route("/redirect", post(|| async { Redirect::temporary("/elsewhere") }))
            .with_state(self.clone());
        axum::serve(listener, router).await.unwrap();
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let timestamp: u64 = header("postbud-timestamp").parse().unwrap();
    assert!(Timestamp::now().as_secs().abs_diff(timestamp) < 60);
    // The receiver's own arithmetic, not postbud's.
    assert_eq!(header("postbud-signature"), format!("v1={}", python_hmac(timestamp, &body)));
    receiver.calls.lock().unwrap().push(header("postbud-batch"));
    let mut statuses = receiver.statuses.lock().unwrap();
    if !statuses.is_empty() {
        return StatusCode::from_u16(statuses.remove(0)).unwrap();
    }
    let batch: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(batch["batch"], header("postbud-batch"));
    receiver.bodies.lock().unwrap().push(body.to_vec());
    receiver.taken.lock().unwrap().extend(batch["events"].as_array().unwrap().iter().cloned());
    StatusCode::OK
}

async fn elsewhere(State(receiver): State<Receiver>) {
    *receiver.elsewhere.lock().unwrap() += 1;
}

fn python_hmac(timestamp: u64, body: &[u8]) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let script = "import hmac,hashlib,sys; print(hmac.new(b'canary-4f1d9c', sys.stdin.buffer.read(), hashlib.sha256).hexdigest())";
    let Ok(mut python) =
        Command::new("/usr/bin/python3").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    else {
        crate::skip::skip("webhook signature", "no python3 to check it with");
        return signature(&Secret::new(CANARY), timestamp, body).trim_start_matches("v1=").to_owned();
    };
    let mut input = python.stdin.take().unwrap();
    input.write_all(format!("{timestamp}.").as_bytes()).unwrap();
    input.write_all(body).unwrap();
    drop(input);
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

fn start(dir: &Path, url: &str, change: impl FnOnce(&mut Settings)) -> (Events, Running) {
    let webhooks = vec![quick("webcrm", url)];
    let mut settings = Settings { state_dir: dir.to_owned(), webhooks, ..Settings::default() };
    change(&mut settings);
    Events::start(settings).unwrap()
}

fn quick(name: &str, url: &str) -> Webhook {
    Webhook {
        linger: Duration::from_millis(5),
        retry_first: Duration::from_millis(5),
        retry_longest: Duration::from_millis(50),
        batch_events: 10,
        ..Webhook::new(name, url.parse().unwrap(), Secret::new(CANARY))
    }
}

/// The name of a counter or gauge of the only webhook.
fn of(metric: &str) -> String {
    format!("{metric}{{webhook=\"webcrm\"}}")
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_signed_and_in_order_though_calls_fail() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, url) = listen().await;
    let receiver = Receiver::default();
    receiver.statuses.lock().unwrap().extend([500, 429, 413, 404, 302]);
    let server = receiver.clone();
    tokio::spawn(async move { server.serve(listener).await });
    let (events, running) = start(dir.path(), &url, |_| ());
    (0..55).for_each(|n| events.emit(event(n)));
    wait_until("all were taken", || receiver.taken().len() >= 55).await;
    assert_eq!(receiver.taken(), (0..55).collect::<Vec<_>>());
    assert!(receiver.calls.lock().unwrap().len() >= 11, "five refusals and batches of at most ten");
    running.stop().await;
}

#[test]
fn events_are_posted_without_the_environments_proxies() {
    crate::proxies::passes_without_the_environments_proxies(
        "webhook::every_event_arrives_signed_and_in_order_though_calls_fail",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_webhook_hears_everything_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, url) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    for round in 0..2 {
        let (events, running) = start(dir.path(), &url, |_| ());
        (0..20).for_each(|n| events.emit(event(round * 20 + n)));
        wait_until("a call failed", || metrics(&events).contains(&format!("{} 1", of("webhook_failures_total")))).await;
        running.stop().await;
    }
    let receiver = Receiver::default();
    let server = receiver.clone();
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { server.serve(listener).await });
    let (events, running) = start(dir.path(), &url, |_| ());
    wait_until("all were taken", || receiver.taken().len() >= 40).await;
    assert_eq!(receiver.taken(), (0..40).collect::<Vec<_>>());
    // The answer to the last call is in as well.
    let behind = format!("{} 0\n", of("webhook_behind_bytes"));
    wait_until("nothing waits", || metrics(&events).contains(&behind)).await;
    running.stop().await;

    // What was taken does not come again.
    let (events, running) = start(dir.path(), &url, |_| ());
    events.emit(event(40));
    wait_until("the new one was taken", || receiver.taken().len() > 40).await;
    assert_eq!(receiver.taken().len(), 41);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_dead_webhook_is_behind_is_measured_and_falls_to_nothing_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, url) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let log = dir.path().join("events.jsonl");
    let (events, running) = start(dir.path(), &url, |settings| settings.log = Some(log.clone()));
    let is_behind = |octets: u64| metrics(&events).contains(&format!("{} {octets}\n", of("webhook_behind_bytes")));
    events.emit(event(0));
    wait_until("a call failed", || !metrics(&events).contains(&format!("{} 0\n", of("webhook_failures_total")))).await;
    (1..20).for_each(|n| events.emit(event(n)));
    let all_is_logged = || std::fs::read_to_string(&log).unwrap().contains("\"message_id\":\"19\"");
    wait_until("all is in the log", all_is_logged).await;
    let logged = std::fs::metadata(&log).unwrap().len();
    wait_until("the whole log waits", || is_behind(logged)).await;

    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { Receiver::default().serve(listener).await });
    wait_until("nothing waits", || is_behind(0)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rotates_away_before_a_dead_webhook_is_back_raises_an_alert_and_the_rest_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, url) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (events, running) = start(dir.path(), &url, |settings| {
        settings.rotate_size = 2048;
        settings.retention.size = 2048;
        settings.webhooks[0].alert_after = Duration::ZERO;
    });
    (0..200).for_each(|n| events.emit(event(n)));
    let is_open = || events.is_open(&Subject::Webhook("webcrm".into()));
    wait_until("somebody was told", is_open).await;
    let is_written = || {
        let files = std::fs::read_dir(dir.path()).unwrap().flatten();
        let texts = files.filter_map(|file| {
            let octets = std::fs::read(file.path()).ok()?;
            let is_archive = file.path().extension().is_some_and(|ending| ending == "zst");
            if is_archive { zstd::stream::decode_all(&octets[..]).ok() } else { Some(octets) }
        });
        texts.into_iter().any(|text| String::from_utf8_lossy(&text).contains("\"message_id\":\"199\""))
    };
    wait_until("the log holds the last", is_written).await;
    let disk = || -> u64 {
        // One that is being closed has two forms for a moment.
        let files = std::fs::read_dir(dir.path()).unwrap().filter_map(|file| file.ok()?.metadata().ok());
        files.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
    };
    wait_until("what is too much has left", || disk() < 3 * 2048).await;
    let receiver = Receiver::default();
    let server = receiver.clone();
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { server.serve(listener).await });
    wait_until("the newest was taken", || receiver.taken().contains(&199)).await;
    let notices = events.alerts().notices;
    assert!(notices.iter().any(|alert| alert.detail.as_deref().unwrap().contains("misses events")), "{notices:?}");
    wait_until("the alert is over", || !is_open()).await;
    let gaps = metrics(&events);
    let gaps = gaps.lines().find_map(|line| line.strip_prefix(&of("webhook_gaps_total"))).expect("a counter");
    let gaps: usize = gaps.trim().parse().unwrap();
    let taken = receiver.taken();
    // A batch that was read before its file left may still arrive before what is left. Each hole was counted, the first one too.
    let before_first = usize::from(taken[0] != 0);
    let holes = before_first + taken.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(taken.len() < 200 && taken.is_sorted() && (1..=2).contains(&holes), "the newest: {taken:?}");
    assert!(gaps >= holes, "{holes} holes, of which {gaps} were counted: {taken:?}");
    assert!(disk() < 3 * 2048 + 1024, "{} octets", disk());
    running.stop().await;
}

fn of_customer(number: usize, customer: &str) -> Event<'static> {
    let audit = Event::audit("a test", Action::QueueRetry, "a numbered event", Timestamp::now());
    Event { message_id: Some(number.to_string().into()), customer: Some(customer.to_owned().into()), ..audit }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_webhook_hears_what_its_filter_names_and_a_dead_one_holds_no_other_up() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, dead_url) = listen().await;
    drop(dead);
    let (mut hooks, mut receivers) = (vec![quick("dead", &dead_url)], Vec::new());
    let customers = |ids: &[&str]| Some(ids.iter().map(|id| CustomerId::new(id)).collect());
    let filters = [
        ("all", Filter::default()),
        ("of-a", Filter { kinds: None, customers: customers(&["a"]) }),
        ("alerts", Filter { kinds: Some([EventKind::Alert].into()), customers: None }),
        ("of-nobody", Filter { kinds: None, customers: customers(&["nobody"]) }),
    ];
    for (name, filter) in filters {
        let (listener, url) = listen().await;
        let receiver = Receiver::default();
        let server = receiver.clone();
        tokio::spawn(async move { server.serve(listener).await });
        receivers.push(receiver);
        hooks.push(Webhook { filter, ..quick(name, &url) });
    }
    let settings = |webhooks: &[Webhook]| Settings {
        state_dir: dir.path().to_owned(),
        webhooks: webhooks.to_vec(),
        ..Settings::default()
    };
    let (events, running) = Events::start(settings(&hooks)).unwrap();
    for n in 0..50 {
        events.emit(of_customer(n, if n % 5 == 0 { "a" } else { "b" }));
    }
    let [all, of_a, alerts, of_nobody] = receivers.as_slice() else { panic!("four receivers") };
    wait_until("all were taken", || all.taken().len() >= 50 && of_a.taken().len() >= 10).await;
    assert_eq!(all.taken(), (0..50).collect::<Vec<_>>());
    assert_eq!(of_a.taken(), (0..10).map(|n| n * 5).collect::<Vec<_>>());
    // What a filter passes over does not hold the cursor up.
    let is_behind = |name: &str| {
        let metric = format!("webhook_behind_bytes{{webhook=\"{name}\"}} 0\n");
        !metrics(&events).contains(&metric)
    };
    wait_until("the choosy ones are at the end", || !is_behind("alerts") && !is_behind("of-nobody")).await;
    assert!(is_behind("dead"));
    events.alert("look");
    wait_until("the alert was taken", || !alerts.taken.lock().unwrap().is_empty()).await;
    assert!(of_nobody.bodies.lock().unwrap().is_empty());
    running.stop().await;

    // Each goes on from where it was; the dead one from its beginning.
    let (listener, url) = listen().await;
    let late = Receiver::default();
    let server = late.clone();
    tokio::spawn(async move { server.serve(listener).await });
    hooks[0].url = url.parse().unwrap();
    let (events, running) = Events::start(settings(&hooks)).unwrap();
    events.emit(of_customer(50, "a"));
    wait_until("all were taken", || late.taken().len() >= 51 && of_a.taken().len() >= 11).await;
    wait_until("the last was taken", || all.taken().contains(&50)).await;
    assert_eq!(late.taken(), (0..51).collect::<Vec<_>>());
    assert_eq!(of_a.taken().last(), Some(&50));
    assert_eq!((of_a.taken().len(), all.taken().len()), (11, 51), "nothing comes again");
    running.stop().await;

    // Where a batch ends the next one begins, and a reader of the log can go on from there.
    let bodies = late.bodies.lock().unwrap().clone();
    let calls: Vec<Value> = bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
    assert!(calls.windows(2).all(|pair| pair[0]["next"] == pair[1]["batch"]), "{calls:#?}");
    assert!(calls.iter().all(|call| call["webhook"] == "dead"));
    contract::check_calls(&[bodies, alerts.bodies.lock().unwrap().clone()].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (listener, url) = listen().await;
    let receiver = Receiver::default();
    let server = receiver.clone();
    tokio::spawn(async move { server.serve(listener).await });
    let (events, running) = start(dir.path(), &url.replace("/hook", "/redirect"), |_| ());
    events.emit(event(1));
    wait_until("it failed twice", || metrics(&events).contains(&format!("{} 2", of("webhook_failures_total")))).await;
    running.stop().await;
    assert_eq!(*receiver.elsewhere.lock().unwrap(), 0);
}

fn metrics(events: &Events) -> String {
    let mut registry = postbud::metrics::registry();
    events.counters().register(&mut registry);
    postbud::metrics::Format::Text.encode(&registry)
}
