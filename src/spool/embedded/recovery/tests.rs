use std::sync::{Arc, Mutex};

use super::*;
use crate::spool::Notices;
use crate::spool::index::tests::put;
use crate::spool::next_try::NextTry;

/// One start with these messages in the log, in which the disk returns nothing of a stretch with the messages `hidden`. Returns what is
/// told, and the messages to hold.
fn start(dir: &Dir, in_log: &[u64], hidden: &[u64]) -> (Vec<Notice>, Vec<QueueId>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let notices = Notices::to(move |notice| heard.lock().unwrap().push(notice));
    let settings = Settings { notices, ..Settings::default() };
    let file = tempfile::tempfile().unwrap();
    let segment = SegmentFile { number: 1, mark: 7, file, len: 0, format: Some(FORMAT) };
    let mut start = Start::new(&dir.path, 2);
    for raw in in_log {
        put(&mut start.recovered.index, *raw, "x");
    }
    let ids = hidden.iter().copied().map(QueueId::from_u64).collect();
    let stretch = Stretch { segment: 1, mark: 7, start: 64, end: 4096, ids, why: "the disk does not return it".into() };
    let damage = Damage { segment: 0, torn: false, hidden: true, stretch };
    let damage = if hidden.is_empty() { Vec::new() } else { vec![damage] };
    let set_aside = start.set_aside_all(&settings, dir, &[segment], damage).unwrap();
    start.settle_list(&settings, &dir.path, &set_aside).unwrap();
    (told.lock().unwrap().clone(), start.recovered.returned)
}

fn spool() -> (tempfile::TempDir, Dir) {
    let folder = tempfile::tempdir().unwrap();
    quarantine::prepare(folder.path()).unwrap();
    let dir = Dir::open(folder.path()).unwrap();
    (folder, dir)
}

fn lost(told: &[Notice]) -> Vec<QueueId> {
    told.iter().filter_map(|notice| if let Notice::Quarantined { id, .. } = notice { *id } else { None }).collect()
}

#[test]
fn mail_that_the_disk_does_not_return_once_is_held_and_twice_is_lost() {
    let (_folder, dir) = spool();
    let [one, two] = [1, 2].map(QueueId::from_u64);
    let (told, _) = start(&dir, &[3], &[1, 2]);
    let held = |id| told.iter().any(|notice| matches!(notice, Notice::Unread { id: held, .. } if *held == id));
    assert!(held(one) && held(two) && lost(&told).is_empty(), "{told:?}");
    assert!(lost::untold(&dir.path).unwrap().0.is_empty());
    let (told, _) = start(&dir, &[3], &[1, 2]);
    assert_eq!(lost(&told), [one, two]);
    assert_eq!(lost::untold(&dir.path).unwrap().0.len(), 2);
    // It is told once.
    assert_eq!(start(&dir, &[3], &[1, 2]), (Vec::new(), Vec::new()));
}

#[test]
fn lost_mail_that_came_back_and_was_released_is_not_held_again() {
    let (_folder, dir) = spool();
    let id = QueueId::from_u64(1);
    lost::list(&dir.path, "a.record", (Fate::Lost, &[id]), "the disk does not return it").unwrap();
    let mut start = Start::new(&dir.path, 2);
    put(&mut start.recovered.index, 1, "x");
    start.note(1, Note::Hold { id, reason: RETURNED.into() });
    start.note(1, Note::Release { id, next: NextTry::at(Timestamp::EPOCH) });
    start.settle_list(&Settings::default(), &dir.path, &[]).unwrap();
    assert!(start.recovered.returned.is_empty() && lost::listed(&dir.path).unwrap().lost.is_empty());
}

#[test]
fn mail_that_the_disk_returns_is_never_lost_and_lost_mail_that_comes_back_is_held() {
    let (_folder, dir) = spool();
    let [one, two] = [1, 2].map(QueueId::from_u64);
    start(&dir, &[], &[1, 2]);
    // The disk returns one of them, and is sure that there is no other.
    let (told, returned) = start(&dir, &[1], &[]);
    assert_eq!((lost(&told), returned), (vec![two], vec![]));
    let (told, returned) = start(&dir, &[1, 2], &[]);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(returned, [two], "it may have been sent again");
    assert_eq!(start(&dir, &[], &[]), (Vec::new(), Vec::new()));
    assert!(!lost::listed(&dir.path).unwrap().lost.contains_key(&one));
}
