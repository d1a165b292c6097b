//! Stopping and starting with mail in the queue: nothing is lost, and nothing is sent twice where the server had time to answer.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::capture::{Capture, Received};
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, free_port, get, plain_route};

fn subjects(received: &[Received]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for one in received {
        let header = String::from_utf8_lossy(one.header()).into_owned();
        let subject = header.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned();
        *counts.entry(subject).or_default() += 1;
    }
    counts
}

#[test]
fn mail_queued_before_a_restart_is_delivered_after_it() {
    let later = free_port();
    let site = Site::with(
        &[Customer { id: "good", domain: "good.example", route: plain_route(later) }],
        "[retry]\nfirst = \"1s\"\n",
    );
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for n in 0..20 {
        let mail = message("a@good.example", "b@example.net", &format!("n{n}"));
        queue_id(&client.send("a@good.example", &["b@example.net"], &mail).unwrap());
    }
    relay.stop();

    let server = Capture::scripted(&later.to_string(), Box::new(|_| None));
    let relay = site.start();
    let received = server.wait_for(20, Duration::from_secs(30));
    assert!(subjects(&received).values().all(|count| *count == 1));
    relay.stop();
    assert_eq!(server.received().len(), 20);
}

#[test]
fn a_stop_under_load_loses_nothing_and_sends_nothing_twice() {
    let server = Capture::start();
    server.answer_after(Duration::from_millis(20));
    let site = Site::with(
        &[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }],
        "[retry]\nfirst = \"1s\"\n",
    );
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let relay = site.start();
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let smtp = site.smtp;
                std::thread::spawn(move || {
                    let mut taken = Vec::new();
                    let Ok(mut client) = Client::login(smtp, USERNAME, PASSWORD) else { return taken };
                    for n in 0.. {
                        let subject = format!("r{round}s{sender}n{n}");
                        let mail = message("a@good.example", "b@example.net", &subject);
                        match client.send("a@good.example", &["b@example.net"], &mail) {
                            Ok(heard) if heard.starts_with("250") => taken.push(subject),
                            _ => return taken,
                        }
                    }
                    taken
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(400));
        relay.stop();
        acknowledged.extend(senders.into_iter().flat_map(|sender| sender.join().unwrap()));
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let relay = site.start();
    let received = server.wait_for(acknowledged.len(), Duration::from_secs(60));
    relay.stop();
    let counts = subjects(&received);
    let lost: Vec<_> = acknowledged.iter().filter(|subject| !counts.contains_key(*subject)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "sent twice: {twice:?}");
}

/// A site with another grace, its relay, and one message whose server does not answer the final dot for a long time.
fn stuck(grace: &str) -> (Site, Running, Capture) {
    let server = Capture::start();
    server.answer_after(Duration::from_secs(40));
    let site = Site::with(
        &[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }],
        "[retry]\nfirst = \"1s\"\n",
    );
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("shutdown_grace = \"{grace}\"\n{config}")).unwrap();
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mail = message("a@good.example", "b@example.net", "stuck");
    queue_id(&client.send("a@good.example", &["b@example.net"], &mail).unwrap());
    let patience = Instant::now() + Duration::from_secs(20);
    while !get(site.web, "/metrics").contains("postbud_attempts_total 1") {
        assert!(Instant::now() < patience, "no attempt");
        std::thread::sleep(Duration::from_millis(20));
    }
    (site, relay, server)
}

/// The route leads to a server that answers; what was acknowledged arrives there.
fn arrives_after_all(site: &Site) {
    let server = Capture::start();
    site.add(&Customer { id: "good", domain: "good.example", route: plain_route(server.address) });
    let relay = site.start();
    let received = server.wait_for(1, Duration::from_secs(30));
    assert_eq!(subjects(&received), HashMap::from([("stuck".to_owned(), 1)]));
    relay.stop();
}

#[test]
fn a_stop_takes_no_longer_than_the_grace_period() {
    let (site, relay, _server) = stuck("4s");
    // A message half sent, and a page half asked for.
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for line in ["MAIL FROM:<a@good.example>", "RCPT TO:<b@example.net>", "DATA"] {
        client.say(line).unwrap();
    }
    let mut page = TcpStream::connect(site.web).unwrap();
    page.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    let begun = Instant::now();
    relay.stop();
    // One grace after the other would take twice as long.
    assert!(begun.elapsed() < Duration::from_millis(7500), "{:?}", begun.elapsed());
    drop((client, page));
    arrives_after_all(&site);
}

