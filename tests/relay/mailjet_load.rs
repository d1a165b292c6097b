//! How many of Mailjet's events a second one core takes from the endpoint into the record. Run it by hand:
//!
//!     POSTBUD_BINARY=target/release/postbud cargo nextest run --test relay --run-ignored only --no-capture events_a_second
//!
//! The relay is bound to one core. Its journal tells beforehand of so many mails that Mailjet took; then each gets its `sent`, grouped as
//! Mailjet groups or alone, over some connections at once.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postbud::message::QueueId;
use postbud::time::Timestamp;
use serde_json::{Value, json};

use crate::support::mailjet_events::{Rig, event};
use crate::support::relay::get;

const EVENTS: usize = 30_000;

#[test]
#[ignore = "a measurement, not a check"]
fn grouped_events_a_second_on_one_core() {
    measure(200, 4);
}

/// As an account does that groups nothing: a connection and a request for each event.
#[test]
#[ignore = "a measurement, not a check"]
fn single_events_a_second_on_one_core() {
    measure(1, 16);
}

/// Brings all events, so many in each request, over so many connections at once.
fn measure(group: usize, connections: usize) {
    let rig = Rig::new("events_per_second = 1000000\n", "", "");
    // The first start notes where the journal ends.
    let relay = rig.site.start();
    rig.send("first@x.example", "");
    rig.wait_for_metric("postbud_mailjet_relayed_total", |count| count == 1.0);
    relay.stop();
    // Counted back from one moment, so that no two are the same.
    let now = Timestamp::now();
    let ids: Vec<QueueId> = (0..EVENTS as u64).map(|n| QueueId::first_at(now - Duration::from_millis(n))).collect();
    fs::File::options()
        .append(true)
        .open(rig.site.path("state/events.jsonl"))
        .unwrap()
        .write_all(relayed(&ids).as_bytes())
        .unwrap();
    let relay = rig.site.start();
    let bound = Command::new("taskset").args(["-a", "-p", "-c", "0", &relay.pid().to_string()]).output();
    assert!(bound.is_ok_and(|done| done.status.success()), "taskset of util-linux");
    rig.wait_for_metric("postbud_mailjet_relayed_total", |count| count == EVENTS as f64);

    let groups: Vec<String> = ids
        .chunks(group)
        .map(|ids| {
            ids.iter()
                .map(|id| event("sent", "a@x.example", &id.to_string(), &json!({"smtp_reply": "sent (250 2.0.0 OK)"})))
        })
        .map(|events| match group {
            1 => events.map(|event| event.to_string()).collect(),
            _ => Value::Array(events.collect()).to_string(),
        })
        .collect();
    let (next, began, cpu) = (AtomicUsize::new(0), Instant::now(), cpu_seconds(relay.pid()));
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    assert_eq!(rig.try_post(group.as_bytes()), Some(200));
                }
            });
        }
    });
    let answered = began.elapsed().as_secs_f64();
    let told = "postbud_events_total{event=\"delivered\"} ";
    while !get(rig.site.web, "/metrics").lines().any(|line| line.strip_prefix(told) == Some(&EVENTS.to_string())) {
        assert!(began.elapsed() < Duration::from_secs(60), "the record does not come to its end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (all, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(relay.pid()) - cpu);
    println!(
        "{EVENTS} events, {group} a request: answered in {answered:.2} s ({:.0}/s), in the record after {all:.2} s ({:.0}/s), {cpu:.2} s of CPU ({:.0} events a \
         CPU second)",
        EVENTS as f64 / answered,
        EVENTS as f64 / all,
        EVENTS as f64 / cpu,
    );
    relay.stop();
    // The contract was held against a part of it elsewhere, and takes longer than all of this.
    fs::remove_file(rig.site.path("state/events.jsonl")).unwrap();
}

fn relayed(ids: &[QueueId]) -> String {
    let at = Timestamp::now();
    ids.iter().fold(String::new(), |mut text, id| {
        writeln!(
            text,
            r#"{{"event_id":"{id}-1M84TD3KV-0r","at":"{at}","event":"relayed","queue_id":"{id}","message_id":"{id}@news.example","reference":"order {id}","campaign":"spring","customer":"news","from_domain":"news.example","sender":"nyt@news.example","recipient":"a@x.example","route":"mailjet.trusted","server":"in-v3.mailjet.com","attempt":1,"code":250,"reply":"OK queued as 1ab23cd4-e567-8901-2345-6789f0a1b2c3"}}"#
        )
        .unwrap();
        text
    })
}

/// User and system time of a process.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
