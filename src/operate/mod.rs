//! Operation: all commands, from every interface.
//!
//! A command is a function. It is called with an [`Actor`] (a name and a role), and returns data or an [`Error`] that says what a person
//! can do. The interfaces are thin: they read a command, call the function and show the result. There are two kinds of commands:
//!
//! * [`Service`] reads and changes the running relay: the queue and the routes. The command line reaches it over a [`socket`].
//! * [`Site`] works on the configuration's files and asks the network, whether a relay is running or not: records and checks of customers'
//!   domains, probes of their routes, rotations of their keys. [`customers`] adds, changes and removes customers.
//!
//! Where several nodes share the spool, a command about the queue, the routes or the record is carried out by all of them, each on its
//! part (`nodes`).
//!
//! The HTTP interface ([`api`]) offers both kinds to programs, which authenticate with [`tokens`]. The `pages` offer them to people in a
//! browser.
//!
//! Every command that changes something also emits an `audit` event with the actor and the number of messages. One event covers a whole
//! selection, because a filter may match a million messages. Single recipients have their own events.

mod actor;
pub mod alerts;
pub mod api;
mod audit;
pub mod customers;
pub mod dmarc;
pub(crate) mod domains;
mod error;
pub mod events;
mod fair;
pub mod history;
pub(crate) mod incident;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod letters;
pub mod links;
pub mod microsoft365;
pub(crate) mod nodes;
pub mod operators;
pub(crate) mod overview;
mod owed;
pub(crate) mod own_server;
pub(crate) mod pages;
pub(crate) mod pauses;
pub(crate) mod probe;
pub mod queue;
mod readings;
pub mod record;
pub mod returns;
pub mod routes;
mod running;
pub(crate) mod seal;
pub(crate) mod signers;
mod site;
pub mod socket;
mod spare_keys;
pub(crate) mod stuck;
pub mod suppression;
pub(crate) mod test_send;
pub mod tokens;
pub(crate) mod zone;

use std::sync::Arc;

pub use actor::{Actor, Role};
pub use alerts::Acknowledgements;
pub use audit::collect as collect_audit;
pub use error::{Error, ErrorKind};
pub use history::History;
pub use jobs::Jobs;
pub use links::Links;
pub use nodes::Nodes;
pub use operators::Operators;
pub use readings::Readings;
pub use site::{Configuration, Configured, CustomerReader, Live, ReadCustomer, Site};
pub use spare_keys::SpareKeys;
pub use tokens::Tokens;

use crate::customers::suppression::Suppression;
use crate::customers::{Customer, Routing};
use crate::events::Events;
use crate::message::CustomerId;
use crate::queue::Outcomes;
use crate::returns::dmarc::Reports;
use crate::route::RouteControl;
use crate::spool::Spool;

/// The parts of the running relay that commands use. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub spool: Arc<dyn Spool>,
    /// Shows, suspends and resumes the routes.
    pub routes: Arc<dyn RouteControl>,
    pub routing: Routing,
    /// The event log, to which commands are reported.
    pub events: Events,
    /// Applies decisions about messages.
    pub outcomes: Outcomes,
    /// The customers' suppression lists.
    pub suppression: Suppression,
    /// The DMARC reports; `None` if none are kept.
    pub dmarc: Option<Reports>,
    /// The tokens of the API.
    pub tokens: Tokens,
    /// The operators of the pages.
    pub operators: Operators,
    /// The acknowledgements of alerts.
    pub acknowledgements: Acknowledgements,
    /// The past counts, alerts and audit.
    pub history: History,
    /// Work that continues after the answer.
    pub jobs: Jobs,
    /// The requests that read the record.
    pub readings: Readings,
    /// The links to customers' pages.
    pub links: Links,
    /// Keys for new customers.
    pub spare_keys: SpareKeys,
    /// The other nodes that share the spool.
    pub nodes: Nodes,
    /// The active configuration; `None` if commands about it are not possible.
    pub live: Option<Arc<dyn Live>>,
}

impl Service {
    /// Returns the active configuration.
    pub(crate) fn live(&self) -> Result<&Arc<dyn Live>, Error> {
        let message = "this relay's configuration is not known to its service";
        self.live
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, message, "give the command beside the relay"))
    }

    /// Returns a customer of the active configuration.
    pub(crate) fn customer_with(&self, id: &CustomerId) -> Result<Arc<Customer>, Error> {
        self.routing.customer(id).ok_or_else(|| Error::no_customer(id))
    }
}
