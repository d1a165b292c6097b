//! Operating: everything that somebody commands, whichever door it comes through.
//!
//! A command is a function that is called with an [`Actor`] (who, with which role) and gives data, or an [`Error`] that says what a
//! person can do. The doors are thin: they read a command, call the function and show what it gave. There are two kinds of
//! commands:
//!
//! * [`Service`] looks at the running relay and changes it: the queue and the routes. The command line reaches it over a
//!   [`socket`].
//! * [`Site`] works on the configuration's files and asks the network, whether a relay runs or not: records and checks of customers'
//!   domains, probes of their routes, the change of their keys. [`customers`] adds, changes and removes one.
//!
//! The HTTP interface ([`api`]) gives both kinds to programs, who are known by their [`tokens`]; [`pages`] give them to people in a
//! browser.
//!
//! Whatever changes something is an `audit` event besides, with the actor and the number of messages. One event tells of a whole
//! selection, because a filter may mean a million messages. What becomes of single recipients has events of its own.

mod actor;
pub mod alerts;
pub mod api;
mod audit;
pub mod customers;
pub mod dmarc;
pub mod domains;
mod error;
pub mod events;
pub mod history;
pub mod incident;
pub mod jobs;
pub mod keys;
pub mod letters;
pub mod links;
pub mod microsoft365;
pub mod operators;
pub mod own_server;
pub mod pages;
pub mod pauses;
pub mod probe;
pub mod queue;
pub mod record;
pub mod returns;
pub mod routes;
mod running;
pub mod seal;
pub mod signers;
mod site;
pub mod socket;
pub mod standing;
pub mod suppression;
pub mod test_send;
pub mod tokens;
pub mod zone;

use std::sync::Arc;

pub use actor::{Actor, Role};
pub use alerts::Acknowledgements;
pub use audit::collect as collect_audit;
pub use error::{Error, ErrorKind};
pub use history::History;
pub use jobs::Jobs;
pub use links::Links;
pub use operators::Operators;
pub use site::{Configuration, Configured, CustomerReader, Live, ReadCustomer, Site};
pub use tokens::Tokens;

use crate::customers::Routing;
use crate::customers::suppression::Suppression;
use crate::events::Events;
use crate::queue::Outcomes;
use crate::returns::dmarc::Reports;
use crate::route::RouteControl;
use crate::spool::Spool;

/// What commands about the running relay act on. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub spool: Arc<dyn Spool>,
    /// Shows, suspends and resumes the routes.
    pub routes: Arc<dyn RouteControl>,
    pub routing: Routing,
    /// Told what was done; and the log that remembers every attempt.
    pub events: Events,
    /// Applies what is decided about messages.
    pub outcomes: Outcomes,
    /// The customers' suppression lists.
    pub suppression: Suppression,
    /// What DMARC reports say; `None` where none are kept.
    pub dmarc: Option<Reports>,
    /// Who may use the API.
    pub tokens: Tokens,
    /// Who may use the pages.
    pub operators: Operators,
    /// Who took note of alerts.
    pub acknowledgements: Acknowledgements,
    /// What was counted and told in the past.
    pub history: History,
    /// Work that goes on after the answer.
    pub jobs: Jobs,
    /// Who may see a customer's page.
    pub links: Links,
    /// The configuration that is in force; `None` where commands about it cannot be given.
    pub live: Option<Arc<dyn Live>>,
}

impl Service {
    /// The configuration that is in force.
    pub(crate) fn live(&self) -> Result<&Arc<dyn Live>, Error> {
        let message = "this relay's configuration is not known to its service";
        self.live
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, message, "give the command beside the relay"))
    }
}
