//! `postbud dmarc report`: summarises the reports on a customer's domains.

use std::process::ExitCode;

use super::asked::Asked;
use crate::cli::{block_on, output};
use crate::onboarding::Finding;
use crate::returns::dmarc::text;

/// Summarise the DMARC reports on a customer's domains.
///
/// Shows how much of the mail is ours, how much passes and by which method, who else sends in the domain's name, which mail a policy of
/// quarantine or reject would affect, and whether the next policy is safe now, with the record to publish. Reports are not signed: the
/// numbers are claims of their senders.
///
/// The stages are p=none, p=quarantine with t=y (RFC 9989), p=quarantine, p=reject with t=y, p=reject. A step is called safe if reports of
/// at least 14, 21 or 28 days from two receivers cover at least 100 or 200 messages of the domain's own senders, of which at most 1 % (for
/// reject 0.2 %) fail. Senders whose mail fails day after day are listed, so that a person can identify them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dmarc report test-as
  postbud dmarc report test-as --domain test.dk --days 90 --lang da
  postbud dmarc report test-as --json | jq '.[].policy.verdict'

Exit codes: 0 told; 1 it failed, or DNS did not say which policy applies.")]
pub(super) struct Args {
    #[command(flatten)]
    asked: Asked,
    /// Print a JSON list with one object for each domain.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let found = self.asked.reports().await?;
            let lang = self.asked.language.or_english();
            if self.json {
                output::json(&found.iter().map(|report| report.view(lang)).collect::<Vec<_>>())?;
            } else {
                let mut texts = Vec::new();
                for report in &found {
                    texts.push(match &report.step {
                        Ok(step) => text::report(&report.summary, Some(step), lang),
                        Err(_) => text::report(&report.summary, None, lang),
                    });
                }
                output::text(&self.asked.config.in_commands(&texts.join("\n")));
            }
            let mut code = ExitCode::SUCCESS;
            for report in &found {
                if let Err(error) = &report.step {
                    let said = lang.finding(&Finding::Unanswered { reason: error.clone() });
                    say!("postbud: {}: {}", report.summary.domain, said.what);
                    code = ExitCode::FAILURE;
                }
            }
            Ok(code)
        })
    }
}
