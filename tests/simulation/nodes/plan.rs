//! What happens to several nodes: mail, and what goes wrong. It follows from the seed.

use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::LEASE;
use super::database::Lost;
use super::world::NODES;

/// How long things go wrong.
const EVENTFUL: u64 = 40_000;

#[derive(Clone, Debug)]
pub enum What {
    /// A client hands a message of a customer in.
    Submit {
        node: usize,
        customer: u32,
    },
    Kill {
        node: usize,
        down: Duration,
    },
    /// In good order.
    Stop {
        node: usize,
        down: Duration,
    },
    /// It does not run, and goes on later.
    Freeze {
        node: usize,
        lasts: Duration,
    },
    /// Nothing gets through between a node and the database.
    Apart {
        node: usize,
        lasts: Duration,
    },
    /// The database answers nobody.
    Slow {
        lasts: Duration,
    },
    /// The primary is lost, and its standby takes over.
    FailOver {
        lasts: Duration,
    },
    /// The connection of a node's next commit breaks.
    Lose {
        node: usize,
        lost: Lost,
    },
    /// One connection of a node hears nothing for a while.
    Stall {
        node: usize,
        lasts: Duration,
    },
}

#[derive(Clone, Debug)]
pub struct Step {
    pub at: Duration,
    pub what: What,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// In their order.
    pub steps: Vec<Step>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { at, what } in &self.steps {
            writeln!(f, "  {:>8.3} s  {what:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Plan {
        let mut chance = SmallRng::seed_from_u64(seed);
        let mut steps = Vec::new();
        let mut step = |at: u64, what| steps.push(Step { at: Duration::from_millis(at), what });
        for _ in 0..chance.random_range(10..60) {
            let (node, customer) = (chance.random_range(0..NODES), chance.random_range(0..8));
            step(chance.random_range(500..EVENTFUL), What::Submit { node, customer });
        }
        for _ in 0..chance.random_range(0..6) {
            let (at, node) = (chance.random_range(2_000..EVENTFUL), chance.random_range(0..NODES));
            let mut lasting = |most: u64| Duration::from_millis(chance.random_range(100..most));
            let long = LEASE.as_millis() as u64 * 3;
            let (down, lasts, shortly) = (lasting(8_000), lasting(long), lasting(4_000));
            let what = match chance.random_range(0..11) {
                0 | 1 => What::Kill { node, down },
                2 => What::Stop { node, down },
                3 | 4 => What::Freeze { node, lasts },
                5 | 6 => What::Apart { node, lasts },
                7 => What::Slow { lasts: shortly },
                8 => What::FailOver { lasts: shortly },
                9 => What::Lose { node, lost: Lost::Answer },
                _ => What::Lose { node, lost: Lost::Commit },
            };
            // What a node does when it is back depends on which of its connections hears first, and on what it is asked for then.
            if let What::Freeze { lasts, .. } | What::Apart { lasts, .. } = what {
                let back = at + lasts.as_millis() as u64;
                for _ in 0..3 {
                    let pause = chance.random_range(0..600);
                    step(back + pause, What::Submit { node, customer: chance.random_range(0..8) });
                }
                for _ in 0..chance.random_range(0..4) {
                    let lasts = Duration::from_millis(chance.random_range(200..3_000));
                    step(back + 5, What::Stall { node, lasts });
                }
            }
            step(at, what);
        }
        steps.sort_by_key(|step| step.at);
        Plan { seed, steps }
    }

    /// The same without the steps that are not needed for `breaks`.
    pub fn shortened(&self, breaks: impl Fn(&Plan) -> bool) -> Plan {
        let mut shortest = self.clone();
        let mut size = shortest.steps.len() / 2;
        while size > 0 {
            let mut from = 0;
            while from < shortest.steps.len() {
                let mut shorter = shortest.clone();
                let until = (from + size).min(shorter.steps.len());
                shorter.steps.drain(from..until);
                if breaks(&shorter) {
                    shortest = shorter;
                } else {
                    from += size;
                }
            }
            size /= 2;
        }
        shortest
    }
}
