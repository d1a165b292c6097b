//! The tests of several nodes: seeds hold, a seed replays exactly, and every deliberate fault is found. `seeds` has the variables.

use super::plan::{What, plan};
use super::world;
use crate::simulation::faults::Fault;
use crate::simulation::seeds::{self, Outcome, Plan, Simulation};

struct Nodes;

impl Simulation for Nodes {
    type What = What;

    fn plan(seed: u64) -> Plan<What> {
        plan(seed)
    }

    fn run(plan: &Plan<What>, fault: Option<Fault>) -> Outcome {
        world::run(plan, fault)
    }
}

#[test]
fn nodes_hold_first_half() {
    seeds::hold::<Nodes>(0);
}

#[test]
fn nodes_hold_second_half() {
    seeds::hold::<Nodes>(1);
}

#[test]
fn a_seed_of_nodes_replays_exactly() {
    seeds::replay::<Nodes>(0..4);
}

/// How many seeds a usual run looks for a fault in.
const SOME_SEEDS: u64 = 20;
/// The faults that one of so few seeds finds, also after a change of the relay or the model. `tests/simulation/run --nodes --faults` looks
/// for all of them in many seeds.
const SOON_FOUND: [Fault; 4] =
    [Fault::LosesResult, Fault::LosesAcknowledged, Fault::LeasesTwice, Fault::ForgetsDayOfOthers];

#[test]
fn deliberate_faults_of_nodes_are_found_within_some_seeds() {
    for fault in SOON_FOUND {
        assert!(seeds::found::<Nodes>(fault, SOME_SEEDS).is_some(), "{fault:?}");
    }
}

#[test]
#[ignore = "takes an hour; `tests/simulation/run --nodes --faults` runs it"]
fn every_deliberate_fault_of_nodes_is_found() {
    seeds::find::<Nodes>(Fault::OF_NODES);
}
