//! `postbud domain check`: checks what is published, and reports what is missing.

use std::process::ExitCode;

use super::Language;
use crate::cli::output;
use crate::cli::{ConfigFile, block_on};
use crate::onboarding::{Overall, Report, report};
use crate::operate::Actor;
use crate::operate::jobs::Unkept;

/// Check what a customer has published, now.
///
/// For each requirement it reports what was found, what was expected and the next step: ownership (TXT record or empty file), SPF
/// (evaluated completely, with its lookups counted), DKIM (the published key is the one we sign with, and Mailjet's is there), DMARC
/// (policy, alignment, reports), the return path, MX. Mailjet's accounts are asked to check at once too, if our own check sees the records
/// that they look for. The result is stored. A running relay uses it within half a minute, and reports what has changed; without one, the
/// next start does.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud domain check test-as
  postbud domain check test-as --explain
  postbud domain check test-as --lang da
  postbud domain check egen-server --probe
  postbud domain check --all --json | jq '.[] | select(.outcome != \"good\") | .domain'

Exit codes: 0 all in order; 1 something required is missing or broken; 3 only recommendations are open; 4 DNS did not answer
all of it, and nothing required is known to be missing.")]
pub(super) struct Args {
    /// The customer: the name of its file.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    customer: Option<String>,
    /// Check every customer.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    config: ConfigFile,
    /// Print a JSON list with one object for each domain.
    #[arg(long)]
    json: bool,
    /// Also try customers' own servers, as `postbud probe` does: connects and logs in, but sends nothing.
    #[arg(long)]
    probe: bool,
    /// Show the evaluation of SPF term by term, and the errors of the resolver and the HTTP library.
    #[arg(long, conflicts_with = "json")]
    explain: bool,
    #[command(flatten)]
    language: Language,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let site = self.config.site()?;
            let found = site.check(&Actor::this_process(), self.customer.as_deref(), self.probe).await?;
            let reports = &found.reports;
            let lang = self.language.or_english();
            if self.json {
                let all: Vec<_> = reports.iter().map(|one| report::json(one, lang)).collect();
                output::json(&serde_json::Value::from(all))?;
            } else {
                let texts: Vec<String> = reports.iter().map(|one| report::text(one, lang, self.explain)).collect();
                output::text(&self.config.in_commands(&texts.join("\n")));
            }
            // The report is valid even if it could not be written to disk.
            for Unkept { domain, reason } in &found.unkept {
                say!("postbud: the verification status of {domain} was not kept: {reason}");
            }
            let worst = reports.iter().map(Report::overall).max().unwrap_or(Overall::Good);
            Ok(ExitCode::from(match worst {
                Overall::Good => 0,
                Overall::Missing => 1,
                Overall::Recommendations => 3,
                Overall::Unknown => 4,
            }))
        })
    }
}
