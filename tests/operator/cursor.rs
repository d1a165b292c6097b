//! Cursors: events in their order across rotation, compression and retention, and a reader that waits.

use std::time::Duration;

use postbud::events::{Events, Running, Settings};
use postbud::operate::events::EventPage;
use postbud::operate::socket;
use postbud::operate::socket::protocol::Command;
use postbud::record::erase::erase;
use postbud::record::journal::Retention;
use postbud::record::journal::cursor::{Cursor, CursorError};
use serde_json::Value;

use crate::relay::{Fixture, event, wait_until};

/// A journal whose files are tiny.
fn start(dir: &std::path::Path, size: u64) -> (Events, Running) {
    let settings = Settings {
        log: Some(dir.join("events.jsonl")),
        state_dir: dir.to_owned(),
        rotate_size: 2048,
        retention: Retention { size, ..Retention::default() },
        ..Settings::default()
    };
    Events::start(settings).unwrap()
}

fn number(event: &Value) -> usize {
    event["message_id"].as_str().unwrap().parse().unwrap()
}

/// Reads up to the end, `most` events at once. Returns their numbers, and the cursor after each page.
fn read(events: &Events, mut cursor: Cursor, most: usize) -> (Vec<usize>, Vec<Cursor>) {
    let journal = events.journal().unwrap();
    let (mut numbers, mut cursors) = (Vec::new(), vec![cursor.clone()]);
    loop {
        let page = journal.page(&cursor, most).unwrap();
        assert!(page.events.len() <= most);
        numbers.extend(page.events.iter().map(number));
        cursor = page.next;
        cursors.push(cursor.clone());
        if !page.more {
            return (numbers, cursors);
        }
    }
}

fn oldest(events: &Events) -> Cursor {
    let journal = events.journal().unwrap();
    journal.cursor(journal.oldest().unwrap())
}

