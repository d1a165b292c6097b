//! Commands about customers' suppression lists: show, add and remove addresses.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::audit::{self, Act};
use super::{Actor, Error, ErrorKind, Service};
use crate::customers::suppression::{Entry, Reason, clipped, csv, folded};
use crate::database;
use crate::events::Action;
use crate::message::CustomerId;
use crate::smtp::Mailbox;
use crate::time::Timestamp;

/// The maximum number of entries in one answer or import.
pub const MOST: usize = 10_000;

/// A suppressed address. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suppressed {
    /// The address, in lower case.
    pub address: String,
    /// `hard_bounce`, `complaint`, `unsubscribe` or `operator`.
    pub reason: String,
    /// When it was added.
    pub since: String,
    /// When it expires; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// The reply of a server, or a person's note.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl From<Entry> for Suppressed {
    fn from(entry: Entry) -> Self {
        Suppressed {
            address: entry.address,
            reason: entry.reason.as_str().to_owned(),
            since: entry.since.to_string(),
            expires: entry.expires.map(|at| at.to_string()),
            note: entry.note,
        }
    }
}

impl Suppressed {
    /// Makes the entry as of now, or returns what is wrong.
    pub fn entry(&self) -> Result<Entry, String> {
        let expires = self.expires.as_deref().unwrap_or_default();
        csv::entry([&self.address, &self.reason, &self.since, expires, &self.note], Timestamp::now())
    }
}

impl From<database::Error> for Error {
    fn from(error: database::Error) -> Self {
        let remedy = match &error {
            database::Error::Full { .. } | database::Error::Locked { .. } => "then give the command again",
            _ => "nothing was changed; see the relay's log",
        };
        match &error {
            database::Error::Away { .. } => {
                Error::new(ErrorKind::Unavailable, error.to_string(), "give the command again once it answers")
            }
            _ => Error::failed(error.to_string(), remedy),
        }
    }
}

impl Service {
    /// Returns up to `limit` (at most [`MOST`]) entries of a customer's list by address, after the address `after`.
    pub async fn suppressed(
        &self,
        actor: &Actor,
        customer: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Suppressed>, Error> {
        let customer = CustomerId::new(customer);
        actor.may(Need::ReadOf(&customer))?;
        let found = self.suppression.list(&customer, after.map(str::to_owned), limit.min(MOST)).await?;
        if found.is_empty() && after.is_none() {
            // A customer that was removed may still have a list.
            self.customer_with(&customer)?;
        }
        Ok(found.into_iter().map(Suppressed::from).collect())
    }

    /// Returns the entry of one address on a customer's list.
    pub async fn find_suppressed(&self, actor: &Actor, customer: &str, address: &str) -> Result<Suppressed, Error> {
        let customer = CustomerId::new(customer);
        actor.may(Need::ReadOf(&customer))?;
        let mailbox = mailbox(address)?;
        let found = self.suppression.find(&customer, &mailbox).await?;
        found.map(Suppressed::from).ok_or_else(|| not_on_list(&customer, &mailbox))
    }

    /// Adds an address to a customer's list, until `expires_in` has passed if it is given.
    pub async fn suppress(
        &self,
        actor: &Actor,
        customer: &str,
        address: &str,
        note: &str,
        expires_in: Option<Duration>,
    ) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        let customer = CustomerId::new(customer);
        self.customer_with(&customer)?;
        let now = Timestamp::now();
        let entry = Entry {
            address: folded(&mailbox(address)?),
            reason: Reason::Operator,
            since: now,
            expires: expires_in.map(|after| now + after),
            note: clipped(note),
        };
        let address = entry.address.clone();
        self.suppression.add(&customer, vec![entry]).await?;
        let detail = format!("{address} was put on the suppression list of {customer}");
        let act = Act { recipient: Some(address), ..Act::new(Action::SuppressionAdd, detail) };
        self.told(actor, act, &customer, 1);
        Ok(())
    }

    /// Removes an address from a customer's list, whatever the reason of the entry.
    pub async fn unsuppress(&self, actor: &Actor, customer: &str, address: &str) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        let (customer, mailbox) = (CustomerId::new(customer), mailbox(address)?);
        if !self.suppression.remove(&customer, &mailbox).await? {
            return Err(not_on_list(&customer, &mailbox));
        }
        let detail = format!("{mailbox} was taken off the suppression list of {customer}");
        let act = Act { recipient: Some(mailbox.to_string()), ..Act::new(Action::SuppressionRemove, detail) };
        self.told(actor, act, &customer, 1);
        Ok(())
    }

    /// Refuses an actor that may not import into a customer's list, and an unknown customer.
    pub(super) fn may_import(&self, actor: &Actor, customer: &str) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        self.customer_with(&CustomerId::new(customer)).map(drop)
    }

    /// Adds up to [`MOST`] entries to a customer's list, all or none. Existing entries are replaced.
    pub async fn import_suppressed(&self, actor: &Actor, customer: &str, entries: &[Suppressed]) -> Result<u64, Error> {
        actor.may(Need::Operate)?;
        let customer = CustomerId::new(customer);
        self.customer_with(&customer)?;
        if entries.len() > MOST {
            let what = format!("{} entries are more than the {MOST} of one import", entries.len());
            return Err(Error::invalid(what, "send them in several"));
        }
        let read = entries.iter().enumerate().map(|(n, entry)| {
            let bad = |what| Error::invalid(format!("entry {}: {what}", n + 1), "nothing of the import was taken");
            entry.entry().map_err(bad)
        });
        let read = read.collect::<Result<Vec<_>, Error>>()?;
        let count = read.len() as u64;
        self.suppression.add(&customer, read).await?;
        let detail = format!("{count} addresses were put on the suppression list of {customer}");
        self.told(actor, Act::new(Action::SuppressionImport, detail), &customer, count);
        Ok(count)
    }

    fn told(&self, actor: &Actor, act: Act, customer: &CustomerId, count: u64) {
        let act = Act { customer: Some(customer.to_string()), changed: Some(count), ..act };
        audit::tell(&self.events, actor, act);
    }
}

fn mailbox(address: &str) -> Result<Mailbox, Error> {
    Mailbox::parse(address).map_err(|error| Error::invalid(error.to_string(), "give one like anna@example.com"))
}

fn not_on_list(customer: &CustomerId, address: &Mailbox) -> Error {
    let what = format!("{address} is not on the suppression list of {customer}");
    Error::not_found(what, format!("`postbud suppression list {customer}` shows the list"))
}
