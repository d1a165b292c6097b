//! The simulation: the relay's own code on a simulated machine, under one seed (`docs/simulation.md`).
//!
//! Submission, the spool, the queue and delivery run as they are. In place of the machine they have one whose clock, chance, network and disk are
//! simulated (`machine`, `network`, `disk`; `src/machine/` is where the relay asks for them). A `plan` says what happens: what clients hand in, what
//! servers do, and what goes wrong. The `world` runs it in one thread, and the `judge` says whether every promise was kept.
//!
//! `faults` proves that this can find something: each deliberate fault must be found.

mod book;
mod client;
mod decoys;
pub mod disk;
mod faults;
mod judge;
mod machine;
mod network;
pub mod nodes;
mod plan;
mod process;
mod relay;
mod seeds;
mod server;
mod site;
pub mod stream;
mod tests;
pub mod threads;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Once, PoisonError};

use self::machine::{Clock, Machine};

thread_local! {
    static HERE: RefCell<Option<Arc<Machine>>> = const { RefCell::new(None) };
    static WORLD: RefCell<Option<Arc<Clock>>> = const { RefCell::new(None) };
    static CLOCKS: RefCell<BTreeMap<usize, Arc<Clock>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The machine whose process runs in this thread at this moment, if it is a simulated one.
pub fn here() -> Option<Arc<Machine>> {
    HERE.with_borrow(Clone::clone)
}

fn enter(machine: Option<Arc<Machine>>) {
    HERE.set(machine);
}

fn world_clock() -> Arc<Clock> {
    WORLD.with_borrow(|clock| clock.clone().expect("a simulation has a world"))
}

fn set_world_clock(clock: Option<Arc<Clock>>) {
    WORLD.set(clock);
}

/// The clock of the process on a machine, if there is one.
fn clock_of(machine: usize) -> Option<Arc<Clock>> {
    CLOCKS.with_borrow(|clocks| clocks.get(&machine).cloned())
}

fn set_clock_of(machine: usize, clock: Option<Arc<Clock>>) {
    CLOCKS.with_borrow_mut(|clocks| match clock {
        Some(clock) => drop(clocks.insert(machine, clock)),
        None => drop(clocks.remove(&machine)),
    });
}

/// From now on panics on simulated machines are written down: a task that panics is not missed by anybody.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some(machine) = here() {
                let mut panics = machine.hardware.panics.lock().unwrap_or_else(PoisonError::into_inner);
                panics.push(panic.to_string());
            }
            usual(panic);
        }));
    });
}
