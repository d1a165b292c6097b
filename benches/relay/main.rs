//! The load harness: `cargo bench --bench relay -- --help`.
//!
//! It starts the release binary as a process of its own on a scratch configuration, between a source and a sink that are
//! processes too (this program again), and measures from outside: rates, latencies, the relay's CPU, memory and disk,
//! next to the raw RSA operation and fdatasync of the same machine in the same run. Every run is checked for exactly-once
//! delivery and sound signatures; a run that fails this ends with an error.

mod check;
// shared with other benches; not all of it is used here
#[allow(dead_code)]
#[path = "../corpus/mod.rs"]
mod corpus;
mod database;
mod event_cost;
mod mail;
mod options;
mod pair;
mod plot;
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod probe;
mod process;
#[path = "../readme/mod.rs"]
mod readme;
mod report;
mod run;
mod scratch;
mod server;
mod shared;
mod signers;
mod sink;
mod source;
mod suite;
mod targets;

use std::path::Path;

use clap::Parser as _;

use options::{Options, Sweep};
use report::Outcome;
use run::Bench;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, settings, report] = arguments.as_slice()
        && (role == "source" || role == "sink")
    {
        return run::worker(role, Path::new(settings), Path::new(report));
    }
    let options = Options::parse();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let bench = Bench::new(&options, Path::new(env!("CARGO_BIN_EXE_postbud")), target)?;
    if options.prepare {
        return Ok(());
    }
    println!("{}\n", readme::machine());
    let result = measure(&bench, &options);
    if options.scratch.is_none() {
        // Keys and certificates of a run that is over.
        let _ = std::fs::remove_dir_all(bench.scratch.path(""));
    }
    result
}

fn measure(bench: &Bench, options: &Options) -> anyhow::Result<()> {
    if options.suite {
        let ticks = probe::Ticks::now();
        let (rows, outcomes) = match options.postgres {
            true => shared::suite(bench, options)?,
            false => suite::suite(bench, options)?,
        };
        let stolen = ticks.stolen_since();
        let mut table = targets::table(&rows);
        table.push_str(&format!(
            "\nOther guests of the same hardware had {:.1} % of the cores' time meanwhile.\n",
            stolen * 100.0
        ));
        println!("{table}");
        if let Some(name) = &options.readme {
            readme::into_readme("relay", name, &table)?;
        }
        return write_json(
            options,
            &serde_json::json!({ "machine": readme::machine(), "stolen": stolen, "targets": rows, "runs": outcomes }),
        );
    }
    if options.event_cost {
        let mut runs = targets::Runs::new(bench);
        let row = event_cost::row(&mut runs, options)?;
        let table = targets::table(std::slice::from_ref(&row));
        println!("{table}");
        if let Some(name) = &options.readme {
            readme::into_readme("relay", name, &table)?;
        }
        let runs = runs.outcomes;
        return write_json(
            options,
            &serde_json::json!({ "machine": readme::machine(), "targets": [row], "runs": runs }),
        );
    }
    if let Some(sweep) = options.sweep {
        return vary(bench, options, sweep);
    }
    if options.pair {
        let outcome = pair::run(bench, options)?;
        println!("{}", outcome.line());
        return write_json(options, &serde_json::json!({ "machine": readme::machine(), "pair": outcome }));
    }
    let outcome = bench.run(options)?;
    println!("{}", outcome.table());
    if let Some(dir) = &options.svg {
        plot::run(dir, &outcome)?;
    }
    write_json(options, &serde_json::json!({ "machine": readme::machine(), "run": outcome }))?;
    anyhow::ensure!(outcome.sound(), "mail was lost, doubled, refused or not signed right: see above");
    Ok(())
}

fn vary(bench: &Bench, options: &Options, sweep: Sweep) -> anyhow::Result<()> {
    let steps: &[usize] = match sweep {
        Sweep::Sessions => &[1, 2, 5, 10, 20, 50, 100, 200],
        Sweep::Size => &[1_024, 4_096, 10_240, 51_200, 204_800, 1_048_576],
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for &step in steps {
        let one = match sweep {
            Sweep::Sessions => Options { sessions: step, ..options.clone() },
            // Large messages make a run long soon enough.
            Sweep::Size => {
                Options { size: step, messages: options.messages.min(200_000_000 / step as u64), ..options.clone() }
            }
        };
        let outcome = bench.run(&one)?;
        println!("{}", outcome.table());
        outcomes.push(outcome);
    }
    if let Some(dir) = &options.svg {
        std::fs::create_dir_all(dir)?;
        let points: Vec<_> = steps
            .iter()
            .zip(&outcomes)
            .map(|(step, o)| (*step as f64, o.delivered_per_s, o.cpu_us().unwrap_or(0.0)))
            .collect();
        let (file, title, axis) = match sweep {
            Sweep::Sessions => ("sessions.svg", "Scaling over sessions", "sessions (log)"),
            Sweep::Size => ("size.svg", "Scaling over size", "octets of a message (log)"),
        };
        plot::scaling(&dir.join(file), title, axis, &points)?;
    }
    write_json(options, &serde_json::json!({ "machine": readme::machine(), "runs": outcomes }))
}

fn write_json(options: &Options, value: &serde_json::Value) -> anyhow::Result<()> {
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_vec_pretty(value)?)?;
    }
    Ok(())
}
