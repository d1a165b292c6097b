//! `postbud probe`: whether a customer's server would take mail, step by step.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::ConfigFile;
use crate::config;
use crate::customers::Via;
use crate::delivery::{self, Delivery, StepResult};
use crate::message::CustomerId;
use crate::resolver::Dns;
use crate::route::Route;
use crate::smtp::Mailbox;

/// Try a customer's route without sending anything.
///
/// Goes the way a delivery would: name, connection from the egress address, greeting, EHLO, TLS and certificate, login, MAIL
/// and RCPT; then RSET. Each step says how long it took, what was found and what to do about it. No mail is sent.
///
/// For a Mailjet customer every tier is tried (or the one fixed in its file). With --to at another domain the probe also looks
/// whether the server takes mail to others without a login.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud probe egen-server
  postbud probe egen-server --to someone@other.example
  postbud probe egen-server --json | jq '.steps[] | select(.finding != \"ok\")'

Exit codes: 0 mail can be delivered; 1 it cannot.")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The customer: the name of its file without .toml.
    customer: String,
    /// MAIL FROM; postmaster@ the customer's first domain where not given.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    from: Option<Mailbox>,
    /// RCPT TO; the same address as MAIL FROM where not given.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    to: Option<Mailbox>,
    /// Print one JSON object a route.
    #[arg(long)]
    json: bool,
}

fn address(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text).map_err(|error| error.to_string())
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let settings = config::load(&self.config.path)?.settings;
        let directory = &settings.directory;
        let customer = directory.get(&CustomerId::new(&self.customer)).with_context(|| {
            let known: Vec<_> = directory.customers().map(|customer| customer.id.as_str()).collect();
            format!("there is no customer \"{}\"; there are: {}", self.customer, known.join(", "))
        })?;
        let from = match self.from {
            Some(from) => from,
            None => {
                let domain = customer.domains.keys().next().context("the customer has no domain: say --from")?;
                Mailbox::parse(&format!("postmaster@{domain}"))?
            }
        };
        let to = self.to.unwrap_or_else(|| from.clone());
        let routes: Vec<Arc<Route>> = match &customer.via {
            Via::OwnServer(route) => vec![Arc::clone(route)],
            Via::Mailjet { tier } => {
                let tiers =
                    directory.tiers().iter().filter(|(name, _)| tier.as_ref().is_none_or(|fixed| fixed == *name));
                tiers.map(|(_, tier)| Arc::clone(&tier.route)).collect()
            }
        };
        super::block_on(async {
            let delivery = Delivery::new(delivery::Settings {
                timeouts: settings.timeouts,
                resolver: Some(Arc::new(Dns::new(&settings.resolver)?)),
                ..delivery::Settings::new(settings.hostname.as_str(), settings.egress)
            })?;
            let mut worst = StepResult::Ok;
            for route in &routes {
                let report = delivery.probe(route, &from, &to).await;
                worst = worst.max(report.verdict);
                if self.json {
                    println!("{}", serde_json::to_string(&report)?);
                } else {
                    println!("{report}\n");
                }
            }
            Ok(if worst == StepResult::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        })
    }
}
