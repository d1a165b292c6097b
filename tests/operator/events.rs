//! The event log: every event, whole lines, bounded files.

use std::collections::HashSet;

use postbud::events::{Event, EventKind, Events, Settings, Subject};
use postbud::message::CustomerId;
use postbud::record::journal::Retention;
use postbud::spool::embedded::{self, Embedded};
use postbud::spool::{Commit, Draft, Spool};

use crate::drafts::draft;
use crate::relay::{event, logged, numbers};

fn settings(dir: &std::path::Path) -> Settings {
    Settings { log: Some(dir.join("events.jsonl")), state_dir: dir.to_owned(), ..Settings::default() }
}

#[tokio::test]
async fn every_event_of_many_threads_is_one_line_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (events, running) = Events::start(settings(dir.path())).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let events = events.clone();
            scope.spawn(move || (0..2_000).for_each(|n| events.emit(event(thread * 2_000 + n))));
        }
    });
    running.stop().await;
    let found = numbers(&logged(&dir.path().join("events.jsonl")));
    assert_eq!(found.len(), 16_000);
    assert_eq!(found.into_iter().collect::<HashSet<_>>().len(), 16_000);
}

#[tokio::test]
async fn the_log_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (events, running) = Events::start(settings(dir.path())).unwrap();
        events.emit(event(round));
        running.stop().await;
        events.emit(event(99));
    }
    assert_eq!(
        numbers(&logged(&dir.path().join("events.jsonl"))),
        [0, 1, 2],
        "what comes after the stop is not written"
    );
}

#[tokio::test]
async fn starts_that_fail_after_a_crash_have_nothing_told_twice() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let settings =
            embedded::Settings { dir: dir.path().join("spool"), min_free: 0, has_journal: true, ..Default::default() };
        Embedded::open(settings).unwrap()
    };
    let position = dir.path().join("events.jsonl.position");
    let log = dir.path().join("events.jsonl");
    let (_, mut running) = Events::start(settings(dir.path())).unwrap();
    let before = std::fs::read(&position).unwrap();
    let spool = open();
    running.follow(spool.clone());
    for n in 0..50 {
        let line = format!("{}\n", serde_json::to_string(&event(n)).unwrap());
        let _ = spool.commit(Draft { lines: line.into(), ..draft("x", &["a@b.dk"], n as u64, 10) }).await.unwrap();
    }
    spool.stop().await;
    assert!(running.stop().await);
    drop(spool);
    // As kill -9 leaves it: the place that is kept is that of a while ago.
    std::fs::write(&position, before).unwrap();
    // The spool is not to be had.
    for _ in 0..2 {
        let (_, running) = Events::start(settings(dir.path())).unwrap();
        running.stop().await;
    }
    let (_, mut running) = Events::start(settings(dir.path())).unwrap();
    let spool = open();
    running.follow(spool.clone());
    spool.stop().await;
    assert!(running.stop().await);
    assert_eq!(numbers(&logged(&log)), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn disk_is_bounded_and_the_newest_events_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bounded = Settings {
        rotate_size: 4096,
        retention: Retention { size: 4096, ..Retention::default() },
        ..settings(dir.path())
    };
    let (events, running) = Events::start(bounded).unwrap();
    (0..1_000).for_each(|n| events.emit(event(n)));
    running.stop().await;
    let mut files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_none_or(|ending| ending != "position"));
    // The file that is written has no number and comes last.
    files.sort_by_key(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.trim_end_matches(".zst").rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
    });
    let sizes: Vec<u64> = files.iter().map(|path| path.metadata().unwrap().len()).collect();
    let (current, closed) = sizes.split_last().unwrap();
    assert!(*current <= 4096 && closed.iter().sum::<u64>() <= 4096 && closed.len() > 1, "{files:?} {sizes:?}");
    let kept: Vec<usize> = files.iter().flat_map(|path| numbers(&logged(path))).collect();
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "without a hole");
    assert_eq!(kept.last(), Some(&999));
}

#[tokio::test]
async fn a_customers_flood_pushes_out_nobody_elses_events_and_what_is_left_out_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let bounded = Settings { rotate_size: 8 << 10, customer_share: Some(10 << 10), ..settings(dir.path()) };
    let (events, running) = Events::start(bounded).unwrap();
    let of = |customer: &'static str, kind: EventKind, reply: &str| Event {
        event: kind,
        customer: Some(customer.into()),
        reply: Some(reply.to_owned().into()),
        ..Event::alert("")
    };
    (0..10).for_each(|_| events.emit(of("quiet", EventKind::Relayed, "before")));
    const FLOOD: u64 = 1000;
    let reply = format!("later {}", "x".repeat(990));
    (0..FLOOD).for_each(|_| events.emit(of("flood", EventKind::Deferred, &reply)));
    events.emit(of("flood", EventKind::Bounced, "what became of it"));
    (0..10).for_each(|_| events.emit(of("quiet", EventKind::Relayed, "after")));
    running.stop().await;
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let all: Vec<_> = files.flat_map(|path| logged(&path)).collect();
    let count = |customer: &str, kind: &str| {
        all.iter().filter(|event| event["customer"] == customer && event["event"] == kind).count() as u64
    };
    assert_eq!(count("quiet", "relayed"), 20);
    assert_eq!(count("flood", "bounced"), 1);
    // Half of a quarter.
    let written = count("flood", "deferred");
    assert!((4..=5).contains(&written), "{written}");
    let told: u64 = all.iter().filter_map(|event| event["left_out"].as_u64()).sum();
    assert_eq!((count("flood", "omitted"), told), (1, FLOOD - written));
    assert_eq!(count("flood", "alert"), 1);
    let alerts = events.alerts();
    assert_eq!(alerts.open[0].alert.subject, Some(Subject::EventShare("flood".into())));
}

#[tokio::test]
async fn subscribers_and_the_status_page_hear_without_a_log() {
    let events = Events::default();
    let mut heard = events.subscribe();
    events.emit(event(1));
    events.alert("the password was refused");
    assert_eq!(heard.recv().await.unwrap().message_id.as_deref(), Some("1"));
    assert_eq!(heard.recv().await.unwrap().event, EventKind::Alert);
    let alerts = events.alerts().notices;
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].detail.as_deref(), Some("the password was refused"));
}

#[tokio::test]
async fn a_subscriber_that_sleeps_holds_nobody_up() {
    let events = Events::default();
    let mut heard = events.subscribe();
    (0..10_000).for_each(|n| events.emit(event(n)));
    assert!(heard.recv().await.is_err(), "it is told that it missed some");
    assert!(heard.recv().await.is_ok(), "and goes on");
}

#[test]
fn fields_that_do_not_apply_are_absent() {
    let customer = CustomerId::new("x");
    let bare = Event::of_customer(EventKind::Paused, &customer, "why");
    let json = serde_json::to_value(&bare).unwrap();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["at", "customer", "detail", "event", "event_id"]);
}
