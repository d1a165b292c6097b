//! Signals while the relay starts: only those that ask for its end end it.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, plain_route};

/// A configuration that takes a while to read.
fn slow_site(server: std::net::SocketAddr) -> Site {
    let site = Site::new(&[Customer { id: "first", domain: "first.example", route: plain_route(server) }]);
    let first = fs::read_to_string(site.customer_file("first")).unwrap();
    for n in 0..400 {
        let other = first.replace("domains = [\"first.example\"]", &format!("domains = [\"other-{n}.example\"]"));
        assert_ne!(other, first);
        fs::write(site.customer_file(&format!("other-{n}")), other).unwrap();
    }
    site
}

/// Waits for the first instruction of the program's own: what comes while the system loads it ends any process.
fn wait_for_main(relay: &Running) {
    let patience = Instant::now() + Duration::from_secs(20);
    let hang_up = 1 << (Signal::SIGHUP as u64 - 1);
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", relay.pid())).unwrap_or_default();
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
            u64::from_str_radix(line.trim(), 16).unwrap_or(0)
        };
        if (mask("SigBlk:") | mask("SigCgt:")) & hang_up != 0 {
            return;
        }
        assert!(Instant::now() < patience, "{status}");
        std::hint::spin_loop();
    }
}

fn send(relay: &Running, signal: Signal) {
    kill(Pid::from_raw(relay.pid() as i32), signal).expect("the relay is there");
}

#[test]
fn hang_ups_during_the_start_end_nothing_and_are_obeyed_once_it_is_complete() {
    let server = Capture::start();
    let site = slow_site(server.address);
    // Written before the start, which may be over before a key is made.
    site.add(&Customer { id: "new", domain: "new.example", route: plain_route(server.address) });
    let (new, aside) = (site.customer_file("new"), site.path("new.toml"));
    fs::rename(&new, &aside).unwrap();
    let relay = site.start_unready();
    wait_for_main(&relay);
    fs::rename(&aside, &new).unwrap();
    // Whatever the start has read, the reload reads the new customer.
    send(&relay, Signal::SIGHUP);
    let patience = Instant::now() + Duration::from_secs(60);
    while Client::connect(site.smtp).is_err() {
        send(&relay, Signal::SIGHUP);
        assert!(Instant::now() < patience, "{}", relay.log());
        std::thread::sleep(Duration::from_millis(1));
    }
    site.wait_for_event("the reload", |event| {
        event["command"] == "configuration.reload"
            && event["detail"].as_str().is_some_and(|detail| detail.contains("402 customers"))
    });
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let said = client.send("a@new.example", &["b@example.net"], &message("a@new.example", "b@example.net", "x"));
    queue_id(&said.unwrap());
    server.wait_for(1, Duration::from_secs(20));
    relay.stop();
}

#[test]
fn a_stop_during_the_start_ends_it_cleanly_whenever_it_comes() {
    let server = Capture::start();
    let site = slow_site(server.address);
    for (signal, pause) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 0), (Signal::SIGTERM, 20), (Signal::SIGTERM, 100)] {
        let relay = site.start_unready();
        wait_for_main(&relay);
        std::thread::sleep(Duration::from_millis(pause));
        send(&relay, Signal::SIGHUP);
        send(&relay, signal);
        assert_eq!(relay.wait(), Some(0), "{signal} after {pause} ms");
    }
    let log = fs::read_to_string(site.path("relay.log")).unwrap();
    assert!(log.contains("stopped before the start was complete"), "{log}");
}

#[test]
fn a_command_that_is_no_relay_ends_by_a_signal_as_usual() {
    use std::os::unix::process::ExitStatusExt;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_postbud"))
        .arg("hash-password")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn the_log_hides_addresses_where_that_is_wanted_and_the_record_does_not() {
    let server = Capture::start();
    let site = Site::new(&[Customer { id: "acme", domain: "acme.example", route: plain_route(server.address) }]);
    // A refusal at submission is in the log, with its sender.
    let refused = || {
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        let (from, to) = ("ole@stranger.example", "anna@example.net");
        let reply = client.send(from, &[to], &message(from, to, "x")).unwrap();
        assert!(reply.starts_with('5'), "{reply}");
    };
    let relay = site.start();
    refused();
    relay.stop();
    let shown = fs::read_to_string(site.path("relay.log")).unwrap();
    assert!(shown.contains("ole@stranger.example"), "{shown}");
    let relay = site.start_hiding_addresses();
    refused();
    relay.stop();
    let log = fs::read_to_string(site.path("relay.log")).unwrap();
    let hidden = &log[shown.len()..];
    assert!(hidden.contains("refused: ") && hidden.contains("…@stranger.example"), "{hidden}");
    assert!(!hidden.contains("ole@") && !hidden.contains("anna@"), "{hidden}");
    let told: Vec<_> = site.events().into_iter().filter(|event| event["event"] == "rejected").collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|event| event["sender"] == "ole@stranger.example"), "{told:?}");
}
