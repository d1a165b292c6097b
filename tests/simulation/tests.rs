//! The tests: seeds hold, a seed replays exactly, and every deliberate fault is found.
//!
//! | variable | |
//! |---|---|
//! | `POSTBUD_SIMULATION_SEEDS` | how many seeds are run; 200 where it is not set |
//! | `POSTBUD_SIMULATION_FIRST` | the first of them; 0 where it is not set |
//! | `POSTBUD_SIMULATION_TELL` | tells the history of every seed that is run |
//! | `POSTBUD_SIMULATION_FAULT` | the deliberate fault that is looked for; all where it is not set |

use std::env;
use std::time::Instant;

use super::faults::Fault;
use super::plan::Plan;
use super::world::{Outcome, run};

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
    let breaks = |outcome: &Outcome| outcome.wrong.iter().any(|wrong| wrong.promise == promise);
    let shortest = plan.shortened(|shorter| breaks(&run(shorter, fault)));
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
fn seeds_hold_first_half() {
    let seeds = number("POSTBUD_SIMULATION_SEEDS", 200);
    hold(number("POSTBUD_SIMULATION_FIRST", 0), seeds.div_ceil(2));
}

#[test]
fn seeds_hold_second_half() {
    let seeds = number("POSTBUD_SIMULATION_SEEDS", 200);
    hold(number("POSTBUD_SIMULATION_FIRST", 0) + seeds.div_ceil(2), seeds / 2);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..8 {
        let plan = Plan::of(seed);
        let (first, second) = (run(&plan, None), run(&plan, None));
        let differs = first.history.iter().zip(&second.history).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.history.len(), second.history.len(), "seed {seed}");
    }
}

/// The first seed that shows a fault.
fn found(fault: Fault) -> Option<(Plan, Outcome)> {
    let runs = (0..MOST_SEEDS).map(Plan::of).map(|plan| (run(&plan, Some(fault)), plan));
    runs.map(|(outcome, plan)| (plan, outcome)).find(|(_, outcome)| !outcome.wrong.is_empty())
}

#[test]
fn every_deliberate_fault_is_found() {
    let wanted = env::var("POSTBUD_SIMULATION_FAULT").ok();
    let is_wanted = |fault: &Fault| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{fault:?}"));
    let mut missed = Vec::new();
    for fault in Fault::ALONE.into_iter().filter(is_wanted) {
        match found(fault) {
            None => missed.push(fault),
            Some((plan, outcome)) => {
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

#[test]
fn a_history_is_shortened_to_what_shows_the_fault() {
    let (plan, outcome) = found(Fault::LosesAcknowledged).expect("it is found");
    let (shortest, outcome) = shortest(&plan, &outcome, Some(Fault::LosesAcknowledged));
    assert_eq!(shortest.steps.len(), 1, "one message shows that messages are lost:\n{shortest}");
    assert!(!outcome.wrong.is_empty());
}
