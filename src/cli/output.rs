//! What commands write on standard output. What strangers wrote may be in it: every character of it is seen, and none commands the
//! terminal.

#![allow(clippy::print_stdout, reason = "what is printed here is visible")]

use serde::Serialize;
use serde_json::Value;

use crate::visible::{visible_json, visible_lines};

/// Text of any number of lines, as it is: the last one's end is not added.
pub(super) fn text(text: &str) {
    print!("{}", visible_lines(text));
}

/// A value as JSON on one line.
pub(super) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", visible_json(&serde_json::to_string(value)?));
    Ok(())
}

/// A value as JSON for people to read.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", visible_json(&serde_json::to_string_pretty(value)?));
    Ok(())
}

/// What a server said, as an event has it in its parts: `451 4.7.1 later`.
pub(super) fn said(event: &Value) -> Option<String> {
    let code = event["code"].as_u64()?;
    let parts = [
        Some(code.to_string()),
        event["status"].as_str().map(str::to_owned),
        event["reply"].as_str().map(str::to_owned),
    ];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}
