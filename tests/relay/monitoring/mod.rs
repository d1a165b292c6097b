//! What `deploy/` gives to Prometheus and Grafana, judged by Prometheus' own tools over the metrics of relays that worked and that got
//! into trouble.

mod dashboard;
mod handbook;
mod recorded;
mod rules;
mod shown;

use std::path::PathBuf;

/// A file of the source tree.
fn source(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the source tree.
fn text(path: &str) -> String {
    std::fs::read_to_string(source(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the alert rules.
fn rules() -> Vec<String> {
    let file = text("deploy/prometheus/postbud.rules.yml");
    file.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect()
}
