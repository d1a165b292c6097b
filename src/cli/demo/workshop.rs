//! The demo's files on disk, which are made at its start and removed at its end.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::cli::dev_certs::Authority;
use crate::cli::hash_password;
use crate::dkim::record::{TxtRecord, render};
use crate::dkim::{Selector, SigningKey};
use crate::files;
use crate::resolver::FixedZone;
use crate::smtp::Domain;

/// The customer's From domain, which can never be registered (RFC 2606).
pub(super) const DOMAIN: &str = "nordlys.example";
/// The customer's id.
pub(super) const CUSTOMER: &str = "nordlys";
/// webCRM's login name.
pub(super) const USERNAME: &str = "webcrm";
/// The relay's login name at the customer's server.
pub(super) const SERVER_USERNAME: &str = "postbud";

/// The folder, and the secrets in it that other parts of the demo need.
pub(super) struct Workshop {
    dir: TempDir,
    ca: String,
    password: String,
    server_password: String,
    record: TxtRecord,
    operators: u16,
    customers: u16,
}

impl Workshop {
    /// Makes certificates, passwords and the customer's key.
    pub(super) fn new() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("postbud-demo-").tempdir().context("no temporary folder")?;
        let authority = Authority::new("postbud demo CA")?;
        for name in ["relay", "customer"] {
            authority.issue(&["127.0.0.1".to_owned()])?.write(dir.path(), name)?;
        }
        files::write_public(&dir.path().join("ca.pem"), authority.pem().as_bytes())?;
        let key = SigningKey::generate_rsa(2048)?;
        files::write_secret(&dir.path().join("dkim.pem"), key.to_pem()?.as_bytes())?;
        let record = render(&Domain::parse(DOMAIN)?, &Selector::parse("postbud1")?, &key)?;
        let password = || format!("{:016x}", rand::random::<u64>());
        let (password, server_password) = (password(), password());
        files::write_secret(&dir.path().join("customer.password"), server_password.as_bytes())?;
        files::write_secret(&dir.path().join("webcrm.hash"), hash_password::hash(&password)?.as_bytes())?;
        let (operators, customers) = (free_port()?, free_port()?);
        Ok(Workshop { ca: authority.pem().to_owned(), dir, password, server_password, record, operators, customers })
    }

    /// Writes the configuration as an operator would.
    pub(super) fn write_configuration(&self, customer: SocketAddr, names: SocketAddr) -> anyhow::Result<()> {
        let server = format!(
            r#"
hostname = "relay.example.com"
state_dir = "state"
shutdown_grace = "5s"
[[listener]]
address = "127.0.0.1:0"
tls = "starttls"
certificate = "relay.pem"
private_key = "relay.key"
allow_from = ["127.0.0.0/8"]
[[submitter]]
username = "webcrm"
password_hash_file = "webcrm.hash"
customers = "all"
[egress]
address = "127.0.0.1"
[spool]
min_free = "16 MiB"
[events]
log = "state/events.jsonl"
# The domain is only half in order, and its newsletters are to arrive all the same.
[onboarding]
bulk_requires = []
[dns]
servers = ["{names}"]
[web]
address = "127.0.0.1:0"
[pages.operators]
url = "http://127.0.0.1:{operators}"
address = "127.0.0.1:{operators}"
tls = "off"
[pages.customers]
url = "http://127.0.0.1:{customers}"
address = "127.0.0.1:{customers}"
tls = "off"
"#,
            customers = self.customers,
            operators = self.operators
        );
        let own = format!(
            r#"
name = "Nordlys ApS"
domains = ["{DOMAIN}"]
[dkim]
selector = "postbud1"
private_key = "../dkim.pem"
[route]
via = "own-server"
host = "{}"
port = {}
tls = "required"
ca_file = "../ca.pem"
username = "{SERVER_USERNAME}"
password_file = "../customer.password"
"#,
            customer.ip(),
            customer.port()
        );
        files::write_public(&self.configuration(), server.as_bytes())?;
        Ok(files::write_public(&self.dir.path().join(format!("customers/{CUSTOMER}.toml")), own.as_bytes())?)
    }

    /// Returns the zone of the demo's DNS server: the key of the customer's domain, and an SPF record that does not permit webCRM.
    pub(super) fn zone(&self) -> anyhow::Result<FixedZone> {
        let zone = FixedZone::parse(&format!(
            "{DOMAIN} SOA\n{DOMAIN} TXT \"v=spf1 mx ~all\"\n{DOMAIN} MX 10 mail.{DOMAIN}\nmail.{DOMAIN} A 192.0.2.10\n\
             spf.webcrm.com TXT \"v=spf1 ip4:127.0.0.1 ~all\""
        ))?;
        zone.add_txt(&self.record.name, &self.record.value);
        Ok(zone)
    }

    /// Returns the path of the server file.
    pub(super) fn configuration(&self) -> PathBuf {
        self.dir.path().join("postbud.toml")
    }

    /// Returns the folder of the demo.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the certificate of the CA.
    pub(super) fn ca(&self) -> &str {
        &self.ca
    }

    /// Returns webCRM's password.
    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// Returns the address of the operators' pages.
    pub(super) fn operators(&self) -> String {
        format!("http://127.0.0.1:{}/", self.operators)
    }

    /// Returns the relay's password at the customer's server.
    pub(super) fn server_password(&self) -> &str {
        &self.server_password
    }

    /// Returns the record that publishes the customer's key.
    pub(super) fn record(&self) -> &TxtRecord {
        &self.record
    }
}

/// A port of the loopback address that is free at this moment: the pages' own address has to be known before they listen.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
