//! `postbud record`: changes the record of mails.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde::Deserialize;

use super::relay::{NAME_CONFIG, Running, part_of};
use super::trace;
use crate::operate::jobs::RecordErased;
use crate::operate::socket::protocol::Command;
use crate::operate::{Actor, record};

/// Erase a person from the record.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  postbud record erase --recipient ole@example.com"
)]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: RecordCommand,
}

#[derive(Debug, Subcommand)]
enum RecordCommand {
    /// Erase a recipient from the event log, its archives and the audit.
    ///
    /// Each event about the recipient keeps its time, its kind and its customer, so that counts stay right, and loses the address and all
    /// texts. The relay may run meanwhile. Mail that still waits in the queue and suppression lists are not changed: see `postbud queue
    /// remove` and `postbud suppression remove`.
    #[command(after_long_help = "\
Examples:
  postbud record erase --recipient ole@example.com
  postbud record erase --recipient ole@example.com --all-nodes")]
    Erase {
        /// The recipient's address.
        #[arg(long, value_name = "ADDRESS")]
        recipient: String,
        /// Ask the running relay, which has the other nodes that share its spool erase too. A node that is away does it once it is back.
        /// Needed where the spool, and with it the audit, is in a database.
        #[arg(long)]
        all_nodes: bool,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Args { running, command: RecordCommand::Erase { recipient, all_nodes } } = self;
        if all_nodes {
            return erase_at_all(&running, recipient);
        }
        anyhow::ensure!(
            !has_database(running.config())?,
            "the audit is in the database of [spool], so erase with --all-nodes, while the relay runs"
        );
        let log = trace::log(running.config())?;
        let erased = record::erase(&Actor::this_process(), &running.state_dir()?, &log, &recipient)?;
        show!("{} events erased in {} files", erased.events, erased.files);
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns true if the spool, and so the audit, is in a database.
fn has_database(config: &Path) -> anyhow::Result<bool> {
    #[derive(Deserialize)]
    struct Server {
        spool: Option<Spool>,
    }
    #[derive(Deserialize)]
    struct Spool {
        backend: Option<String>,
    }
    let Server { spool } = part_of(config, NAME_CONFIG)?;
    Ok(spool.and_then(|spool| spool.backend).is_some_and(|backend| backend != "embedded"))
}

/// Has the running relay and the other nodes erase a recipient.
fn erase_at_all(running: &Running, recipient: String) -> anyhow::Result<ExitCode> {
    let (erased, _) = running.items(Command::EraseRecipient { recipient })?;
    for RecordErased { events, files, later } in erased {
        show!("{events} events erased in {files} files");
        if !later.is_empty() {
            show!("nodes that are away erase it once they are back: {}", later.join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}
