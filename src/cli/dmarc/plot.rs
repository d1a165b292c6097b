//! `postbud dmarc plot`: a domain's mail over time, as a picture.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::cli::domain::Language;
use crate::cli::{ConfigFile, block_on, output};
use crate::operate::Actor;
use crate::operate::dmarc::DAYS;
use crate::returns::dmarc::plot;
use crate::smtp::Domain;

/// Draw a customer's mail over time, as DMARC reports tell of it.
///
/// An SVG with a bar for each day: ours and others', passing and failing. It has no scripts and refers to nothing outside.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dmarc plot test-as -o test.dk.svg
  postbud dmarc plot test-as --domain test.dk --days 90 --lang da > test.dk.svg")]
pub(super) struct Args {
    /// The customer: the name of its file.
    customer: String,
    #[command(flatten)]
    config: ConfigFile,
    /// The domain; needed if the customer has several.
    #[arg(long, value_parser = Domain::parse)]
    domain: Option<Domain>,
    /// Of so many days up to now.
    #[arg(long, default_value_t = DAYS)]
    days: u32,
    /// The file to write; unset: standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    language: Language,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let site = self.config.site()?;
            let found = site.dmarc(&Actor::this_process(), &self.customer, self.domain.as_ref(), self.days).await?;
            let [report] = &found[..] else {
                let domains: Vec<&str> = found.iter().map(|it| it.summary.domain.as_str()).collect();
                bail!("{} has several domains: name one with --domain ({})", self.customer, domains.join(", "));
            };
            let picture = plot::svg(&report.summary, self.language.or_english());
            match &self.output {
                Some(file) => {
                    std::fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))?;
                }
                None => output::text(&picture),
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
