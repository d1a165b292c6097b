//! Turns one server file, and one file for each customer, into the checked settings of every stage.
//!
//! ```text
//! reader:   File ──────► Tree ────────────────► Document ─────► Table
//!           its text     parsed, with the       its syntax      reads typed values (value, secret),
//!                        lines of its values    errors noted    and notes each mistake with its line
//!
//! settings: Table ─► server, listener, spool, web, returns, … ─► Settings
//!                    a function for each table: table in, checked values out
//! ```
//!
//! `customers_dir` reads the customers' files, and `customer`, `route` and `signing` the tables in them. `change` says which changed keys
//! need a restart. `customer_files` and `server_file` read single files for the commands of operators.
//!
//! [`load`] finds every mistake in one go. A mistake stops a start, and a reload then keeps the old settings. The exception is a DKIM
//! key of a single customer that cannot be used: the relay starts, and that customer's mail is deferred
//! ([`SigningDomain::Broken`](crate::customers::SigningDomain)).

mod change;
mod customer;
mod customer_files;
mod customers_dir;
mod listener;
mod mailjet_events;
mod mistake;
mod reader;
mod returns;
mod route;
mod secret;
mod server;
mod server_file;
mod settings;
mod signing;
mod spool;
mod suppression;
mod test_mode;
mod value;
mod volume;
mod web;
mod webhook;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

pub use mistake::{Mistake, Remarks};

pub use change::Keys;
pub use customer_files::CustomerFiles;
pub use server_file::{ServerFile, is_untouched_example};

use crate::customers::{Customer, Via};
use crate::server::Settings;
pub(crate) use customers_dir::customer_files_in;
use mistake::Notes;
use reader::File;
pub(crate) use value::octets;

/// The settings, with the remarks that do not stop a start.
pub struct Loaded {
    /// The settings of every stage.
    pub settings: Settings,
    /// The remarks, which are only `broken` and `warnings`.
    pub remarks: Remarks,
    /// Every key of the server file, for the comparison at the next reload.
    pub keys: Keys,
}

/// The size of a configuration, for a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// The number of listeners.
    pub listeners: usize,
    /// The number of customers' files.
    pub customers: usize,
    /// The number of From domains of all customers.
    pub domains: usize,
    /// The number of Mailjet tiers.
    pub mailjet_tiers: usize,
    /// The number of customers with a server of their own.
    pub own_servers: usize,
}

impl Loaded {
    /// Counts the parts of the configuration.
    pub fn counts(&self) -> Counts {
        let directory = &self.settings.directory;
        let has_own_server = |customer: &&Arc<Customer>| matches!(customer.via, Via::OwnServer(_));
        Counts {
            listeners: self.settings.listeners.len(),
            customers: directory.customers().count(),
            domains: directory.customers().map(|customer| customer.domains.len()).sum(),
            mailjet_tiers: directory.tiers().len(),
            own_servers: directory.customers().filter(has_own_server).count(),
        }
    }
}

/// The configuration has mistakes, and nothing of it is used. It is shown with one line for each mistake.
#[derive(Debug, Error)]
pub struct Refused {
    /// All mistakes and other remarks.
    pub remarks: Remarks,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.remarks.mistakes.len();
        write!(f, "the configuration has {count} mistake{}", if count == 1 { "" } else { "s" })?;
        for mistake in &self.remarks.mistakes {
            write!(f, "\n{mistake}")?;
        }
        Ok(())
    }
}

/// Reads the server file and every customer's file, and what they name: files, environment variables, and commands, which are run. It opens
/// no connection and writes nothing.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    let notes = Notes::default();
    let settings = File::read(path, &notes).and_then(|file| {
        let document = file.parse(&notes);
        let settings = settings::read(&document.root(), &notes)?;
        Some((settings, Keys::of(&document, &notes.contents_of(path))))
    });
    let remarks = notes.finish();
    match settings {
        Some((settings, keys)) if remarks.mistakes.is_empty() => Ok(Loaded { settings, remarks, keys }),
        _ => Err(Refused { remarks }),
    }
}
