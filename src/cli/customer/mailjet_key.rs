//! `postbud customer mailjet-key`: an API key of a customer's own.

use std::process::ExitCode;

use crate::cli::{ConfigFile, block_on};
use crate::operate::Actor;

/// Give a customer an API key of its own at Mailjet.
///
/// Makes a sub-account over Mailjet's API with the main account of a tier, keeps its key and secret in files of their own, and has the
/// customer's file name them (mailjet_account = "own"). Reload postbud then: it registers the customer's domains there, and mail moves
/// once the new account accepts them. Until then it stays in the tier. If Mailjet blocks the key, only this customer waits. The command
/// may be repeated: a key that was made is found again.
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
    /// The tier whose account makes the key. Without it the customer's fixed tier, or the only one with an account.
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
