//! How fast the HTTP interface is on a large relay, and what it costs the path of a message. Run by hand, with a program that was built for
//! release:
//!
//!     POSTBUD_BINARY=target/release/postbud cargo nextest run --test api --run-ignored only --no-capture speed
//!
//! | target | bound |
//! |---|---|
//! | a list of 50 of a million queued messages | 50 ms |
//! | a customer is added to 10,000, with what a reload does, while no delivery is paused | 200 ms |
//! | p99 from the end of DATA to the 250, with the interface under load beside that without | 1.10 |
//!
//! `POSTBUD_SCALE_MESSAGES` is how many messages wait (1,000,000). The figures are printed with the bounds; nothing fails, because they
//! say as much about the machine.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postbud::message::Lane;
use postbud::smtp::Domain;
use postbud::spool::Draft;
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::support::capture::Capture;
use crate::support::drafts::{draft, fill, lane};
use crate::support::relay::{PASSWORD, USERNAME, plain_route};

/// A request for each of these, one after the other, is the load of a dashboard.
const DASHBOARD: [&str; 4] =
    ["/queue?limit=50", "/queue/stats", "/customers?limit=50", "/trace?customer=anna&limit=20"];

/// The median and the longest of some times.
fn figures(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("median {:.1?}, longest {:.1?}", times[times.len() / 2], times[times.len() - 1])
}

/// A held message for each seed. One of them has a recipient in a domain that no other has.
fn held(messages: u64) -> impl Fn(u64) -> Draft + Clone + Send + 'static {
    let lane = Lane { domain: Domain::parse("anna.example").unwrap(), ..lane("anna") };
    move |seed| {
        let to = if seed == messages * 9 / 10 { "b@rare.example" } else { "b@example.net" };
        let held = Some("kept for a measurement".to_owned());
        Draft { lane: lane.clone(), held, ..draft("", &[to], seed, 1000) }
    }
}

#[test]
#[ignore = "a measurement: a million messages"]
fn speed_of_lists_of_a_million_messages() {
    let messages = std::env::var("POSTBUD_SCALE_MESSAGES").map_or(1_000_000, |n| n.parse().expect("a number"));
    let Rig { site, relay, api } = Rig::start();
    relay.stop();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill(site.path("state/spool"), messages, held(messages)));
    let rig = Rig { relay: site.start(), site, api };
    let client = rig.client("read");
    for filter in ["", "&customer=anna", "&state=held", "&older_than_secs=1", "&sender=sender@test.dk"] {
        let ask = |_| {
            let began = Instant::now();
            let page = client.read(&format!("/queue?limit=50{filter}"));
            assert_eq!(page["items"].as_array().unwrap().len(), 50);
            began.elapsed()
        };
        println!("50 of {messages} messages{filter}: {} (bound: 50 ms)", figures((0..50).map(ask).collect()));
    }
    // One among all of them: the answers come in time, and lead to it.
    let (mut cursor, mut times, began) = (String::new(), Vec::new(), Instant::now());
    loop {
        let asked = Instant::now();
        let page = client.read(&format!("/queue?recipient_domain=rare.example{cursor}"));
        times.push(asked.elapsed());
        if page["items"].as_array().is_some_and(|items| !items.is_empty()) {
            break;
        }
        cursor = format!("&cursor={}", page["next"].as_str().expect("it is there"));
    }
    let answers = times.len();
    println!(
        "one of {messages} messages by its domain: {:.1?} in {answers} answers, {}",
        began.elapsed(),
        figures(times)
    );
    rig.relay.stop();
}

/// Adds customers to a relay, all with one key.
fn add_customers(rig: &Rig, count: u32) {
    fs::write(rig.site.path("keys/shared"), fs::read(rig.site.key("anna.example")).unwrap()).unwrap();
    let file = fs::read_to_string(rig.site.customer_file("anna")).unwrap();
    for n in 0..count {
        let text = file.replace("[\"anna.example\"]", &format!("[\"c{n}.example\"]"));
        let text = text.replace("../../keys/anna.example.pem", "../../keys/shared");
        fs::write(rig.site.customer_file(&format!("c{n}")), text).unwrap();
    }
    rig.relay.signal("HUP");
    rig.site.wait_for_event("the reload", |event| event["command"] == "configuration.reload");
}

/// Lets the mail of the first customer go to this server.
fn lead_to(rig: &Rig, server: &Capture) {
    let file = rig.site.customer_file("anna");
    let text = fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once("[route]\n").unwrap();
    fs::write(&file, format!("{before}[route]\n{}", plain_route(server.address))).unwrap();
    rig.relay.signal("HUP");
    rig.site.wait_for_event("the reload", |event| event["command"] == "configuration.reload");
}

