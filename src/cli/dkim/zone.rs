//! `postbud dkim zone`: prints or updates webCRM's zone with customers' keys.

use std::process::ExitCode;

use crate::cli::{ConfigFile, block_on};
use crate::operate::Actor;

/// Print or update webCRM's zone with the keys that customers have delegated.
///
/// A customer has delegated its keys if the selector in its file is one of [dkim.delegation] selectors. It publishes two CNAME records
/// once, and its keys are in webCRM's zone. The command prints the lines of that zone: two for each domain, one of which has the signing
/// key. With --update, lines that differ are corrected by dynamic update (RFC 2136, TSIG) at the server that the server file names. A
/// running relay does this by itself.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dkim zone > dkim.webcrm.com.zone
  postbud dkim zone test-as
  postbud dkim zone --update")]
pub(super) struct Args {
    /// Only the lines of this customer.
    customer: Option<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// Change the zone on its server.
    #[arg(long)]
    update: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let (site, actor) = (self.config.site()?, Actor::this_process());
            match self.update {
                true => {
                    let changed = site.update_zone(&actor, self.customer.as_deref()).await?;
                    show!("{changed} records were changed");
                }
                false => {
                    for line in site.zone_lines(&actor, self.customer.as_deref())? {
                        show!("{line}");
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
