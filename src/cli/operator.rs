//! `postbud operator …`: manages the users of the operators' pages.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::hash_password::read_password;
use super::relay::{Columns, Running};
use crate::operate::operators::{NewOperator, Operator, OperatorChange, PasswordHash};
use crate::operate::socket::protocol::Command;
use crate::operate::tokens::RoleName;

/// Add, list, change and remove the people who may use the operators' pages.
///
/// An operator logs in with a name and a password, of which the relay stores a hash. The commands talk to the running relay and take effect
/// at once: a change of role or password logs the operator out everywhere.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud operator add anna --role admin
  postbud operator list
  postbud operator password anna
  postbud operator remove anna")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: OperatorCommand,
}

#[derive(Debug, Subcommand)]
enum OperatorCommand {
    /// Add an operator. Asks for the password, or reads it from standard input.
    #[command(after_long_help = "\
Examples:
  postbud operator add anna --role admin
  openssl rand -base64 18 | tee bo.password | postbud operator add bo --role operate
  postbud operator add carl@webcrm.dk --role read --no-password")]
    Add {
        /// The operator's name, which the audit shows.
        name: String,
        /// The operator's role.
        #[arg(long)]
        role: Role,
        /// No password: a trusted proxy authenticates the operator ([pages.operators] trusted_header).
        #[arg(long)]
        no_password: bool,
    },
    /// List the operators: role, last login and open sessions.
    #[command(after_long_help = "\
Examples:
  postbud operator list
  postbud operator list --json | jq 'select(.last_login == null)'")]
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Change an operator's role.
    #[command(after_long_help = "\
Examples:
  postbud operator role anna --role read")]
    Role {
        /// The operator's name.
        name: String,
        /// The operator's new role.
        #[arg(long)]
        role: Role,
    },
    /// Change an operator's password. Asks for it, or reads it from standard input.
    #[command(after_long_help = "\
Examples:
  postbud operator password anna")]
    Password {
        /// The operator's name.
        name: String,
    },
    /// Log an operator out everywhere.
    #[command(after_long_help = "\
Examples:
  postbud operator logout anna")]
    Logout {
        /// The operator's name.
        name: String,
    },
    /// Remove an operator.
    #[command(after_long_help = "\
Examples:
  postbud operator remove anna")]
    Remove {
        /// The operator's name.
        name: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// May see everything, and probe routes.
    Read,
    /// May also change the queue, the routes and suppression lists, pause customers, check domains, send test mails, acknowledge alerts.
    Operate,
    /// May also change customers, keys and links, and erase recipients from the record.
    Admin,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Read => RoleName::Read,
            Role::Operate => RoleName::Operate,
            Role::Admin => RoleName::Admin,
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let running = self.running;
        match self.command {
            OperatorCommand::Add { name, role, no_password } => {
                let password_hash = if no_password { None } else { Some(PasswordHash::of(&read_password()?)?) };
                let new = NewOperator { name: name.clone(), role: role.into(), password_hash };
                running.call(Command::AddOperator(new), |_| {})?;
                show!("Operator {name} is added");
            }
            OperatorCommand::List { json: true } => {
                running.call_and_show(Command::Operators)?;
            }
            OperatorCommand::List { json: false } => list(&running)?,
            OperatorCommand::Role { name, role } => {
                change(&running, &name, OperatorChange::Role(role.into()))?;
                show!("Operator {name} has another role, and has to log in again");
            }
            OperatorCommand::Password { name } => {
                change(&running, &name, OperatorChange::Password(PasswordHash::of(&read_password()?)?))?;
                show!("Operator {name} has another password, and has to log in again");
            }
            OperatorCommand::Logout { name } => {
                change(&running, &name, OperatorChange::LogOut)?;
                show!("Operator {name} is logged out everywhere");
            }
            OperatorCommand::Remove { name } => {
                running.call(Command::RemoveOperator { name: name.clone() }, |_| {})?;
                show!("Operator {name} is removed");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn change(running: &Running, name: &str, change: OperatorChange) -> anyhow::Result<()> {
    running.call(Command::ChangeOperator { name: name.to_owned(), change }, |_| {}).map(drop)
}

fn list(running: &Running) -> anyhow::Result<()> {
    let (operators, _) = running.items::<Operator>(Command::Operators)?;
    let mut columns = Columns::new(&["NAME", "ROLE", "PASSWORD", "SESSIONS", "CREATED", "LAST LOGIN"]);
    for operator in operators {
        columns.row([
            operator.name,
            operator.role.as_str().to_owned(),
            if operator.has_password { "yes" } else { "no" }.to_owned(),
            operator.sessions.to_string(),
            operator.created,
            operator.last_login.unwrap_or_else(|| "never".to_owned()),
        ]);
    }
    columns.print();
    Ok(())
}
