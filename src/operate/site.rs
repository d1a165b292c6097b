//! The base of commands that need the configuration's files or the network, whether a relay is running or not.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::audit::Audit;
use super::running::Running;
use super::{Actor, Error, Service};
use crate::customers::{Customer, Directory};
use crate::database::{Database, Home};
use crate::delivery::{self, Delivery, Egress, Timeouts};
use crate::dkim::{KeyError, SigningKey};
use crate::message::{CustomerId, ReturnPaths};
use crate::onboarding::mailjet::Registrar;
use crate::onboarding::settings::{MailjetAccount, MailjetRecords};
use crate::onboarding::{self, Checker, kept};
use crate::resolver::{self, Dns, SharedResolver};
use crate::returns;
use crate::sealed::{self, Passphrase, SealError};
use crate::smtp::{Domain, Mailbox};

/// The configuration's files, for commands outside the relay.
pub trait Configuration: Send + Sync {
    /// Reads and checks everything. An error names every mistake.
    fn read(&self) -> Result<Configured, Error>;
}

/// Reads single customers' files in the same way as the whole configuration.
pub trait CustomerReader: Send + Sync {
    /// The folder with the customers' files.
    fn dir(&self) -> &Path;

    /// Reads a text as the file of this customer. An error names every mistake. `others` are the customers whose domains it must not use;
    /// this customer itself may be among them.
    fn read(&self, id: &CustomerId, text: &str, others: &Directory) -> Result<ReadCustomer, Error>;

    /// The passphrase of keys and passwords that are encrypted at rest.
    fn passphrase(&self) -> Option<&Passphrase>;

    /// Returns the line of the server file that names this customer, which therefore cannot be removed.
    fn named_at(&self, id: &CustomerId) -> Option<&str>;

    fn path(&self, id: &CustomerId) -> PathBuf {
        self.dir().join(format!("{id}.toml"))
    }
}

/// The content of a customer's file.
pub struct ReadCustomer {
    pub customer: Customer,
    /// The values in Mailjet's console for its domains.
    pub mailjet: BTreeMap<Domain, MailjetRecords>,
    /// Its own account at Mailjet's API.
    pub account: Option<MailjetAccount>,
    /// Remarks on what should be corrected.
    pub remarks: Vec<String>,
}

/// The configuration of the running relay, which accepts changes.
pub trait Live: Send + Sync {
    /// Returns the active configuration.
    fn configured(&self) -> Configured;

    /// Returns the sender of letters to customers' contacts, if letters are sent.
    fn letters_from(&self) -> Option<Mailbox>;

    /// Returns the public address that mail is sent from.
    fn egress(&self) -> IpAddr;

    /// Returns the language of texts for customers.
    fn language(&self) -> onboarding::Lang;

    /// Returns the channel for reports of checks that somebody requested.
    fn looks(&self) -> mpsc::Sender<onboarding::Looked>;

    /// Replaces the customers, the values in Mailjet's console for their domains, and the accounts at Mailjet's API. Deliveries continue
    /// meanwhile.
    fn take(
        &self,
        directory: Directory,
        mailjet: BTreeMap<Domain, MailjetRecords>,
        accounts: BTreeMap<String, MailjetAccount>,
    );
}

/// The parts of the configuration that commands need.
pub struct Configured {
    pub hostname: Domain,
    /// The relay's state folder.
    pub state_dir: PathBuf,
    /// The place of small relational state.
    pub state_home: Home,
    /// The customers and tiers.
    pub directory: Arc<Directory>,
    /// Reads a single customer's file.
    pub customer_files: Arc<dyn CustomerReader>,
    /// The local address of connections.
    pub egress: Egress,
    /// The time limits of the phases of a delivery.
    pub timeouts: Timeouts,
    /// The settings of domain checks.
    pub onboarding: Arc<onboarding::Settings>,
    /// How DMARC reports are stored, and the address they are sent to.
    pub dmarc: returns::dmarc::Settings,
    /// The DNS servers to ask.
    pub resolver: resolver::Settings,
    /// The domain of returned mail, if the relay accepts such mail.
    pub returns_domain: Option<Domain>,
    /// How Mailjet's events are accepted, if they are.
    pub mailjet_events: Option<returns::mailjet::Settings>,
    /// The passphrase of keys and passwords that are encrypted at rest.
    pub passphrase: Option<Passphrase>,
}

impl Configured {
    /// Returns the content of a new key's file, encrypted if there is a passphrase.
    pub(super) fn key_file(&self, key: &SigningKey) -> Result<Zeroizing<String>, KeyError> {
        match &self.passphrase {
            Some(passphrase) => key.to_sealed_pem(passphrase).map(Zeroizing::new),
            None => key.to_pem(),
        }
    }

    /// Returns the content of a new password's file, encrypted if there is a passphrase.
    pub(super) fn secret_file(&self, secret: &str) -> Result<Zeroizing<String>, Error> {
        let failed = |error: SealError| Error::failed(format!("cannot encrypt: {error}"), "nothing was changed");
        match &self.passphrase {
            Some(passphrase) => sealed::seal_secret(secret.as_bytes(), passphrase).map(Zeroizing::new).map_err(failed),
            None => Ok(Zeroizing::new(format!("{secret}\n"))),
        }
    }
}

