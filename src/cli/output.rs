//! What commands write on standard output. What strangers wrote may be in it: every character of it is seen, and none commands the
//! terminal.

#![allow(clippy::print_stdout, reason = "what is printed here is visible")]

use serde::Serialize;

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
