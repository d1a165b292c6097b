//! `postbud route …`: shows, suspends and resumes the running relay's routes.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use zeroize::Zeroizing;

use super::output;
use super::relay::{Columns, Running};
use super::{block_on, relay};
use crate::files::{line, read_text};
use crate::operate::Actor;
use crate::operate::microsoft365::{Application, FailedStep};
use crate::operate::routes::Route;
use crate::operate::socket::protocol::Command;
use crate::route::microsoft::WHEN;

/// Show the routes of the running relay, and suspend or resume one.
///
/// A route is a destination of mail: a tier of Mailjet (mailjet.NAME), a customer's own account there (mailjet-own.CUSTOMER), a customer's
/// own server (own-server.CUSTOMER), or the server for notifications to senders (bounces). The relay slows a route down by itself if its
/// server asks for less, and suspends it if further attempts would do harm, as after a wrong password. Mail of a suspended route waits. No mail is lost, but its senders are informed that it is late and, at its maximum age, that it was given up.
///
/// A suspension survives a restart. One because of a refused login ends with a changed login, server or TLS (by a reload or a restart). One
/// by an operator ends only with `postbud route resume`. The list shows which it is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud route list
  postbud route suspend own-server.egen-server --reason 'their server moves tonight'
  postbud route resume own-server.egen-server")]
pub(super) struct Args {
    #[command(flatten)]
    running: Running,
    #[command(subcommand)]
    command: RouteCommand,
}

#[derive(Debug, Subcommand)]
enum RouteCommand {
    /// List the routes: ready, throttled or suspended, and why.
    #[command(after_long_help = "\
Examples:
  postbud route list
  postbud route list --microsoft365
  postbud route list --json | jq 'select(.state != \"ready\")'")]
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        /// Only the routes that log in at Microsoft 365 with a password, which is off by default from the end of December 2026: their
        /// customers, whether the last refusal mentioned it, and what must be done. Needs no running relay.
        #[arg(long)]
        microsoft365: bool,
    },
    /// Change a customer's route at Microsoft 365 from a password to OAuth.
    ///
    /// Without --tenant, prints the steps for an administrator of the customer's tenant: the application, its consent, and the lines for
    /// PowerShell, which look up the enterprise application's object id. With --tenant, --client-id and --secret-from, probes the server
    /// with them and names the step that fails, such as token or login; mail continues with the password meanwhile. With --switch, the
    /// customer's file is also changed if the probe succeeds; reload postbud afterwards. Waiting mail is then sent.
    #[command(after_long_help = "\
Examples:
  postbud route oauth egen-server
  postbud route oauth egen-server --tenant egenserver.dk --client-id 01234567-89ab-cdef-0123-456789abcdef --secret-from secret.txt
  postbud route oauth egen-server --tenant egenserver.dk --client-id 01234567-89ab-cdef-0123-456789abcdef --secret-from secret.txt --switch

Exit codes: 0 done; 1 the probe failed, and nothing was changed.")]
    Oauth {
        /// The customer: the name of its file.
        customer: String,
        /// The tenant: its id, or one of its domains.
        #[arg(long, requires_all = ["client_id", "secret_from"])]
        tenant: Option<String>,
        /// The application (client) id.
        #[arg(long)]
        client_id: Option<String>,
        /// A file with the value of the client secret. Its content is copied.
        #[arg(long, value_name = "FILE", requires = "tenant")]
        secret_from: Option<PathBuf>,
        /// Change the customer's file if the probe succeeds.
        #[arg(long, requires = "tenant")]
        switch: bool,
    },
    /// Suspend a route until it is resumed, even over restarts and changed logins. Running attempts are finished.
    #[command(after_long_help = "\
Examples:
  postbud route suspend mailjet.starter
  postbud route suspend own-server.egen-server --reason 'their server moves tonight'")]
    Suspend {
        /// The route's name, as `postbud route list` shows it.
        route: String,
        /// The reason, shown in the list and in the event.
        #[arg(long, default_value = "suspended by an operator")]
        reason: String,
    },
    /// Resume a suspended or throttled route at once.
    #[command(after_long_help = "\
