//! Checks the contract of events: the events that relays under test write and send must match the schema in `docs/`, by an independent
//! validator.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::skip;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json");
/// Reads lines of JSON. The second argument names their type.
const VALIDATE: &str = r##"
import json, sys
try:
    import jsonschema
except ImportError:
    sys.exit(77)
schema = json.load(open(sys.argv[1]))
validator = jsonschema.Draft202012Validator(schema)
calls = validator.evolve(schema={"$ref": "#/$defs/WebhookCall"})
def unknown(found, known):
    return [f"unknown field {name}" for name in found if name not in known]
for line in sys.stdin.buffer:
    try:
        value = json.loads(line)
    except ValueError:
        continue
    if sys.argv[2] == "calls":
        wrong = [error.message for error in calls.iter_errors(value)]
        wrong += unknown(value, schema["$defs"]["WebhookCall"]["properties"])
        events = value.get("events", [])
    else:
        wrong = [error.message for error in validator.iter_errors(value)]
        events = [value]
    for event in events:
        wrong += unknown(event, schema["properties"])
    if wrong:
        sys.exit(f"{wrong}\n{line.decode()}")
"##;

/// Panics if a line of an event log, or of its closed files, does not match the schema, or has a field that is not in the schema. A line
/// that a crash cut is not an event.
pub fn check(log: &Path) {
    let mut lines = Vec::new();
    for file in files(log) {
        // A file that is being closed has two names for a moment.
        let Ok(octets) = std::fs::read(&file) else { continue };
        let is_closed = file.extension().is_some_and(|ending| ending == "zst");
        let text = if is_closed { zstd::stream::decode_all(&octets[..]).expect("a closed file") } else { octets };
        lines.extend(text);
        lines.push(b'\n');
    }
    validate("events", &lines);
}

/// Panics if the body of a webhook's call does not match the schema.
pub fn check_calls(bodies: &[Vec<u8>]) {
    validate("calls", &bodies.join(&b'\n'));
}

/// Returns the log, and the files whose names begin with its name, except its own bookkeeping.
fn files(log: &Path) -> Vec<PathBuf> {
    let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = std::fs::read_dir(log.parent().expect("a folder"));
    let files = folder.into_iter().flatten().flatten().map(|file| file.path());
    let is_of = |path: &PathBuf| {
        let other = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        other.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || (rest.starts_with('.') && rest != ".position"))
    };
    files.filter(is_of).collect()
}

/// Panics if a line does not match the schema of events or of a webhook's calls.
pub fn validate(what: &str, lines: &[u8]) {
    if lines.iter().all(u8::is_ascii_whitespace) {
        return;
    }
    let program = ["-W", "ignore", "-c", VALIDATE, SCHEMA, what];
    // Debian's, as everywhere in these tests: it has the packages' modules, and starts at once where `python3` is a version manager's script.
    let mut python = Command::new("/usr/bin/python3");
    let Ok(mut python) = python.args(program).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() else {
        return skip::skip("the contract of events", "no python3 here");
    };
    // A validator that ends early reports why.
    let _ = python.stdin.take().expect("piped").write_all(lines);
    let output = python.wait_with_output().expect("it ends");
    match output.status.code() {
        Some(0) => {}
        Some(77) => skip::skip("the contract of events", "no python3-jsonschema here"),
        _ => panic!("not as docs/events.schema.json says: {}", String::from_utf8_lossy(&output.stderr)),
    }
}
