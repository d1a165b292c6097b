//! `postbud route …`: the running relay's routes.

use std::process::ExitCode;

use clap::Subcommand;

use super::relay::{Columns, Running, understood};
use crate::operate::routes::Route;
use crate::operate::socket::protocol::Command;

/// Look at the routes of the running relay, stop one, let it go on.
///
/// A route is where mail goes: a tier of Mailjet (mailjet.NAME) or a customer's own server (own-server.CUSTOMER). The relay slows a
/// route down by itself when its server asks for less, and suspends it when trying again would do harm, as after a wrong
/// password. Mail of a suspended route waits; nothing is lost, but its senders hear that it is late and, at its maximum age, that
/// it was given up.
///
/// A suspension outlives a restart. One by a refused login ends with a changed login, server or TLS (by a reload or a restart), one
/// by an operator only with `postbud route resume`; the list says which.
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
  postbud route list --json | jq 'select(.state != \"ready\")'")]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Stop a route until it is resumed, also over restarts and changed logins. Attempts under way end by themselves.
    #[command(after_long_help = "\
Examples:
  postbud route suspend mailjet.starter
  postbud route suspend own-server.egen-server --reason 'their server moves tonight'")]
    Suspend {
        /// The route's name, as `postbud route list` shows it.
        route: String,
        /// Why; shown in the list and in the event.
        #[arg(long, default_value = "suspended by an operator")]
        reason: String,
    },
    /// Let a suspended or throttled route go on at once.
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
            RouteCommand::List { json } => return list(&self.running, json),
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

fn list(running: &Running, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        running.call_and_show(Command::Routes)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut columns =
        Columns::new(&["ROUTE", "SERVER", "STATE", "IN FLIGHT", "SENT TODAY", "SINCE", "UNTIL", "REASON"]);
    let mut wrong = None;
    running.call(Command::Routes, |item| {
        let route: Route = match understood(item) {
            Ok(route) => route,
            Err(error) => return wrong = wrong.take().or(Some(error)),
        };
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
    })?;
    if let Some(error) = wrong {
        return Err(error);
    }
    columns.print();
    Ok(ExitCode::SUCCESS)
}
