//! A customer's server that answers without measure: its replies fill neither memory nor disk, and do not push out what is known of
//! others.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use crate::rounds;
use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Site, USERNAME, plain_route};

/// The longest event: its reply, clipped, and what stands around it.
const LONGEST_EVENT: usize = 4 << 10;

/// 32 KB in lines of a KB, the longest reply that is read.
fn long(code: &str) -> String {
    let line = format!("5.7.1 {}", "y".repeat(980));
    let lines: Vec<String> = (1..=32).map(|n| format!("{code}{}{line}", if n == 32 { ' ' } else { '-' })).collect();
    lines.join("\r\n")
}

#[test]
fn a_flood_of_refusals_with_long_texts_is_clipped() {
    let server = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.starts_with("RCPT").then(|| long(if line.contains("r1") { "450" } else { "550" }))),
    );
    let others = Capture::start();
    let site = Site::new(&[
        Customer { id: "a", domain: "a.example", route: plain_route(server.address) },
        Customer { id: "b", domain: "b.example", route: plain_route(others.address) },
    ]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let heard = client.send("x@b.example", &["c@example.net"], &message("x@b.example", "c@example.net", "theirs"));
    let theirs = queue_id(&heard.unwrap()).to_owned();
    let recipients: Vec<String> = (0..rounds(200, 1000)).map(|n| format!("r{n}@example.net")).collect();
    let to: Vec<&str> = recipients.iter().map(String::as_str).collect();
    for _ in 0..rounds(1, 10) {
        let heard = client.send("x@a.example", &to, &message("x@a.example", "r@example.net", "flood"));
        let id = queue_id(&heard.unwrap()).to_owned();
        site.wait_for_event("they are refused", |event| {
            event["queue_id"] == id.as_str() && event["event"] == "bounced" && event["recipient"] == "r99@example.net"
        });
    }
    let log = std::fs::read_to_string(site.path("state/events.jsonl")).unwrap();
    assert!(log.lines().all(|line| line.len() < LONGEST_EVENT));
    assert!(log.contains(&theirs), "what is known of others is still there");
    let heard = client.send("x@b.example", &["c@example.net"], &message("x@b.example", "c@example.net", "more"));
    queue_id(&heard.unwrap());
    others.wait_for(2, Duration::from_secs(20));
    relay.stop();
}

/// A server that says this to whoever comes, and then again and again the last part of it.
fn endless(greeting: String, then: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (greeting, then) = (greeting.clone(), then.clone());
            std::thread::spawn(move || {
                let mut out = &stream;
                let mut lines = BufReader::new(&stream).lines();
                let mut said = out.write_all(greeting.as_bytes());
                while said.is_ok() {
                    said = out.write_all(then.as_bytes());
                    if then.is_empty() && lines.next().is_none() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_reply_without_an_end_ends_the_connection_and_not_the_relay() {
    let flood = "y".repeat(64 << 10);
    let mut codes = String::new();
    for code in 0..1000 {
        let _ = write!(codes, "{code:03}-x\r\n");
    }
    let servers = [
        endless(String::new(), flood.clone()),
        endless("220-".to_owned(), flood),
        endless("220-x\r\n".to_owned(), "220-x\r\n".repeat(1000)),
        endless(String::new(), codes),
        endless(String::new(), "\r\n".repeat(1000)),
        endless(String::new(), "\0".repeat(1000)),
        endless("220 x\r\n".to_owned(), "250 x\r\n".repeat(1000)),
    ];
    for server in servers.into_iter().take(rounds(4, 7)) {
        let site = Site::new(&[Customer { id: "a", domain: "a.example", route: plain_route(server) }]);
        let relay = site.start();
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        let heard = client.send("x@a.example", &["b@example.net"], &message("x@a.example", "b@example.net", "x"));
        let id = queue_id(&heard.unwrap()).to_owned();
        // The last one offers no 8BITMIME, which the message needs.
        let is_told = |event: &serde_json::Value| event["event"] == "deferred" || event["event"] == "bounced";
        let event = site.wait_for_event("it is told of", |event| is_told(event) && event["queue_id"] == id.as_str());
        assert!(event.to_string().len() < LONGEST_EVENT, "{event}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", relay.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
        let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap();
        assert!(peak < 300 << 10, "{peak} KiB");
        relay.stop();
    }
}
