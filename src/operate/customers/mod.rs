//! Commands about customers: list, show, add, change, suspend, resume, remove.
//!
//! A customer is a file, `customers/<id>.toml`, and that file remains the only source: a person may edit it, with its comments. A command
//! changes the text, has the configuration's checker read it, keeps the old version in `<state_dir>/customers/<id>/`, and replaces the file
//! atomically. If anything fails before that, nothing is changed. A running relay then reloads only this customer.
//!
//! Commands of several processes exclude each other by a lock. A command that changes a file names the version that it has read, so that no
//! change overwrites another.

mod add;
mod change;
mod edit;
mod file;
mod look;
mod mailjet_key;
mod patch;
mod preserve;
mod put;
mod store;
mod take;

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::running::Running;
use super::site::{Configuration, Configured};
use super::{Error, Service};
use crate::customers::public_mailboxes::is_public_mailbox;
use crate::dkim::Selector;
use crate::message::CustomerId;
use crate::route::TlsMode;
use crate::smtp::{Domain, PathError};

pub use change::Removed;
pub use look::{
    BulkName, CapsView, ContactEntry, CustomerDomain, CustomerSummary, CustomerView, FailureName, MailjetView,
    PauseView, RouteView, TlsName, ViaName, has_in_name,
};
pub use patch::{CustomerChange, LimitsChange, MailjetChange, Patch, RouteChange};
pub use store::{Version, hold_changes};

/// A customer to be added.
pub struct NewCustomer {
    /// The name of its file, without `.toml`.
    pub id: String,
    /// The customer's name, for people.
    pub name: String,
    /// The customer's From domains; at least one.
    pub domains: Vec<Domain>,
    /// The name of the key's record below `_domainkey`.
    pub selector: Selector,
    /// The route of the customer's mail.
    pub route: NewRoute,
}

/// The route of a new customer's mail.
pub enum NewRoute {
    /// Through Mailjet, in the best tier that each domain has earned.
    Mailjet,
    /// To the customer's own server.
    OwnServer {
        /// The server's host name.
        host: String,
        /// The port of the server.
        port: u16,
        /// How the connection is protected.
        tls: TlsMode,
        /// The login; `None` if the server accepts our address without one.
        login: Option<NewLogin>,
    },
}

/// A login at a customer's own server.
pub struct NewLogin {
    /// The user name.
    pub username: String,
    /// The password. It is written to its own file.
    pub password: Zeroizing<String>,
}

/// A password in a request. It is wiped from memory after use, and no output contains it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Returns the password, to be written to its file.
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Password(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

impl JsonSchema for Password {
    fn schema_name() -> Cow<'static, str> {
        "Password".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "writeOnly": true, "description": "It never comes back." })
    }
}

/// The files that were written for a new customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// The customer's file.
    pub file: PathBuf,
    /// All files, including that one.
    pub files: Vec<PathBuf>,
    /// True if a running relay already uses the customer.
    pub taken_over: bool,
}

/// The customers' files, for commands. All calls block.
pub struct Customers<'a> {
    source: Source<'a>,
    pub(super) configured: Configured,
    running: Running,
}

/// The source of the configuration.
enum Source<'a> {
    /// Its files, for a command outside the relay.
    Files(&'a dyn Configuration),
    /// The running relay.
    Relay(Box<Service>),
}

impl Source<'_> {
    fn read(&self) -> Result<Configured, Error> {
        match self {
            Source::Files(files) => files.read(),
            Source::Relay(service) => Ok(service.live()?.configured()),
        }
    }
}

impl<'a> Customers<'a> {
    /// Reads the configuration, for a command outside the relay. Returns an error if the configuration has mistakes, because those of a new
    /// customer could not be distinguished from them.
    pub fn beside(files: &'a dyn Configuration) -> Result<Self, Error> {
        let source = Source::Files(files);
        let configured = source.read()?;
        let running = Running::Socket(configured.state_dir.clone());
        Ok(Customers { source, configured, running })
    }

    /// Uses the active configuration, for a command that the running relay carries out.
    pub fn in_relay(service: &Service) -> Result<Self, Error> {
        let source = Source::Relay(Box::new(service.clone()));
        Ok(Customers { configured: source.read()?, source, running: Running::Here(Box::new(service.clone())) })
    }

    /// Locks the customers' files against other commands, and returns the configuration as it is then.
    fn hold(&self) -> Result<(File, Configured), Error> {
        let held = hold_changes(&self.configured.state_dir)?;
        Ok((held, self.source.read()?))
    }

    /// Returns the selector of a new customer's key: the first delegated one, if keys are delegated.
    pub fn usual_selector(&self) -> Selector {
        let delegated = self.configured.onboarding.delegation.as_ref().map(|it| it.selectors[0].clone());
        delegated.unwrap_or_else(|| Selector::parse("postbud1").expect("a constant that is a selector"))
    }

    /// Returns true if mail can go through Mailjet: the server file has a tier.
    pub fn has_mailjet(&self) -> bool {
        !self.configured.directory.tiers().is_empty()
    }

    /// Checks the id of a new customer.
    pub fn check_id(&self, id: &str) -> Result<CustomerId, Error> {
        self.configured.check_new_id(id)
    }

    /// Checks a From domain of a new customer.
    pub fn check_domain(&self, text: &str) -> Result<Domain, Error> {
        self.configured.check_new_domain(text)
    }
}

impl Configured {
    fn check_new_id(&self, id: &str) -> Result<CustomerId, Error> {
        let Some(id) = CustomerId::parse(id) else {
            let message = format!("\"{id}\" is no customer id");
            return Err(Error::invalid(
                message,
                "use up to 64 lower case letters, digits, hyphens and underscores, as in test-as",
            ));
        };
        let file = self.customer_files.path(&id);
        if file.exists() || self.directory.get(&id).is_some() {
            let message = format!("{} is already there and is never overwritten", file.display());
            return Err(Error::conflict(message, "give the new customer another id"));
        }
        Ok(id)
    }

    fn check_new_domain(&self, text: &str) -> Result<Domain, Error> {
        let refused = |error: PathError| Error::invalid(error.to_string(), "give a domain like test.dk");
        let domain = Domain::parse(text).map_err(refused)?;
        if is_public_mailbox(&domain) {
            let message =
                format!("{domain} belongs to a public mailbox provider: nobody can send bulk mail in its name");
            return Err(Error::invalid(message, "the customer needs a domain of its own"));
        }
        if let Some(other) = self.directory.by_domain(&domain) {
            let message = format!("{domain} belongs to the customer \"{}\" already", other.id);
            return Err(Error::conflict(message, "one domain, one customer"));
        }
        Ok(domain)
    }
}
