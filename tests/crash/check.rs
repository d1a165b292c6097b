//! The checker: what was acknowledged, minus what was delivered, minus what is still queued, must be nothing. And nothing is repeated
//! but what a crash may repeat.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postbud::spool::embedded::Embedded;
use postbud::spool::{Filter, Intervene, Spool};

use crate::drafts::content;
use crate::driver::{settings, size};

/// How a process ended, and thus what it may have attempted in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was killed, or ended by itself. Attempts that were in flight are repeated.
    Process,
    /// The machine lost its power. Attempts that were settled since the last sync are repeated too.
    Power,
}

/// What the driver said.
#[derive(Debug, Default)]
pub struct Log {
    pub acknowledged: BTreeSet<u64>,
    pub refused: BTreeSet<u64>,
    pub begun: BTreeSet<u64>,
    pub delivered: BTreeMap<u64, u32>,
    /// How often each message may be repeated.
    pub may_repeat: BTreeMap<u64, u32>,
    /// Results that were told and not synced when their process was killed.
    pub killed_unsynced: usize,
    pub corrupted: u32,
    pub ended: bool,
}

impl Log {
    /// Takes one process' output; later ones add to it.
    pub fn add(&mut self, output: &str, end: End) {
        let mut in_flight = BTreeSet::new();
        let (mut unsynced, mut syncing) = (BTreeSet::new(), BTreeSet::new());
        for (what, seed) in lines(output) {
            match what {
                "B" => drop(self.begun.insert(seed)),
                "A" => drop(self.acknowledged.insert(seed)),
                "R" => drop(self.refused.insert(seed)),
                "C" => self.corrupted += 1,
                "D" => {
                    *self.delivered.entry(seed).or_default() += 1;
                    in_flight.insert(seed);
                }
                "S" => {
                    in_flight.remove(&seed);
                    unsynced.insert(seed);
                }
                "y" => syncing.clone_from(&unsynced),
                "Y" => unsynced.retain(|seed| !syncing.contains(seed)),
                "E" => self.ended = true,
                // The test harness' own lines.
                _ => {}
            }
        }
        let lost = if end == End::Power { in_flight.union(&unsynced).copied().collect() } else { in_flight };
        lost.into_iter().for_each(|seed| *self.may_repeat.entry(seed).or_default() += 1);
        if end == End::Process {
            self.killed_unsynced += unsynced.len();
        }
    }

    /// What a process said when nobody could hear it any more: none of it is acknowledged, any of it may have happened.
    pub fn add_unheard(&mut self, output: &str) {
        for (what, seed) in lines(output) {
            match what {
                "B" => drop(self.begun.insert(seed)),
                "C" => self.corrupted += 1,
                "D" => {
                    *self.delivered.entry(seed).or_default() += 1;
                    *self.may_repeat.entry(seed).or_default() += 1;
                }
                _ => {}
            }
        }
    }
}

fn lines(output: &str) -> impl Iterator<Item = (&str, u64)> {
    output.lines().map(|line| {
        let mut words = line.split(' ');
        (words.next().unwrap(), words.next().and_then(|seed| seed.parse().ok()).unwrap_or(0))
    })
}

/// What a check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    pub acknowledged: usize,
    pub queued: usize,
    pub lost: usize,
    pub corrupted: usize,
    /// Queued or delivered, but never sent, or refused for certain.
    pub unexpected: usize,
    /// Attempts that are made again.
    pub repeated: usize,
    /// Of these, attempts whose results the crash must not have lost.
    pub repeated_in_vain: usize,
}

/// Opens what the crash left, reads everything in it, and compares it with the log.
pub async fn check(dir: &Path, log: &Log) -> Judgement {
    let mut verdict =
        Judgement { acknowledged: log.acknowledged.len(), corrupted: log.corrupted as usize, ..Judgement::default() };
    let spool = Embedded::open(settings(dir)).expect("the spool opens after every crash");
    let mut queued = BTreeSet::new();
    for lease in spool.seize(Filter::default(), usize::MAX).await.unwrap() {
        let seed: u64 = lease.record.message_id.split('@').next().unwrap().parse().unwrap();
        let (header, body) = content(seed, size(seed));
        if lease.bytes.chunk(0).await.ok() != Some([header, body].concat()) {
            verdict.corrupted += 1;
        }
        verdict.unexpected += usize::from(!log.begun.contains(&seed));
        verdict.unexpected += usize::from(!queued.insert(seed));
    }
    spool.stop().await;
    verdict.queued = queued.len();
    let is_there = |seed: &&u64| log.delivered.contains_key(seed) || queued.contains(seed);
    verdict.lost = log.acknowledged.iter().filter(|seed| !is_there(seed)).count();
    verdict.unexpected += log.delivered.keys().filter(|seed| !log.begun.contains(seed)).count();
    for (seed, times) in &log.delivered {
        let repeated = times - 1 + u32::from(queued.contains(seed));
        verdict.repeated += repeated as usize;
        verdict.repeated_in_vain += repeated.saturating_sub(log.may_repeat.get(seed).copied().unwrap_or(0)) as usize;
    }
    verdict
}

/// Refuses whatever a crash may not do.
pub fn assert_legal(verdict: &Judgement, what: &str) {
    eprintln!("{what}: {verdict:?}");
    let Judgement { lost, corrupted, unexpected, repeated_in_vain, .. } = verdict;
    assert_eq!((*lost, *corrupted, *unexpected, *repeated_in_vain), (0, 0, 0, 0), "{what}: {verdict:?}");
}
