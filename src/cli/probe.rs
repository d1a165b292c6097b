//! `postbud probe`: tests step by step whether a customer's server would accept mail.

use std::process::ExitCode;

use super::ConfigFile;
use crate::cli::output;
use crate::delivery::StepResult;
use crate::operate::Actor;
use crate::smtp::Mailbox;

/// Test a customer's route without sending mail.
///
/// Does the same as a delivery: host name, connection from the egress address, greeting, EHLO, TLS and certificate, login, MAIL and RCPT;
/// then RSET. For each step it reports the time, what was found and what to do about it. No mail is sent.
///
/// For a Mailjet customer every tier is tested, or only the one that its file names, and its own account if it has one.
/// With --to at another domain the probe also tests whether the server accepts mail to others without a login.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud probe egen-server
  postbud probe egen-server --to someone@other.example
  postbud probe egen-server --json | jq '.steps[] | select(.finding != \"ok\")'

Exit codes: 0 mail can be delivered; 1 it cannot.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The customer: the name of its file without .toml.
    customer: String,
    /// MAIL FROM. Default: postmaster@ the customer's first domain.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    from: Option<Mailbox>,
    /// RCPT TO. Default: the same address as MAIL FROM.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    to: Option<Mailbox>,
    /// Print one JSON object for each route.
    #[arg(long)]
    json: bool,
}

fn address(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text).map_err(|error| error.to_string())
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        super::block_on(async {
            let site = self.config.site()?;
            let mut probe = site.probe(&Actor::this_process(), &self.customer, self.from, self.to)?;
            let mut worst = StepResult::Ok;
            while let Some(report) = probe.next().await {
                worst = worst.max(report.worst);
                if self.json {
                    output::json_line(&report)?;
                } else {
                    show!("{report}\n");
                }
            }
            Ok(if worst == StepResult::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        })
    }
}
