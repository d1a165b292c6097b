//! `postbud customer list` and `postbud customer show`.

use std::collections::HashMap;
use std::process::ExitCode;

use crate::cli::relay::Columns;
use crate::cli::{ConfigFile, output};
use crate::operate::Actor;
use crate::operate::customers::{CapsView, CustomerView, Customers};
use crate::visible::visible;

/// List the customers of the configuration.
///
/// STATE is `in service` or why mail of the customer stands still: it is suspended or paused, it has no route, or its route is suspended or
/// carries no mail. Only the running relay knows the state of routes; if none runs, STATE is empty unless the customer is suspended.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer list
  postbud customer list --domain test.dk
  postbud customer list --json | jq 'select(.suspended != null) | .id'
  postbud customer list --json | jq 'select(.stuck != null) | [.id, .stuck]'")]
pub(super) struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// Only the customer with this From domain.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let files = self.config.files();
        let customers = Customers::beside(&files)?;
        let found = customers.list(&Actor::this_process(), self.domain.as_deref(), None, usize::MAX)?;
        // The list is useful without the state of routes, for example to somebody who may not command the relay.
        let stuck = customers.stuck().unwrap_or_else(|error| {
            say!("postbud: {error}");
            None
        });
        let is_known = stuck.is_some();
        let mut stuck: HashMap<String, String> =
            stuck.into_iter().flatten().map(|stuck| (stuck.customer, stuck.why)).collect();
        let mut columns = Columns::new(&["ID", "NAME", "VIA", "DOMAINS", "STATE"]);
        for mut customer in found.items {
            customer.stuck = stuck.remove(&customer.id);
            if self.json {
                output::json_line(&customer)?;
                continue;
            }
            columns.row([
                customer.id,
                customer.name,
                customer.via.as_str().to_owned(),
                customer.domains.join(" "),
                match (customer.suspended, customer.stuck) {
                    (Some(why), _) => format!("suspended: {why}"),
                    (None, Some(why)) => format!("stands still: {why}"),
                    (None, None) => if is_known { "in service" } else { "" }.to_owned(),
                },
            ]);
        }
        if !self.json {
            columns.print();
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Show a customer's file without its password.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer show test-as
  postbud customer show test-as --json | jq .route")]
pub(super) struct Show {
    #[command(flatten)]
    config: ConfigFile,
    /// The customer: the name of its file without .toml.
    customer: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let files = self.config.files();
        let (view, _) = Customers::beside(&files)?.show(&Actor::this_process(), &self.customer)?;
        if self.json {
            output::json_line(&view)?;
        } else {
            output::text(&described(&view));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn capped(caps: CapsView) -> String {
    let cap = |cap: Option<u32>| cap.map_or("any number of".to_owned(), |cap| cap.to_string());
    let CapsView { concurrency, recipients_per_transaction, messages_per_connection, .. } = caps;
    format!(
        "{concurrency} connections, {} messages a minute, {} recipients a day; {recipients_per_transaction} recipients a transaction, \
         {messages_per_connection} messages a connection",
        cap(caps.per_minute),
        cap(caps.per_day)
    )
}

fn described(view: &CustomerView) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:<14} {}\n", visible(value)));
    line("Id", &view.id);
    line("Name", &view.name);
    for domain in &view.domains {
        let signs = domain.broken.as_ref().map(|why| format!("its key cannot be used: {why}"));
        line("Domain", &format!("{} ({})", domain.domain, signs.unwrap_or_else(|| domain.selectors.join(", "))));
    }
    for domain in &view.bounce_domains {
        line("Bounce domain", domain);
    }
    let route = &view.route;
    let way = match (&route.host, &route.tier) {
        (Some(host), _) => {
            let tls = route.tls.map_or("", |tls| tls.as_str());
            let login = route.username.as_ref().map_or("no login".to_owned(), |name| format!("login {name}"));
            format!("own-server {host}:{} (tls {tls}, {login})", route.port.unwrap_or_default())
        }
        (None, tier) => {
            let tier = tier.as_ref().map(|tier| format!(", tier {tier}")).unwrap_or_default();
            format!("mailjet{tier}{}", if route.own_key { ", an API key of its own" } else { "" })
        }
    };
    line("Route", &way);
    if let Some(caps) = route.caps {
        line("Caps", &capped(caps));
    }
    line("Bulk", view.bulk.as_str());
    line("Bounces", view.bounces.as_str());
    if view.test {
        let allowed = if view.test_allow.is_empty() { "nobody".to_owned() } else { view.test_allow.join(", ") };
        let rest = view.test_redirect.as_ref().map_or("stays here".to_owned(), |to| format!("goes to {to}"));
        line("Test mode", &format!("mail to {allowed} leaves; other mail {rest}"));
    }
    if let Some(reason) = &view.suspended {
        line("Suspended", reason);
    }
    for remark in &view.remarks {
        line("Remark", remark);
    }
    text
}
