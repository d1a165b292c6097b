//! Commands about customers: adding one.

mod file;

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::actor::Need;
use super::audit::{Act, Notes};
use super::site::{Configuration, Configured};
use super::{Actor, Error};
use crate::customers::public_mailboxes::is_public_mailbox;
use crate::dkim::{KeyError, Selector, SigningKey};
use crate::events::Action;
use crate::files;
use crate::message::CustomerId;
use crate::route::TlsMode;
use crate::smtp::{Domain, PathError};

/// A customer to be added.
pub struct NewCustomer {
    /// The name of its file, without `.toml`.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its From domains; at least one.
    pub domains: Vec<Domain>,
    /// The name of its key's record below `_domainkey`.
    pub selector: Selector,
    /// Where its mail goes.
    pub route: NewRoute,
}

/// Where a new customer's mail goes.
pub enum NewRoute {
    /// Through Mailjet, in the best tier that each domain has earned.
    Mailjet,
    /// To the customer's own server.
    OwnServer {
        /// The server's name.
        host: String,
        /// The port of the server.
        port: u16,
        /// How the connection is protected.
        tls: TlsMode,
        /// The login; `None` where the server knows our address.
        login: Option<NewLogin>,
    },
}

/// A login at a customer's own server.
pub struct NewLogin {
    /// The user's name.
    pub username: String,
    /// The password. It is written to a file of its own.
    pub password: Zeroizing<String>,
}

/// What was written for a new customer.
#[derive(Debug, serde::Serialize)]
pub struct Added {
    /// The customer's file.
    pub file: PathBuf,
    /// All files, that one included.
    pub files: Vec<PathBuf>,
}

/// The customers' files, to add to them.
pub struct CustomerFiles<'a> {
    files: &'a dyn Configuration,
    before: Configured,
    dir: PathBuf,
}

impl<'a> CustomerFiles<'a> {
    /// Reads the configuration. An error where it has mistakes: a new customer could not be told from them.
    pub fn open(files: &'a dyn Configuration) -> Result<Self, Error> {
        Ok(CustomerFiles { files, before: files.read()?, dir: files.customers_dir()? })
    }

    /// The selector of a new customer's key: the first delegated one, where keys are delegated.
    pub fn usual_selector(&self) -> Selector {
        let delegated = self.before.onboarding.delegation.as_ref().map(|it| it.selectors[0].clone());
        delegated.unwrap_or_else(|| Selector::parse("postbud1").expect("a constant that is a selector"))
    }

    /// Checks the id of a new customer.
    pub fn check_id(&self, id: &str) -> Result<(), Error> {
        let file = self.file_of(id);
        if file.exists() || self.before.directory.get(&CustomerId::new(id)).is_some() {
            let message = format!("{} is already there and is never overwritten", file.display());
            return Err(Error::conflict(message, "give the new customer another id"));
        }
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if id.is_empty() || !id.bytes().all(legal) || id.starts_with('-') {
            let message = format!("\"{id}\" is no customer id");
            return Err(Error::invalid(message, "use lower case letters, digits and hyphens, as in test-as"));
        }
        Ok(())
    }

    /// Checks a From domain of a new customer.
    pub fn check_domain(&self, text: &str) -> Result<Domain, Error> {
        let refused = |error: PathError| Error::invalid(error.to_string(), "give a domain like test.dk");
        let domain = Domain::parse(text).map_err(refused)?;
        if is_public_mailbox(&domain) {
            let message =
                format!("{domain} belongs to a public mailbox provider: nobody can send bulk mail in its name");
            return Err(Error::invalid(message, "the customer needs a domain of its own"));
        }
        if let Some(other) = self.before.directory.by_domain(&domain) {
            let message = format!("{domain} belongs to the customer \"{}\" already", other.id);
            return Err(Error::conflict(message, "one domain, one customer"));
        }
        Ok(domain)
    }

    /// Adds a customer: makes its key, writes its file, and its password's where there is one. Nothing that exists is overwritten. If
    /// the configuration would not be accepted with the new customer, nothing of it stays.
    pub fn add(&self, actor: &Actor, customer: &NewCustomer) -> Result<Added, Error> {
        actor.may(Need::Admin)?;
        self.check_id(&customer.id)?;
        let [first, ..] = &customer.domains[..] else {
            return Err(Error::invalid("a customer has at least one From domain", "give --domain"));
        };
        for domain in &customer.domains {
            self.check_domain(domain.as_str())?;
        }
        let notes = Notes::open(&self.before.state_dir)?;
        let mut written = Written::default();
        let owner = &self.before.state_dir;
        let key = SigningKey::generate_rsa(2048).and_then(|key| self.before.key_file(&key)).map_err(not_made)?;
        let (key_file, password_file) =
            (format!("../../keys/{first}.pem"), format!("../secrets/{}.password", customer.id));
        written.write(&self.dir.join(&key_file), |path| files::write_secret_for(owner, path, key.as_bytes()))?;
        if let NewRoute::OwnServer { login: Some(login), .. } = &customer.route {
            let line = self.before.secret_file(&login.password)?;
            let write = |path: &Path| files::write_secret_for(owner, path, line.as_bytes());
            written.write(&self.dir.join(&password_file), write)?;
        }
        let file = self.file_of(&customer.id);
        let text = file::text(customer, &key_file, &password_file);
        written.write(&file, |path| files::write_public(path, text.as_bytes()))?;
        self.files.read().map_err(|error| error.within("with the new customer"))?;
        let files: Vec<PathBuf> = written.keep().iter().map(|path| files::tidy(path)).collect();
        let domains: Vec<&str> = customer.domains.iter().map(Domain::as_str).collect();
        let detail = format!("customer \"{}\" added with {}", customer.name, domains.join(", "));
        notes.leave(actor, Act { customer: Some(customer.id.clone()), ..Act::new(Action::CustomerAdd, detail) })?;
        Ok(Added { file: files::tidy(&file), files })
    }

    fn file_of(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.toml"))
    }
}

fn not_made(error: KeyError) -> Error {
    Error::failed(format!("the DKIM key cannot be made: {error}"), "run the command again")
}

/// Files that are removed again unless everything succeeds.
#[derive(Default)]
struct Written(Vec<PathBuf>);

impl Written {
    fn write(&mut self, path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
        write(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::conflict(error.to_string(), "nothing was changed"),
            _ => Error::failed(error.to_string(), "make sure that the folder can be written; nothing was changed"),
        })?;
        self.0.push(path.to_owned());
        Ok(())
    }

    /// All of them stay.
    fn keep(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed is named by the error that brought us here.
            let _ = std::fs::remove_file(path);
        }
    }
}
