//! Mail that cannot be read although it is not damaged.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use postbud::message::QueueId;
use postbud::smtp::Domain;
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{self, Commit, Filter, Inspect, Intervene, LinesById, Notice, Spool, Work};

use super::rig::{open, reopen, written};
use crate::backend::settings;
use crate::drafts::{backoff, content, draft, lane, soon};
use crate::port::{claim_all, stats_of};

const ALONE: &str = "POSTBUD_TEST_ALONE";

#[tokio::test]
async fn where_no_file_can_be_opened_for_now_nothing_is_put_on_hold() {
    // The limit is the whole process': it has one of its own.
    if std::env::var_os(ALONE).is_none() {
        let name = "embedded::unreadable::where_no_file_can_be_opened_for_now_nothing_is_put_on_hold";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let out = alone.args(["--exact", name]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        return assert!(out.status.success() && said.contains("1 passed"), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    for seed in 0..3 {
        let _ = spool.commit(draft("x", &["a@b.dk"], seed, 1000)).await.unwrap();
    }
    spool.stop().await;
    drop(spool);
    let reopened = reopen(dir.path());
    // Has a segment made for it: what is written from here on needs no new file.
    let _ = reopened.spool.commit(draft("y", &["a@b.dk"], 9, 1000)).await.unwrap();
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let none = rustix::process::Rlimit { current: Some(1), ..limits };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, none).unwrap();
    let error = reopened.spool.claim(&lane("x"), soon(), 10, &backoff()).await.err().unwrap();
    let listed = reopened.spool.list(Filter::default(), 10).await.err().unwrap();
    let in_domain = Filter { recipient_domain: Some(Domain::parse("b.dk").unwrap()), ..Filter::default() };
    let released = reopened.spool.release(in_domain, LinesById::new()).await.err().unwrap();
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limits).unwrap();
    for error in [error, listed, released] {
        assert!(spool::is_short_of_means(&error), "{error}");
    }
    assert_eq!(claim_all(&*reopened.spool, "x").await.len(), 3);
    assert!(reopened.notices.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_segment_that_cannot_be_opened_holds_its_own_mail_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let small = Settings { segment_size: 64 << 10, ..settings(dir.path()) };
    let spool = Embedded::open(small.clone()).unwrap();
    let mut ids = Vec::new();
    for seed in 0..40 {
        let customer = if seed % 2 == 0 { "x" } else { "y" };
        ids.push(spool.commit(draft(customer, &["a@b.dk"], seed, 5000)).await.unwrap().id());
    }
    spool.stop().await;
    drop(spool);
    let (segment, _) = written(dir.path()).remove(0);
    let bytes = fs::read(&segment).unwrap();
    let is_there = |seed: u64| memchr::memmem::find(&bytes, &content(seed, 5000).1).is_some();
    let lost: Vec<QueueId> = (0..40).filter(|seed| is_there(*seed)).map(|seed| ids[seed as usize]).collect();
    assert!((4..30).contains(&lost.len()));
    let reopened = reopen(dir.path());
    let aside = segment.with_extension("aside");
    fs::rename(&segment, &aside).unwrap();
    let claimed: BTreeSet<_> = [claim_all(&*reopened.spool, "x").await, claim_all(&*reopened.spool, "y").await]
        .iter()
        .flatten()
        .map(|lease| lease.record.id)
        .collect();
    let expected: BTreeSet<_> = ids.iter().copied().filter(|id| !lost.contains(id)).collect();
    assert_eq!(claimed, expected);
    let held = stats_of(&*reopened.spool, "x").await.held + stats_of(&*reopened.spool, "y").await.held;
    assert_eq!(held, lost.len() as u64);
    let notices = reopened.notices.lock().unwrap().clone();
    let told = |notice: &Notice| matches!(notice, Notice::Unreadable { why } if why.contains("No such file"));
    assert_eq!(notices.iter().filter(|notice| told(notice)).count(), 1, "once for them all: {notices:?}");
    let held: BTreeSet<QueueId> = notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Unread { id, why } if why.contains("No such file") => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(held, lost.iter().copied().collect(), "each is told as held");
    // An operator's command on all of it takes what there is.
    let seized = reopened.spool.seize(Filter::default(), 100).await.unwrap();
    assert_eq!(seized.len(), expected.len());
    assert_eq!(reopened.spool.list(Filter::default(), 100).await.unwrap().len(), expected.len());
    drop(seized);
    fs::rename(&aside, &segment).unwrap();
    assert_eq!(reopened.spool.release(Filter::default(), LinesById::new()).await.unwrap(), lost.len() as u64);
    let late = soon() + Duration::from_secs(3600);
    let mut again = Vec::new();
    for customer in ["x", "y"] {
        again.extend(reopened.spool.claim(&lane(customer), late, 100, &backoff()).await.unwrap());
    }
    assert_eq!(again.len(), ids.len());
}
