//! A sync that fails while mail is under way: what became of that mail is told all the same.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, get, plain_route};
use crate::support::skip::skip;

/// Attaches to the relay; from then on every sync fails, until this is killed.
fn fail_syncs(relay: &Running) -> Option<Child> {
    let options = ["-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO", "-p"];
    let mut strace =
        Command::new("strace").args(options).arg(relay.pid().to_string()).stderr(Stdio::null()).spawn().ok()?;
    let status = format!("/proc/{}/status", relay.pid());
    let patience = Instant::now() + Duration::from_secs(5);
    while !std::fs::read_to_string(&status)
        .ok()?
        .lines()
        .any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() == strace.id().to_string()))
    {
        if Instant::now() > patience || strace.try_wait().ok()?.is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // The other threads follow the first.
    std::thread::sleep(Duration::from_millis(200));
    Some(strace)
}

#[test]
fn what_ends_while_results_cannot_be_written_is_told() {
    let server = Capture::start();
    server.answer_after(Duration::from_secs(3));
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }]);
    let relay = site.start();
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let send = |client: &mut Client, subject: &str| {
        let mail = message("a@good.example", "b@example.net", subject);
        client.send("a@good.example", &["b@example.net"], &mail).unwrap()
    };
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
            event["event"] == "delivered" && event["id"] == id.as_str()
        });
    }
    relay.stop();
}
