//! `postbud customer add`: a new customer's file and key, and what the customer has to publish.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;
use zeroize::Zeroizing;

use crate::cli::domain::{Desk, Language, customers_dir};
use crate::cli::{ConfigFile, block_on, files, hash_password, said};
use crate::config;
use crate::customers::public_mailboxes::is_public_mailbox;
use crate::dkim::{Selector, SigningKey};
use crate::files::{line, line_of_text, read_text};
use crate::message::CustomerId;
use crate::onboarding::records;
use crate::onboarding::rotation::toml_string;
use crate::smtp::Domain;
use crate::time::Timestamp;

/// Add a customer: write its file, make its key, print what to publish.
///
/// Asks for what no flag says: name, From domains, which way mail goes, and for an own server its host, port, TLS and login
/// (section 4 of webCRM's guide for customers). Answers may also come from a pipe, one a line. Writes
/// `customers/ID.toml`, a 2048-bit DKIM key and, where there is one, the password in a file of its own, readable only by
/// its owner. Nothing that exists is overwritten; if the configuration would not be accepted with the new customer, nothing
/// of it stays.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  postbud customer add test-as
  postbud customer add test-as --name 'Test A/S' --domain test.dk --via mailjet
  postbud customer add egen-server --name 'Egen Server ApS' --domain egenserver.dk --via own-server \\
      --host mail.egenserver.dk --port 587 --tls required --username webcrm --password-from smtp.password")]
pub(super) struct Args {
    /// The customer's id, and the name of its file: lower case letters, digits, hyphens.
    id: String,
    #[command(flatten)]
    config: ConfigFile,
    /// The customer's name, for people.
    #[arg(long)]
    name: Option<String>,
    /// A From domain; may be given several times.
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// Which way mail goes.
    #[arg(long)]
    via: Option<Via>,
    /// The own server's name.
    #[arg(long)]
    host: Option<String>,
    /// The own server's port.
    #[arg(long)]
    port: Option<u16>,
    /// The own server's TLS.
    #[arg(long)]
    tls: Option<Tls>,
    /// The login at the own server; an empty one means that the server knows our address.
    #[arg(long)]
    username: Option<String>,
    /// A file with the password of that login; it is copied.
    #[arg(long, value_name = "FILE")]
    password_from: Option<PathBuf>,
    /// The name of the DKIM key's record below _domainkey.
    #[arg(long, default_value = "postbud1")]
    selector: String,
    #[command(flatten)]
    language: Language,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// Mailjet.
    Mailjet,
    /// The customer's own server.
    OwnServer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    /// Never.
    Off,
    /// STARTTLS where offered; certificates are not checked.
    Opportunistic,
    /// STARTTLS with a verified certificate.
    Required,
    /// TLS from the first octet.
    Implicit,
}

/// The answers.
struct Answers {
    name: String,
    domains: Vec<Domain>,
    own_server: Option<OwnServer>,
}

struct OwnServer {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<(String, Zeroizing<String>)>,
}

