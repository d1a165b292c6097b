//! `postbud token …`: manages the tokens of the API.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::relay::{Columns, Running};
use super::{output, time};
use crate::operate::socket::protocol::Command;
use crate::operate::tokens::{AddedToken, NewToken, RoleName, Token};

/// Make, list and revoke the tokens of the API.
///
/// A program sends its token with each request: `Authorization: Bearer TOKEN`. The relay stores only a hash of it, so a lost token cannot
/// be shown again: revoke it and make another. The commands talk to the running relay and take effect at once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud token add webcrm --role admin --expires 365d
  postbud token list
  postbud token revoke webcrm")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token. It is printed once, on standard output.
    #[command(after_long_help = "\
Examples:
  postbud token add webcrm --role admin --expires 365d
  postbud token add dashboard --role read
  postbud token add test-as-portal --role customer --customer test-as
  postbud token add cron --role operate --expires 90d > /etc/cron-token")]
    Add {
        /// The token's name, which the audit shows.
        name: String,
        /// The token's role.
        #[arg(long)]
        role: Role,
        /// A customer that it may see; for --role customer; may be given several times.
        #[arg(long = "customer", value_name = "ID")]
        customers: Vec<String>,
        /// The time after which it expires: 90s, 5m, 4h, 365d. Default: never.
        #[arg(long, value_name = "AGE", value_parser = time::seconds)]
        expires: Option<u64>,
        /// Print one JSON object with the token in `secret`.
        #[arg(long)]
        json: bool,
    },
    /// List the tokens: role, customers, expiry and last use. The tokens themselves are not stored.
    #[command(after_long_help = "\
Examples:
  postbud token list
  postbud token list --json | jq 'select(.last_used == null)'")]
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token. From now on requests with it are refused.
    #[command(after_long_help = "\
Examples:
  postbud token revoke webcrm")]
    Revoke {
        /// The token's name, as `postbud token list` shows it.
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
    /// May see the customers named with --customer, probe their routes, and nothing else.
    Customer,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Read => RoleName::Read,
            Role::Operate => RoleName::Operate,
            Role::Admin => RoleName::Admin,
            Role::Customer => RoleName::Customer,
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            TokenCommand::Add { name, role, customers, expires, json } => {
                let new = NewToken { name, role: role.into(), customers, expires_in_secs: expires };
                add(&self.running, new, json)
            }
            TokenCommand::List { json } => list(&self.running, json),
            TokenCommand::Revoke { name } => {
                self.running.call(Command::RevokeToken { name: name.clone() }, |_| {})?;
                show!("Token {name} is revoked");
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn add(running: &Running, new: NewToken, json: bool) -> anyhow::Result<ExitCode> {
    let command = Command::AddToken(new);
    if json {
        running.call_and_show(command)?;
        return Ok(ExitCode::SUCCESS);
    }
    let AddedToken { token, secret } = running.item(command, "token")?;
    let until = token.expires.map_or("does not expire".to_owned(), |at| format!("expires {at}"));
    say!("Token {} ({}) {until}. It is shown this once:", token.name, token.role.as_str());
    output::text(&format!("{secret}\n"));
    Ok(ExitCode::SUCCESS)
}

fn list(running: &Running, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        running.call_and_show(Command::Tokens)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (tokens, _) = running.items::<Token>(Command::Tokens)?;
    let mut columns = Columns::new(&["NAME", "ROLE", "CUSTOMERS", "CREATED", "EXPIRES", "LAST USED"]);
    for token in tokens {
        let expires = match (token.expires, token.expired) {
            (Some(at), true) => format!("{at} (expired)"),
            (Some(at), false) => at,
            (None, _) => "never".into(),
        };
        columns.row([
            token.name,
            token.role.as_str().to_owned(),
            if token.customers.is_empty() { "all".into() } else { token.customers.join(" ") },
            token.created,
            expires,
            token.last_used.unwrap_or_else(|| "never".into()),
        ]);
    }
    columns.print();
    Ok(ExitCode::SUCCESS)
}
