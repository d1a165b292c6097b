//! The contract of events: what relays under test write is held against the schema in `docs/`, by a validator that others use too.

use std::path::Path;
use std::process::Command;

use super::skip;

/// Panics if a line of an event log is not what the schema promises, or has a field that the schema does not know. A line that a
/// crash tore is no event.
pub fn check(log: &Path) {
    const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.schema.json");
    const VALIDATE: &str = r#"
import json, sys
try:
    import jsonschema
except ImportError:
    sys.exit(77)
schema = json.load(open(sys.argv[1]))
validator = jsonschema.Draft202012Validator(schema)
for line in open(sys.argv[2], encoding="utf-8"):
    try:
        event = json.loads(line)
    except ValueError:
        continue
    wrong = [error.message for error in validator.iter_errors(event)]
    wrong += [f"unknown field {name}" for name in event if name not in schema["properties"] and name != "erased"]
    if wrong and "erased" not in event:
        sys.exit(f"{wrong}\n{line}")
"#;
    if !log.exists() {
        return;
    }
    let checked = Command::new("python3").args(["-W", "ignore", "-c", VALIDATE, SCHEMA]).arg(log).output();
    match checked {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() != Some(77) => {
            panic!("not as docs/events.schema.json says: {}", String::from_utf8_lossy(&output.stderr))
        }
        _ => skip::skip("the contract of events", "no python3-jsonschema here"),
    }
}
