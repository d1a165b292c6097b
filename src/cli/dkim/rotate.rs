//! `postbud dkim rotate`: replaces a customer's key step by step.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::cli::domain::Language;
use crate::cli::{ConfigFile, block_on};
use crate::customers::KeyPlace;
use crate::operate::Actor;

/// Replace one of a customer's DKIM keys, step by step.
///
/// Run it repeatedly: each run does the next step and prints what to do before the one after it. Step 1 makes a key under a new selector
/// and prints its records. Step 2, when DNS has them at every domain, changes the customer's file to sign with it. Step 3 keeps both keys
/// published for the overlap ([onboarding] rotation_overlap), because mail signed with the old key is still on its way; the overlap begins
/// with the run that sees the running relay sign with the new key. Step 4 prints how to revoke the old key. Step 5, when DNS shows that,
/// ends the rotation. An interrupted step is simply run again. The new key is of the same type as the old one. A customer with a second key
/// (ed25519_selector) rotates each separately. `postbud domain records` and `postbud domain check` always know the current records. With
/// [dkim.delegation] the records of steps 1 and 4 are in webCRM's zone, and the customer does nothing; the running relay then takes the
/// steps by itself once a year, or as rotate_every says. A customer whose key is published by hand gets such a key once both aliases are in
/// DNS at every domain, and only deletes the old record at step 4.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud dkim rotate test-as
  postbud dkim rotate test-as --key ed25519
  postbud dkim rotate test-as --leaked
  postbud dkim rotate test-as --lang da

Exit codes: 0 a step was done, or the old key stays published for a while; 1 the next step has to wait: something has to be done or
seen first, or DNS did not answer.")]
pub(super) struct Args {
    /// The customer: the name of its file.
    customer: String,
    #[command(flatten)]
    config: ConfigFile,
    /// The key to replace.
    #[arg(long = "key", value_enum, default_value_t = WhichKey::Main, value_name = "KEY")]
    which: WhichKey,
    /// The current key may be known to others: it is revoked as soon as the new one signs, without the overlap. Mail signed with it that
    /// has not arrived by then fails DKIM.
    #[arg(long)]
    leaked: bool,
    #[command(flatten)]
    language: Language,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WhichKey {
    /// selector and private_key of the customer's file.
    Main,
    /// ed25519_selector and ed25519_private_key, the second signature.
    Ed25519,
}

impl From<WhichKey> for KeyPlace {
    fn from(which: WhichKey) -> Self {
        match which {
            WhichKey::Main => KeyPlace::Main,
            WhichKey::Ed25519 => KeyPlace::Ed25519,
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        block_on(async {
            let site = self.config.site()?;
            let rotated =
                site.rotate_key(&Actor::this_process(), &self.customer, self.which.into(), self.leaked).await?;
            let lang = self.language.or_english();
            for step in &rotated.steps {
                show!("{}", self.config.in_commands(&lang.rotation(step)));
            }
            Ok(if rotated.waits { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        })
    }
}
