//! What happens to several nodes: mail, and what goes wrong. It follows from the seed.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::LEASE;
use super::database::Lost;
use super::world::NODES;
use crate::simulation::network::Kind;
use crate::simulation::plan::Fate;
use crate::simulation::seeds::{Plan, Step};
use crate::simulation::site::{self, ALPHA, BETA};

/// When the nodes run and have their shards.
const BEGIN: u64 = 6_000;
/// When nothing more goes wrong.
const EVENTFUL: u64 = 30_000;

/// Content of this size takes several rows in the database.
const MORE_THAN_A_CHUNK: usize = 270_000;
/// How much mail there is at most.
const MOST: u32 = 50;
/// The same if most of it is alpha's, whose server bears ten messages a minute: nobody is to wait for many minutes.
const MOST_OF_ALPHA: u32 = 30;

#[derive(Clone, Debug)]
pub enum What {
    /// A client hands a message in at a node, and tries again at the next ones if it hears no 250.
    Submit {
        number: u32,
        node: usize,
        customer: usize,
        fates: Vec<Fate>,
        size: usize,
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
    /// One connection with a client or a server is reset.
    Cut {
        kind: Kind,
        pick: u32,
    },
}

/// As with one relay, but what goes on for long is left to that simulation.
fn fate(chance: &mut SmallRng) -> Fate {
    match chance.random_range(0..20) {
        0 | 1 => Fate::Later(chance.random_range(1..3)),
        2 => Fate::Never,
        3 => Fate::LaterAtDot(1),
        4 => Fate::Lost(1),
        5..8 => Fate::Slow(chance.random_range(1..7)),
        _ => Fate::Taken,
    }
}

/// Whose mail a plan has.
struct Customers {
    /// Half of all mail is of this one, if there is one.
    busiest: Option<usize>,
    /// Alpha's server, which bears ten messages a minute, gets none. Otherwise most plans would wait for that minute.
    spares_alpha: bool,
}

impl Customers {
    fn any(&self, chance: &mut SmallRng) -> usize {
        let any = chance.random_range(0..site::CUSTOMERS.len());
        let customer = self.busiest.filter(|_| chance.random_bool(0.5)).unwrap_or(any);
        if customer == ALPHA && self.spares_alpha { BETA } else { customer }
    }
}

fn mail(chance: &mut SmallRng, number: u32, node: usize, customers: &Customers) -> What {
    let customer = customers.any(chance);
    let (fates, size) = if site::SWIFT.contains(&customer) {
        (vec![Fate::Taken], 200)
    } else {
        let sizes = [200, 200, 2_000, 2_000, 8_000, 20_000];
        let is_large = chance.random_bool(0.03);
        let size = *sizes.choose(chance).filter(|_| !is_large).unwrap_or(&MORE_THAN_A_CHUNK);
        let recipients = *[1, 1, 1, 1, 2, 4].choose(chance).expect("there are some");
        ((0..recipients).map(|_| fate(chance)).collect(), size)
    };
    What::Submit { number, node, customer, fates, size }
}

/// The plan of a seed.
pub fn plan(seed: u64) -> Plan<What> {
    let mut chance = SmallRng::seed_from_u64(seed);
    let chance = &mut chance;
    let mut steps = Vec::new();
    let mut numbers = 0..;
    let mut number = || numbers.next().expect("it counts for ever");
    let mut step = |at: u64, what| steps.push(Step { at: Duration::from_millis(at), what });
    // Some plans have all their mail at once.
    let within = *[BEGIN + 3_000, EVENTFUL, EVENTFUL].choose(chance).expect("there are three");
    let busiest = chance.random_bool(0.5).then(|| chance.random_range(0..site::SWIFT.start));
    let customers = Customers { busiest, spares_alpha: busiest != Some(ALPHA) && chance.random_bool(0.75) };
    let most = if busiest == Some(ALPHA) { MOST_OF_ALPHA } else { MOST };
    for _ in 0..chance.random_range(10..most) {
        let (at, node) = (chance.random_range(BEGIN..within), chance.random_range(0..NODES));
        step(at, mail(chance, number(), node, &customers));
    }
    // Mail of customers of several nodes that is refused at once: all their senders are told over the route that the nodes share.
    if chance.random_bool(0.2) {
        let at = chance.random_range(BEGIN..EVENTFUL);
        for _ in 0..10 {
            let (at, node) = (at + chance.random_range(0..500), chance.random_range(0..NODES));
            let customer = chance.random_range(0..site::SWIFT.start);
            step(at, What::Submit { number: number(), node, customer, fates: vec![Fate::Never], size: 200 });
        }
    }
    for _ in 0..chance.random_range(0..6) {
        let (at, node) = (chance.random_range(2_000..EVENTFUL), chance.random_range(0..NODES));
        let mut lasting = |most: u64| Duration::from_millis(chance.random_range(100..most));
        let long = LEASE.as_millis() as u64 * 3;
        let (down, lasts, shortly) = (lasting(8_000), lasting(long), lasting(4_000));
        let what = match chance.random_range(0..13) {
            0 | 1 => What::Kill { node, down },
            2 => What::Stop { node, down },
            3 | 4 => What::Freeze { node, lasts },
            5 | 6 => What::Apart { node, lasts },
            7 => What::Slow { lasts: shortly },
            8 => What::FailOver { lasts: shortly },
            9 => What::Lose { node, lost: Lost::Answer },
            10 => What::Lose { node, lost: Lost::Commit },
            11 => What::Cut { kind: Kind::Submission, pick: chance.random() },
            _ => What::Cut { kind: Kind::Delivery, pick: chance.random() },
        };
        // What a node does when it is back depends on which of its connections hears first, and on what it is asked for then.
        if let What::Freeze { lasts, .. } | What::Apart { lasts, .. } = what {
            let back = at + lasts.as_millis() as u64;
            for _ in 0..3 {
                let pause = chance.random_range(0..600);
                step(back + pause, mail(chance, number(), node, &customers));
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
