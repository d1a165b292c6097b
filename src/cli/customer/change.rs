//! `postbud customer change`, `suspend`, `resume` and `remove`.

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::ConfigFile;
use crate::files;
use crate::operate::Actor;
use crate::operate::customers::{CustomerChange, Customers};

/// Change a customer's file and keep its comments.
///
/// The change is a JSON merge patch (RFC 7396), as in the HTTP interface: absent keys stay, and null removes a key. The old version of the
/// file is kept below <state_dir>/customers/. A running relay uses the change at once, without reading the rest of the configuration again.
/// Use standard input (-) for a password, so that it does not appear in the list of processes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer change test-as '{\"bulk\":\"refuse\"}'
  postbud customer change test-as '{\"domains\":[\"test.dk\",\"test.se\"],\"route\":{\"tier\":null}}'
  printf '{\"route\":{\"password\":\"…\"}}' | postbud customer change egen-server -")]
pub(super) struct Change {
    #[command(flatten)]
    config: ConfigFile,
    /// The customer: the name of its file without .toml.
    customer: String,
    /// The change as JSON; - reads it from standard input.
    change: String,
}

impl Change {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let text = match self.change.as_str() {
            "-" => std::io::read_to_string(std::io::stdin()).context("cannot read the change")?,
            text => text.to_owned(),
        };
        let change: CustomerChange =
            serde_json::from_str(files::line_of_text(&text)).context("the change is not understood")?;
        let files = self.config.files();
        Customers::beside(&files)?.change(&Actor::this_process(), &self.customer, &change, None)?;
        show!("Customer {} is changed", self.customer);
        Ok(ExitCode::SUCCESS)
    }
}

/// Suspend a customer: new mail is refused, and mail in the queue waits.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer suspend test-as --reason 'unpaid since October'")]
pub(super) struct Suspend {
    #[command(flatten)]
    config: ConfigFile,
    /// The customer: the name of its file without .toml.
    customer: String,
    /// The reason, which senders read.
    #[arg(long)]
    reason: String,
}

impl Suspend {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let files = self.config.files();
        Customers::beside(&files)?.suspend(&Actor::this_process(), &self.customer, &self.reason)?;
        show!("Customer {} is suspended; its mail waits", self.customer);
        Ok(ExitCode::SUCCESS)
    }
}

/// Resume a suspended customer.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer resume test-as")]
pub(super) struct Resume {
    #[command(flatten)]
    config: ConfigFile,
    /// The customer: the name of its file without .toml.
    customer: String,
}

impl Resume {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let files = self.config.files();
        Customers::beside(&files)?.resume(&Actor::this_process(), &self.customer)?;
        show!("Customer {} goes on", self.customer);
        Ok(ExitCode::SUCCESS)
    }
}

/// Remove a customer. Its file is kept among the old versions.
///
/// Mail of the customer in the queue waits until it is bounced or removed, or until the customer is added again. The key and the password
/// files are not removed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer remove test-as")]
pub(super) struct Remove {
    #[command(flatten)]
    config: ConfigFile,
    /// The customer: the name of its file without .toml.
    customer: String,
}

impl Remove {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let files = self.config.files();
        let removed = Customers::beside(&files)?.remove(&Actor::this_process(), &self.customer, None)?;
        show!("Customer {} is removed; its file is kept as {}", removed.id, removed.kept);
        for path in removed.remains {
            say!("{path} stays: delete it once nobody needs the customer any more");
        }
        Ok(ExitCode::SUCCESS)
    }
}
