//! Writes commands' results to standard output. Results may contain text from strangers: every character of it is made visible, and none
//! controls the terminal.

#![allow(clippy::print_stdout, reason = "what is printed here is visible")]

use serde::Serialize;
use serde_json::Value;

use crate::visible::{visible_json, visible_lines};

/// Writes text of any number of lines, without adding a line end.
pub(super) fn text(text: &str) {
    print!("{}", visible_lines(text));
}

/// Writes a value as JSON on one line.
pub(super) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", visible_json(&serde_json::to_string(value)?));
    Ok(())
}

/// Writes a value as indented JSON for people.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", visible_json(&serde_json::to_string_pretty(value)?));
    Ok(())
}

/// Returns a server's reply from the parts in an event: `451 4.7.1 later`.
pub(super) fn said(event: &Value) -> Option<String> {
    let code = event["code"].as_u64()?;
    let parts = [
        Some(code.to_string()),
        event["status"].as_str().map(str::to_owned),
        event["reply"].as_str().map(str::to_owned),
    ];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}
