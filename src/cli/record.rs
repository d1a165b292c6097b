//! `postbud record`: the record of what became of mails.

use std::process::ExitCode;

use clap::Subcommand;

use super::relay::Running;
use super::trace;
use crate::operate::{Actor, record};

/// Take a person out of the record.
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
    /// Erase what the event log and its archives say of a recipient.
    ///
    /// Each event about the recipient keeps its time, its kind and its customer, so that counts stay right, and loses the address
    /// and every text. The relay may run meanwhile. What still waits in the queue is not touched: `postbud queue remove` takes it
    /// out.
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
