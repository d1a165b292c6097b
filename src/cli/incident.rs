//! `postbud incident`: writes one archive about a customer's mail in a period.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::relay::Running;
use super::{time, trace};
use crate::operate::Actor;
use crate::operate::incident::{Incident, Question, Recorded};
use crate::operate::queue::Selection;
use crate::operate::socket::protocol::Command;
use crate::time::Timestamp;

/// Write one archive about a customer's mail in a period.
///
/// It contains every mail of the customer with an event in that period, with all of its events and replies; the customer's waiting mail;
/// the state of its routes; and its file, without secrets. It contains nothing of other customers, so it can be passed on. It names
/// recipients, so the archive (tar, zstd) has mode 600. An existing file is not overwritten.
///
/// If the relay is not running, the archive has no queue and no routes, and says so. The audit records who exported what.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud incident test-as --since 2026-11-29T08:00:00Z --until 2026-11-29T10:00:00Z incident.tar.zst
  postbud incident test-as --since 4h incident.tar.zst
  tar --zstd -xf incident.tar.zst && jq -r '.events[] | [.at, .event, .recipient, .reply] | @tsv' incident/mails.jsonl

Exit codes: 0 the archive is written; 1 it is not, or nothing of the customer is in it.")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    /// The customer: the name of its file without .toml.
    customer: String,
    /// The archive to write.
    archive: PathBuf,
    /// The start of the period: a time (2026-11-29T08:00:00Z) or an age (90s, 5m, 4h, 5d).
    #[arg(long, value_name = "TIME")]
    since: String,
    /// The end of the period: a time or an age. Default: now.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The maximum number of mails; the newest are exported.
    #[arg(long, default_value_t = 100_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let log = trace::log(self.running.config())?;
        let question = Question {
            customer: self.customer.clone(),
            from: time::ago_or_at(&self.since)?,
            until: self.until.as_deref().map_or_else(|| Ok(Timestamp::now()), time::ago_or_at)?,
        };
        let mut incident = Incident::begin(&Actor::this_process(), &self.running.state_dir()?, question)?;
        let recorded = incident.record(&log, self.limit as usize)?;
        incident.configuration(&self.running.config_file().files());
        let which = Selection { customer: Some(self.customer.clone()), ..Selection::default() };
        self.add(&mut incident, "queue.jsonl", Command::List { which, limit: Some(self.limit.into()) }, |_, _| true);
        self.add(&mut incident, "routes.jsonl", Command::Routes, |incident, route| {
            route["route"].as_str().is_some_and(|route| incident.concerns(route))
        });
        for left_out in incident.left_out() {
            say!("not in it: {left_out}");
        }
        let archive = incident.write(&self.archive)?;
        let Recorded { mails, events, cut } = recorded;
        show!("{}: {mails} mails of {}, and {events} events without a mail", archive.display(), self.customer);
        if cut {
            say!("there is more in that time; --limit takes more of it");
        }
        Ok(if mails + events == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Adds the answers of the running relay. If none is running, the export continues without them.
    fn add(
        &self,
        incident: &mut Incident,
        name: &'static str,
        command: Command,
        is_meant: impl Fn(&Incident, &Value) -> bool,
    ) {
        let mut items = Vec::new();
        let answered = self.running.call(command, |item| {
            if is_meant(incident, &item) {
                items.push(item);
            }
        });
        match answered {
            Ok(_) => {
                incident.lines(name, items);
            }
            Err(why) => incident.leave_out(&format!("{name}: {why}")),
        }
    }
}