#[test]
fn a_relay_that_stops_is_not_ready_while_deliveries_end() {
    let (site, relay, _server) = stuck("10m");
    assert!(get(site.web, "/readyz").starts_with("HTTP/1.0 200"));
    relay.signal("TERM");
    let patience = Instant::now() + Duration::from_secs(20);
    let page = loop {
        let page = get(site.web, "/readyz");
        if page.starts_with("HTTP/1.0 503") {
            break page;
        }
        assert!(Instant::now() < patience, "{page}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(page.contains("the relay is stopping"), "{page}");
    assert!(get(site.web, "/healthz").starts_with("HTTP/1.0 200"), "alive until it has stopped");
    relay.kill();
}

#[test]
fn a_second_signal_ends_the_relay_at_once_and_loses_nothing() {
    let (site, relay, _server) = stuck("10m");
    relay.signal("INT");
    let patience = Instant::now() + Duration::from_secs(20);
    while !relay.log().contains("a second signal") {
        assert!(Instant::now() < patience, "{}", relay.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    relay.signal("TERM");
    assert_eq!(relay.wait(), Some(1));
    arrives_after_all(&site);
}

#[test]
fn a_second_relay_on_the_same_state_refuses_to_start_and_the_first_goes_on() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }]);
    let relay = site.start();
    assert_eq!(site.start_unready().wait(), Some(1));
    assert_eq!(relay.log().matches("in use by another postbud").count(), 1, "{}", relay.log());
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mail = message("a@good.example", "b@example.net", "still");
    queue_id(&client.send("a@good.example", &["b@example.net"], &mail).unwrap());
    server.wait_for(1, Duration::from_secs(20));
    relay.stop();
}

#[test]
fn the_soft_limit_of_open_files_does_not_bound_the_connections() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }]);
    let relay = site.start_with_open_files(128);
    let clients: Vec<_> = (0..300).map(|_| Client::connect(site.smtp).unwrap()).collect();
    drop(clients);
    relay.stop();
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }]);
    let relay = site.start_with_full_log();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mail = message("a@good.example", "b@example.net", "unlogged");
    queue_id(&client.send("a@good.example", &["b@example.net"], &mail).unwrap());
    server.wait_for(1, Duration::from_secs(20));
    site.wait_for_event("relayed", |event| event["event"] == "relayed");
    // The reload says something in the log.
    relay.signal("HUP");
    site.wait_for_event("reloaded", |event| event["event"] == "audit");
    let listed = site.operate(&["queue", "list"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    relay.stop();
    assert_eq!(server.received().len(), 1);
}

#[test]
fn a_start_that_fails_without_a_log_keeps_its_exit_code() {
    let site = Site::new(&[]);
    let relay = site.start();
    let code = site.run_in_shell("run", "2>/dev/full").status.code();
    assert_eq!(code, Some(1));
    relay.stop();
}

#[test]
fn pages_and_metrics_tell_what_happened() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }]);
    let relay = site.start();
    assert!(get(site.web, "/healthz").starts_with("HTTP/1.0 200"));
    assert!(get(site.web, "/readyz").starts_with("HTTP/1.0 200"));
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let mail = message("a@good.example", "b@example.net", "counted");
    queue_id(&client.send("a@good.example", &["b@example.net"], &mail).unwrap());
    site.wait_for_event("relayed", |event| event["event"] == "relayed");
    let metrics = get(site.web, "/metrics");
    for wanted in ["postbud_spool_commits_total 1", "postbud_recipients_relayed_total 1"] {
        assert!(metrics.contains(wanted), "{wanted}\n{metrics}");
    }
    relay.stop();
}

#[test]
fn a_start_that_fails_has_tried_no_mail() {
    let later = free_port();
    let site = Site::with(
        &[Customer { id: "good", domain: "good.example", route: plain_route(later) }],
        "[retry]\nfirst = \"1s\"\n",
    );
    // The more there is to read, the longer a start takes.
    let many: Vec<String> = (0..500).map(|n| format!("\"d{n}.example\"")).collect();
    let customer = fs::read_to_string(site.customer_file("good")).unwrap();
    let domains = format!("domains = [\"good.example\", {}]", many.join(", "));
    fs::write(site.customer_file("good"), customer.replace("domains = [\"good.example\"]", &domains)).unwrap();
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    for n in 0..5 {
        let mail = message("a@good.example", "b@example.net", &format!("n{n}"));
        queue_id(&client.send("a@good.example", &["b@example.net"], &mail).unwrap());
    }
    relay.stop();

    let server = Capture::scripted(&later.to_string(), Box::new(|_| None));
    let taken = std::net::TcpListener::bind(site.smtp).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..3 {
        assert_eq!(site.start_unready().wait(), Some(1));
    }
    assert_eq!(server.received().len(), 0);
    drop(taken);
    let relay = site.start();
    let received = server.wait_for(5, Duration::from_secs(30));
    assert!(subjects(&received).values().all(|count| *count == 1));
    relay.stop();
}

#[test]
fn fewer_open_files_than_connections_are_named_at_the_start() {
    let site = Site::new(&[]);
    let relay = site.start_with_hard_limit_of_open_files(2_000);
    let log = relay.log();
    assert!(log.contains("2000 files may be open at once, but 21000 connections are allowed"), "{log}");
    relay.stop();
}
