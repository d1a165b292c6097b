//! `postbud trace`: shows the history of mails, from the event log and its archives.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::names::MailNames;
use super::output;
use super::relay::{NAME_CONFIG, Running, part_of, warn_of_missing};
use super::time;
use crate::operate::socket::protocol::Command;
use crate::record::trace::{Found, Query, Trace, TracePosition, find};
use crate::visible::visible;

/// Show every event of each matching mail, newest mails first.
///
/// All given filters must match. Reads the event log ([events] log) and its archives, as far back as they are kept ([events] keep and
/// keep_size), whether the relay is running or not. With several nodes, each has a record of its own: --all-nodes asks them all. A search
/// for a recipient, a sender, a Message-ID, a queue id, a reference, a campaign or an ENVID uses the archives' indexes. One for only a
/// customer, a tag or a time reads everything.
///
/// Exits with 1 if nothing is found.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud trace --recipient ole@example.com
  postbud trace --message-id '<1234@test.dk>' --json
  postbud trace --customer test-as --since 2h --limit 20
  postbud trace 6H2D4SPC00VHA
  postbud trace --all-nodes --recipient ole@example.com        Where several nodes share the spool")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    /// A queue id, as in "250 … queued as 6H2D4SPC00VHA".
    #[arg(value_name = "QUEUE-ID")]
    id: Option<String>,
    /// Only mails to this recipient, and of a mail with several recipients only this recipient's part.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// Only mails with this Message-ID, with or without angle brackets.
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    #[command(flatten)]
    names: MailNames,
    /// Only mails of this customer.
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// Only mails with an event since then: a time (2026-11-29T08:00:00Z) or an age (90s, 5m, 4h, 5d).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only mails with an event until then: a time or an age.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The maximum number of mails.
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Continue a search: the cursor that the same search printed when there were more mails.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<TracePosition>,
    /// Print one JSON object per mail, with its events.
    #[arg(long)]
    json: bool,
    /// Ask the running relay, which asks the other nodes that share its spool.
    #[arg(long)]
    all_nodes: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let query = Query {
            queue_id: self.id.as_deref().map(str::parse).transpose()?,
            recipient: self.recipient,
            message_id: self.message_id,
            reference: self.names.reference,
            campaign: self.names.campaign,
            tag: self.names.tag,
            envid: self.names.envid,
            sender: self.names.sender,
            customer: self.customer,
            from: self.since.as_deref().map(time::ago_or_at).transpose()?,
            until: self.until.as_deref().map(time::ago_or_at).transpose()?,
            after: self.cursor,
            only_mail: false,
        };
        if query.is_empty() {
            bail!(
                "say which mail: a queue id, --recipient, --message-id, --reference, --campaign, --tag, --envid, --sender, --customer, \
                 --since or --until"
            );
        }
        let (found, place) = match self.all_nodes {
            true => {
                (of_all_nodes(&self.running, query, self.limit)?, "the records of the nodes that answer".to_owned())
            }
            false => {
                let log = log(self.running.config())?;
                let found = find(&log, &query, self.limit as usize)
                    .with_context(|| format!("cannot read the event log {}", log.display()))?;
                (found, format!("{} and its archives", log.display()))
            }
        };
        warn_of_missing(&found.missing);
        for trace in &found.traces {
            if self.json {
                output::json_line(&serde_json::json!({ "queue_id": trace.queue_id, "events": trace.events }))?;
            } else {
                print(trace);
            }
        }
        if found.traces.is_empty() {
            say!("no mail fits in {place}");
            return Ok(ExitCode::FAILURE);
        }
        if let Some(next) = found.next() {
            say!("there are more mails; go on with --cursor {next}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the running relay and the other nodes have.
fn of_all_nodes(running: &Running, query: Query, limit: u32) -> anyhow::Result<Found> {
    let (mut traces, mut unreadable) = (Vec::new(), 0);
    let done =
        running.call(Command::Trace { query, limit: limit.into() }, |item| match serde_json::from_value(item) {
            Ok(trace) => traces.push(trace),
            Err(_) => unreadable += 1,
        })?;
    anyhow::ensure!(unreadable == 0, "{unreadable} mails of the answer were not understood");
    // The call has named the nodes that did not answer.
    Ok(Found { traces, more: done.more, missing: Vec::new() })
}

/// Returns the event log's file.
pub(super) fn log(config: &Path) -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Server {
        events: Option<Events>,
    }
    #[derive(Deserialize)]
    struct Events {
        log: Option<PathBuf>,
    }
    let Server { events } = part_of(config, NAME_CONFIG)?;
    let log = events.and_then(|events| events.log);
    let log = log.with_context(|| format!("{} names no [events] log, so nothing is recorded", config.display()))?;
    Ok(config.parent().unwrap_or(Path::new("")).join(log))
}

fn print(trace: &Trace) {
    let first = trace.events.first();
    let named = |name: &str| first.and_then(|event| event[name].as_str()).unwrap_or("–").to_owned();
    let refused = ["rejected", "suppressed"].contains(&named("event").as_str());
    let without_id = if refused { "refused at submission" } else { "not about one mail" };
    let id = trace.queue_id.as_deref().unwrap_or(without_id);
    show!("{id}  {}  {}", visible(&named("customer")), visible(&named("message_id")));
    for event in &trace.events {
        let word = |name: &str| event[name].as_str().map(str::to_owned);
        let words = [word("at"), word("event"), word("recipient"), word("route"), output::said(event), word("detail")];
        let words: Vec<String> = words.into_iter().flatten().collect();
        show!("  {}", visible(&words.join("  ")));
    }
    show!("");
}
