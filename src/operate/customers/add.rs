//! Adds a customer: its key, its password file if it has a password, and its own file.

use std::io;
use std::path::{Path, PathBuf};

use super::{Added, Customers, NewCustomer, NewRoute, file};
use crate::dkim::KeyError;
use crate::events::Action;
use crate::files;
use crate::message::CustomerId;
use crate::operate::actor::Need;
use crate::operate::audit::Act;
use crate::operate::{Actor, Configured, Error};
use crate::smtp::Domain;

impl Customers<'_> {
    /// Adds a customer. No existing file is overwritten. If the configuration would be invalid with the new customer, no file remains.
    pub fn add(&self, actor: &Actor, customer: &NewCustomer) -> Result<Added, Error> {
        actor.may(Need::Admin)?;
        self.configured.check_new(customer)?;
        // A key may take a third of a second to be made, and longer to be encrypted. Whoever changes another customer must not wait for that.
        let key = self.running.new_key().and_then(|key| self.configured.key_file(&key)).map_err(not_made)?;
        let password = match &customer.route {
            NewRoute::OwnServer { login: Some(login), .. } => Some(self.configured.secret_file(&login.password)?),
            NewRoute::OwnServer { login: None, .. } | NewRoute::Mailjet => None,
        };
        let (_changes, now) = self.hold()?;
        let (id, key_file) = now.check_new(customer)?;
        let audit = self.running.audit()?;
        let (dir, owner) = (now.customer_files.dir(), &now.state_dir);
        let mut written = Written::default();
        let password_file = format!("../secrets/{id}.password");
        written.write(&dir.join(&key_file), |path| files::write_secret_for(owner, path, key.as_bytes()))?;
        if let Some(line) = password {
            let write = |path: &Path| files::write_secret_for(owner, path, line.as_bytes());
            written.write(&dir.join(&password_file), write)?;
        }
        let text = file::text(customer, &key_file, &password_file);
        let read = now.customer_files.read(&id, &text, &now.directory);
        read.map_err(|error| error.within("with the new customer"))?;
        let file = now.customer_files.path(&id);
        written.write(&file, |path| files::write_public(path, text.as_bytes()))?;
        let files: Vec<PathBuf> = written.keep().iter().map(|path| files::tidy(path)).collect();
        let taken_over = self.running.take_customer(actor, &id)?;
        let domains: Vec<&str> = customer.domains.iter().map(Domain::as_str).collect();
        let detail = format!("customer \"{}\" added with {}", customer.name, domains.join(", "));
        audit.tell(actor, Act { customer: Some(customer.id.clone()), ..Act::new(Action::CustomerAdd, detail) })?;
        Ok(Added { file: files::tidy(&file), files, taken_over })
    }
}

impl Configured {
    /// Checks what a new customer must not share with others. Returns its id and the file of its key, relative to the customers' files.
    fn check_new(&self, customer: &NewCustomer) -> Result<(CustomerId, String), Error> {
        let id = self.check_new_id(&customer.id)?;
        let [first, ..] = &customer.domains[..] else {
            return Err(Error::invalid(
                "a customer has at least one From domain",
                "name the domains that its mail is sent from",
            ));
        };
        for domain in &customer.domains {
            self.check_new_domain(domain.as_str())?;
        }
        let key_file = format!("{}/{first}.pem", self.keys_folder());
        let key_path = self.customer_files.dir().join(&key_file);
        if key_path.exists() {
            // An existing key may already be published.
            let message = format!("{} is already there and is never overwritten", key_path.display());
            return Err(Error::conflict(message, "move it away first; nothing was changed"));
        }
        Ok((id, key_file))
    }

    /// Returns the folder of new keys, relative to the customers' files: `keys` beside their folder, as in a package, or beside the whole
    /// configuration, as in a clone of the source.
    fn keys_folder(&self) -> &'static str {
        match self.customer_files.dir().join("../keys").is_dir() {
            true => "../keys",
            false => "../../keys",
        }
    }
}

fn not_made(error: KeyError) -> Error {
    Error::failed(format!("the DKIM key cannot be made: {error}"), "run the command again")
}

/// Files that are removed again unless the whole command succeeds.
#[derive(Default)]
pub(super) struct Written(Vec<PathBuf>);

impl Written {
    pub(super) fn write(&mut self, path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
        write(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::conflict(error.to_string(), "nothing was changed"),
            _ => Error::not_written(&error, "make sure that the folder can be written; nothing was changed"),
        })?;
        self.0.push(path.to_owned());
        Ok(())
    }

    /// Keeps all of the files.
    pub(super) fn keep(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            // The error that led here is reported, so a failure to remove the file is ignored.
            let _ = std::fs::remove_file(path);
        }
    }
}
