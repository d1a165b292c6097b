//! The targets of the spool in PostgreSQL, each beside the embedded one or a bare COPY on the same cores.

use super::database::BATCH;
use super::options::Options;
use super::report::Outcome;
use super::run::Bench;
use super::targets::{Row, Runs, medians};

/// The least duration of a run at half rate. In a shorter one, a single slow sync of the disk decides the p99.
const HALF_RATE_SECONDS: f64 = 30.0;

/// Runs all: speed in rounds, of which each target's median counts, then a long run with a snapshot that is held.
pub fn suite(bench: &Bench, options: &Options) -> anyhow::Result<(Vec<Row>, Vec<Outcome>)> {
    let mut runs = Runs::new(bench);
    let rounds = (0..options.rounds).map(|_| speed(&mut runs, options)).collect::<anyhow::Result<Vec<_>>>()?;
    let highest = rounds.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let mut rows = medians(rounds.into_iter().map(|(rows, _)| rows).collect());
    rows.extend(pinned(&mut runs, options, highest)?);
    Ok((rows, runs.outcomes))
}

/// One round, and how many messages a second it had.
fn speed(runs: &mut Runs<'_>, options: &Options) -> anyhow::Result<(Vec<Row>, f64)> {
    let embedded = runs.run(Options { postgres: false, ..options.clone() })?;
    let shared = runs.run(options.clone())?;
    let rate = shared.delivered_per_s / 2.0;
    let messages = options.messages.max((rate * HALF_RATE_SECONDS) as u64);
    let half = runs.run(Options { rate: Some(rate), messages, ..options.clone() })?;
    let cpu = |outcome: &Outcome| outcome.cpu_us().unwrap_or(f64::NAN);
    let ms = |us: u64| us as f64 / 1000.0;
    let copy = half.copy.map_or(f64::NAN, |copy| ms(copy.p99));
    let rows = vec![
        Row::at_least(
            "delivered/s ÷ embedded",
            0.6,
            shared.delivered_per_s / embedded.delivered_per_s,
            format!("{:.0}/s, {:.0}/s", shared.delivered_per_s, embedded.delivered_per_s),
        ),
        Row::at_most(
            "relay CPU a message ÷ embedded",
            1.25,
            cpu(&shared) / cpu(&embedded),
            format!("{:.0} µs, {:.0} µs", cpu(&shared), cpu(&embedded)),
        ),
        Row::at_most(
            "PostgreSQL's CPU a message, µs",
            200.0,
            shared.postgres_us().unwrap_or(f64::NAN),
            format!("{} sessions", options.sessions),
        ),
        Row::at_most(
            "half rate: p99 end of DATA to 250 ÷ p99 of a COPY of one batch",
            3.0,
            ms(half.to_250.p99) / copy,
            format!("{:.2} ms, {copy:.2} ms for {BATCH} rows", ms(half.to_250.p99)),
        ),
    ];
    Ok((rows, shared.delivered_per_s))
}

/// Under load for `soak_minutes` while somebody holds a snapshot. `rate`: what was delivered a second before.
fn pinned(runs: &mut Runs<'_>, options: &Options, rate: f64) -> anyhow::Result<Vec<Row>> {
    let messages = (rate * 60.0 * options.soak_minutes).max(1.0) as u64;
    let database = runs.bench().database()?;
    let before = database.octets();
    let snapshot = database.pin()?;
    let outcome = runs.run(Options { messages, ..options.clone() })?;
    drop(snapshot);
    let after = runs.bench().database()?.octets();
    let delivered = &outcome.series.delivered;
    let quarter = (delivered.len() / 4).max(1);
    let sum = |part: &[u64]| part.iter().sum::<u64>() as f64;
    let (first, last) = (sum(&delivered[..quarter]), sum(&delivered[delivered.len() - quarter..]));
    let mib = |octets: f64| octets / f64::from(1 << 20);
    Ok(vec![
        Row::at_least(
            "snapshot held: delivered in the last quarter ÷ in the first",
            0.9,
            last / first,
            format!("{messages} messages in {:.1} minutes", delivered.len() as f64 / 600.0),
        ),
        Row::at_most(
            "afterwards: MiB in the database beyond those of before",
            600.0,
            mib(after - before),
            format!("{:.0} MiB went through it", mib(messages as f64 * options.size as f64)),
        ),
    ])
}
