//! `postbud dkim zone`: webCRM's zone with customers' keys.

use std::process::ExitCode;

use crate::cli::{ConfigFile, block_on};
use crate::operate::Actor;

/// Print or update webCRM's zone with the keys that customers have delegated.
///
/// A customer takes part if the selector in its file is one of [dkim.delegation] selectors; it publishes two CNAME records once, and
/// its keys stand in webCRM's zone. Printed are the lines of that zone: two for each domain, of which one has the key that signs.
/// With --update the lines that differ are put in place by dynamic update (RFC 2136, TSIG) at the server that the server file names.
/// A running relay does that by itself.
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