impl Configured {
    /// Returns a customer by its id, if the actor may see it. Another actor does not learn whether it exists.
    pub(super) fn customer(&self, actor: &Actor, id: &str) -> Result<Arc<Customer>, Error> {
        actor.may_read(id)?;
        if let Some(customer) = self.directory.get(&CustomerId::new(id)) {
            return Ok(Arc::clone(customer));
        }
        let message = format!("there is no customer \"{id}\"");
        Err(match Domain::parse(id).ok().and_then(|domain| self.directory.by_domain(&domain)) {
            Some(owner) => Error::not_found(
                format!("{message}: it is a domain of the customer \"{}\"", owner.id),
                "name the customer by its id",
            ),
            None => {
                const NAMED: usize = 20;
                let mut known = self.directory.customers().map(|customer| customer.id.as_str());
                let named: Vec<_> = known.by_ref().take(NAMED).collect();
                let more = match known.count() {
                    0 => String::new(),
                    count => format!(" and {count} more"),
                };
                Error::not_found(message, format!("there are: {}{more}", named.join(", ")))
            }
        })
    }
}

/// Returns postmaster@ the customer's first domain: the sender of a probe or a test mail that names no other.
pub(super) fn postmaster(customer: &Customer) -> Result<Mailbox, Error> {
    let first = customer.domains.keys().next();
    let address = first.and_then(|domain| Mailbox::parse(&format!("postmaster@{domain}")).ok());
    address.ok_or_else(|| Error::invalid("the customer has no domain to send from", "give it one in its file"))
}

/// The current configuration, with the means to ask DNS and the running relay.
pub struct Site {
    pub(super) configured: Configured,
    pub(super) checker: Checker,
    pub(super) registrar: Registrar,
    pub(super) running: Running,
}

impl Site {
    /// Reads the configuration, for a command outside the relay. A running relay is asked over its socket. Must be called on the runtime,
    /// because the resolver belongs to it.
    pub fn open(files: &dyn Configuration) -> Result<Self, Error> {
        let mut configured = files.read()?;
        if let Home::Server(_) = &configured.state_home {
            // What the checks find is kept for all nodes.
            let database = Database::open_at(&configured.state_home, &[kept::SCHEMA])?;
            Arc::make_mut(&mut configured.onboarding).shared = Some(kept::Shared::new(&database));
        }
        let running = Running::Socket(configured.state_dir.clone());
        Site::with(configured, running)
    }

    /// Uses the active configuration, for a command that the running relay carries out. Must be called on the runtime.
    pub fn in_relay(service: &Service) -> Result<Self, Error> {
        let live = service.live()?;
        Site::with(live.configured(), Running::Here(Box::new(service.clone())))
    }

    /// Does the same from any task of the running relay. It reads a file on a blocking thread.
    pub async fn of_relay(service: &Service) -> Result<Self, Error> {
        let (service, runtime) = (service.clone(), tokio::runtime::Handle::current());
        let opened = tokio::task::spawn_blocking(move || {
            let _runtime = runtime.enter();
            Site::in_relay(&service)
        });
        opened.await.map_err(|error| Error::failed(format!("the work broke off: {error}"), "see the relay's log"))?
    }

    fn with(configured: Configured, running: Running) -> Result<Self, Error> {
        let dns = Dns::new(&configured.resolver)
            .map_err(|error| Error::failed(error.to_string(), "correct [dns] in the server file"))?;
        let dir = &configured.onboarding.state_dir;
        let checker =
            Checker::new(onboarding::Settings::clone(&configured.onboarding), Arc::new(dns)).map_err(|error| {
                Error::failed(
                    format!("cannot use the ownership secret in {}: {error}", dir.display()),
                    "run the command as the user that runs the relay or as root",
                )
            })?;
        let registrar = Registrar::new(Arc::clone(&checker.settings))
            .map_err(|error| Error::failed(format!("no HTTP client can be made: {error}"), "run the command again"))?;
        Ok(Site { configured, checker, registrar, running })
    }

    /// Returns how domains are checked, and the language of texts for customers.
    pub fn onboarding(&self) -> &onboarding::Settings {
        &self.configured.onboarding
    }

    /// Returns a customer by its id, if the actor may see it.
    pub fn customer(&self, actor: &Actor, id: &str) -> Result<Arc<Customer>, Error> {
        self.configured.customer(actor, id)
    }

    /// Makes a delivery as the relay would.
    pub(super) fn delivery(&self) -> Result<Delivery, Error> {
        self.delivery_asking(Arc::clone(&self.checker.resolver))
    }

    /// Makes a delivery that finds servers only with this resolver.
    pub(super) fn delivery_asking(&self, resolver: SharedResolver) -> Result<Delivery, Error> {
        let Configured { hostname, egress, timeouts, returns_domain, .. } = &self.configured;
        // Nothing is sent, so nothing returns, and whether a server accepts such a sender does not depend on the key.
        let any_key = Zeroizing::new(rand::random::<[u8; 32]>());
        let return_paths = returns_domain.clone().map(|domain| Arc::new(ReturnPaths::new(domain, &[any_key])));
        let settings = delivery::Settings {
            timeouts: *timeouts,
            return_paths,
            resolver: Some(resolver),
            ..delivery::Settings::new(hostname.as_str(), egress.clone())
        };
        Delivery::new(settings).map_err(|error| {
            Error::failed(
                error.to_string(),
                "run the command on the machine that mail leaves from, or correct [egress]",
            )
        })
    }

    /// Makes sure that the audit can be written, before anything is done.
    pub(super) fn audit(&self) -> Result<Audit, Error> {
        self.running.audit()
    }
}
