//! Operating: everything that somebody commands, whichever door it comes through.
//!
//! A command is a function that is called with an [`Actor`] (who, with which role) and gives data, or an [`Error`] that says what a
//! person can do. The doors are thin: they read a command, call the function and show what it gave. There are two kinds of
//! commands:
//!
//! * [`Service`] looks at the running relay and changes it: the queue and the routes. The command line reaches it over a
//!   [`socket`].
//! * [`Site`] works on the configuration's files and asks the network, whether a relay runs or not: records and checks of customers'
//!   domains, probes of their routes, the change of their keys; [`customers`] adds one.
//!
//! Whatever changes something is an `audit` event besides, with the actor and the number of messages. One event tells of a whole
//! selection, because a filter may mean a million messages. What becomes of single recipients has events of its own.

mod actor;
mod audit;
pub mod customers;
pub mod domains;
mod error;
pub mod events;
pub mod keys;
pub mod microsoft365;
pub mod probe;
pub mod queue;
pub mod record;
pub mod routes;
mod running;
pub mod seal;
pub mod signers;
mod site;
pub mod socket;
pub mod zone;

use std::sync::Arc;

pub use actor::{Actor, Role};
pub use audit::collect as collect_audit;
pub use error::{Error, ErrorKind};
pub use site::{Configuration, Configured, Site};

use crate::customers::Routing;
use crate::events::Events;
use crate::queue::Outcomes;
use crate::route::RouteControl;
use crate::spool::Spool;

/// What commands about the running relay act on. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// The queue's records.
    pub spool: Arc<dyn Spool>,
    /// Shows, suspends and resumes the routes.
    pub routes: Arc<dyn RouteControl>,
    /// Where mail goes.
    pub routing: Routing,
    /// Told what was done; and the log that remembers every attempt.
    pub events: Events,
    /// Applies what is decided about messages.
    pub outcomes: Outcomes,
}
