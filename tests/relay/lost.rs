//! Mail that the relay's own disk does not return any more: each of its recipients has a final event all the same, told once.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::client::{Client, message, queue_id};
use crate::support::relay::{Customer, PASSWORD, Running, Site, USERNAME, plain_route};
use crate::support::skip::skip;

const FROM: &str = "news@good.example";

/// A relay whose customer's server takes nobody for now, so that mail waits.
fn site() -> (Site, Capture) {
    let server = Capture::scripted(
        "127.0.0.1:0",
        Box::new(|line| line.starts_with("RCPT").then(|| "451 4.7.1 doubt-marker".to_owned())),
    );
    let site = Site::new(&[Customer { id: "good", domain: "good.example", route: plain_route(server.address) }]);
    (site, server)
}

/// Sends a mail that holds this text to these recipients, waits until it was tried, and gives its queue id.
fn waiting(site: &Site, to: &[&str], text: &str) -> String {
    let mut client = Client::login(site.smtp, USERNAME, PASSWORD).unwrap();
    let reply = client.send(FROM, to, &message(FROM, to[0], text)).unwrap();
    let id = queue_id(&reply).to_owned();
    site.wait_for_event("deferred", |event| event["event"] == "deferred" && event["queue_id"] == *id);
    id
}

fn segments(site: &Site) -> Vec<PathBuf> {
    let files = std::fs::read_dir(site.path("state/spool")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect()
}

/// Changes an octet of the spool where it holds this text: at most in so many places, from the first on.
pub fn damage(site: &Site, text: &str, most: usize) {
    for path in segments(site) {
        let mut octets = std::fs::read(&path).unwrap();
        let places: Vec<usize> = memchr::memmem::find_iter(&octets, text).take(most).collect();
        for at in &places {
            octets[*at] ^= 1;
        }
        if !places.is_empty() {
            return std::fs::write(&path, octets).unwrap();
        }
    }
    panic!("{text} is in no segment");
}

/// Attaches to the relay: from then on the disk returns nothing of these files, until this is killed.
fn fail_reads(relay: &Running, files: &[PathBuf]) -> Option<Child> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "trace=pread64,preadv2", "-e", "inject=pread64,preadv2:error=EIO"]);
    for path in files {
        strace.arg("-P").arg(path);
    }
    let mut strace = strace.args(["-p", &relay.pid().to_string()]).stderr(Stdio::null()).spawn().ok()?;
    let tracer = format!("TracerPid:\t{}", strace.id());
    let is_traced = |task: PathBuf| {
        std::fs::read_to_string(task.join("status")).is_ok_and(|status| status.lines().any(|line| line == tracer))
    };
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", relay.pid())).ok()?;
        if tasks.flatten().all(|task| is_traced(task.path())) {
            return Some(strace);
        }
        if Instant::now() > patience || strace.try_wait().ok()?.is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn of(site: &Site, id: &str, kind: &str) -> Vec<Value> {
    site.events().into_iter().filter(|event| event["queue_id"] == *id && event["event"] == kind).collect()
}

/// Waits for this kind of event of a message, one for each of so many recipients.
fn wait_for(site: &Site, count: usize, id: &str, kind: &str) -> Vec<Value> {
    site.wait_for_events(count, kind, |event| event["event"] == kind && event["queue_id"] == id)
}

fn queued(site: &Site) -> Vec<String> {
    let listed = site.operate(&["queue", "list", "--json"]);
    let lines = String::from_utf8(listed.stdout).unwrap();
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    lines.lines().map(id).collect()
}