/// Files that go again unless everything succeeds.
#[derive(Default)]
struct Written(Vec<PathBuf>);

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed is named by the error that brought us here.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let before = config::load(&self.config.path)?.settings;
        let dir = customers_dir(&self.config.path)?;
        let file = dir.join(format!("{}.toml", self.id));
        if file.exists() || before.directory.get(&CustomerId::new(&self.id)).is_some() {
            bail!("{} is already there and is never overwritten", file.display());
        }
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if self.id.is_empty() || !self.id.bytes().all(legal) || self.id.starts_with('-') {
            bail!("\"{}\" is no customer id: lower case letters, digits and hyphens, as in test-as", self.id);
        }
        let selector = Selector::parse(&self.selector)?;
        let answers = self.answers(&before)?;

        let first = &answers.domains[0];
        let keys = dir.join("../../keys");
        let key_name = format!("{first}.pem");
        let mut written = Written::default();
        let key = SigningKey::generate_rsa(2048)?;
        let key_path = keys.join(&key_name);
        let relay = &before.state_dir;
        files::write_secret_for(relay, &key_path, key.to_pem()?.as_bytes())?;
        written.0.push(key_path.clone());
        if let Some((_, password)) = answers.own_server.as_ref().and_then(|server| server.login.as_ref()) {
            let path = dir.join(format!("../secrets/{}.password", self.id));
            files::write_secret_for(relay, &path, format!("{}\n", password.as_str()).as_bytes())?;
            written.0.push(path);
        }
        let text = self.file(&answers, &selector, &format!("../../keys/{key_name}"));
        files::write_public(&file, text.as_bytes())?;
        written.0.push(file.clone());
        config::load(&self.config.path).context("with the new customer")?;
        for path in std::mem::take(&mut written.0) {
            say!("wrote {}", files::tidy(&path).display());
        }

        block_on(async {
            let desk = Desk::open(&self.config)?;
            let customer = desk.customer(&self.id)?;
            let lang = self.language.or_english();
            for domain in customer.domains.keys() {
                let table =
                    records::table(&desk.checker, &desk.settings.directory, &customer, domain, Timestamp::now()).await;
                println!("{}", self.config.in_commands(&records::text(&table, lang)));
            }
            anyhow::Ok(())
        })?;
        let records = self.config.command(&format!("domain records {} --mail", self.id));
        if answers.own_server.is_none() {
            say!(
                "\nFirst enter what Mailjet's console shows for each domain, [mailjet.\"…\"] in {}.",
                files::tidy(&file).display()
            );
        }
        say!(
            "\nNext:\n  {:width$}   the same as a mail to the customer\n  {:width$}   when it is published\n  \
             {:width$}   so that a running relay knows the customer",
            records,
            self.config.command(&format!("domain check {}", self.id)),
            "systemctl reload postbud",
            width = records.len(),
        );
        Ok(ExitCode::SUCCESS)
    }

    fn answers(&self, before: &crate::server::Settings) -> anyhow::Result<Answers> {
        let name = given_or_asked(self.name.clone(), "Name of the customer", "--name", None)?;
        let texts = match self.domains.is_empty() {
            false => self.domains.clone(),
            true => {
                let line = ask("From domains, separated by spaces", "--domain", None)?;
                line.split([' ', ',']).filter(|text| !text.is_empty()).map(str::to_owned).collect()
            }
        };
        let mut domains = Vec::new();
        for text in texts {
            let domain = Domain::parse(&text)?;
            if is_public_mailbox(&domain) {
                bail!("{domain} belongs to a public mailbox provider: nobody can send bulk mail in its name");
            }
            if let Some(other) = before.directory.by_domain(&domain) {
                bail!("{domain} belongs to the customer \"{}\" already; one domain, one customer", other.id);
            }
            domains.push(domain);
        }
        if domains.is_empty() {
            bail!("a customer has at least one From domain: give --domain");
        }
        let via = match self.via {
            Some(via) => via,
            None => choice("Which way mail goes (mailjet, own-server)", "--via", Some("mailjet"))?,
        };
        let own_server = match via {
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
                None
            }
            Via::OwnServer => Some(self.own_server()?),
        };
        Ok(Answers { name, domains, own_server })
    }

    fn own_server(&self) -> anyhow::Result<OwnServer> {
        let host = given_or_asked(self.host.clone(), "Host of the server", "--host", None)?;
        let tls = match self.tls {
            Some(tls) => tls,
            None => choice("TLS (off, opportunistic, required, implicit)", "--tls", Some("required"))?,
        };
        let usual = if tls == Tls::Implicit { "465" } else { "587" };
        let port = match self.port {
            Some(port) => port,
            None => ask("Port", "--port", Some(usual))?.parse().context("the port is no number from 1 to 65535")?,
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
                Some((username, Zeroizing::new(line(&text).to_owned())))
            }
            (_, None) => {
                let password = hash_password::secret("Password: ").context("no password; give --password-from")?;
                Some((username, password))
            }
        };
        Ok(OwnServer { host, port, tls, login })
    }

    /// The file, commented as the example configuration is.
    fn file(&self, answers: &Answers, selector: &Selector, key: &str) -> String {
        let domains: Vec<String> = answers.domains.iter().map(|domain| toml_string(domain.as_str())).collect();
        let mut text = format!(
            "# The file's name is the customer's id. `postbud check` explains every mistake in it.\n\
             name = {}\n\
             domains = [{}]   # From domains: exact names, and each belongs to one customer only\n\
             # bounce_domains = [\"bounce.webcrm.com\"]   # MAIL FROM may be in these besides\n\
             # suspended = \"why\"   # takes the customer out of service: mail is refused, and held in the queue\n\
             # bulk = \"refuse\"     # \"refuse\" | \"warn\": bulk mail of a domain that lacks what bulk needs\n\
             \n\
             # `postbud dkim rotate {}` changes the key.\n\
             [dkim]\n\
             selector = {}\n\
             private_key = {}\n\
             \n\
             [route]\n",
            toml_string(&answers.name),
            domains.join(", "),
            self.id,
            toml_string(selector.as_str()),
            toml_string(key),
        );
        let Some(server) = &answers.own_server else {
            text.push_str(
                "via = \"mailjet\"\n\
                 # tier = \"trusted\"   # unset: the best tier that the domain has earned\n\
                 # Unset: Mailjet's account decides. DMARC rests on Mailjet's signature, with the trackers or without.\n\
                 # track_opens = false\n\
                 # track_clicks = false\n",
            );
            for domain in &answers.domains {
                let _ = write!(
                    text,
                    "\n# What Mailjet's console shows for {domain}: `postbud domain records` passes it on. DMARC rests on the key.\n\
                     # [mailjet.\"{domain}\"]\n\
                     # ownership = \"…\"   # the token: 32 characters\n\
                     # dkim = \"…\"        # the value of the key record, k=rsa; p=…\n"
                );
            }
            return text;
        };
        let tls = server.tls.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let _ = write!(
            text,
            "via = \"own-server\"\nhost = {}\nport = {}\ntls = {}   # \"off\" | \"opportunistic\" | \"required\" | \"implicit\"\n",
            toml_string(&server.host),
            server.port,
            toml_string(&tls)
        );
        match &server.login {
            Some((username, _)) => {
                let _ = write!(
                    text,
                    "username = {}\npassword_file = {}\n",
                    toml_string(username),
                    toml_string(&format!("../secrets/{}.password", self.id))
                );
            }
            None => text.push_str("# no login: the server must know our address\n"),
        }
        text.push_str("# [route.limits]\n# preset = \"microsoft365\"   # \"microsoft365\" | \"exchange\" | \"google-relay\" | \"postfix\"\n");
        text
    }
}

