//! The tests: seeds hold, a seed replays exactly, and every deliberate fault is found. The variables are those of one relay's simulation.

use std::env;
use std::time::Instant;

use super::plan::Plan;
use super::world::{Outcome, run};
use crate::simulation::faults::Fault;

/// How many seeds a deliberate fault may take to be found.
const MOST_SEEDS: u64 = 1000;

fn number(variable: &str, usual: u64) -> u64 {
    env::var(variable).ok().map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn history(plan: &Plan, outcome: &Outcome) -> String {
    let wrong: Vec<_> = outcome.wrong.iter().map(|wrong| format!("  {wrong}\n")).collect();
    let history: Vec<_> = outcome.history.iter().map(|line| format!("  {line}\n")).collect();
    format!("wrong:\n{}plan:\n{plan}history:\n{}", wrong.concat(), history.concat())
}

/// The shortest plan found that breaks the same promise, and its history.
fn shortest(plan: &Plan, outcome: &Outcome, fault: Option<Fault>) -> (Plan, Outcome) {
    let promise = outcome.wrong[0].promise;
    let shortest = plan.shortened(|shorter| run(shorter, fault).wrong.iter().any(|wrong| wrong.promise == promise));
    let outcome = run(&shortest, fault);
    (shortest, outcome)
}

fn hold(first: u64, seeds: u64) {
    let begun = Instant::now();
    let (mut accepted, mut taken, mut simulated) = (0, 0, 0.0);
    for seed in first..first + seeds {
        let plan = Plan::of(seed);
        let outcome = run(&plan, None);
        if env::var_os("POSTBUD_SIMULATION_TELL").is_some() {
            println!("seed {seed}\n{}", history(&plan, &outcome));
        }
        if !outcome.wrong.is_empty() {
            let (shortest, outcome) = shortest(&plan, &outcome, None);
            panic!(
                "seed {seed} breaks a promise; POSTBUD_SIMULATION_FIRST={seed} POSTBUD_SIMULATION_SEEDS=1 replays it. The shortest \
                 plan found that does so, too:\n{}",
                history(&shortest, &outcome)
            );
        }
        (accepted, taken, simulated) =
            (accepted + outcome.accepted, taken + outcome.taken, simulated + outcome.took.as_secs_f64());
    }
    let took = begun.elapsed();
    println!(
        "{seeds} seeds: {accepted} messages accepted, {taken} recipients taken in {simulated:.0} s; took {took:?}"
    );
}

/// In two halves, so that two cores share them.
#[test]
fn nodes_hold_first_half() {
    let seeds = number("POSTBUD_SIMULATION_SEEDS", 200);
    hold(number("POSTBUD_SIMULATION_FIRST", 0), seeds.div_ceil(2));
}

#[test]
fn nodes_hold_second_half() {
    let seeds = number("POSTBUD_SIMULATION_SEEDS", 200);
    hold(number("POSTBUD_SIMULATION_FIRST", 0) + seeds.div_ceil(2), seeds / 2);
}

#[test]
fn a_seed_of_nodes_replays_exactly() {
    for seed in 0..4 {
        let plan = Plan::of(seed);
        let (first, second) = (run(&plan, None), run(&plan, None));
        let differs = first.history.iter().zip(&second.history).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.history.len(), second.history.len(), "seed {seed}");
    }
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
        let is_found = (0..SOME_SEEDS).map(Plan::of).any(|plan| !run(&plan, Some(fault)).wrong.is_empty());
        assert!(is_found, "{fault:?}");
    }
}

#[test]
#[ignore = "takes an hour; `tests/simulation/run --nodes --faults` runs it"]
fn every_deliberate_fault_of_nodes_is_found() {
    let wanted = env::var("POSTBUD_SIMULATION_FAULT").ok();
    let is_wanted = |fault: &Fault| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{fault:?}"));
    let mut missed = Vec::new();
    for fault in Fault::OF_NODES.into_iter().filter(is_wanted) {
        let mut runs = (0..MOST_SEEDS).map(Plan::of).map(|plan| (run(&plan, Some(fault)), plan));
        match runs.find(|(outcome, _)| !outcome.wrong.is_empty()) {
            None => missed.push(fault),
            Some((outcome, plan)) => {
                println!("{fault:?}: seed {}, {}", plan.seed, outcome.wrong[0]);
                if wanted.is_some() {
                    let (shortest, outcome) = shortest(&plan, &outcome, Some(fault));
                    println!("{}", history(&shortest, &outcome));
                }
            }
        }
    }
    assert_eq!(missed, [], "not found within {MOST_SEEDS} seeds");
}
