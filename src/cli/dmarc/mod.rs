//! `postbud dmarc`: receivers' reports on mail in customers' names.

use std::process::ExitCode;

use clap::Subcommand;

mod asked;
mod import;
mod plot;
mod report;
mod zone;

/// Import DMARC reports, and show the reports on customers' domains.
///
/// Once a day receivers report the mail that they saw in a domain's name: the addresses it came from, and whether DKIM and SPF passed (RFC
/// 9990). The reports come by mail to the address in [returns.dmarc], or are imported from files. These commands work with and without a
/// running relay.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  postbud dmarc import ~/Maildir
  postbud dmarc report test-as
  postbud dmarc plot test-as -o test.dk.svg"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Import(import::Args),
    Report(report::Args),
    Plot(plot::Args),
    Zone(zone::Args),
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Import(args) => args.run(),
            Command::Report(args) => args.run(),
            Command::Plot(args) => args.run(),
            Command::Zone(args) => args.run(),
        }
    }
}
