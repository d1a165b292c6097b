//! The tests of one relay: seeds hold, a seed replays exactly, and every deliberate fault is found. `seeds` has the variables.

use super::faults::Fault;
use super::plan::{What, plan};
use super::seeds::{self, Outcome, Plan, Simulation};
use super::world;

struct OneRelay;

impl Simulation for OneRelay {
    type What = What;

    fn plan(seed: u64) -> Plan<What> {
        plan(seed)
    }

    fn run(plan: &Plan<What>, fault: Option<Fault>) -> Outcome {
        world::run(plan, fault)
    }
}

#[test]
fn seeds_hold_first_half() {
    seeds::hold::<OneRelay>(0);
}

#[test]
fn seeds_hold_second_half() {
    seeds::hold::<OneRelay>(1);
}

#[test]
fn a_seed_replays_exactly() {
    seeds::replay::<OneRelay>(0..8);
}

#[test]
fn every_deliberate_fault_is_found() {
    seeds::find::<OneRelay>(Fault::ALONE);
}

#[test]
fn a_history_is_shortened_to_what_shows_the_fault() {
    let fault = Fault::LosesAcknowledged;
    let (plan, outcome) = seeds::found::<OneRelay>(fault, 1000).expect("it is found");
    let (shortest, outcome) = seeds::shortest::<OneRelay>(&plan, &outcome, Some(fault));
    assert_eq!(shortest.steps.len(), 1, "one message shows that messages are lost:\n{shortest}");
    assert!(!outcome.wrong.is_empty());
}
