//! `postbud customer list` and `postbud customer show`.

use std::process::ExitCode;

use crate::cli::relay::Columns;
use crate::cli::{ConfigFile, output};
use crate::operate::Actor;
use crate::operate::customers::{CustomerView, Customers};
use crate::visible::visible;

/// List the customers of the configuration.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer list
  postbud customer list --domain test.dk
  postbud customer list --json | jq 'select(.suspended != null) | .id'")]
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
        let mut columns = Columns::new(&["ID", "NAME", "VIA", "DOMAINS", "SUSPENDED"]);
        for customer in found.items {
            if self.json {
                output::json_line(&customer)?;
                continue;
            }
            columns.row([
                customer.id,
                customer.name,
                customer.via.as_str().to_owned(),
                customer.domains.join(" "),
                customer.suspended.unwrap_or_default(),
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
        (None, Some(tier)) => format!("mailjet, tier {tier}"),
        (None, None) => "mailjet".to_owned(),
    };
    line("Route", &way);
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
