//! `postbud alert …`: lists alerts and acknowledges them.

use std::process::ExitCode;

use clap::Subcommand;

use super::relay::{Columns, Running};
use crate::operate::alerts::AlertLine;
use crate::operate::socket::protocol::Command;

/// Show open alerts, and acknowledge one.
///
/// An alert stays open until its cause is gone, and then ends by itself. Acknowledging it tells other operators that somebody is working on
/// it. The acknowledgement survives a restart and ends with the alert.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud alert list
  postbud alert acknowledge route:own-server.test-as --note 'Anna calls them'")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: AlertCommand,
}

#[derive(Debug, Subcommand)]
enum AlertCommand {
    /// List open alerts, and the notices of the last week.
    #[command(after_long_help = "\
Examples:
  postbud alert list
  postbud alert list --json | jq 'select(.acknowledged_by == null)'")]
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Acknowledge an alert.
    #[command(after_long_help = "\
Examples:
  postbud alert acknowledge route:own-server.test-as --note 'Anna calls them'")]
    Acknowledge {
        /// The key of the alert, as `postbud alert list` shows it.
        key: String,
        /// A note for other operators.
        #[arg(long, default_value = "")]
        note: String,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            AlertCommand::List { json: true } => {
                self.running.call_and_show(Command::Alerts)?;
            }
            AlertCommand::List { json: false } => list(&self.running)?,
            AlertCommand::Acknowledge { key, note } => {
                self.running.call(Command::AcknowledgeAlert { key: key.clone(), note }, |_| {})?;
                show!("Noted. {key} stays open until its trouble is over");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(running: &Running) -> anyhow::Result<()> {
    let (alerts, _) = running.items::<AlertLine>(Command::Alerts)?;
    let mut columns = Columns::new(&["ALERT", "SINCE", "LASTS", "KNOWN TO", "WHAT"]);
    for alert in alerts {
        columns.row([
            alert.key,
            alert.since,
            if alert.open { "yes" } else { "no" }.to_owned(),
            alert.acknowledged_by.unwrap_or_else(|| "nobody".to_owned()),
            alert.detail,
        ]);
    }
    columns.print();
    Ok(())
}
