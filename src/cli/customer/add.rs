//! `postbud customer add`: a new customer's file and key, and what the customer has to publish.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;
use zeroize::Zeroizing;

use crate::cli::ask::{choice, given_or_asked, given_or_asked_until};
use crate::cli::domain::Language;
use crate::cli::{ConfigFile, block_on, hash_password};
use crate::dkim::Selector;
use crate::files::{line, read_text};
use crate::onboarding::records;
use crate::operate::Actor;
use crate::operate::customers::{Customers, NewCustomer, NewLogin, NewRoute};
use crate::route::TlsMode;

/// Add a customer: write its file, make its key, print what to publish.
///
/// Asks for everything that no flag gives: the name, the From domains, the route, and for an own server its host, port, TLS and login.
/// Answers may also come from a pipe, one per line. Writes `customers/ID.toml`, a 2048-bit DKIM key and, if there is a password, a file
/// with it. Only their owner can read the key and the password. No existing file is overwritten. If the configuration would be invalid with the new
/// customer, no file remains.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer add test-as
  postbud customer add test-as --name 'Test A/S' --domain test.dk --via mailjet
  postbud customer add egen-server --name 'Egen Server ApS' --domain egenserver.dk --via own-server \\
      --host mail.egenserver.dk --port 587 --tls required --username webcrm --password-from smtp.password")]
pub(super) struct Args {
    /// The customer's id, which is also the name of its file: lower case letters, digits, hyphens, underscores.
    id: String,
    #[command(flatten)]
    config: ConfigFile,
    /// The customer's name, for people.
    #[arg(long)]
    name: Option<String>,
    /// A From domain; may be given several times.
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// The route of the customer's mail.
    #[arg(long)]
    via: Option<Via>,
    /// The host name of the customer's own server.
    #[arg(long)]
    host: Option<String>,
    /// The port of the customer's own server.
    #[arg(long)]
    port: Option<u16>,
    /// The TLS mode of the customer's own server.
    #[arg(long)]
    tls: Option<Tls>,
    /// The login at the customer's own server; empty if the server accepts our address without one.
    #[arg(long)]
    username: Option<String>,
    /// A file with the password of that login. Its content is copied.
    #[arg(long, value_name = "FILE")]
    password_from: Option<PathBuf>,
    /// The name of the DKIM key's record below _domainkey. Default: postbud1, or the first one of [dkim.delegation] selectors.
    #[arg(long)]
    selector: Option<String>,
    #[command(flatten)]
    language: Language,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// Mailjet delivers the mail.
    Mailjet,
    /// The customer's own server.
    OwnServer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    /// Without TLS: mail and password cross the network in clear.
    Off,
    /// STARTTLS if the server offers it; certificates are not checked.
    Opportunistic,
    /// STARTTLS with a verified certificate.
    Required,
    /// TLS from the first octet.
    Implicit,
}

impl From<Tls> for TlsMode {
    fn from(tls: Tls) -> Self {
        match tls {
            Tls::Off => TlsMode::Off,
            Tls::Opportunistic => TlsMode::Opportunistic,
            Tls::Required => TlsMode::Required,
            Tls::Implicit => TlsMode::Implicit,
        }
    }
}

