//! Runs seeds and tells what came of them: of one relay, and of several nodes.
//!
//! | variable | |
//! |---|---|
//! | `POSTBUD_SIMULATION_SEEDS` | how many seeds are run; 200 where it is not set |
//! | `POSTBUD_SIMULATION_FIRST` | the first of them; 0 where it is not set |
//! | `POSTBUD_SIMULATION_TELL` | tells the history of every seed that is run |
//! | `POSTBUD_SIMULATION_FAULT` | the deliberate fault that is looked for; all where it is not set |

use std::env;
use std::fmt::{self, Debug, Display, Formatter};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::book::{Book, Heard, Submission, Wrong};
use super::faults::Fault;

/// How many seeds a deliberate fault may take to be found.
const MOST_SEEDS: u64 = 1000;

/// A simulated world, and what may happen in it.
pub trait Simulation {
    type What: Clone + Debug;

    /// The plan of a seed.
    fn plan(seed: u64) -> Plan<Self::What>;

    /// Runs a plan in this thread, with a deliberate fault or without.
    fn run(plan: &Plan<Self::What>, fault: Option<Fault>) -> Outcome;
}

/// What happens, and when.
#[derive(Clone, Debug)]
pub struct Plan<What> {
    pub seed: u64,
    /// In their order.
    pub steps: Vec<Step<What>>,
}

#[derive(Clone, Debug)]
pub struct Step<What> {
    pub at: Duration,
    pub what: What,
}

impl<What: Debug> Display for Plan<What> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for Step { at, what } in &self.steps {
            writeln!(f, "  {:>8.3} s  {what:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl<What: Clone> Plan<What> {
    /// The plan without what nobody needs to show that something is wrong. `still_fails` runs a shorter one.
    fn shortened(&self, mut still_fails: impl FnMut(&Self) -> bool) -> Self {
        let mut best = self.clone();
        let mut piece = best.steps.len().div_ceil(2);
        while piece > 0 {
            let mut from = 0;
            while from < best.steps.len() {
                let mut shorter = best.clone();
                shorter.steps.drain(from..(from + piece).min(best.steps.len()));
                if still_fails(&shorter) {
                    best = shorter;
                } else {
                    from += piece;
                }
            }
            piece /= 2;
        }
        best
    }
}

/// What came of a plan.
pub struct Outcome {
    pub wrong: Vec<Wrong>,
    history: Vec<String>,
    /// The simulated time that it took.
    took: Duration,
    /// How many messages were acknowledged.
    accepted: usize,
    /// How many recipients the servers took.
    taken: usize,
}

impl Outcome {
    /// What the book has of a run that took so long.
    pub fn of(book: &Book, took: Duration) -> Outcome {
        let facts = std::mem::take(&mut *book.facts());
        let is_accepted = |submission: &&Submission| matches!(submission.heard, Heard::Accepted(_));
        Outcome {
            wrong: facts.wrong,
            accepted: facts.submissions.iter().filter(is_accepted).count(),
            taken: facts.takes.len(),
            history: facts.history,
            took,
        }
    }
}

/// Runs the first or the second half of the seeds, so that two cores share them.
pub fn hold<W: Simulation>(half: usize) {
    let (first, seeds) = (number("POSTBUD_SIMULATION_FIRST", 0), number("POSTBUD_SIMULATION_SEEDS", 200));
    let middle = first + seeds.div_ceil(2);
    let seeds = [first..middle, middle..first + seeds][half].clone();
    let begun = Instant::now();
    let (count, mut accepted, mut taken, mut simulated) = (seeds.end - seeds.start, 0, 0, 0.0);
    for seed in seeds {
        let plan = W::plan(seed);
        let outcome = W::run(&plan, None);
        if env::var_os("POSTBUD_SIMULATION_TELL").is_some() {
            println!("seed {seed}\n{}", history(&plan, &outcome));
        }
        if !outcome.wrong.is_empty() {
            let (shortest, outcome) = shortest::<W>(&plan, &outcome, None);
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
        "{count} seeds: {accepted} messages accepted, {taken} recipients taken in {simulated:.0} s; took {took:?}"
    );
}

fn number(variable: &str, usual: u64) -> u64 {
    env::var(variable).ok().map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn history<What: Debug>(plan: &Plan<What>, outcome: &Outcome) -> String {
    let wrong: Vec<_> = outcome.wrong.iter().map(|wrong| format!("  {wrong}\n")).collect();
    let history: Vec<_> = outcome.history.iter().map(|line| format!("  {line}\n")).collect();
    format!("wrong:\n{}plan:\n{plan}history:\n{}", wrong.concat(), history.concat())
}

/// The shortest plan found that breaks the same promise, and what comes of it.
pub fn shortest<W: Simulation>(
    plan: &Plan<W::What>,
    outcome: &Outcome,
    fault: Option<Fault>,
) -> (Plan<W::What>, Outcome) {
    let promise = outcome.wrong[0].promise;
    let breaks = |outcome: &Outcome| outcome.wrong.iter().any(|wrong| wrong.promise == promise);
    let shortest = plan.shortened(|shorter| breaks(&W::run(shorter, fault)));
    let outcome = W::run(&shortest, fault);
    (shortest, outcome)
}

/// Runs each seed twice: both histories are the same.
pub fn replay<W: Simulation>(seeds: Range<u64>) {
    for seed in seeds {
        let plan = W::plan(seed);
        let (first, second) = (W::run(&plan, None), W::run(&plan, None));
        let differs = first.history.iter().zip(&second.history).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.history.len(), second.history.len(), "seed {seed}");
    }
}

/// The first of so many seeds that shows a fault.
pub fn found<W: Simulation>(fault: Fault, seeds: u64) -> Option<(Plan<W::What>, Outcome)> {
    let runs = (0..seeds).map(W::plan).map(|plan| (W::run(&plan, Some(fault)), plan));
    runs.map(|(outcome, plan)| (plan, outcome)).find(|(_, outcome)| !outcome.wrong.is_empty())
}

/// Every fault is found.
pub fn find<W: Simulation>(faults: impl IntoIterator<Item = Fault>) {
    let wanted = env::var("POSTBUD_SIMULATION_FAULT").ok();
    let is_wanted = |fault: &Fault| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{fault:?}"));
    let mut missed = Vec::new();
    for fault in faults.into_iter().filter(is_wanted) {
        match found::<W>(fault, MOST_SEEDS) {
            None => missed.push(fault),
            Some((plan, outcome)) => {
                println!("{fault:?}: seed {}, {}", plan.seed, outcome.wrong[0]);
                if wanted.is_some() {
                    let (shortest, outcome) = shortest::<W>(&plan, &outcome, Some(fault));
                    println!("{}", history(&shortest, &outcome));
                }
            }
        }
    }
    assert_eq!(missed, [], "not found within {MOST_SEEDS} seeds");
}
