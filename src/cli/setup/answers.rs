//! The answers that `postbud setup` needs, from flags or from questions. Invalid answers are reported at once.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::cli::ask::{ask, given_or_asked_until, is_person};
use crate::cli::hash_password;
use crate::files::{line, read_text};
use crate::smtp::Domain;
use crate::submission::ServerTls;

/// Mailjet's submission server.
const MAILJET: &str = "in-v3.mailjet.com:587";

/// The flags with answers.
#[derive(Debug, clap::Args)]
pub(super) struct Given {
    /// The relay's name: the PTR record of its egress address.
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// The address that mail is sent from, which customers allow-list.
    #[arg(long, value_name = "ADDRESS")]
    egress_address: Option<String>,
    /// The local address whose connections come from the egress address; "any" if the network sets it.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,
    /// The address at which webCRM submits its mail.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Networks that may connect, separated by commas.
    #[arg(long, value_name = "NETWORKS")]
    allow_from: Option<String>,
    /// The listener's certificate, with --private-key; empty: a listener on the loopback address accepts unencrypted mail.
    #[arg(long, value_name = "FILE")]
    certificate: Option<String>,
    /// The private key of the certificate.
    #[arg(long, value_name = "FILE")]
    private_key: Option<String>,
    /// The name that webCRM logs in with.
    #[arg(long, value_name = "NAME", default_value = "webcrm")]
    username: String,
    /// A file with webCRM's password. Only its hash is kept.
    #[arg(long, value_name = "FILE")]
    password_from: Option<PathBuf>,
    /// A file with Mailjet's API key; empty: no mail goes through Mailjet.
    #[arg(long, value_name = "FILE")]
    mailjet_key_from: Option<String>,
    /// A file with the secret of the API key; empty: no mail goes through Mailjet.
    #[arg(long, value_name = "FILE")]
    mailjet_secret_from: Option<String>,
    /// Mailjet's server. Connections to a loopback address are not encrypted.
    #[arg(long, value_name = "HOST:PORT", default_value = MAILJET)]
    mailjet_server: String,
    /// The address of the metrics and health pages.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8025")]
    web: String,
}

/// The checked answers.
pub(super) struct Answers {
    pub hostname: Domain,
    pub egress: IpAddr,
    /// `None` if the network sets the address.
    pub bind: Option<IpAddr>,
    pub listen: SocketAddr,
    pub allow_from: Vec<IpNet>,
    pub tls: Option<Tls>,
    pub username: String,
    pub password: Zeroizing<String>,
    pub mailjet: Option<Mailjet>,
    pub web: SocketAddr,
}

/// A listener's certificate and key.
pub(super) struct Tls {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

/// The login at Mailjet.
pub(super) struct Mailjet {
    pub host: String,
    pub port: u16,
    pub key: Zeroizing<String>,
    pub secret: Zeroizing<String>,
}

impl Given {
    /// Asks for everything that no flag gives.
    pub fn ask(&self, dir: &Path) -> anyhow::Result<Answers> {
        // Nobody is asked for it, so a person hears before the first question that it cannot be had.
        let web = listenable(&self.web).map_err(|why| anyhow::anyhow!("--web {}: {why}", self.web))?;
        say!("Configuration in {}", dir.display());
        let question = "Name of this relay, which the PTR record of its egress address has";
        let hostname = given_or_asked_until(self.hostname.clone(), question, "--hostname", None, Domain::parse)?;
        let question = "Egress address, which customers allow-list";
        let egress: IpAddr =
            given_or_asked_until(self.egress_address.clone(), question, "--egress-address", None, str::parse)?;
        let (question, usual) = ("Local address that leaves as it (\"any\": the network gives it)", egress.to_string());
        let bind = given_or_asked_until(self.bind.clone(), question, "--bind", Some(&usual), bindable)?;
        let question = "Address and port to take mail on";
        let listen = given_or_asked_until(self.listen.clone(), question, "--listen", Some("127.0.0.1:2525"), |text| {
            listenable(text).and_then(|address| match address == web {
                true => Err("that is the address of the pages (--web)".to_owned()),
                false => Ok(address),
            })
        })?;
        let usual = if listen.ip().is_loopback() { "127.0.0.0/8" } else { "10.0.0.0/8" };
        let question = "Networks that may connect, separated by commas";
        let allow_from =
            given_or_asked_until(self.allow_from.clone(), question, "--allow-from", Some(usual), networks)?;
        let tls = self.tls(listen)?;
        let password = match &self.password_from {
            Some(path) => secret_of(path)?,
            None => hash_password::secret("webCRM's password: ").context("no password; give --password-from")?,
        };
        if password.is_empty() {
            bail!("webCRM's password is empty");
        }
        Ok(Answers {
            hostname,
            egress,
            bind,
            listen,
            allow_from,
            tls,
            username: self.username.clone(),
            password,
            mailjet: self.mailjet()?,
            web,
        })
    }

