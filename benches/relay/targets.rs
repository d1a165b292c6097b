//! Targets, the runs that show whether they are met, and the table of both.

use serde::Serialize;

use super::options::Options;
use super::report::Outcome;
use super::run::Bench;

/// A target that a measured value has to meet.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What is asked.
    pub target: String,
    /// The bound, as a number in the unit of `actual`.
    pub bound: f64,
    /// What was measured.
    pub actual: f64,
    /// True if more is better.
    pub at_least: bool,
    /// How the number came about.
    pub detail: String,
}

impl Row {
    /// A target that is met by less.
    pub fn at_most(target: &str, bound: f64, actual: f64, detail: String) -> Row {
        Row { target: target.to_owned(), bound, actual, at_least: false, detail }
    }

    /// A target that is met by more.
    pub fn at_least(target: &str, bound: f64, actual: f64, detail: String) -> Row {
        Row { target: target.to_owned(), bound, actual, at_least: true, detail }
    }

    /// Returns true if the target is met.
    pub fn met(&self) -> bool {
        if self.at_least { self.actual >= self.bound } else { self.actual <= self.bound }
    }
}

/// The runs so far.
pub struct Runs<'a> {
    bench: &'a Bench,
    pub outcomes: Vec<Outcome>,
}

impl<'a> Runs<'a> {
    /// Starts a suite without results.
    pub fn new(bench: &'a Bench) -> Self {
        Runs { bench, outcomes: Vec::new() }
    }

    /// What they are run by.
    pub fn bench(&self) -> &'a Bench {
        self.bench
    }

    /// Makes another one, and prints what it found.
    pub fn run(&mut self, options: Options) -> anyhow::Result<Outcome> {
        let outcome = self.bench.run(&options)?;
        println!("{}", outcome.table());
        anyhow::ensure!(outcome.sound(), "a run that loses, doubles or missigns mail has no speed");
        self.outcomes.push(outcome.clone());
        Ok(outcome)
    }
}

/// Of each target the round in the middle, with the least and the most of all rounds.
pub fn medians(rounds: Vec<Vec<Row>>) -> Vec<Row> {
    let targets = rounds.first().map_or(0, Vec::len);
    (0..targets)
        .map(|target| {
            let mut rows: Vec<&Row> = rounds.iter().map(|round| &round[target]).collect();
            rows.sort_by(|a, b| (a.actual / a.bound).total_cmp(&(b.actual / b.bound)));
            let mut median = rows[rows.len() / 2].clone();
            if let [least, .., most] = rows.as_slice() {
                let range = format!("{:.2} to {:.2} in {} rounds", least.actual, most.actual, rows.len());
                median.detail =
                    [range, median.detail].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
            }
            median
        })
        .collect()
}

/// As a table.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| target | bound | actual | verdict | |\n|---|---|---|---|---|\n");
    for row in rows {
        let sign = if row.at_least { "≥" } else { "≤" };
        let verdict = if row.met() { "met" } else { "MISSED" };
        text.push_str(&format!(
            "| {} | {sign} {:.2} | {:.2} | {verdict} | {} |\n",
            row.target, row.bound, row.actual, row.detail
        ));
    }
    text
}
