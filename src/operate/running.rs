//! Requests of commands to the running relay: over its socket, or to the service in the same process.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::audit::{Audit, Notes};
use super::queue::Selection;
use super::routes::Route;
use super::signers::Signer;
use super::socket::protocol::Command;
use super::socket::{self, CallError};
use super::stuck::StuckCustomer;
use super::{Actor, Error, Service};
use crate::customers::{Customer, Pause};
use crate::dkim::{KeyError, SigningKey};
use crate::message::CustomerId;
use crate::onboarding::{self, Looked, Report, Store};
use crate::time::Timestamp;

/// The relay that runs with this configuration.
#[derive(Clone)]
pub(super) enum Running {
    /// Another process, if there is one, with this state folder.
    Socket(PathBuf),
    /// The relay in this process.
    Here(Box<Service>),
}

impl Running {
    /// Makes sure that the audit can be written, before anything is done.
    pub fn audit(&self) -> Result<Audit, Error> {
        match self {
            Running::Here(service) => Ok(Audit::Events(service.events.clone())),
            Running::Socket(state_dir) => Notes::open(state_dir).map(Audit::Notes),
        }
    }

    /// Makes a key for a new customer, or takes one that the relay has ready. Blocks.
    pub fn new_key(&self) -> Result<SigningKey, KeyError> {
        match self {
            Running::Here(service) => service.spare_keys.take(),
            Running::Socket(_) => SigningKey::generate_rsa(2048),
        }
    }

    /// Makes the relay use a customer's file that was written or removed. Returns false if no relay is running. Blocks.
    pub fn take_customer(&self, actor: &Actor, customer: &CustomerId) -> Result<bool, Error> {
        match self {
            Running::Here(service) => service.take_customer(actor, customer.as_str()).map(|()| true),
            Running::Socket(state_dir) => {
                let command = Command::TakeCustomer { customer: customer.to_string() };
                match socket::call(state_dir, command, |_| {}, |_| {}) {
                    Ok(_) => Ok(true),
                    Err(CallError::NotRunning(_)) => Ok(false),
                    Err(CallError::Refused(error)) => Err(error),
                    Err(error) => Err(Error::failed(
                        format!("the file is written, but the running relay does not take it over: {error}"),
                        "reload it: `systemctl reload postbud`",
                    )),
                }
            }
        }
    }

    /// Returns the customers whose mail would be stuck now. Returns `None` if no relay is running, or if it carries out this command itself.
    /// Blocks.
    pub fn stuck_customers(&self) -> Result<Option<Vec<StuckCustomer>>, Error> {
        let Running::Socket(state_dir) = self else { return Ok(None) };
        let mut found = Vec::new();
        let read = |item| found.extend(serde_json::from_value(item).ok());
        match socket::call(state_dir, Command::StuckCustomers, read, |_| {}) {
            Ok(_) => Ok(Some(found)),
            Err(CallError::NotRunning(_)) => Ok(None),
            Err(CallError::Refused(error)) => Err(error),
            Err(error) => Err(Error::failed("cannot ask the running relay which mail stands still", error.to_string())),
        }
    }