async fn written(events: &Events, dir: &std::path::Path, last: usize) {
    let name = format!("\"message_id\":\"{last}\"");
    let log = dir.join("events.jsonl");
    let is_there = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains(&name));
    wait_until("the last is written", is_there).await;
    let journal = events.journal().unwrap();
    let len = || std::fs::metadata(&log).unwrap().len();
    wait_until("the last is synced", || journal.end().offset == len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_goes_on_where_it_was_across_rotation_compression_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let (events, running) = start(dir.path(), u64::MAX);
    (0..50).for_each(|n| events.emit(event(n)));
    written(&events, dir.path(), 49).await;
    let (first, early) = read(&events, oldest(&events), 7);
    assert_eq!(first, (0..50).collect::<Vec<_>>());
    (50..200).for_each(|n| events.emit(event(n)));
    running.stop().await;
    let archives = || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "zst"))
    };
    assert!(archives().count() > 5);
    let (events, running) = start(dir.path(), u64::MAX);
    for (page, cursor) in early.into_iter().enumerate() {
        let cursor: Cursor = cursor.to_string().parse().unwrap();
        for most in [1, 13, 1000] {
            let (rest, _) = read(&events, cursor.clone(), most);
            assert_eq!(rest, ((page * 7).min(50)..200).collect::<Vec<_>>(), "{cursor}, {most} at once");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_to_what_is_not_kept_is_refused_with_the_oldest_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (events, running) = start(dir.path(), u64::MAX);
    events.emit(event(0));
    written(&events, dir.path(), 0).await;
    let (_, cursors) = read(&events, oldest(&events), 1);
    running.stop().await;
    let (events, running) = start(dir.path(), 2000);
    (1..200).for_each(|n| events.emit(event(n)));
    running.stop().await;
    let (events, running) = start(dir.path(), 2000);
    let journal = events.journal().unwrap();
    let Err(CursorError::Gone { oldest: named }) = journal.page(&cursors[1], 10) else { panic!("it leads on") };
    assert_eq!(named, oldest(&events));
    let (left, _) = read(&events, named, 10);
    assert!(left.len() > 1 && left.len() < 199 && left.windows(2).all(|pair| pair[1] == pair[0] + 1), "{left:?}");
    assert_eq!(left.last(), Some(&199));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_cursor_of_this_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (events, running) = start(dir.path(), u64::MAX);
    (0..30).for_each(|n| events.emit(event(n)));
    written(&events, dir.path(), 29).await;
    let journal = events.journal().unwrap();
    let whole = oldest(&events).to_string();
    let (id, _) = whole.split_once('-').unwrap();
    let end = journal.end();
    for text in [
        // In the middle of a line, behind the end of a file, behind the end of all, of another journal.
        format!("{id}-1-7"),
        format!("{id}-1-999999"),
        format!("{id}-{}-{}", end.segment, end.offset + 1),
        format!("{id}-{}-0", end.segment + 1),
        whole.replace(id, "00000000"),
    ] {
        let cursor: Cursor = text.parse().unwrap();
        assert!(matches!(journal.page(&cursor, 10), Err(CursorError::Unknown)), "{text}");
    }
    running.stop().await;
    // The files are gone, and with them what the cursor led to.
    for file in std::fs::read_dir(dir.path()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let (events, running) = start(dir.path(), u64::MAX);
    let cursor: Cursor = whole.parse().unwrap();
    assert!(matches!(events.journal().unwrap().page(&cursor, 10), Err(CursorError::Unknown)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_stays_valid_when_a_recipient_is_erased() {
    let dir = tempfile::tempdir().unwrap();
    let (events, running) = start(dir.path(), u64::MAX);
    let of = |n: usize| {
        let mut event = event(n);
        event.recipient = Some(format!("r{}@x.dk", n % 2).into());
        event
    };
    (0..60).for_each(|n| events.emit(of(n)));
    written(&events, dir.path(), 59).await;
    let journal = events.journal().unwrap();
    let half = journal.page(&oldest(&events), 30).unwrap().next;
    assert_eq!(erase(journal.path(), "R1@x.dk").unwrap().events, 30);
    let mut rest = Vec::new();
    let mut cursor = half;
    loop {
        let page = journal.page(&cursor, 100).unwrap();
        rest.extend(page.events);
        cursor = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!(rest.len(), 30);
    assert!(rest.iter().all(|event| event["recipient"] == "r0@x.dk" || event["erased"] == true), "{rest:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_is_woken_by_the_next_event() {
    let fixture = Fixture::start();
    let ask = |since: String, wait_secs| {
        let state_dir = fixture.state_dir().to_owned();
        tokio::task::spawn_blocking(move || {
            let mut page = None;
            let command = Command::Events { since, limit: 10, wait_secs };
            socket::call(&state_dir, command, |item| page = Some(item), |_| {}).map_err(|error| error.to_string())?;
            serde_json::from_value::<EventPage>(page.unwrap()).map_err(|error| error.to_string())
        })
    };
    let newest = ask("newest".into(), 0).await.unwrap().unwrap();
    assert!(newest.events.is_empty() && !newest.more);
    let waiting = ask(newest.cursor.clone(), 60);
    // The socket takes this after the one that waits.
    assert!(ask(newest.cursor.clone(), 0).await.unwrap().unwrap().events.is_empty(), "there is nothing to tell");
    assert!(!waiting.is_finished());
    fixture.events.emit(event(7));
    let page = tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("nobody woke it").unwrap().unwrap();
    assert_eq!(page.events.iter().map(number).collect::<Vec<_>>(), [7]);
    let all = ask("oldest".into(), 0).await.unwrap().unwrap();
    assert_eq!((all.events.len(), &all.cursor), (1, &page.cursor));
    let refused = ask("yesterday".into(), 0).await.unwrap().unwrap_err();
    assert!(refused.contains("no cursor of this journal") && refused.contains("\"oldest\""), "{refused}");
    fixture.end().await;
}
