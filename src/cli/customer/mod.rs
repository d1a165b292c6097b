//! `postbud customer`: customers' files, and their mail in the running relay.

use std::process::ExitCode;

use clap::Subcommand;

mod add;
mod change;
mod link;
mod look;
mod mailjet_key;
mod pause;
mod test;

/// Add, show, change and remove customers, and pause their mail.
///
/// A customer is a file in customers_dir. These commands change it as the HTTP interface does: after a check by the checker of `postbud
/// check`, atomically, and with the old version kept. A running relay uses the changed customer at once, without a reload. `pause`,
/// `unpause` and `test` change no file: they pause and resume the customer's mail in the running relay, and send a test mail there.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  postbud customer add test-as
  postbud customer link test-as
  postbud customer list
  postbud customer change test-as '{\"bulk\":\"refuse\"}'
  postbud customer suspend test-as --reason 'unpaid since October'
  postbud customer pause test-as --reason 'their list was bought'
  postbud customer test test-as --to me@webcrm.com
  postbud customer mailjet-key test-as"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Add(Box<add::Args>),
    Link(link::Args),
    MailjetKey(mailjet_key::Args),
    List(look::List),
    Show(look::Show),
    Change(change::Change),
    Suspend(change::Suspend),
    Resume(change::Resume),
    Remove(change::Remove),
    Pause(pause::Pause),
    Unpause(pause::Unpause),
    Paused(pause::List),
    Test(test::Test),
}

/// Adds a customer, and asks for everything except its id.
pub(super) fn add(id: String, config: super::ConfigFile) -> anyhow::Result<ExitCode> {
    add::Args::new(id, config).run()
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Add(args) => args.run(),
            Command::Link(args) => args.run(),
            Command::List(args) => args.run(),
            Command::Show(args) => args.run(),
            Command::Change(args) => args.run(),
            Command::Suspend(args) => args.run(),
            Command::Resume(args) => args.run(),
            Command::Remove(args) => args.run(),
            Command::Pause(args) => args.run(),
            Command::Unpause(args) => args.run(),
            Command::Paused(args) => args.run(),
            Command::Test(args) => args.run(),
            Command::MailjetKey(args) => args.run(),
        }
    }
}