Examples:
  postbud route resume own-server.egen-server")]
    Resume {
        /// The route's name, as `postbud route list` shows it.
        route: String,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            RouteCommand::List { json, microsoft365: true } => return microsoft365(&self.running, json),
            RouteCommand::List { json, .. } => return list(&self.running, json),
            RouteCommand::Oauth { customer, tenant: Some(tenant), client_id, secret_from, switch } => {
                let path = secret_from.context("give --secret-from")?;
                let text = Zeroizing::new(read_text(&path).with_context(|| format!("cannot read {}", path.display()))?);
                let secret = Zeroizing::new(line(&text).to_owned());
                let application = Application { tenant, client_id: client_id.context("give --client-id")?, secret };
                return oauth(&self.running, &customer, &application, switch);
            }
            RouteCommand::Oauth { customer, client_id, .. } => {
                return block_on(async {
                    let site = self.running.config_file().site()?;
                    let guide = site.oauth_guide(&Actor::this_process(), &customer, client_id.as_deref())?;
                    output::text(&guide);
                    Ok(ExitCode::SUCCESS)
                });
            }
            RouteCommand::Suspend { route, reason } => {
                self.running.call(Command::SuspendRoute { route: route.clone(), reason }, |_| {})?;
                show!("Route {route} is suspended; its mail waits");
            }
            RouteCommand::Resume { route } => {
                self.running.call(Command::ResumeRoute { route: route.clone() }, |_| {})?;
                show!("Route {route} goes on");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn microsoft365(running: &Running, json: bool) -> anyhow::Result<ExitCode> {
    block_on(async {
        let config = running.config_file();
        let routes = config.site()?.microsoft365(&Actor::this_process()).await?;
        if json {
            routes.iter().try_for_each(output::json_line)?;
            return Ok(ExitCode::SUCCESS);
        }
        if routes.is_empty() {
            say!("no route logs in at Microsoft 365 with a password");
            return Ok(ExitCode::SUCCESS);
        }
        let mut columns = relay::Columns::new(&["CUSTOMER", "SERVER", "MAILBOX", "STATE", "NEEDS", "LAST REFUSAL"]);
        for route in routes {
            columns.row([
                route.customer,
                route.server,
                route.username,
                route.state.unwrap_or_default(),
                config.in_commands(&route.needs),
                route.hint.unwrap_or_default(),
            ]);
        }
        columns.print();
        say!("\n{WHEN}.");
        Ok(ExitCode::SUCCESS)
    })
}

fn oauth(running: &Running, customer: &str, application: &Application, switch: bool) -> anyhow::Result<ExitCode> {
    block_on(async {
        let config = running.config_file();
        let (site, actor) = (config.site()?, Actor::this_process());
        let report = site.try_oauth(&actor, customer, application).await?;
        show!("{report}\n");
        if let Some(FailedStep { step, means }) = FailedStep::of(&report) {
            say!("postbud: the step \"{step}\" failed: {means}");
            say!("postbud: nothing was changed; mail goes on as before");
            return Ok(ExitCode::FAILURE);
        }
        if !switch {
            say!("The credentials work. The same command with --switch changes the customer's file.");
            return Ok(ExitCode::SUCCESS);
        }
        for path in site.switch_to_oauth(&actor, customer, application)? {
            say!("wrote {}", path.display());
        }
        say!("\nNext: systemctl reload postbud. The route goes on with the new login, also if it was suspended.");
        Ok(ExitCode::SUCCESS)
    })
}

fn list(running: &Running, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        running.call_and_show(Command::Routes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut columns =
        Columns::new(&["ROUTE", "SERVER", "STATE", "IN FLIGHT", "SENT TODAY", "SINCE", "UNTIL", "REASON"]);
    for route in running.items::<Route>(Command::Routes)?.0 {
        let sent = match route.per_day {
            Some(cap) => format!("{} of {cap}", route.sent_today),
            None => route.sent_today.to_string(),
        };
        columns.row([
            route.route,
            route.server,
            route.state,
            route.in_flight.to_string(),
            sent,
            route.since.or(route.in_trouble_since).unwrap_or_default(),
            route.until.or(route.lifted_by).map(|text| running.in_commands(&text)).unwrap_or_default(),
            route.reason.map(|text| running.in_commands(&text)).unwrap_or_default(),
        ]);
    }
    columns.print();
    Ok(ExitCode::SUCCESS)
}
