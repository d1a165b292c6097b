//! Segment files as tests read and damage them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postbud::message::QueueId;
use postbud::spool::embedded::{Embedded, Settings};
use postbud::spool::{Backoff, Commit, Intervene, Notice, Notices, Work};

use crate::backend::settings;
use crate::drafts::{backoff, draft, lane, soon};
use crate::port::{bytes_of, content_of, delivered};

/// Opens the embedded spool in a folder.
pub fn open(dir: &Path) -> Arc<Embedded> {
    Embedded::open(settings(dir)).unwrap()
}

/// The segments that hold something, oldest first, and where their data ends.
pub fn written(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "seg"))
        .filter_map(|path| {
            // The spool may have renamed it since it was listed.
            let bytes = fs::read(&path).ok()?;
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            Some((path, end))
        })
        .filter(|(_, end)| *end > 64)
        .collect();
    found.sort();
    found
}

/// Puts behind `end` what a file has there that was another segment before.
pub fn make_used(path: &Path, end: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut older = vec![0; end as usize];
    file.read_exact_at(&mut older, 0).unwrap();
    // Sound frames, but under another segment's mark.
    let mark: [u8; 8] = older[64..72].try_into().unwrap();
    let all: Vec<usize> = memchr::memmem::find_iter(&older, &mark).collect();
    all.iter().for_each(|at| older[*at] ^= 0xFF);
    for n in 0..3 {
        file.write_all_at(&older[64..], end + n * (end - 64)).unwrap();
    }
}

pub fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

pub struct Reopened {
    pub spool: Arc<Embedded>,
    pub notices: Arc<Mutex<Vec<Notice>>>,
}

pub fn reopen(dir: &Path) -> Reopened {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let hear = move |notice| heard.lock().unwrap().push(notice);
    let spool = Embedded::open(Settings { notices: Notices::to(hear), ..settings(dir) }).unwrap();
    Reopened { spool, notices }
}

impl Reopened {
    /// Claims everything there is, checks each octet of it, and returns the ids.
    pub async fn sound_ids(&self, known: &BTreeMap<QueueId, (u64, usize)>) -> Vec<QueueId> {
        let mut ids = Vec::new();
        let late = soon() + Duration::from_secs(3600);
        // What is given back is due when the next start is asked.
        let at_once = Backoff { longest: Duration::ZERO, ..Backoff::default() };
        for lease in self.spool.claim(&lane("x"), late, 1000, &at_once).await.unwrap() {
            let (seed, size) = known[&lease.record.id];
            let expected = content_of(seed, size);
            assert_eq!(bytes_of(&lease).await, expected, "corrupt bytes of {}", lease.record.id);
            ids.push(lease.record.id);
        }
        ids.sort();
        ids
    }

    /// Returns true if a message, or something that may be it, was set aside.
    pub fn was_reported(&self, id: QueueId) -> bool {
        self.notices.lock().unwrap().iter().any(|notice| match notice {
            Notice::Quarantined { id: found, .. } => found.is_none_or(|found| found == id),
            Notice::Torn { .. } => true,
            _ => false,
        })
    }
}

/// A spool with 12 messages of which the first three are settled, and what is known of the others.
pub async fn filled(dir: &Path) -> (Arc<Embedded>, BTreeMap<QueueId, (u64, usize)>, Vec<QueueId>) {
    let spool = open(dir);
    let mut known = BTreeMap::new();
    for seed in 0..12 {
        let size = [50, 400, 3000][seed as usize % 3];
        let id = spool.commit(draft("x", &["a@b.dk"], seed, size)).await.unwrap().id();
        known.insert(id, (seed, size));
    }
    let mut settled = Vec::new();
    for lease in spool.claim(&lane("x"), soon(), 3, &backoff()).await.unwrap() {
        settled.push(lease.record.id);
        let result = delivered(&lease);
        spool.settle(lease, result).await.unwrap();
    }
    // Answered once the settlements are on disk.
    spool.sync().await.unwrap();
    (spool, known, settled)
}

/// The frames of a kind in a segment, first to last.
pub fn frames_of(path: &Path, kind: u8) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    let heads = memchr::memmem::find_iter(&bytes, &bytes[64..72]);
    heads.filter(|at| *at >= 64 && bytes.get(at + 16) == Some(&kind)).map(|at| at as u64).collect()
}

pub const STATE: u8 = 3;

pub const DUE: u8 = 4;
