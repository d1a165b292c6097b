//! What happens in a simulation, and when. A plan follows from its seed, and a shorter one from leaving steps out.

use std::fmt;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::disk::DiskFault;
use super::network::Kind;
use super::seeds::{Plan, Step};

/// What a recipient's server does with a message for the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It takes the message.
    Taken,
    /// It puts the recipient off this many times.
    Later(u32),
    /// It refuses the recipient.
    Never,
    /// It puts the message off after the final dot this many times.
    LaterAtDot(u32),
    /// It takes the message, and closes the connection in place of its answer, this many times.
    Lost(u32),
    /// It takes the message, and answers after so many seconds.
    Slow(u32),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Taken => write!(f, "taken"),
            Fate::Later(times) => write!(f, "later{times}"),
            Fate::Never => write!(f, "never"),
            Fate::LaterAtDot(times) => write!(f, "atdot{times}"),
            Fate::Lost(times) => write!(f, "lost{times}"),
            Fate::Slow(seconds) => write!(f, "slow{seconds}"),
        }
    }
}

impl Fate {
    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Fate> {
        let digits = text.find(|letter: char| letter.is_ascii_digit()).unwrap_or(text.len());
        let number = text[digits..].parse().unwrap_or_default();
        Some(match &text[..digits] {
            "taken" => Fate::Taken,
            "later" => Fate::Later(number),
            "never" => Fate::Never,
            "atdot" => Fate::LaterAtDot(number),
            "lost" => Fate::Lost(number),
            "slow" => Fate::Slow(number),
            _ => return None,
        })
    }
}

/// What a server does with everybody for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Nobody listens at the server's address.
    Down,
    /// It greets with 421.
    Busy,
    /// It takes connections and says nothing.
    Mute,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum What {
    /// A client hands a message in, and tries again if it hears no 250.
    Submit {
        number: u32,
        customer: usize,
        fates: Vec<Fate>,
        size: usize,
    },
    /// An operator holds a message.
    Hold {
        number: u32,
    },
    /// An operator releases a message.
    Release {
        number: u32,
    },
    /// The process dies, and is started again after this time.
    Kill {
        down: Duration,
    },
    /// The power fails.
    Power {
        down: Duration,
    },
    /// The process is stopped in good order.
    Stop,
    /// One connection is reset.
    Cut {
        kind: Kind,
        pick: u32,
    },
    /// Nothing of a kind gets through for a while.
    Apart {
        kind: Kind,
        lasts: Duration,
    },
    Disk {
        trouble: DiskFault,
        lasts: Duration,
    },
    /// Somebody sets the clock.
    Jump {
        millis: i64,
    },
    Server {
        server: usize,
        mood: Mood,
        lasts: Duration,
    },
}

/// The time in which mail is handed in and things go wrong.
const EVENTFUL: u64 = 90_000;

/// The plan of a seed.
pub fn plan(seed: u64) -> Plan<What> {
    let mut chance = SmallRng::seed_from_u64(seed);
    let chance = &mut chance;
    let mut steps = Vec::new();
    let mails = chance.random_range(4..40);
    // Some plans have all their mail at once.
    let within = *[2_000, 20_000, EVENTFUL].choose(chance).expect("there are three");
    for number in 0..mails {
        let at = Duration::from_millis(chance.random_range(100..within + 200));
        let fates = (0..recipients(chance)).map(|_| fate(chance)).collect();
        let size = *[200, 2_000, 2_000, 20_000, 400_000].choose(chance).expect("there are some");
        let customer = chance.random_range(0..3);
        steps.push(Step { at, what: What::Submit { number, customer, fates, size } });
        if chance.random_bool(0.08) {
            let held = at + millis(chance, 10..3_000);
            steps.push(Step { at: held, what: What::Hold { number } });
            if chance.random_bool(0.5) {
                steps.push(Step { at: held + millis(chance, 1_000..120_000), what: What::Release { number } });
            }
        }
    }
    for _ in 0..chance.random_range(0..6) {
        let at = Duration::from_millis(chance.random_range(200..EVENTFUL));
        steps.push(Step { at, what: trouble(chance) });
    }
    steps.sort_by_key(|step| step.at);
    Plan { seed, steps }
}

fn millis(chance: &mut SmallRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(chance.random_range(range))
}

fn recipients(chance: &mut SmallRng) -> usize {
    *[1, 1, 1, 1, 2, 5].choose(chance).expect("there are some")
}

fn fate(chance: &mut SmallRng) -> Fate {
    match chance.random_range(0..20) {
        0 | 1 => Fate::Later(chance.random_range(1..4)),
        2 => Fate::Never,
        3 | 4 => Fate::LaterAtDot(chance.random_range(1..3)),
        5 => Fate::Lost(1),
        6 | 7 => Fate::Slow(chance.random_range(1..8)),
        _ => Fate::Taken,
    }
}

fn trouble(chance: &mut SmallRng) -> What {
    let lasts = millis(chance, 100..20_000);
    let down = millis(chance, 100..5_000);
    match chance.random_range(0..16) {
        0..3 => What::Kill { down },
        3..6 => What::Power { down },
        6 => What::Stop,
        7 | 8 => What::Cut { kind: Kind::Submission, pick: chance.random() },
        9 | 10 => What::Cut { kind: Kind::Delivery, pick: chance.random() },
        11 => What::Apart { kind: Kind::Delivery, lasts: lasts * 2 },
        12 => What::Apart { kind: Kind::Submission, lasts },
        13 => What::Disk {
            trouble: *[DiskFault::Syncs, DiskFault::Writes, DiskFault::Full, DiskFault::Slow]
                .choose(chance)
                .expect("there are four"),
            lasts: lasts / 4,
        },
        14 => What::Jump { millis: chance.random_range(-300_000..300_000) },
        _ => What::Server {
            server: chance.random_range(0..4),
            mood: *[Mood::Down, Mood::Busy, Mood::Mute].choose(chance).expect("there are three"),
            lasts: lasts * 3,
        },
    }
}
