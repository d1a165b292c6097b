//! `postbud domain`: what customers must publish, and what they have published.

use std::process::ExitCode;

use clap::Subcommand;

use crate::onboarding::Lang;
use crate::operate::Site;

mod check;
mod records;

/// Print what customers must publish in DNS, and check what they have published.
///
/// A domain needs a proof that it belongs to the customer, an SPF record that permits us to send, our DKIM key, and a DMARC policy. These
/// commands print the records to publish, and report for each what is published, what is wrong and what to do next.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  postbud domain records test-as --mail --lang da
  postbud domain check test-as"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Records(records::Args),
    Check(check::Args),
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Records(args) => args.run(),
            Command::Check(args) => args.run(),
        }
    }
}

/// `--lang`, for every command whose output customers may read.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(in crate::cli) struct Language {
    /// The language of texts: da or en.
    #[arg(long, value_name = "LANG")]
    lang: Option<Lang>,
}

impl Language {
    /// Returns the requested language, or English like the rest of the command line.
    pub(in crate::cli) fn or_english(self) -> Lang {
        self.lang.unwrap_or(Lang::En)
    }

    /// Returns the requested language, or the customers' (`[onboarding] lang`).
    pub(in crate::cli) fn or_customers(self, site: &Site) -> Lang {
        self.lang.unwrap_or(site.onboarding().lang)
    }
}
