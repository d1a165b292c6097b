//! The log of `postbud run` on standard error, for people or for programs.

use std::io::{self, IsTerminal, Stderr, Write};

use clap::ValueEnum;
use tracing_subscriber::fmt::MakeWriter;

use super::masked::masked;
use crate::visible::{is_unseen, visible_json};

/// The format of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts the log, with or without the local parts of mail addresses.
pub(super) fn start(format: LogFormat, hides_addresses: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Colours are for people: a file or the journal gets plain text.
    let colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(Lines { format, hides_addresses })
        // Otherwise the library would report with `eprintln!` that standard error cannot be written, which panics. A full disk or a closed
        // reader must not end deliveries. Events about mail are in the event log.
        .log_internal_errors(false);
    // An error means that a log was set up before, which only happens in tests.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

/// Makes the writer of a line.
struct Lines {
    format: LogFormat,
    hides_addresses: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { format: self.format, hides_addresses: self.hides_addresses, out: io::stderr() }
    }
}

/// Writes one event, which arrives in one piece.
struct Line {
    format: LogFormat,
    hides_addresses: bool,
    out: Stderr,
}

impl Write for Line {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = if self.hides_addresses { masked(&text) } else { text };
        match self.format {
            LogFormat::Text => self.out.write_all(seen(&text).as_bytes())?,
            LogFormat::Json => self.out.write_all(visible_json(&text).as_bytes())?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Makes every character of an event visible, whoever wrote it. Further lines are indented, so that none looks like another event. Escape
/// sequences in the input are our colours; the library makes those in values and messages visible itself.
fn seen(event: &str) -> String {
    let (event, end) = event.strip_suffix('\n').map_or((event, ""), |event| (event, "\n"));
    let mut text = String::with_capacity(event.len() + 1);
    for c in event.chars() {
        match c {
            '\n' => text.push_str("\n    "),
            '\x1b' | '\t' => text.push(c),
            c if is_unseen(c) => text.extend(c.escape_unicode()),
            c => text.push(c),
        }
    }
    text + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_looks_like_two_or_hides_anything() {
        assert_eq!(seen("WARN login failed user=x\n"), "WARN login failed user=x\n");
        assert_eq!(seen("a\nERROR b\r\u{9b}2J\u{202e}\u{200b}\n"), "a\n    ERROR b\\u{d}\\u{9b}2J\\u{202e}\\u{200b}\n");
    }
}
