//! `postbud customer pause`, `unpause`, `paused`: pause and resume a customer's mail in the running relay.

use std::process::ExitCode;

use crate::cli::relay::{Columns, Running};
use crate::operate::pauses::Paused;
use crate::operate::socket::protocol::Command;

/// Pause a customer's mail in the queue until it is resumed.
///
/// New mail is accepted and waits. No mail is lost, and none bounces because of the pause. Running attempts are finished. A pause survives
/// a restart.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer pause test-as --reason 'their list was bought'
  postbud customer pause test-as --spare-single --reason 'newsletters only'")]
pub(super) struct Pause {
    #[command(flatten)]
    running: Running,
    /// The customer's id.
    customer: String,
    /// The reason, shown in lists and in the event.
    #[arg(long, default_value = "paused by an operator")]
    reason: String,
    /// Pause bulk mail only, and still send single mail.
    #[arg(long)]
    spare_single: bool,
}

/// Resume a paused customer's mail at once.
///
/// This also ends a pause that the relay began by itself, because a cap was reached or the mail looked unusual. Caps do not apply until the
/// time at which the pause would have ended.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer unpause test-as")]
pub(super) struct Unpause {
    #[command(flatten)]
    running: Running,
    /// The customer's id.
    customer: String,
}

/// List the customers whose mail is paused, and why.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer paused
  postbud customer paused --json | jq -r .customer")]
pub(super) struct List {
    #[command(flatten)]
    running: Running,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl Pause {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Pause { running, customer, reason, spare_single } = self;
        running.call(Command::PauseCustomer { customer: customer.clone(), reason, spare_single }, |_| {})?;
        show!("The mail of {customer} is paused; it waits in the queue");
        Ok(ExitCode::SUCCESS)
    }
}

impl Unpause {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        self.running.call(Command::UnpauseCustomer { customer: self.customer.clone() }, |_| {})?;
        show!("The mail of {} goes on", self.customer);
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.json {
            self.running.call_and_show(Command::PausedCustomers)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (found, _) = self.running.items::<Paused>(Command::PausedCustomers)?;
        let mut columns = Columns::new(&["CUSTOMER", "CAUSE", "SINCE", "UNTIL", "STOPS", "REASON"]);
        for paused in found {
            let Paused { customer, cause, reason, since, until, spares_single } = paused;
            let stops = if spares_single { "bulk" } else { "all" };
            columns.row([customer, cause, since, until.unwrap_or_default(), stops.to_owned(), reason]);
        }
        columns.print();
        Ok(ExitCode::SUCCESS)
    }
}
