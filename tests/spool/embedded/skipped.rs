//! The parts of the log that the journal went on without.

use std::fs;

use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Commit, Draft, Outbox, Spool};

use super::rig::{frames_of, written};
use crate::backend::settings;
use crate::drafts::draft;
use crate::port::outbox;

const MESSAGE: u8 = 1;

#[tokio::test]
async fn events_in_a_part_that_the_disk_did_not_return_come_at_the_start_at_which_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { has_journal: true, ..settings(dir.path()) };
    let spool = Embedded::open(settings.clone()).unwrap();
    for line in ["first", "second", "third"] {
        let told = Draft { lines: format!("{line}\n").into_bytes(), ..draft("x", &["a@b.dk"], 1, 100) };
        let _ = spool.commit(told).await.unwrap();
    }
    let (told, end) = outbox(&*spool, None).await;
    assert_eq!(told, "first\nsecond\nthird\n");
    spool.stop().await;
    drop(spool);
    // As a start with a read error in the second message leaves it: the journal has gone on without it.
    let (segment, _) = written(dir.path()).remove(0);
    let frames = frames_of(&segment, MESSAGE);
    let name = segment.file_stem().unwrap().to_str().unwrap();
    let list = dir.path().join("quarantine/SKIPPED");
    fs::write(&list, format!("{name} {} {}\n", frames[1], frames[2])).unwrap();

    let spool = Embedded::open(settings.clone()).unwrap();
    let page = spool.lines(Some(end.clone())).await.unwrap();
    assert_eq!((String::from_utf8(page.lines).unwrap().as_str(), page.more), ("second\n", true));
    assert_eq!(page.position, end);
    spool.stop().await;
    drop(spool);
    // The journal has not confirmed it.
    let spool = Embedded::open(settings.clone()).unwrap();
    let page = spool.lines(Some(end.clone())).await.unwrap();
    assert_eq!(page.lines, b"second\n");
    spool.confirm(page.position.clone());
    assert_eq!(spool.lines(Some(page.position)).await.unwrap().lines, b"");
    assert_eq!(fs::read_to_string(&list).unwrap(), "");
    spool.stop().await;
    drop(spool);
    let spool = Embedded::open(settings.clone()).unwrap();
    assert_eq!(spool.lines(Some(end)).await.unwrap().lines, b"");
    spool.stop().await;
    drop(spool);
    // What lies behind the journal's position comes in its turn, and once.
    fs::write(&list, format!("{name} {} {}\n", frames[1], frames[2])).unwrap();
    let spool = Embedded::open(settings).unwrap();
    assert_eq!(outbox(&*spool, None).await.0, "first\nsecond\nthird\n");
}
