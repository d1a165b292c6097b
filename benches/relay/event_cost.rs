//! What the event log costs the path of a message: runs with it and without it in pairs, because a machine's speed changes with time.

use super::options::Options;
use super::targets::{Row, Runs};

/// A pair of runs: the relay's CPU, microseconds a message.
#[derive(Clone, Copy)]
struct Pair {
    with: f64,
    without: f64,
}

impl Pair {
    fn ratio(self) -> f64 {
        self.with / self.without
    }
}

/// Makes the pairs and compares them.
pub fn row(runs: &mut Runs<'_>, options: &Options) -> anyhow::Result<Row> {
    let mut pairs = Vec::new();
    for number in 0..options.event_pairs {
        let mut cpu = |events| -> anyhow::Result<f64> {
            let outcome = runs.run(Options { events, ..options.clone() })?;
            outcome.cpu_us().ok_or_else(|| anyhow::anyhow!("the relay's CPU is not known"))
        };
        // Each is the first in half of the pairs.
        let is_first = number % 2 == 0;
        let (first, second) = (cpu(is_first)?, cpu(!is_first)?);
        let (with, without) = if is_first { (first, second) } else { (second, first) };
        pairs.push(Pair { with, without });
    }
    pairs.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
    let [lower, upper] = [pairs[(pairs.len() - 1) / 2], pairs[pairs.len() / 2]];
    let (least, most) = (pairs[0].ratio(), pairs[pairs.len() - 1].ratio());
    Ok(Row::at_most(
        "relay CPU a message with the event log ÷ without",
        1.03,
        (lower.ratio() + upper.ratio()) / 2.0,
        format!("{least:.3} to {most:.3} in {} pairs; {:.0} µs, {:.0} µs", pairs.len(), upper.with, upper.without),
    ))
}