#[test]
fn mail_that_the_disk_damages_ends_as_lost_for_each_recipient() {
    let (site, _server) = site();
    let relay = site.start();
    let body = waiting(&site, &["a@test.net", "b@test.net"], "first-marker");
    let envelope = waiting(&site, &["second-marker@test.net"], "second");
    let sound = waiting(&site, &["d@test.net"], "third");
    relay.kill();
    damage(&site, "first-marker", usize::MAX);
    damage(&site, "second-marker@test.net", usize::MAX);
    let relay = site.start();
    site.operate(&["queue", "retry", "--all"]);
    for (id, recipients) in [(&body, vec!["a@test.net", "b@test.net"]), (&envelope, vec!["second-marker@test.net"])] {
        let lost = wait_for(&site, recipients.len(), id, "lost");
        assert_eq!(lost.iter().map(|event| event["recipient"].as_str().unwrap()).collect::<Vec<_>>(), recipients);
        for event in lost {
            assert_eq!((&event["customer"], &event["sender"]), (&"good".into(), &FROM.into()), "{event}");
            assert!(event["detail"].as_str().unwrap().contains("quarantine"), "{event}");
        }
    }
    assert_eq!(queued(&site), [sound.as_str()]);
    let told = |site: &Site| site.events().iter().filter(|event| event["event"] == "lost").count();
    relay.stop();
    assert_eq!(told(&site), 3);
    // A process that died before it noted what it had told finds it in the record.
    std::fs::remove_file(site.path("state/spool/quarantine/TOLD")).unwrap();
    let relay = site.start();
    let noted = site.path("state/spool/quarantine/TOLD");
    let begun = Instant::now();
    while !noted.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it was not noted again");
        std::thread::sleep(Duration::from_millis(20));
    }
    relay.stop();
    assert_eq!(told(&site), 3);
    let traced = site.operate(&["trace", &body, "--json"]);
    assert!(String::from_utf8_lossy(&traced.stdout).contains("\"lost\""));
}

#[test]
fn mail_whose_result_is_damaged_is_held_until_somebody_decides_and_that_is_told() {
    let (site, _server) = site();
    let relay = site.start();
    let id = waiting(&site, &["a@test.net", "b@test.net"], "doubtful");
    // The last write before a crash may be incomplete, and leaves no doubt.
    waiting(&site, &["c@test.net"], "behind it");
    relay.kill();
    // The journal keeps the reply too, in a file of its own: only the spool's copy is damaged.
    damage(&site, "doubt-marker", 1);
    let relay = site.start();
    let held = wait_for(&site, 2, &id, "held");
    assert_eq!(
        held.iter().map(|event| event["recipient"].as_str().unwrap()).collect::<Vec<_>>(),
        ["a@test.net", "b@test.net"]
    );
    assert!(held.iter().all(|event| event["detail"].as_str().unwrap().contains("release or remove")), "{held:#?}");
    assert!(of(&site, &id, "lost").is_empty(), "it is not lost");
    let removed = site.operate(&["queue", "remove", &id, "--reason", "they have it"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    assert_eq!(wait_for(&site, 2, &id, "removed").len(), 2);
    relay.stop();
}

#[test]
fn an_operator_ends_mail_that_the_disk_does_not_return() {
    let (site, _server) = site();
    let relay = site.start();
    let id = waiting(&site, &["a@test.net", "b@test.net"], "unread");
    let Some(mut failing) = fail_reads(&relay, &segments(&site)) else {
        return skip("an_operator_ends_mail_that_the_disk_does_not_return", "strace cannot attach here");
    };
    site.operate(&["queue", "retry", &id]);
    site.wait_for_event("alert", |event| {
        event["event"] == "alert" && event["detail"].as_str().unwrap().contains("cannot be read")
    });
    let held = wait_for(&site, 2, &id, "held");
    assert_eq!(held.len(), 2, "one for each recipient: {held:#?}");
    assert!(held.iter().all(|event| event["detail"].as_str().unwrap().contains("cannot be read")), "{held:#?}");
    let bounced = site.operate(&["queue", "bounce", &id, "--reason", "gone"]);
    let said = String::from_utf8_lossy(&bounced.stderr).into_owned();
    assert!(!bounced.status.success() && said.contains("queue remove"), "{said}");
    let removed = site.operate(&["queue", "remove", &id, "--reason", "its file is gone"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    let told = of(&site, &id, "removed");
    assert_eq!(
        told.iter().map(|event| event["recipient"].as_str().unwrap()).collect::<Vec<_>>(),
        ["a@test.net", "b@test.net"]
    );
    assert!(
        told.iter()
            .all(|event| event["actor"].is_string() && event["detail"].as_str().unwrap().contains("its file is gone"))
    );
    let stats = site.operate(&["queue", "stats", "--json"]);
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert_eq!(stats["messages"], 0);
    failing.kill().unwrap();
    failing.wait().unwrap();
    relay.stop();
}
