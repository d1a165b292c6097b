//! What commands work with that need the configuration's files or the network, whether a relay runs or not.

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
use crate::database::Home;
use crate::delivery::{self, Delivery, Egress, Timeouts};
use crate::dkim::{KeyError, SigningKey};
use crate::message::{CustomerId, ReturnPaths};
use crate::onboarding::mailjet::Registrar;
use crate::onboarding::settings::MailjetRecords;
use crate::onboarding::{self, Checker};
use crate::resolver::{self, Dns, SharedResolver};
use crate::returns;
use crate::sealed::{self, Passphrase, SealError};
use crate::smtp::{Domain, Mailbox};

/// The configuration's files, for commands that work beside the relay.
pub trait Configuration: Send + Sync {
    /// Reads and checks everything. An error names every mistake.
    fn read(&self) -> Result<Configured, Error>;
}

/// Reads single customers' files as the whole configuration would read them.
pub trait CustomerReader: Send + Sync {
    /// The folder with the customers' files.
    fn dir(&self) -> &Path;

    /// Reads a text as the file of this customer. An error names every mistake. `others` are the customers that it must not take
    /// domains from; this customer itself may be among them.
    fn read(&self, id: &CustomerId, text: &str, others: &Directory) -> Result<ReadCustomer, Error>;

    /// The passphrase of keys and passwords that are encrypted at rest.
    fn passphrase(&self) -> Option<&Passphrase>;

    /// Where the server file names this customer, so that it cannot be removed.
    fn named_at(&self, id: &CustomerId) -> Option<&str>;

    fn path(&self, id: &CustomerId) -> PathBuf {
        self.dir().join(format!("{id}.toml"))
    }
}

/// What a customer's file says.
pub struct ReadCustomer {
    pub customer: Customer,
    /// What Mailjet's console shows for its domains.
    pub mailjet: BTreeMap<Domain, MailjetRecords>,
    /// What should be put right all the same.
    pub remarks: Vec<String>,
}

/// The configuration of the running relay, which takes over what has changed.
pub trait Live: Send + Sync {
    /// The configuration that is in force.
    fn configured(&self) -> Configured;

    /// The address that letters to customers' contacts come from, if they are sent.
    fn letters_from(&self) -> Option<Mailbox>;

    /// The public address that mail leaves from.
    fn egress(&self) -> IpAddr;

    /// The language of texts for customers.
    fn language(&self) -> onboarding::Lang;

    /// Where reports are handed in of checks that somebody asked for.
    fn looks(&self) -> mpsc::Sender<onboarding::Looked>;

    /// Replaces the customers, and what Mailjet's console shows for their domains. Deliveries go on meanwhile.
    fn take(&self, directory: Directory, mailjet: BTreeMap<Domain, MailjetRecords>);
}

/// What commands need of the configuration.
pub struct Configured {
    pub hostname: Domain,
    /// The relay's state folder.
    pub state_dir: PathBuf,
    /// Where small relational state is kept.
    pub state_home: Home,
    /// The customers and tiers.
    pub directory: Arc<Directory>,
    /// What reads a single customer's file.
    pub customer_files: Arc<dyn CustomerReader>,
    /// The address that connections leave from.
    pub egress: Egress,
    /// How long the phases of a delivery may take.
    pub timeouts: Timeouts,
    /// How domains are checked.
    pub onboarding: onboarding::Settings,
    /// How DMARC reports are kept, and where they are sent.
    pub dmarc: returns::dmarc::Settings,
    /// Who answers questions to the DNS.
    pub resolver: resolver::Settings,
    /// The domain that mail comes back to, where the relay takes such mail.
    pub returns_domain: Option<Domain>,
    /// How Mailjet's events are taken, where they are.
    pub mailjet_events: Option<returns::mailjet::Settings>,
    /// The passphrase of keys and passwords that are encrypted at rest.
    pub passphrase: Option<Passphrase>,
}

impl Configured {
    /// The content of a new key's file: encrypted where there is a passphrase.
    pub(super) fn key_file(&self, key: &SigningKey) -> Result<Zeroizing<String>, KeyError> {
        match &self.passphrase {
            Some(passphrase) => key.to_sealed_pem(passphrase).map(Zeroizing::new),
            None => key.to_pem(),
        }
    }

    /// The content of a new password's file: likewise.
    pub(super) fn secret_file(&self, secret: &str) -> Result<Zeroizing<String>, Error> {
        let failed = |error: SealError| Error::failed(format!("cannot encrypt: {error}"), "nothing was changed");
        match &self.passphrase {
            Some(passphrase) => sealed::seal_secret(secret.as_bytes(), passphrase).map(Zeroizing::new).map_err(failed),
            None => Ok(Zeroizing::new(format!("{secret}\n"))),
        }
    }
}

impl Configured {
    /// A customer by its id, for an actor that may see it. Whoever may not does not hear whether it exists.
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

/// The configuration as it is now, with what asks the DNS and the running relay.
pub struct Site {
    pub(super) configured: Configured,
    pub(super) checker: Checker,
    pub(super) registrar: Registrar,
    pub(super) running: Running,
}

impl Site {
    /// Reads the configuration, for a command beside the relay: one that runs with it is asked over its socket. Must be called on
    /// the runtime, which the resolver belongs to.
    pub fn open(files: &dyn Configuration) -> Result<Self, Error> {
        let configured = files.read()?;
        let running = Running::Socket(configured.state_dir.clone());
        Site::with(configured, running)
    }

    /// Takes the configuration that is in force, for a command that the running relay itself carries out. Must be called on the
    /// runtime.
    pub fn in_relay(service: &Service) -> Result<Self, Error> {
        let live = service.live()?;
        Site::with(live.configured(), Running::Here(Box::new(service.clone())))
    }

    /// The same from anywhere in the running relay: it reads a file, on a thread that may block.
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
        let checker = Checker::new(configured.onboarding.clone(), Arc::new(dns)).map_err(|error| {
            Error::failed(
                format!("cannot use the ownership secret in {}: {error}", dir.display()),
                "run the command as the user that runs the relay or as root",
            )
        })?;
        let registrar = Registrar::new(Arc::clone(&checker.settings))
            .map_err(|error| Error::failed(format!("no HTTP client can be made: {error}"), "run the command again"))?;
        Ok(Site { configured, checker, registrar, running })
    }

    /// How domains are checked, and in which language customers are written to.
    pub fn onboarding(&self) -> &onboarding::Settings {
        &self.configured.onboarding
    }

    /// A customer by its id, for an actor that may see it.
    pub fn customer(&self, actor: &Actor, id: &str) -> Result<Arc<Customer>, Error> {
        self.configured.customer(actor, id)
    }

    /// Makes attempts as the relay would.
    pub(super) fn delivery(&self) -> Result<Delivery, Error> {
        self.delivery_asking(Arc::clone(&self.checker.resolver))
    }

    /// The same, where this resolver alone says where servers are.
    pub(super) fn delivery_asking(&self, resolver: SharedResolver) -> Result<Delivery, Error> {
        let Configured { hostname, egress, timeouts, returns_domain, .. } = &self.configured;
        // Nothing is sent, so nothing returns: whether a server takes such a sender does not depend on the key.
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

    /// Makes sure that the audit can be told, before anything is done.
    pub(super) fn audit(&self) -> Result<Audit, Error> {
        self.running.audit()
    }
}