    fn tls(&self, listen: SocketAddr) -> anyhow::Result<Option<Tls>> {
        let is_loopback = listen.ip().is_loopback();
        let usual = is_loopback.then_some("");
        let question = match is_loopback {
            true => "Certificate file for TLS (empty: in clear, on the loopback address)",
            false => "Certificate file for TLS",
        };
        let is_asked = self.certificate.is_none() && self.private_key.is_none() && is_person();
        loop {
            let certificate =
                given_or_asked_until(self.certificate.clone(), question, "--certificate", usual, optional_file)?;
            let Some(certificate) = certificate else { return Ok(None) };
            let (question, given) = ("File of its private key", self.private_key.clone());
            let private_key = given_or_asked_until(given, question, "--private-key", None, file)?;
            match ServerTls::load(&certificate, &private_key) {
                Ok(_) => return Ok(Some(Tls { certificate, private_key })),
                Err(why) if is_asked => say!("  {why}"),
                Err(why) => return Err(why.into()),
            }
        }
    }

    /// Returns true if Mailjet's keys are typed by a person, who can type them again.
    pub fn are_mailjet_keys_typed(&self) -> bool {
        self.mailjet_key_from.is_none() && self.mailjet_secret_from.is_none() && is_person()
    }

    /// Asks for Mailjet's keys.
    pub fn mailjet(&self) -> anyhow::Result<Option<Mailjet>> {
        match (self.mailjet_key_from.as_deref(), self.mailjet_secret_from.as_deref()) {
            (Some(""), None | Some("")) | (None, Some("")) => return Ok(None),
            (Some(""), Some(_)) | (Some(_), Some("")) => bail!(
                "one of --mailjet-key-from and --mailjet-secret-from is empty and the other is not; empty means that no mail goes through \
                 Mailjet"
            ),
            _ => {}
        }
        let key = match &self.mailjet_key_from {
            Some(path) => secret_of(Path::new(path))?,
            None => {
                Zeroizing::new(ask("Mailjet's API key (empty: not through Mailjet)", "--mailjet-key-from", Some(""))?)
            }
        };
        if key.is_empty() {
            return Ok(None);
        }
        let secret = match &self.mailjet_secret_from {
            Some(path) => secret_of(Path::new(path))?,
            None => hash_password::secret("Its secret: ").context("no secret; give --mailjet-secret-from")?,
        };
        if secret.is_empty() {
            bail!("the secret of Mailjet's API key is empty");
        }
        let server = &self.mailjet_server;
        let parts = server.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        let (host, port) = parts.with_context(|| format!("--mailjet-server {server} is not HOST:PORT"))?;
        Ok(Some(Mailjet { host, port, key, secret }))
    }
}

/// Returns the absolute path of a file that can be read.
fn file(path: &str) -> std::io::Result<PathBuf> {
    std::fs::read(path)?;
    std::path::absolute(path)
}

/// The same, or `None` for an empty answer.
fn optional_file(path: &str) -> std::io::Result<Option<PathBuf>> {
    (!path.is_empty()).then(|| file(path)).transpose()
}

fn secret_of(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = Zeroizing::new(read_text(path).with_context(|| format!("cannot read {}", path.display()))?);
    Ok(Zeroizing::new(line(&text).to_owned()))
}

/// Returns an address of this machine from which connections can be made, or `None` for "any".
fn bindable(text: &str) -> Result<Option<IpAddr>, String> {
    if text == "any" {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| "is no address, nor \"any\"".to_owned())?;
    match TcpListener::bind((address, 0)) {
        Ok(_) => Ok(Some(address)),
        Err(error) => Err(format!("this machine cannot bind it ({error}): name the local address, or \"any\"")),
    }
}

fn listenable(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "is no address with a port, like 127.0.0.1:2525".to_owned())?;
    if address.port() == 0 {
        return Err("port 0 is none that clients could know".to_owned());
    }
    match TcpListener::bind(address) {
        Ok(_) => Ok(address),
        Err(error) => Err(format!("this machine cannot listen there: {error}")),
    }
}

/// Returns true for a port that this process may have listened on only because it is root.
pub(super) fn is_for_root(address: SocketAddr) -> bool {
    address.port() < first_free_port()
}

/// Returns the first port that every user may listen on.
pub(super) fn first_free_port() -> u16 {
    let set = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    set.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let parts = text.split(',').map(str::trim);
    parts.map(|part| part.parse().map_err(|_| format!("{part} is no network, like 10.0.0.0/8"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tried_on_this_machine() {
        assert_eq!(bindable("any"), Ok(None));
        assert_eq!(bindable("127.0.0.1"), Ok(Some("127.0.0.1".parse().unwrap())));
        for (wrong, why) in [("192.0.2.1", "cannot bind"), ("localhost", "no address"), ("", "no address")] {
            let said = bindable(wrong).unwrap_err();
            assert!(said.contains(why), "{wrong}: {said}");
        }
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listenable(&taken.local_addr().unwrap().to_string()).unwrap_err().contains("cannot listen"));
        assert!(listenable("2525").is_err());
    }

    #[test]
    fn networks_are_a_list() {
        assert_eq!(networks("10.0.0.0/8, fd00::/8").unwrap().len(), 2);
        for wrong in ["", "10.0.0.1", "10.0.0.0/8,", "10.0.0.0/33"] {
            assert!(networks(wrong).is_err(), "{wrong}");
        }
    }
}
