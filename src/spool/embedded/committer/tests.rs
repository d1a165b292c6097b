//! The committer without its thread: each test takes its steps one by one.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::super::encoded::Encoded;
use super::super::note::Change;
use super::super::read;
use super::super::shared::tests::in_folder;
use super::*;
use crate::message::QueueId;
use crate::spool::index::{Fact, LogEntry, calls};
use crate::spool::{Draft, RecipientState, Settlement};
use crate::test_records;

fn committer(dir: &std::path::Path) -> Committer {
    // The keeper's orders are not read.
    let (keeper, _) = mpsc::channel();
    Committer::new(Arc::new(in_folder(dir)), keeper)
}

/// A message for two recipients.
fn draft(id: QueueId) -> Draft {
    let record = test_records::record("a@test.dk", &["x@example.com", "y@example.com"]);
    Draft {
        id,
        lane: record.lane,
        envelope: record.envelope,
        message_id: record.message_id,
        prefix: Vec::new(),
        content: vec![b"Subject: x\r\n\r\ny\r\n".to_vec().into()],
        header_len: 12,
        retry_at: Timestamp::NEVER,
        held: None,
        lines: Vec::new(),
    }
}

fn result(id: QueueId) -> Change {
    Change::of(LogEntry::silent(id, Fact::Done))
}

#[test]
fn a_result_that_is_synced_together_with_a_copy_of_its_message_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut committer = committer(dir.path());
    let shared = Arc::clone(&committer.shared);
    let id = QueueId::from_u64(7);
    let draft = Encoded::draft(draft(id)).unwrap();
    committer.unwritten.push_back(Item::Draft(Box::new(draft), oneshot::channel().0));
    committer.write_all();
    // Compaction reads the message while an attempt runs, and its copy is in line before the result of the attempt.
    shared.index().lease(id);
    let wanted = shared.index().wanted(id).unwrap();
    let message = read::whole(&shared, &wanted).ok().unwrap();
    let copy = Encoded::copy(id, &message.meta, &message.state, message.content).unwrap();
    let record = read::record(&shared, &wanted).unwrap();
    let relayed = RecipientState::Relayed { reply: "250 ok".into() };
    let settlement = Settlement { results: vec![(0, relayed.clone())], ..Settlement::default() };
    let result = calls::settle(&mut shared.index(), record, settlement).unwrap();
    committer.unwritten.push_back(Item::Copy(Box::new(copy), oneshot::channel().0));
    committer.unwritten.push_back(Item::Change(Change::of(result), None));
    committer.write_all();
    let wanted = shared.index().wanted(id).unwrap();
    assert!(wanted.unwritten.is_none(), "it is synced");
    assert_eq!(read::record(&shared, &wanted).unwrap().recipients[0], relayed);
}

#[test]
fn a_result_whose_write_failed_does_not_count_as_synced_when_the_segment_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let mut committer = committer(dir.path());
    let active = Arc::clone(&committer.shared.active);
    let mut filling = active.lock();
    committer.make_room(&mut filling, 100, false).ok().unwrap();
    let place = Place { segment: 1, at: 64 };
    filling.unsynced.push(Unsynced { change: result(QueueId::from_u64(7)), place });
    filling.failed = Some(io::ErrorKind::StorageFull.into());
    assert!(matches!(committer.turn_over(&mut filling), Err(NoSegment::NotSynced(_))));
    assert_eq!(filling.unsynced.len(), 1, "it is written again");
    drop(filling);
    committer.failed([], &io::ErrorKind::StorageFull.into());
    assert!(matches!(committer.unwritten.front(), Some(Item::Change(..))) && active.lock().failed.is_none());
}

#[test]
fn results_that_were_synced_do_not_become_void_if_there_is_no_next_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut committer = committer(dir.path());
    let active = Arc::clone(&committer.shared.active);
    let mut filling = active.lock();
    committer.make_room(&mut filling, 100, false).ok().unwrap();
    filling.write(result(QueueId::from_u64(7))).unwrap();
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(matches!(committer.turn_over(&mut filling), Err(NoSegment::NoOther(_))));
    let end = filling.segment.as_ref().unwrap().end;
    assert!(filling.unsynced.is_empty() && end > SEGMENT_HEAD as u64);
    drop(filling);
    committer.failed([], &io::ErrorKind::Other.into());
    assert_eq!(committer.voids, [Place { segment: 1, at: end as u32 }]);
}

#[test]
fn refused_mail_stays_to_be_declared_void_as_long_as_the_next_segment_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let mut committer = committer(dir.path());
    let active = Arc::clone(&committer.shared.active);
    committer.voids.push(Place { segment: 1, at: 64 });
    committer.make_room(&mut active.lock(), 100, true).ok().unwrap();
    committer.sync(Instant::now(), &[]).unwrap();
    assert_eq!(committer.voids.len(), 1);
    committer.commit(Vec::new(), &mut Served::default()).unwrap();
    assert_eq!(committer.voids.len(), 0);
}

#[test]
fn barriers_alone_are_answered_without_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut committer = committer(dir.path());
    let (reply, mut answer) = oneshot::channel();
    committer.unwritten.push_back(Item::Barrier(reply));
    committer.write_all();
    assert!(matches!(answer.try_recv(), Ok(Ok(()))));
    assert!(committer.shared.active.lock().segment.is_none());
}
