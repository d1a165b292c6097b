//! `postbud returns …`: reports from other systems about mail that has left.

use std::process::ExitCode;

use clap::Subcommand;

use super::{ConfigFile, block_on, output};
use crate::operate::Actor;
use crate::operate::returns::Registered;

/// Set up reports from other systems about mail that has left.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  postbud returns mailjet url
  postbud returns mailjet register
  postbud returns rotate-key"
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    command: ReturnsCommand,
}

#[derive(Debug, Subcommand)]
enum ReturnsCommand {
    /// Have Mailjet report the fate of mail that it accepted.
    ///
    /// The running relay accepts Mailjet's events at the endpoint in [returns.mailjet]. These commands tell Mailjet its address.
    #[command(
        arg_required_else_help = true,
        after_long_help = "\
Examples:
  postbud returns mailjet url
  postbud returns mailjet register --account trusted"
    )]
    Mailjet {
        #[command(subcommand)]
        command: MailjetCommand,
    },
    /// Give return paths a new key.
    ///
    /// Mail that leaves after the next start of the relay carries return paths of the new key. Those of older keys are taken as before,
    /// for as long as the record is kept. Where nodes share a spool, copy the file to all of them before you restart one.
    #[command(after_long_help = "\
Examples:
  postbud returns rotate-key && systemctl restart postbud")]
    RotateKey,
}

#[derive(Debug, Subcommand)]
enum MailjetCommand {
    /// Print the address to enter at Mailjet, including the secret and the login.
    ///
    /// Anybody who has it can report anything about any mail, so treat it like a password. In Mailjet's console, enter it under Account
    /// settings, Event notifications, for each kind of event, with events grouped.
    #[command(after_long_help = "\
Examples:
  postbud returns mailjet url")]
    Url,
    /// Register the address over Mailjet's API, for every wanted kind of event, in every account or in one.
    ///
    /// May be repeated: correct entries are kept, and other addresses are replaced. Exits 1 if an account refuses.
    #[command(after_long_help = "\
Examples:
  postbud returns mailjet register
  postbud returns mailjet register --account own.test-as
  postbud returns mailjet register --json | jq -r 'select(.result != \"kept\")'")]
    Register {
        /// Only this account: a tier, or own.CUSTOMER for a customer's own.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let site = self.config.site()?;
            let actor = Actor::this_process();
            match self.command {
                ReturnsCommand::RotateKey => {
                    let keys = site.rotate_return_path_key(&actor)?;
                    show!("{keys} keys; restart the relay to use the new one");
                }
                ReturnsCommand::Mailjet { command: MailjetCommand::Url } => {
                    let url = site.mailjet_events_url(&actor)?;
                    output::text(&format!("{}\n", *url));
                }
                ReturnsCommand::Mailjet { command: MailjetCommand::Register { account, json } } => {
                    for done in site.register_mailjet_events(&actor, account.as_deref()).await? {
                        if json {
                            output::json_line(&done)?;
                            continue;
                        }
                        let Registered { account, event, result } = done;
                        show!("{account}: {event} {result}");
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