impl Args {
    /// Makes the command without any flags.
    pub(super) fn new(id: String, config: ConfigFile) -> Self {
        Args {
            id,
            config,
            name: None,
            domains: Vec::new(),
            via: None,
            host: None,
            port: None,
            tls: None,
            username: None,
            password_from: None,
            selector: None,
            language: Language::default(),
        }
    }

    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (actor, files) = (Actor::this_process(), self.config.files());
        let customers = Customers::beside(&files)?;
        customers.check_id(&self.id)?;
        let customer = self.answers(&customers)?;
        let added = customers.add(&actor, &customer)?;
        for path in &added.files {
            say!("wrote {}", path.display());
        }
        block_on(async {
            let site = self.config.site()?;
            let lang = self.language.or_english();
            let delegation = site.onboarding().delegation.as_ref();
            match delegation.filter(|it| it.has(customer.selector.as_str())).map(|it| &it.updates) {
                None => {}
                Some(None) => {
                    say!("Put its key into webCRM's zone: {}", self.config.command(&format!("dkim zone {}", self.id)))
                }
                // The customer is added anyway, and the running relay tries again.
                Some(Some(_)) => match site.update_zone(&actor, Some(&self.id)).await {
                    Ok(_) => say!("its key is in webCRM's zone"),
                    Err(error) => say!("postbud: its key is not in webCRM's zone yet: {error}"),
                },
            }
            for table in site.records(&actor, &self.id).await? {
                show!("{}", self.config.in_commands(&records::text(&table, lang)));
            }
            anyhow::Ok(())
        })?;
        let records = self.config.command(&format!("domain records {} --mail", self.id));
        say!(
            "\nNext:\n  {:width$}   the same as a mail to the customer\n  {:width$}   when it is published",
            records,
            self.config.command(&format!("domain check {}", self.id)),
            width = records.len(),
        );
        if added.taken_over {
            say!("The running relay knows the customer already.");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Asks for everything that no flag gives. Invalid answers are reported at once, and not after the last question.
    fn answers(&self, customers: &Customers<'_>) -> anyhow::Result<NewCustomer> {
        let selector = match &self.selector {
            Some(selector) => Selector::parse(selector)?,
            None => customers.usual_selector(),
        };
        let name = given_or_asked(self.name.clone(), "Name of the customer", "--name", None)?;
        let domains = match self.domains.is_empty() {
            false => self.domains.iter().map(|text| customers.check_domain(text)).collect::<Result<Vec<_>, _>>()?,
            true => given_or_asked_until(None, "From domains, separated by spaces", "--domain", None, |line| {
                let texts = line.split([' ', ',']).filter(|text| !text.is_empty());
                texts.map(|text| customers.check_domain(text)).collect::<Result<Vec<_>, _>>()
            })?,
        };
        if domains.is_empty() {
            bail!("a customer has at least one From domain: give --domain");
        }
        let via = match self.via {
            Some(via) => via,
            None => {
                let usual = if customers.has_mailjet() { "mailjet" } else { "own-server" };
                choice("Which way mail goes (mailjet, own-server)", "--via", Some(usual))?
            }
        };
        let route = match via {
            Via::Mailjet => {
                let useless = [
                    ("--host", self.host.is_some()),
                    ("--port", self.port.is_some()),
                    ("--tls", self.tls.is_some()),
                    ("--username", self.username.is_some()),
                    ("--password-from", self.password_from.is_some()),
                ];
                if let Some((flag, _)) = useless.iter().find(|(_, given)| *given) {
                    bail!("{flag} is for --via own-server only");
                }
                NewRoute::Mailjet
            }
            Via::OwnServer => self.own_server()?,
        };
        Ok(NewCustomer { id: self.id.clone(), name, domains, selector, route })
    }

    fn own_server(&self) -> anyhow::Result<NewRoute> {
        let host = given_or_asked(self.host.clone(), "Host of the server", "--host", None)?;
        let tls = match self.tls {
            Some(tls) => tls,
            None => choice("TLS (off, opportunistic, required, implicit)", "--tls", Some("required"))?,
        };
        let usual = if tls == Tls::Implicit { "465" } else { "587" };
        let port = match self.port {
            Some(port) => port,
            None => given_or_asked_until(None, "Port", "--port", Some(usual), |port| {
                port.parse().map_err(|_| "the port is no number from 1 to 65535")
            })?,
        };
        let username = given_or_asked(
            self.username.clone(),
            "User name (empty: the server knows our address)",
            "--username",
            Some(""),
        )?;
        let login = match (username.as_str(), &self.password_from) {
            ("", Some(_)) => bail!("--password-from without a user name"),
            ("", None) => None,
            (_, Some(path)) => {
                let text = read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
                let text = Zeroizing::new(text);
                Some(NewLogin { username, password: Zeroizing::new(line(&text).to_owned()) })
            }
            (_, None) => {
                let password = hash_password::secret("Password: ").context("no password; give --password-from")?;
                Some(NewLogin { username, password })
            }
        };
        Ok(NewRoute::OwnServer { host, port, tls: tls.into(), login })
    }
}