#[test]
#[ignore = "a measurement: ten thousand customers"]
fn speed_of_adding_a_customer_to_ten_thousand() {
    const ADDED: usize = 20;
    let rig = Rig::start();
    let server = Capture::start();
    lead_to(&rig, &server);
    let before = rig.site.events().len();
    add_customers(&rig, 10_000);
    let reloaded = Instant::now();
    while rig.site.events()[before..].iter().all(|event| event["command"] != "configuration.reload") {
        assert!(reloaded.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    let client = rig.client("admin");
    let is_over = AtomicBool::new(false);
    let (quiet, busy) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                rig.submit("ole@anna.example", "x@example.com");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        std::thread::sleep(Duration::from_secs(5));
        let quiet = server.received().len();
        let mut times = Vec::new();
        for n in 0..ADDED {
            let body = json!({
                "id": format!("n{n}"), "name": "Ny A/S", "domains": [format!("n{n}.example")],
                "route": { "via": "own-server", "host": "127.0.0.1", "tls": "required" },
            });
            let began = Instant::now();
            let answer = client.post("/customers", &body.to_string());
            times.push(began.elapsed());
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        println!("adding a customer to 10,000: {} (bound: 200 ms)", figures(times));
        let at_once = std::thread::scope(|scope| {
            let add = |n: usize| {
                let client = &client;
                scope.spawn(move || {
                    let body = json!({
                        "id": format!("m{n}"), "name": "Ny A/S", "domains": [format!("m{n}.example")],
                        "route": { "via": "own-server", "host": "127.0.0.1", "tls": "required" },
                    });
                    let began = Instant::now();
                    assert_eq!(client.post("/customers", &body.to_string()).status, 201);
                    began.elapsed()
                })
            };
            let adding: Vec<_> = (0..5).map(add).collect();
            adding.into_iter().map(|added| added.join().unwrap()).collect()
        });
        println!("each of five that are added at once: {} (bound: 200 ms)", figures(at_once));
        let busy = server.received().len();
        is_over.store(true, Ordering::SeqCst);
        (quiet, busy)
    });
    let at: Vec<Instant> = server.received().iter().map(|mail| mail.at).collect();
    let longest = |range: std::ops::Range<usize>| {
        let gaps = at[range].windows(2).map(|pair| pair[1].duration_since(pair[0])).max();
        gaps.expect("mail was delivered meanwhile")
    };
    println!(
        "longest pause between deliveries: {:.1?} before, {:.1?} while customers were added ({} deliveries)",
        longest(0..quiet),
        longest(quiet..busy),
        busy - quiet
    );
    rig.relay.stop();
}

#[test]
#[ignore = "a measurement: some minutes of load"]
fn speed_of_the_path_of_a_message_beside_the_interface() {
    const ROUNDS: usize = 3;
    let requests: u64 = std::env::var("POSTBUD_API_RATE").map_or(50, |n| n.parse().expect("a number"));
    let rig = Rig::start();
    let server = Capture::start();
    lead_to(&rig, &server);
    fs::write(rig.site.path("password"), PASSWORD).unwrap();
    let client = rig.client("read");
    let bench = || -> f64 {
        let (target, password) = (rig.site.smtp.to_string(), rig.site.path("password"));
        let done = rig.site.run(&[
            "bench",
            &target,
            "--from",
            "ole@anna.example",
            "--recipient-domain",
            "example.com",
            "--username",
            USERNAME,
            "--password-from",
            password.to_str().unwrap(),
            "--tls",
            "off",
            "--rate",
            "200",
            "--duration",
            "15s",
            "--json",
        ]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let found: Value = serde_json::from_slice(&done.stdout).unwrap();
        found["end_of_data_to_250_ms"]["p99"].as_f64().unwrap()
    };
    bench();
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let alone = bench();
        let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        let beside = std::thread::scope(|scope| {
            scope.spawn(|| {
                let began = Instant::now();
                for number in 0.. {
                    let due = Duration::from_micros(1_000_000 * number / requests);
                    std::thread::sleep(due.saturating_sub(began.elapsed()));
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    client.read(DASHBOARD[number as usize % DASHBOARD.len()]);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
            let beside = bench();
            is_over.store(true, Ordering::SeqCst);
            beside
        });
        let answered = answered.into_inner();
        println!("round {round}: p99 {alone:.2} ms alone, {beside:.2} ms beside {answered} requests in 15 s");
        ratios.push(beside / alone);
    }
    ratios.sort_by(f64::total_cmp);
    println!("p99 with the interface under load beside that without: {:.2} (bound: 1.10)", ratios[ROUNDS / 2]);
    rig.relay.stop();
}
