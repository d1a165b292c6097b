//! The checker: what was acknowledged, minus what was delivered, minus what is still queued, must be nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postbud::spool::embedded::Embedded;
use postbud::spool::{Filter, Intervene, Spool};

use crate::drafts::content;
use crate::driver::{settings, size};

/// What the driver said.
#[derive(Debug, Default)]
pub struct Log {
    pub acknowledged: BTreeSet<u64>,
    pub refused: BTreeSet<u64>,
    pub begun: BTreeSet<u64>,
    pub delivered: BTreeMap<u64, u32>,
    /// Delivered since results were last known to be durable.
    pub in_flight: u32,
    pub corrupted: u32,
    pub ended: bool,
}

impl Log {
    /// Takes one process' output; later ones add to it.
    pub fn add(&mut self, output: &str) {
        let mut unsure = 0;
        for line in output.lines() {
            let mut words = line.split(' ');
            let (what, seed) = (words.next().unwrap(), words.next().and_then(|seed| seed.parse().ok()).unwrap_or(0));
            match what {
                "B" => drop(self.begun.insert(seed)),
                "A" => drop(self.acknowledged.insert(seed)),
                "R" => drop(self.refused.insert(seed)),
                "C" => self.corrupted += 1,
                "D" => {
                    *self.delivered.entry(seed).or_default() += 1;
                    unsure += 1;
                }
                "Y" => unsure = 0,
                "E" => self.ended = true,
                // The test harness' own lines.
                _ => {}
            }
        }
        self.in_flight += unsure;
    }
}

impl Log {
    /// What a process said when nobody could hear it any more: none of it is acknowledged, any of it may have happened.
    pub fn add_unheard(&mut self, output: &str) {
        for line in output.lines() {
            let mut words = line.split(' ');
            let (what, seed) = (words.next().unwrap(), words.next().and_then(|seed| seed.parse().ok()).unwrap_or(0));
            match what {
                "B" => drop(self.begun.insert(seed)),
                "C" => self.corrupted += 1,
                "D" => {
                    *self.delivered.entry(seed).or_default() += 1;
                    self.in_flight += 1;
                }
                _ => {}
            }
        }
    }
}

/// What a check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub acknowledged: usize,
    pub queued: usize,
    pub lost: usize,
    pub corrupted: usize,
    /// Queued or delivered, but never sent, or refused for certain.
    pub unexpected: usize,
    pub duplicates: usize,
    pub in_flight: usize,
}

/// Opens what the crash left, reads everything in it, and compares it with the log.
pub async fn check(dir: &Path, log: &Log) -> Verdict {
    let mut verdict = Verdict {
        acknowledged: log.acknowledged.len(),
        corrupted: log.corrupted as usize,
        in_flight: log.in_flight as usize,
        duplicates: log.delivered.values().map(|times| *times as usize - 1).sum(),
        ..Verdict::default()
    };
    let spool = Embedded::open(settings(dir)).expect("the spool opens after every crash");
    let mut queued = BTreeSet::new();
    for lease in spool.seize(Filter::default(), usize::MAX).await.unwrap() {
        let seed: u64 = lease.record.message_id.split('@').next().unwrap().parse().unwrap();
        let (header, body) = content(seed, size(seed));
        if lease.bytes.chunk(0).await.ok() != Some([header, body].concat()) {
            verdict.corrupted += 1;
        }
        verdict.unexpected += usize::from(!log.begun.contains(&seed));
        verdict.duplicates += usize::from(log.delivered.contains_key(&seed) || !queued.insert(seed));
    }
    spool.stop().await;
    verdict.queued = queued.len();
    let is_there = |seed: &&u64| log.delivered.contains_key(seed) || queued.contains(seed);
    verdict.lost = log.acknowledged.iter().filter(|seed| !is_there(seed)).count();
    verdict.unexpected += log.delivered.keys().filter(|seed| !log.begun.contains(seed)).count();
    verdict
}

/// Refuses whatever a crash may not do.
pub fn assert_legal(verdict: &Verdict, what: &str) {
    eprintln!("{what}: {verdict:?}");
    assert_eq!((verdict.lost, verdict.corrupted, verdict.unexpected), (0, 0, 0), "{what}: {verdict:?}");
    assert!(verdict.duplicates <= verdict.in_flight, "{what}: {verdict:?}");
}
