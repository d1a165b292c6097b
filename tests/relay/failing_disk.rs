//! Syncs that fail in a running relay: what became of mail under way is told all the same, and whoever asks hears that only a restart
//! helps.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, get, plain_route};
use crate::support::skip::skip;

/// Attaches to the thread that makes mail durable; from then on every sync of its fails, until this is killed.
fn fail_syncs(relay: &Running) -> Option<Child> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", relay.pid())).ok()?;
    let thread = tasks
        .flatten()
        .map(|task| task.path())
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "spool-commit"))?;
    let mut strace = Command::new("strace")
        .args(["-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO", "-p"])
        .arg(thread.file_name()?)
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let tracer = format!("TracerPid:\t{}", strace.id());
    let patience = Instant::now() + Duration::from_secs(5);
    while !std::fs::read_to_string(thread.join("status")).ok()?.lines().any(|line| line == tracer) {
        if Instant::now() > patience || strace.try_wait().ok()?.is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(strace)
}

/// A site, its relay, and a client that is logged in; the server answers the final dot after a while.
fn at_work(server: &Capture) -> (Site, Running, Client) {
    server.answer_after(Duration::from_secs(3));
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }]);
    let relay = site.start();
    let client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    (site, relay, client)
}

fn send(client: &mut Client, subject: &str) -> String {
    let mail = message("a@good.example", "b@example.net", subject);
    client.send("a@good.example", &["b@example.net"], &mail).unwrap()
}

#[test]
fn what_ends_while_results_cannot_be_written_is_told() {
    let server = Capture::start();
    let (site, relay, mut client) = at_work(&server);
    let ids: Vec<String> = (0..3).map(|n| queue_id(&send(&mut client, &format!("n{n}"))).to_owned()).collect();
    while !get(site.web, "/metrics").contains("postbud_attempts_total 3") {
        std::thread::sleep(Duration::from_millis(20));
    }
    let Some(mut strace) = fail_syncs(&relay) else {
        return skip("what_ends_while_results_cannot_be_written_is_told", "strace cannot attach here");
    };
    let refused = send(&mut client, "refused");
    strace.kill().unwrap();
    strace.wait().unwrap();
    assert!(refused.starts_with("451 "), "{refused}");
    for id in &ids {
        site.wait_for_event(&format!("{id} delivered"), |event| {
            event["event"] == "relayed" && event["queue_id"] == id.as_str()
        });
    }
    relay.stop();
}

#[test]
fn a_spool_that_has_given_up_is_neither_ready_nor_healthy_and_ends_the_relay() {
    let name = "a_spool_that_has_given_up_is_neither_ready_nor_healthy_and_ends_the_relay";
    let server = Capture::start();
    let (site, relay, mut client) = at_work(&server);
    // Its delivery is under way for a while.
    assert!(send(&mut client, "taken").starts_with("250 "));
    while !get(site.web, "/metrics").contains("postbud_attempts_total 1") {
        std::thread::sleep(Duration::from_millis(20));
    }
    let Some(mut strace) = fail_syncs(&relay) else { return skip(name, "strace cannot attach here") };
    assert!(get(site.web, "/readyz").starts_with("HTTP/1.0 200"));
    for n in 0..3 {
        // One connection each: a relay that is ending says good-bye to those who come back.
        let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
        let refused = send(&mut client, &format!("n{n}"));
        assert!(refused.starts_with("451 "), "{refused}");
    }
    for page in ["/readyz", "/healthz"] {
        let answer = get(site.web, page);
        assert!(answer.starts_with("HTTP/1.0 503") && answer.contains("until a restart"), "{answer}");
    }
    assert!(get(site.web, "/metrics").contains("postbud_spool_stopped 1"));
    strace.kill().unwrap();
    strace.wait().unwrap();
    let began = Instant::now();
    assert_eq!(relay.wait(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(server.received().len(), 1, "what was under way ended");
    // Started again on a sound disk it takes mail.
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    assert!(send(&mut client, "again").starts_with("250 "));
    relay.stop();
}

#[test]
fn while_nothing_can_be_written_the_relay_is_not_ready_and_finds_out_by_itself_when_it_can_be() {
    let name = "while_nothing_can_be_written_the_relay_is_not_ready_and_finds_out_by_itself_when_it_can_be";
    let server = Capture::start();
    let (site, relay, mut client) = at_work(&server);
    let Some(mut strace) = fail_syncs(&relay) else { return skip(name, "strace cannot attach here") };
    assert!(send(&mut client, "refused").starts_with("451 "));
    strace.kill().unwrap();
    strace.wait().unwrap();
    let answer = get(site.web, "/readyz");
    assert!(answer.starts_with("HTTP/1.0 503") && answer.contains("cannot be written for now"), "{answer}");
    assert!(get(site.web, "/healthz").starts_with("HTTP/1.0 200"));
    // No mail comes, as the relay is not ready.
    let patience = Instant::now() + Duration::from_secs(20);
    while !get(site.web, "/readyz").starts_with("HTTP/1.0 200") {
        assert!(Instant::now() < patience, "{}", get(site.web, "/readyz"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(get(site.web, "/metrics").contains("postbud_spool_troubled 0"));
    let told = |cured: bool| {
        move |event: &serde_json::Value| {
            event["event"] == "alert" && event["subject"] == "spool-writes" && (event["cured"] == true) == cured
        }
    };
    site.wait_for_event("the alert", told(false));
    site.wait_for_event("its end", told(true));
    relay.stop();
}
