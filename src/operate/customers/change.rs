//! Changes customers' files, and removes them.

use serde::Serialize;
use zeroize::Zeroizing;

use super::Customers;
use super::add::Written;
use super::edit;
use super::look::CustomerView;
use super::patch::{CustomerChange, Patch};
use super::store::{self, Version};
use crate::events::Action;
use crate::files;
use crate::message::CustomerId;
use crate::operate::actor::Need;
use crate::operate::audit::Act;
use crate::operate::{Actor, Configured, Error};
use crate::time::Timestamp;

/// The files that remain of a removed customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Removed {
    /// The customer's id.
    pub id: String,
    /// The path of the kept customer file on the relay's machine.
    pub kept: String,
    /// The paths of the key and password files, which are not removed. Delete them when nobody needs the customer any more.
    pub remains: Vec<String>,
}

impl Customers<'_> {
    /// Changes a customer's file. `expected` is the version that the actor has read.
    pub fn change(
        &self,
        actor: &Actor,
        id: &str,
        change: &CustomerChange,
        expected: Option<&Version>,
    ) -> Result<(CustomerView, Version), Error> {
        let what = change.summary();
        actor.may(Need::Admin)?;
        self.edit(actor, id, change, expected, Act::new(Action::CustomerChange, format!("customer changed: {what}")))
    }

    /// Makes a change that the customer may make itself.
    pub(in crate::operate) fn change_own(&self, actor: &Actor, id: &str, change: &CustomerChange) -> Result<(), Error> {
        actor.may(Need::OwnOf(&CustomerId::new(id)))?;
        let act = Act::new(Action::CustomerChange, format!("customer changed its own: {}", change.summary()));
        self.edit(actor, id, change, None, act).map(drop)
    }

    /// Suspends a customer: new mail is refused, and mail in the queue waits.
    pub fn suspend(&self, actor: &Actor, id: &str, reason: &str) -> Result<(CustomerView, Version), Error> {
        if reason.trim().is_empty() || reason.chars().any(char::is_control) || reason.chars().count() > 500 {
            let message = "the reason is empty, longer than 500 characters, or no single line";
            return Err(Error::invalid(message, "write one short sentence: senders read it"));
        }
        actor.may(Need::Admin)?;
        let change = CustomerChange { suspended: Patch::Set(reason.to_owned()), ..CustomerChange::default() };
        let act = Act::new(Action::CustomerSuspend, format!("customer suspended: {reason}"));
        self.edit(actor, id, &change, None, act)
    }

    /// Resumes a suspended customer.
    pub fn resume(&self, actor: &Actor, id: &str) -> Result<(CustomerView, Version), Error> {
        actor.may(Need::Admin)?;
        let change = CustomerChange { suspended: Patch::Remove, ..CustomerChange::default() };
        self.edit(actor, id, &change, None, Act::new(Action::CustomerResume, "customer goes on"))
    }

    /// Changes a file, if the actor may do so.
    fn edit(
        &self,
        actor: &Actor,
        id: &str,
        change: &CustomerChange,
        expected: Option<&Version>,
        act: Act,
    ) -> Result<(CustomerView, Version), Error> {
        let (_changes, now) = self.hold()?;
        let (id, text) = now.existing_customer(actor, id)?;
        store::check_version(&text, expected)?;
        let audit = self.running.audit()?;
        let mut written = Written::default();
        let password_file = match change.password() {
            Patch::Set(password) => Some(write_password(&now, &id, password.clone().into_inner(), &mut written)?),
            Patch::Keep | Patch::Remove => None,
        };
        let changed = edit::apply(&text, change, password_file.as_deref())?;
        if changed == text {
            return Ok((self.view(&now, &id, &text)?, Version::of(&text)));
        }
        let files = &now.customer_files;
        let view = self.view(&now, &id, &changed)?;
        store::keep(&now.state_dir, &id, &text)?;
        store::replace(&files.path(&id), &changed)?;
        written.keep();
        self.running.take_customer(actor, &id)?;
        audit.tell(actor, Act { customer: Some(id.to_string()), ..act })?;
        Ok((view, Version::of(&changed)))
    }

    /// Removes a customer. Its mail in the queue waits until it is held, bounced or removed, or until the customer is added again.
    pub fn remove(&self, actor: &Actor, id: &str, expected: Option<&Version>) -> Result<Removed, Error> {
        actor.may(Need::Admin)?;
        let (_changes, now) = self.hold()?;
        let (id, text) = now.existing_customer(actor, id)?;
        store::check_version(&text, expected)?;
        let files = &now.customer_files;
        if let Some(place) = files.named_at(&id) {
            let message = format!("the submitter or webhook at {place} names the customer \"{id}\"");
            return Err(Error::conflict(message, "take it out of that list and reload, then remove the customer"));
        }
        let audit = self.running.audit()?;
        let remains = edit::named_files(&text).into_iter().map(|name| files::tidy(&files.dir().join(name)));
        let remains: Vec<String> =
            remains.filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
        let kept = store::keep(&now.state_dir, &id, &text)?;
        store::remove(&files.path(&id))?;
        self.running.take_customer(actor, &id)?;
        let act = Act::new(Action::CustomerRemove, format!("customer removed; its file is kept as {}", kept.display()));
        audit.tell(actor, Act { customer: Some(id.to_string()), ..act })?;
        Ok(Removed { id: id.to_string(), kept: kept.display().to_string(), remains })
    }
}

impl Configured {
    /// Returns the id and the text of a customer's file.
    pub(super) fn existing_customer(&self, actor: &Actor, id: &str) -> Result<(CustomerId, String), Error> {
        actor.may_read(id)?;
        let no_such = || Error::no_customer(id);
        let parsed = CustomerId::parse(id).ok_or_else(no_such)?;
        let text = store::read(&self.customer_files.path(&parsed))?.ok_or_else(no_such)?;
        Ok((parsed, text))
    }
}

/// Writes a new password to its own file. The old one remains valid until the customer's file names the new file.
fn write_password(
    now: &Configured,
    id: &CustomerId,
    password: Zeroizing<String>,
    written: &mut Written,
) -> Result<String, Error> {
    if password.is_empty() || password.chars().any(char::is_control) {
        let message = "route.password: is empty, or holds more than one line";
        return Err(Error::invalid(message, "give the password as it is, without a line end"));
    }
    let name = format!("../secrets/{id}.{}.password", Timestamp::now().as_millis());
    let path = now.customer_files.dir().join(&name);
    let line = now.secret_file(&password)?;
    written.write(&path, |path| files::write_secret_for(&now.state_dir, path, line.as_bytes()))?;
    Ok(name)
}