    /// Stores a report for the relay. If the relay runs in this process, it reports changes at once. Otherwise a running relay reports them
    /// when it reads the report, within half a minute, or the next start does. The error says why the report cannot be stored.
    pub async fn keep(
        &self,
        customer: &Arc<Customer>,
        report: &Report,
        site: &onboarding::Settings,
    ) -> Result<(), String> {
        if let Running::Here(service) = self {
            let Some(live) = &service.live else { return Err("the relay has no checks".to_owned()) };
            let (kept, heard) = oneshot::channel();
            let looked = Looked { customer: Arc::clone(customer), report: report.clone(), kept };
            let gone = || "the relay is stopping".to_owned();
            live.looks().send(looked).await.map_err(|_| gone())?;
            return heard.await.map_err(|_| gone())?;
        }
        let (store, id, report, settings) = (Store::new(site), customer.id.clone(), report.clone(), site.clone());
        let kept = tokio::task::spawn_blocking(move || store.leave(&id, &report, &settings)).await;
        kept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Makes the relay use a customer's file, if the relay itself carries out this command. Returns true if so.
    pub fn take_here(&self, actor: &Actor, customer: &CustomerId) -> Result<bool, Error> {
        match self {
            Running::Here(_) => self.take_customer(actor, customer),
            Running::Socket(_) => Ok(false),
        }
    }

    /// Returns the pause of a customer's mail, if the relay itself carries out this command.
    pub fn pause_of(&self, customer: &CustomerId) -> Option<Pause> {
        match self {
            Running::Here(service) => service.routing.pauses().get(customer).cloned(),
            Running::Socket(_) => None,
        }
    }

    /// Returns the keys with which it signs a customer's mail. Returns `None` if no relay is running.
    pub async fn signers(&self, actor: &Actor, customer: &CustomerId) -> Result<Option<Vec<Signer>>, Error> {
        let state_dir = match self {
            Running::Here(service) => return service.signers(actor, customer.as_str()).map(Some),
            Running::Socket(state_dir) => state_dir.clone(),
        };
        let command = Command::Signers { customer: customer.to_string() };
        let Some(items) = asked(state_dir, command, "which key it signs with").await? else { return Ok(None) };
        // An unreadable item does not prove that the new key is used.
        let unread = || Signer { domain: String::new(), selectors: Vec::new() };
        Ok(Some(items.into_iter().map(|item| serde_json::from_value(item).unwrap_or_else(|_| unread())).collect()))
    }

    /// Returns its routes. Returns `None` if no relay is running.
    pub async fn routes(&self, actor: &Actor) -> Result<Option<Vec<Route>>, Error> {
        let state_dir = match self {
            Running::Here(service) => return service.routes(actor).await.map(|(routes, _)| Some(routes)),
            Running::Socket(state_dir) => state_dir.clone(),
        };
        let items = asked(state_dir, Command::Routes, "about its routes").await?;
        Ok(items.map(|items| items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect()))
    }

    /// Returns true if mail of a customer waits, held or not, that was accepted before `then`. Returns `None` if no relay is running.
    pub async fn has_mail_from_before(
        &self,
        actor: &Actor,
        customer: &CustomerId,
        then: Timestamp,
        now: Timestamp,
    ) -> Result<Option<bool>, Error> {
        let which = Selection {
            customer: Some(customer.to_string()),
            older_than_secs: Some(now.since(then).as_secs()),
            ..Selection::default()
        };
        let state_dir = match self {
            Running::Here(service) => {
                let found = service.list(actor, &which, None, 1).await?;
                // What was not looked at, and what a node did not say, may be such mail.
                let is_known = found.next.is_none() && found.missing.is_empty();
                return Ok(Some(!found.items.is_empty() || !is_known));
            }
            Running::Socket(state_dir) => state_dir.clone(),
        };
        let command = Command::List { which, limit: Some(1) };
        let items = asked(state_dir, command, "what waits in its queue").await?;
        Ok(items.map(|items| !items.is_empty()))
    }
}

/// Returns the items of an answer. Returns `None` if no relay is running.
async fn asked(state_dir: PathBuf, command: Command, what: &str) -> Result<Option<Vec<serde_json::Value>>, Error> {
    let call = move || {
        let mut items = Vec::new();
        socket::call(&state_dir, command, |item| items.push(item), |_| {}).map(|_| items)
    };
    match tokio::task::spawn_blocking(call).await {
        Ok(Ok(items)) => Ok(Some(items)),
        Ok(Err(CallError::NotRunning(_))) => Ok(None),
        Ok(Err(CallError::Refused(error))) => Err(error),
        Ok(Err(error)) => {
            Err(Error::failed(format!("cannot ask the running relay {what}: {error}"), "nothing was changed"))
        }
        Err(error) => {
            Err(Error::failed(format!("cannot ask the running relay {what}: {error}"), "run the command again"))
        }
    }
}
