//! `postbud events`: prints the events after a cursor, and new ones.

use std::process::ExitCode;

use serde_json::Value;

use super::output;
use super::relay::Running;
use crate::operate::events::{EventPage, LONGEST_WAIT, MOST};
use crate::operate::socket::protocol::Command;
use crate::visible::visible;

/// Show events in order, from a cursor on.
///
/// Every answer ends with the cursor to continue from. A cursor is valid as long as its events are kept ([events] keep and keep_size), even
/// when files are rotated and compressed. The relay must be running.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud events --since oldest --json
  postbud events --since 9f3c2a10-41-120384 --limit 1000
  postbud events --follow")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    /// The position to begin at: a cursor, "oldest" or "newest".
    #[arg(long, value_name = "CURSOR", default_value = "newest")]
    since: String,
    /// Continue with new events until interrupted.
    #[arg(long)]
    follow: bool,
    /// The maximum number of events; with --follow, the maximum number at once.
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=MOST as i64))]
    limit: u32,
    /// Print one JSON object per page: its events, the cursor to continue from, and whether there are more already.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut since = self.since.clone();
        loop {
            let page = self.page(since)?;
            if self.json {
                output::json_line(&page)?;
            } else {
                page.events.iter().for_each(print);
            }
            if !self.follow {
                if !self.json {
                    say!("{}go on with --since {}", if page.more { "there are more; " } else { "" }, page.cursor);
                }
                return Ok(ExitCode::SUCCESS);
            }
            since = page.cursor;
        }
    }

    fn page(&self, since: String) -> anyhow::Result<EventPage> {
        let wait_secs = if self.follow { LONGEST_WAIT.as_secs() } else { 0 };
        let mut page = None;
        self.running.call(Command::Events { since, limit: self.limit.into(), wait_secs }, |item| page = Some(item))?;
        Ok(serde_json::from_value(page.unwrap_or_default())?)
    }
}

fn print(event: &Value) {
    let words = ["at", "event", "customer", "queue_id", "recipient", "route", "reply", "detail"];
    let words: Vec<&str> = words.iter().filter_map(|name| event[*name].as_str()).collect();
    show!("{}", visible(&words.join("  ")));
}
