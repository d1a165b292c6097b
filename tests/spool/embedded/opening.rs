//! Spools that cannot be opened.

use std::fs;

use postbud::spool::embedded::{Embedded, OpenError};
use postbud::spool::{Commit, Error, Spool};

use super::rig::{open, written};
use crate::backend::settings;
use crate::drafts::draft;

#[tokio::test]
async fn a_spool_of_another_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let _ = spool.commit(draft("x", &["a@b.dk"], 1, 100)).await.unwrap();
    spool.stop().await;
    drop(spool);
    let (path, _) = written(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[16] = 9;
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let refused = Embedded::open(settings(dir.path()));
    assert!(matches!(refused, Err(OpenError::OtherFormat { found: 9, known: 1, .. })));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn two_processes_cannot_have_one_spool() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let pid = std::process::id().to_string();
    let second = Embedded::open(settings(dir.path()));
    assert!(matches!(second, Err(OpenError::InUse { pid: found, .. }) if found == pid));
    spool.stop().await;
    let again = open(dir.path());
    assert!(matches!(spool.commit(draft("x", &["a@b.dk"], 1, 1)).await, Err(Error::Stopped(_))));
    drop(again);
}