fn given_or_asked(given: Option<String>, question: &str, flag: &str, usual: Option<&str>) -> anyhow::Result<String> {
    match given {
        Some(given) => Ok(given),
        None => ask(question, flag, usual),
    }
}

/// Asks on standard error and reads a line from standard input. `usual` is what an empty line means; without it, an empty
/// answer is an error that names the flag, as the end of the input always is: nobody has seen the question.
fn ask(question: &str, flag: &str, usual: Option<&str>) -> anyhow::Result<String> {
    match usual {
        Some(usual) if !usual.is_empty() => said(format_args!("{question} [{usual}]: ")),
        _ => said(format_args!("{question}: ")),
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    if !std::io::stdin().is_terminal() {
        say!("");
    }
    if read == 0 {
        bail!("{question}: no answer; give {flag}");
    }
    match (line_of_text(&line).trim(), usual) {
        ("", Some(usual)) => Ok(usual.to_owned()),
        ("", None) => bail!("{question}: no answer; give {flag}"),
        (answer, _) => Ok(answer.to_owned()),
    }
}

fn choice<T: ValueEnum>(question: &str, flag: &str, usual: Option<&str>) -> anyhow::Result<T> {
    let answer = ask(question, flag, usual)?;
    T::from_str(&answer, true).map_err(|_| anyhow::anyhow!("\"{answer}\" is none of the choices; see {flag} in --help"))
}
