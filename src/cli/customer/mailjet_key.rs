//! `postbud customer mailjet-key`: makes an API key for one customer.

use std::process::ExitCode;

use crate::cli::{ConfigFile, block_on};
use crate::operate::Actor;

/// Make an API key at Mailjet for one customer.
///
/// Makes a sub-account over Mailjet's API with the main account of a tier, writes its key and secret to their own files, and names these in
/// the customer's file (mailjet_account = "own"). Reload postbud afterwards: it registers the customer's domains there, and mail uses the
/// new account when that accepts them. Until then it stays in the tier. If Mailjet blocks the key, only this customer's mail waits. The
/// command may be repeated: it finds a key that it has already made.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer mailjet-key test-as
  postbud customer mailjet-key test-as --tier trusted")]
pub(super) struct Args {
    /// The customer: the name of its file.
    customer: String,
    #[command(flatten)]
    config: ConfigFile,
    /// The tier whose account makes the key. Default: the customer's fixed tier, or the only one with an account.
    #[arg(long)]
    tier: Option<String>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let site = self.config.site()?;
            let tier = self.tier.as_deref();
            for path in site.give_mailjet_key(&Actor::this_process(), &self.customer, tier).await? {
                say!("wrote {}", path.display());
            }
            let check = self.config.command(&format!("domain check {}", self.customer));
            say!("\nNext: systemctl reload postbud. `{check}` says when the new account takes the mail.");
            Ok(ExitCode::SUCCESS)
        })
    }
}
