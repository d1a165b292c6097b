//! `postbud alert …`: what a person must look at, and taking note of it.

use std::process::ExitCode;

use clap::Subcommand;

use super::relay::{Columns, Running, understood};
use crate::operate::alerts::AlertLine;
use crate::operate::socket::protocol::Command;

/// Show the alerts that are open, and take note of one.
///
/// An alert stays open until its trouble is over, and ends by itself. Taking note of it tells the others that somebody looks after
/// it; the note outlives a restart and goes with the trouble.
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
    /// List what is open, and what happened in the last week.
    #[command(after_long_help = "\
Examples:
  postbud alert list
  postbud alert list --json | jq 'select(.acknowledged_by == null)'")]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Take note of an alert.
    #[command(after_long_help = "\
Examples:
  postbud alert acknowledge route:own-server.test-as --note 'Anna calls them'")]
    Acknowledge {
        /// What the alert is called, as `postbud alert list` shows it.
        key: String,
        /// A sentence for the others.
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
    let mut alerts: Vec<anyhow::Result<AlertLine>> = Vec::new();
    running.call(Command::Alerts, |item| alerts.push(understood(item)))?;
    let mut columns = Columns::new(&["ALERT", "SINCE", "LASTS", "KNOWN TO", "WHAT"]);
    for alert in alerts {
        let alert = alert?;
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
