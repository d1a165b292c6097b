//! `postbud domain`: what customers publish, and whether it is right.

use std::process::ExitCode;

use clap::Subcommand;

use crate::onboarding::Lang;
use crate::operate::Site;

mod check;
mod records;

/// Tell customers what to publish in DNS, and check what they have published.
///
/// A domain needs a proof that it is the customer's, an SPF record that lets us send, our DKIM key, and a DMARC policy.
/// These commands print the records to publish, and say of each what is there, what is wrong and what to do next.
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
    /// The language asked for, else English as all of the command line.
    pub(in crate::cli) fn or_english(self) -> Lang {
        self.lang.unwrap_or(Lang::En)
    }

    /// The language asked for, else the customers' (`[onboarding] lang`).
    pub(in crate::cli) fn or_customers(self, site: &Site) -> Lang {
        self.lang.unwrap_or(site.onboarding().lang)
    }
}
