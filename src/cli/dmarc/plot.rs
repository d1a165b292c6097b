//! `postbud dmarc plot`: draws a domain's mail over time.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::asked::Asked;
use crate::cli::{block_on, output};
use crate::returns::dmarc::plot;

/// Draw a customer's mail over time, from DMARC reports.
///
/// Makes an SVG with a bar for each day: our mail and others', passing and failing. It has no scripts and no references to other files.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dmarc plot test-as -o test.dk.svg
  postbud dmarc plot test-as --domain test.dk --days 90 --lang da > test.dk.svg")]
pub(super) struct Args {
    #[command(flatten)]
    asked: Asked,
    /// The file to write. Default: standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let found = self.asked.reports().await?;
            let [report] = &found[..] else {
                let domains: Vec<&str> = found.iter().map(|it| it.summary.domain.as_str()).collect();
                bail!("{} has several domains: name one with --domain ({})", self.asked.customer, domains.join(", "));
            };
            let picture = plot::svg(&report.summary, self.asked.language.or_english());
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
