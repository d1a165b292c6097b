//! `postbud dmarc zone`: prints the records in webCRM's zone for reports.

use std::process::ExitCode;

use crate::cli::{ConfigFile, block_on, output};
use crate::operate::Actor;
use crate::operate::dmarc::PERMISSION;

/// Print webCRM's records that allow reports on customers' domains to be sent to us, and check them.
///
/// Receivers send reports to another organization only if it says that it wants them (RFC 9990 section 4), with a TXT record below the
/// domain of the address in [returns.dmarc]. One wildcard record covers all customers. With --each a line for each of their domains is
/// printed instead, for a DNS server without wildcards.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dmarc zone
  postbud dmarc zone --each >> webcrm.com.zone
  postbud dmarc zone --json

Exit codes: 0 DNS has the record of every domain; 1 it lacks one, or did not answer.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Print a line for each domain.
    #[arg(long, conflicts_with = "json")]
    each: bool,
    /// Print the records as JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let site = self.config.site()?;
            let records = site.dmarc_permissions(&Actor::this_process()).await?;
            if self.json {
                output::json(&records)?;
            } else {
                show!("; Reports on customers' domains may be sent to {} (RFC 9990 section 4)", records.address);
                if !self.each {
                    show!("{}. 3600 IN TXT \"{PERMISSION}\"", records.wildcard);
                }
                for record in &records.each {
                    let state = match record.present {
                        Some(true) => "there",
                        Some(false) => "missing",
                        None => "DNS did not answer",
                    };
                    match self.each {
                        true => show!("{}. 3600 IN TXT \"{PERMISSION}\" ; {state}", record.name),
                        false => show!("; {}: {state}", record.domain),
                    }
                }
            }
            let is_whole = records.each.iter().all(|record| record.present == Some(true));
            Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}
