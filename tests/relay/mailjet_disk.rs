//! Mailjet's events while the disk under the relay fails: what heard 200 is in the record, after a power cut and after the disk was full.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postbud::time::Timestamp;
use serde_json::{Value, json};

use crate::support::disks::{Memory, Mounted};
use crate::support::mailjet_events::{Rig, event};
use crate::support::skip::skip;

/// Mails whose events are brought.
const MAILS: usize = 30;

/// An opening in this second, which tells it from all others.
fn opened(id: &str, second: u64) -> Value {
    event("open", "a@x.example", id, &json!({"ip": "192.0.2.1", "agent": "Mail", "time": second}))
}

/// The seconds of all openings that the record tells of.
fn told(rig: &Rig) -> Vec<u64> {
    let second = |event: &Value| event["at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_secs();
    rig.site.events().iter().filter(|event| event["event"] == "opened").map(second).collect()
}

/// Waits until all of these are told, and sees that none is told twice.
fn wait_until_told(rig: &Rig, taken: &BTreeSet<u64>) {
    let begun = Instant::now();
    loop {
        let told = told(rig);
        let all: BTreeSet<u64> = told.iter().copied().collect();
        assert_eq!(all.len(), told.len(), "one is told twice");
        if taken.is_subset(&all) {
            return;
        }
        let missing = taken.difference(&all).count();
        assert!(begun.elapsed() < Duration::from_secs(60), "{missing} of {} are not told", taken.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Seconds of the last hours, each given once.
fn seconds() -> AtomicU64 {
    AtomicU64::new(Timestamp::now().as_secs() - 80_000)
}

#[test]
fn a_power_cut_loses_no_event_that_heard_200() {
    let name = "a_power_cut_loses_no_event_that_heard_200";
    let rig = Rig::new("opens = true\n", "", "");
    let disk = match Mounted::over("ext4", &rig.site.path("state")) {
        Ok(disk) => disk,
        Err(why) => return skip(name, &why),
    };
    let mut relay = rig.site.start();
    let ids: Vec<String> = (0..MAILS).map(|_| rig.send("a@x.example", "")).collect();
    rig.wait_for_metric("postbud_mailjet_relayed_total", |count| count == MAILS as f64);
    let (next, taken) = (seconds(), Mutex::new(BTreeSet::new()));
    for _ in 0..3 {
        let is_cut = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_cut.load(Ordering::SeqCst) {
                        let second = next.fetch_add(1, Ordering::SeqCst);
                        let body = opened(&ids[second as usize % MAILS], second).to_string();
                        let answer = rig.try_post(body.as_bytes());
                        // What is answered after the cut comes from a machine that would be dead.
                        if answer == Some(200) && !is_cut.load(Ordering::SeqCst) {
                            taken.lock().unwrap().insert(second);
                        }
                    }
                });
            }
            let (begun, before) = (Instant::now(), taken.lock().unwrap().len());
            while taken.lock().unwrap().len() < before + 15 {
                assert!(begun.elapsed() < Duration::from_secs(60), "the endpoint answers nobody");
                std::thread::sleep(Duration::from_millis(3));
            }
            is_cut.store(true, Ordering::SeqCst);
            disk.cut().unwrap();
        });
        relay.kill();
        disk.restart().unwrap();
        relay = rig.site.start();
        wait_until_told(&rig, &taken.lock().unwrap());
    }
    relay.stop();
}

#[test]
fn a_full_disk_is_said_to_mailjet_and_what_it_repeats_is_told_once() {
    let name = "a_full_disk_is_said_to_mailjet_and_what_it_repeats_is_told_once";
    let rig = Rig::new("opens = true\n", "", "");
    let disk = match Memory::over(&rig.site.path("state"), "size=96m,mode=700") {
        Ok(disk) => disk,
        Err(why) => return skip(name, &why),
    };
    let relay = rig.site.start();
    let id = rig.send("a@x.example", "");
    rig.wait_for_metric("postbud_mailjet_relayed_total", |count| count == 1.0);
    let filler = disk.fill(0);
    // The database may have room of its own for a while. What it takes there counts as taken.
    let (next, mut taken) = (seconds(), BTreeSet::new());
    let refused: Vec<u64> = loop {
        let seconds: Vec<u64> = (0..20).map(|_| next.fetch_add(1, Ordering::SeqCst)).collect();
        let group = Value::Array(seconds.iter().map(|second| opened(&id, *second)).collect());
        match rig.post(&group) {
            200 => taken.extend(seconds),
            503 => break seconds,
            other => panic!("{other}"),
        }
        assert!(taken.len() < 40_000, "the disk never got full");
    };
    rig.wait_for_metric("postbud_alerts_open{about=\"mailjet\"}", |count| count == 1.0);
    let group = Value::Array(refused.iter().map(|second| opened(&id, *second)).collect());
    let heard = std::thread::scope(|scope| {
        let mailjet = scope.spawn(|| rig.deliver(&group));
        rig.wait_for_metric("postbud_alerts_open{about=\"mailjet\"}", |count| count == 1.0);
        std::fs::remove_file(filler).unwrap();
        mailjet.join().unwrap()
    });
    assert!(heard.iter().all(|status| *status == Some(503)), "{heard:?}");
    taken.extend(refused);
    wait_until_told(&rig, &taken);
    rig.wait_for_metric("postbud_alerts_open{about=\"mailjet\"}", |count| count == 0.0);
    relay.stop();
}
