//! `postbud record`: changes the record of mails.

use std::process::ExitCode;

use clap::Subcommand;

use super::relay::Running;
use super::trace;
use crate::operate::{Actor, record};

/// Erase a person from the record.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  postbud record erase --recipient ole@example.com"
)]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: RecordCommand,
}

#[derive(Debug, Subcommand)]
enum RecordCommand {
    /// Erase a recipient from the event log, its archives and the audit.
    ///
    /// Each event about the recipient keeps its time, its kind and its customer, so that counts stay right, and loses the address and all
    /// texts. The relay may run meanwhile. Mail that still waits in the queue and suppression lists are not changed: see `postbud queue
    /// remove` and `postbud suppression remove`.
    #[command(after_long_help = "\
Examples:
  postbud record erase --recipient ole@example.com")]
    Erase {
        /// The recipient's address.
        #[arg(long, value_name = "ADDRESS")]
        recipient: String,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let RecordCommand::Erase { recipient } = self.command;
        let log = trace::log(self.running.config())?;
        let erased = record::erase(&Actor::this_process(), &self.running.state_dir()?, &log, &recipient)?;
        show!("{} events erased in {} files", erased.events, erased.files);
        Ok(ExitCode::SUCCESS)
    }
}
