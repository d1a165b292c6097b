//! The project's targets, each with what it asks for, what was measured and a verdict. All are ratios to what the machine
//! did in the same run.

use postbud::load::{Auth, Tls};
use postbud::submission::Limits;

use super::event_cost;
use super::options::Options;
use super::plot;
use super::report::Outcome;
use super::run::Bench;
use super::scratch::Signer;
use super::signers;
use super::targets::{Row, Runs, medians};

/// Runs all: speed in rounds, of which each target's median counts, then memory.
pub fn suite(bench: &Bench, options: &Options) -> anyhow::Result<(Vec<Row>, Vec<Outcome>)> {
    let mut runs = Runs::new(bench);
    let rounds = (0..options.rounds).map(|_| speed(&mut runs, options)).collect::<anyhow::Result<Vec<_>>>()?;
    if let (Some(dir), Some(last)) = (&options.svg, rounds.last()) {
        plot::run(dir, &last.half)?;
    }
    let highest = rounds.iter().map(|round| round.highest).fold(0.0, f64::max);
    let mut rows = medians(rounds.into_iter().map(|round| round.rows).collect());
    rows.push(event_cost::row(&mut runs, options)?);
    rows.extend(memory(&mut runs, options, highest / 2.0)?);
    Ok((rows, runs.outcomes))
}

/// One round over the targets of speed.
struct Speed {
    rows: Vec<Row>,
    /// The highest rate seen, messages a second.
    highest: f64,
    /// The run at half of it.
    half: Outcome,
}

fn speed(runs: &mut Runs, options: &Options) -> anyhow::Result<Speed> {
    let mut rows = Vec::new();
    let cpu = |outcome: &Outcome| outcome.cpu_us().unwrap_or(f64::NAN);

    let full = runs.run(options.clone())?;
    rows.push(Row::at_most(
        "relay CPU a message ÷ raw RSA",
        1.20,
        cpu(&full) / full.rsa_us,
        format!("{:.0} µs ÷ {:.0} µs", cpu(&full), full.rsa_us),
    ));
    let ceiling = full.cores as f64 * 1e6 / full.rsa_us;
    rows.push(Row::at_least(
        "delivered/s at 100 sessions ÷ (cores ÷ RSA)",
        0.65,
        full.delivered_per_s / ceiling,
        format!("{:.0}/s of {ceiling:.0}/s", full.delivered_per_s),
    ));

    let lean = runs.run(Options {
        signer: Signer::Ed25519,
        sessions: 200,
        messages: options.messages * 2,
        ..options.clone()
    })?;
    rows.push(Row::at_most("Ed25519 only: CPU µs a message", 150.0, cpu(&lean), String::new()));
    rows.push(Row::at_least("Ed25519 only: delivered/s at 200 sessions", 5000.0, lean.delivered_per_s, String::new()));

    let dotnet =
        runs.run(Options { per_connection: 1, tls_in: Tls::Starttls, auth_in: Auth::Login, ..options.clone() })?;
    rows.push(Row::at_most(
        "as .NET (connection, TLS, AUTH a message): CPU ÷ raw RSA",
        1.8,
        cpu(&dotnet) / dotnet.rsa_us,
        format!("{:.0} µs, {:.0} % of connections resumed", cpu(&dotnet), dotnet.resumed_in * 100.0),
    ));

    let few = runs.run(Options { sessions: 20, ..options.clone() })?;
    let many = runs.run(Options { sessions: 200, ..options.clone() })?;
    rows.push(Row::at_least(
        "delivered/s at 200 sessions ÷ at 20",
        0.95,
        many.delivered_per_s / few.delivered_per_s,
        format!("{:.0}/s, {:.0}/s", many.delivered_per_s, few.delivered_per_s),
    ));

    let highest = full.delivered_per_s.max(few.delivered_per_s).max(many.delivered_per_s);
    let half = runs.run(Options { rate: Some(highest / 2.0), ..options.clone() })?;
    let bound = 2.0 * half.fdatasync.p99 as f64 / 1000.0 + 3.0;
    rows.push(Row::at_most(
        "half rate: p99 end of DATA to 250, ms (2 × fdatasync p99 + 3)",
        bound,
        half.to_250.p99 as f64 / 1000.0,
        format!("fdatasync p50 {} µs, p99 {} µs", half.fdatasync.p50, half.fdatasync.p99),
    ));
    rows.push(Row::at_most(
        "half rate: p99 end of DATA to delivery, ms (+ 25)",
        bound + 25.0,
        half.to_delivery.p99 as f64 / 1000.0,
        String::new(),
    ));

    let (one, two) = signers::one_and_two(&runs.bench().scratch, 4000)?;
    rows.push(Row::at_least("two signer threads ÷ one", 1.9, two / one, format!("{two:.0}/s, {one:.0}/s")));
    Ok(Speed { rows, highest, half })
}

/// The targets of memory. `rate` is what the long run submits, messages a second.
fn memory(runs: &mut Runs, options: &Options, rate: f64) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let messages = (rate * 60.0 * options.soak_minutes).max(1.0) as u64;
    let soak = runs.run(Options { rate: Some(rate), messages, ..options.clone() })?;
    let peak = runs.outcomes.iter().filter_map(|o| o.relay).max_by_key(|relay| relay.peak_memory);
    rows.push(Row::at_most(
        "peak memory under this load, MB",
        100.0,
        peak.map_or(f64::NAN, |relay| relay.peak_memory as f64 / 1e6),
        peak.map_or_else(String::new, |relay| {
            format!("{:.1} MB of it are pages of the program's file", relay.of_files as f64 / 1e6)
        }),
    ));
    let (early, late) = quarters(&soak.memory);
    rows.push(Row::at_most(
        "memory at the end ÷ after the first quarter",
        1.10,
        late / early,
        format!("{:.1} MB, {:.1} MB over {} minutes", early / 1e6, late / 1e6, options.soak_minutes),
    ));
    let big = runs.run(Options { size: 25_000_000, messages: 100, sessions: 50, ..options.clone() })?;
    rows.push(Row::at_most(
        "25 MB × 50 sessions: peak memory, MB (in-flight budget + 100)",
        Limits::default().bytes_in_flight as f64 / 1e6 + 100.0,
        big.relay.map_or(f64::NAN, |r| r.peak_memory as f64 / 1e6),
        format!("{} transactions refused for now", big.refused_for_now),
    ));
    Ok(rows)
}

/// Median resident memory in the second and in the last quarter of a run.
fn quarters(memory: &[u64]) -> (f64, f64) {
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or(0) as f64
    };
    let n = memory.len();
    (median(&memory[n / 4..n / 2]), median(&memory[n - n / 4..]))
}
