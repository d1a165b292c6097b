//! `postbud domain`: what customers publish, and whether it is right.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Subcommand;

use super::ConfigFile;
use crate::config;
use crate::customers::Customer;
use crate::files;
use crate::message::CustomerId;
use crate::onboarding::{Checker, Lang};
use crate::resolver::Dns;
use crate::server::Settings;
use crate::smtp::Domain;

mod check;
mod records;

/// Tell customers what to publish in DNS, and check what they have published.
///
/// A domain needs a proof that it is the customer's, an SPF record that lets us send, our DKIM key, and a DMARC policy.
/// These commands print the records to publish, and say of each what is there, what is wrong and what to do next.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  postbud domain records test-as --mail --lang da
  postbud domain check test-as"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Records(records::Args),
    Check(check::Args),
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Records(args) => args.run(),
            Command::Check(args) => args.run(),
        }
    }
}

/// `--lang`, for every command whose output customers may read.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(in crate::cli) struct Language {
    /// The language of texts: da or en.
    #[arg(long, value_name = "LANG")]
    lang: Option<Lang>,
}

impl Language {
    /// The language asked for, else English as all of the command line.
    pub(in crate::cli) fn or_english(self) -> Lang {
        self.lang.unwrap_or(Lang::En)
    }

    /// The language asked for, else the customers' (`[onboarding] lang`).
    pub(in crate::cli) fn or_customers(self, settings: &Settings) -> Lang {
        self.lang.unwrap_or(settings.onboarding.lang)
    }
}

/// Configuration, and what asks DNS as it says.
pub(in crate::cli) struct Desk {
    pub(in crate::cli) settings: Settings,
    pub(in crate::cli) checker: Checker,
}

impl Desk {
    /// Reads the configuration. Must be called on the runtime: the resolver belongs to it.
    pub(in crate::cli) fn open(config: &ConfigFile) -> anyhow::Result<Self> {
        let settings = config::load(&config.path)?.settings;
        let dns = Dns::new(&settings.resolver)?;
        let dir = &settings.onboarding.state_dir;
        let checker = Checker::new(settings.onboarding.clone(), Arc::new(dns))
            .with_context(|| format!("cannot use the ownership secret in {}", dir.display()))?;
        Ok(Desk { settings, checker })
    }

    pub(in crate::cli) fn customer(&self, id: &str) -> anyhow::Result<Arc<Customer>> {
        let directory = &self.settings.directory;
        let found = directory.get(&CustomerId::new(id)).cloned();
        found.with_context(|| match Domain::parse(id).ok().and_then(|domain| directory.by_domain(&domain)) {
            Some(owner) => format!("there is no customer \"{id}\": it is a domain of the customer \"{}\"", owner.id),
            None => format!("there is no customer \"{id}\""),
        })
    }
}

/// The folder of customers' files that a server file names.
pub(in crate::cli) fn customers_dir(config: &Path) -> anyhow::Result<PathBuf> {
    let text = files::read_text(config).with_context(|| format!("cannot read {}", config.display()))?;
    let table: toml::Table = toml::from_str(&text).with_context(|| config.display().to_string())?;
    let dir = table.get("customers_dir").and_then(toml::Value::as_str).unwrap_or("customers");
    Ok(config.parent().unwrap_or(Path::new("")).join(dir))
}
