//! `postbud dkim`: keys, records and signatures.

use std::process::ExitCode;

use clap::Subcommand;

mod keygen;
mod message;
mod record;
mod rotate;
mod sign;
mod verify;
mod zone;

/// Make DKIM keys, print the DNS records that publish them, sign and verify files.
///
/// Each customer has its own key. The private key is in a file that only postbud reads. The customer publishes the public key as a TXT
/// record under the selector.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  postbud dkim keygen --out keys/test.dk.pem
  postbud dkim record test-as
  postbud dkim rotate test-as"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keygen::Args),
    Record(record::Args),
    Sign(sign::Args),
    Verify(verify::Args),
    Rotate(rotate::Args),
    Zone(zone::Args),
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Keygen(args) => args.run(),
            Command::Record(args) => args.run(),
            Command::Sign(args) => args.run(),
            Command::Verify(args) => args.run(),
            Command::Rotate(args) => args.run(),
            Command::Zone(args) => args.run(),
        }
    }
}
