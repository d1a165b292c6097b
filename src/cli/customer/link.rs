//! `postbud customer link`: links to customers' pages.

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::output;
use crate::cli::relay::{Columns, Running};
use crate::onboarding::Lang;
use crate::operate::links::{AddedLink, Link, NewLink};
use crate::operate::socket::protocol::Command;

/// Make a link to a customer's page, to send to the customer.
///
/// The page shows which records the customer must publish, checks them, and accepts the login of the customer's own server. Anybody who has
/// the link can use it: there is no password. The relay stores only a hash of the link, so a lost link cannot be shown again: make another.
/// It expires after 30 days unless --days is given. [pages.customers] in the server file has the address of the pages.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = "\
Examples:
  postbud customer link test-as
  postbud customer link test-as --days 7 --language en
  postbud customer link list test-as
  postbud customer link revoke 3fa9c01b77"
)]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: Option<LinkCommand>,
    /// The customer's id.
    #[arg(required = true)]
    customer: Option<String>,
    /// The number of days until it expires, from 1 to 365.
    #[arg(long, value_name = "DAYS", default_value_t = crate::operate::links::USUAL_DAYS,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(crate::operate::links::MOST_DAYS)))]
    days: u16,
    /// The language of the page: da or en. Default: the installation's.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<Lang>,
    /// Print one JSON object with the link in `url`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum LinkCommand {
    /// List links: when they were made, when they expire, and when they were last used. The links themselves are not stored.
    #[command(after_long_help = "\
Examples:
  postbud customer link list
  postbud customer link list test-as --json | jq -r .id")]
    List {
        /// Only links of this customer.
        customer: Option<String>,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a link. From now on it does not open the page.
    #[command(after_long_help = "\
Examples:
  postbud customer link revoke 3fa9c01b77")]
    Revoke {
        /// The link's id, as `postbud customer link list` shows it.
        id: String,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match (self.command, self.customer) {
            (Some(LinkCommand::List { customer, json }), _) => list(&self.running, customer, json),
            (Some(LinkCommand::Revoke { id }), _) => {
                self.running.call(Command::RevokeLink { id: id.clone() }, |_| {})?;
                show!("Link {id} is revoked");
                Ok(ExitCode::SUCCESS)
            }
            (None, Some(customer)) => {
                let language = self.language.map(|lang| lang.to_string());
                add(&self.running, customer, NewLink { days: Some(self.days), language }, self.json)
            }
            (None, None) => anyhow::bail!("name the customer: `postbud customer link CUSTOMER`"),
        }
    }
}

fn add(running: &Running, customer: String, new: NewLink, json: bool) -> anyhow::Result<ExitCode> {
    let command = Command::AddLink { customer, new };
    if json {
        running.call_and_show(command)?;
        return Ok(ExitCode::SUCCESS);
    }
    let AddedLink { link, url } = running.item(command, "link")?;
    say!("Link {} to the page of {} expires {}. It is shown this once:", link.id, link.customer, link.expires);
    output::text(&format!("{url}\n"));
    Ok(ExitCode::SUCCESS)
}

fn list(running: &Running, customer: Option<String>, json: bool) -> anyhow::Result<ExitCode> {
    let command = Command::Links { customer };
    if json {
        running.call_and_show(command)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (links, _) = running.items::<Link>(command)?;
    let mut columns = Columns::new(&["ID", "CUSTOMER", "LANGUAGE", "CREATED", "EXPIRES", "LAST USED"]);
    for link in links {
        let expires = if link.expired { format!("{} (expired)", link.expires) } else { link.expires };
        let (language, used) = (link.language.unwrap_or_default(), link.last_used.unwrap_or_else(|| "never".into()));
        columns.row([link.id, link.customer, language, link.created, expires, used]);
    }
    columns.print();
    Ok(ExitCode::SUCCESS)
}
