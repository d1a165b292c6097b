//! The dashboard: a Prometheus that holds what relays have told answers every query of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::recorded::{Recorded, record};
use super::text;
use crate::support::relay::{free_port, get};
use crate::support::skip::skip;

/// Minutes of each half of the record.
const HALF: u64 = 60;

#[test]
fn a_recorded_run_answers_every_query_of_the_dashboard() {
    let this = "a_recorded_run_answers_every_query_of_the_dashboard";
    if ["promtool", "prometheus"].iter().any(|program| Command::new(program).arg("--version").output().is_err()) {
        return skip(this, "prometheus is not installed");
    }
    let queries = queries();
    assert!(queries.len() > 20, "{queries:#?}");
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    import(&record(), dir.path(), now);
    let prometheus = Prometheus::start(dir.path());
    let mut unanswered = Vec::new();
    for query in queries {
        // A series of the first half may end there, as an empty lane's does.
        let (start, end) = ((now - 2 * HALF * 60).to_string(), now.to_string());
        let asked =
            ["query", "range", "-o", "json", "--step=60s", "--start", &start, "--end", &end, &prometheus.url, &query];
        let answer = Command::new("promtool").args(asked).output().unwrap();
        let series = serde_json::from_slice::<Vec<Value>>(&answer.stdout).unwrap_or_default();
        if !answer.status.success() || series.is_empty() {
            unanswered.push(format!("{query}: {}", String::from_utf8_lossy(&answer.stderr)));
        }
    }
    assert!(unanswered.is_empty(), "{unanswered:#?}");
}

/// The queries of all panels, as Grafana asks them.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/postbud.json")).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let as_asked = |query: &str| query.replace("$instance", ".*").replace("$__rate_interval", "5m");
    let queries: Vec<String> = targets.map(|target| as_asked(target["expr"].as_str().expect("a query"))).collect();
    assert!(queries.iter().all(|query| !query.contains('$')), "a variable that is not known here: {queries:#?}");
    queries
}

/// Makes a database of it: a sample a minute, the second half in trouble.
fn import(recorded: &Recorded, dir: &Path, now: u64) {
    let mut series: BTreeMap<&String, Vec<(u64, f64)>> = BTreeMap::new();
    for (half, scrape) in [(0, &recorded.well), (1, &recorded.troubled)] {
        for (name, value) in scrape {
            let samples = (0..HALF).map(|minute| (now - ((2 - half) * HALF - minute) * 60, *value));
            series.entry(name).or_default().extend(samples);
        }
    }
    let mut file = String::new();
    for (name, samples) in series {
        for (at, value) in samples {
            writeln!(file, "{name} {value} {at}").unwrap();
        }
    }
    file.push_str("# EOF\n");
    let (text, data) = (dir.join("recorded"), dir.join("data"));
    std::fs::write(&text, file).unwrap();
    let made =
        Command::new("promtool").args(["tsdb", "create-blocks-from", "openmetrics"]).args([&text, &data]).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

struct Prometheus {
    child: Child,
    url: String,
}

impl Prometheus {
    fn start(dir: &Path) -> Self {
        let address = free_port();
        std::fs::write(dir.join("prometheus.yml"), "").unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts");
        let prometheus = Prometheus { child, url: format!("http://{address}") };
        let patience = Instant::now() + Duration::from_secs(60);
        let is_ready = || TcpStream::connect(address).is_ok() && get(address, "/-/ready").contains(" 200 OK");
        while !is_ready() {
            assert!(Instant::now() < patience, "prometheus is not ready");
            std::thread::sleep(Duration::from_millis(200));
        }
        prometheus
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
