//! A simulated machine: its clock, its chance, its disk and its threads.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rand::distr::{Distribution, StandardUniform};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::disk::Disk;
use super::faults::Fault;
use super::network::Network;
use super::nodes::Database;
use super::threads::Threads;
use crate::time::Timestamp;

/// When every simulation begins: a Monday at noon, so that no day ends in it.
const NOON: u64 = 1_795_435_200_000;

/// The time in a simulation, as one runtime sees it. All runtimes go forward together, and none is ahead of another by more than a step.
#[derive(Debug)]
pub struct Clock {
    base: OnceLock<Instant>,
    begun: Duration,
}

impl Clock {
    /// A clock of a runtime that begins at this time. The runtime has to [set](Self::set) it.
    pub fn beginning(begun: Duration) -> Arc<Clock> {
        Arc::new(Clock { base: OnceLock::new(), begun })
    }

    /// Called once, inside the runtime.
    pub fn set(&self) {
        self.base.set(Instant::now()).expect("a clock has one runtime");
    }

    /// The time since the simulation began. Called inside the runtime.
    pub fn now(&self) -> Duration {
        self.begun + self.base.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// The runtime's instant at this time.
    pub fn instant(&self, at: Duration) -> Instant {
        *self.base.get().expect("the runtime has set its clock") + at.saturating_sub(self.begun)
    }
}

/// What of a machine outlives the process on it.
pub struct Hardware {
    pub number: usize,
    pub disk: Disk,
    pub network: Arc<Network>,
    pub fault: Option<Fault>,
    /// The database that its process connects with, if that has one.
    pub database: OnceLock<Arc<Database>>,
    /// What panicked here.
    pub panics: Mutex<Vec<String>>,
    /// How far the clock of the day is ahead of the time, in milliseconds.
    ahead: AtomicI64,
}

impl Hardware {
    pub fn new(number: usize, disk: Disk, network: Arc<Network>, fault: Option<Fault>) -> Arc<Hardware> {
        let database = OnceLock::new();
        Arc::new(Hardware {
            number,
            disk,
            network,
            fault,
            database,
            panics: Mutex::default(),
            ahead: AtomicI64::new(0),
        })
    }

    /// Sets the clock of the day.
    pub fn jump(&self, millis: i64) {
        self.ahead.fetch_add(millis, Ordering::Relaxed);
    }

    /// What the clock of the day says at this time.
    pub fn day_at(&self, now: Duration) -> Timestamp {
        let millis = NOON as i64 + now.as_millis() as i64 + self.ahead.load(Ordering::Relaxed);
        Timestamp::from_millis(millis.unsigned_abs())
    }
}

/// A machine with one process on it.
pub struct Machine {
    pub hardware: Arc<Hardware>,
    pub clock: Arc<Clock>,
    pub threads: Threads,
    chance: Mutex<SmallRng>,
    dead: AtomicBool,
    runtime: OnceLock<Handle>,
}

impl Machine {
    /// Starts a process at `begun`.
    pub fn new(hardware: Arc<Hardware>, begun: Duration, seed: u64) -> Arc<Machine> {
        Arc::new(Machine {
            hardware,
            clock: Clock::beginning(begun),
            threads: Threads::default(),
            chance: Mutex::new(SmallRng::seed_from_u64(seed)),
            dead: AtomicBool::new(false),
            runtime: OnceLock::new(),
        })
    }

    /// Tells the machine which runtime its process has.
    pub fn runs_on(&self, handle: Handle) {
        let _inside = handle.enter();
        self.clock.set();
        self.runtime.set(handle.clone()).expect("a process has one runtime");
    }

    pub fn runtime(&self) -> &Handle {
        self.runtime.get().expect("the process has a runtime by now")
    }

    /// The process is gone: nothing that its destructors do reaches the disk or the network.
    pub fn dies(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// What the clock of the day says now.
    pub fn clock_says(&self) -> Timestamp {
        self.hardware.day_at(self.clock.now())
    }

    /// A random value, from the simulation's seed.
    pub fn random<T>(&self) -> T
    where
        StandardUniform: Distribution<T>,
    {
        self.chance.lock().expect("nothing panics while it draws").random()
    }

    /// A random number below `most`.
    pub fn below(&self, most: u64) -> u64 {
        self.chance.lock().expect("nothing panics while it draws").random_range(0..most.max(1))
    }
}
