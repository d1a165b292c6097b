//! The settings of a running relay: those of every stage, built and checked by the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::customers::{Directory, Requirement};
use crate::database::Home;
use crate::operate::{self, CustomerReader};
use crate::route::Route;
use crate::sealed::Passphrase;
use crate::smtp::Domain;
use crate::spool::{Carried, Counters, embedded, postgres};
use crate::submission::{Limits, ListenerSettings, Submitters};
use crate::{bounce, delivery, events, onboarding, queue, resolver, returns, web};

/// All settings for [`Relay::start`](super::Relay::start).
pub struct Settings {
    /// The relay's name in EHLO, greeting and Received.
    pub hostname: Domain,
    /// The folder for the spool, check results, counters and the control socket. It is created if it is missing.
    pub state_dir: PathBuf,
    /// The listeners for mail.
    pub listeners: Vec<ListenerSettings>,
    /// The limits of clients.
    pub limits: Limits,
    /// The submitters who may log in, with their password hashes.
    pub submitters: Submitters,
    /// Customers, keys and routes.
    pub directory: Directory,
    /// Reads a single customer's file in the same way as the whole configuration was read.
    pub customer_files: Arc<dyn CustomerReader>,
    /// The requirements that a From domain must have verified before its bulk mail is accepted.
    pub bulk_requires: Vec<Requirement>,
    /// The number of signer threads.
    pub signer_threads: usize,
    /// The address that all mail leaves from.
    pub egress: delivery::Egress,
    /// The time limits of delivery.
    pub timeouts: delivery::Timeouts,
    /// The retry schedule and the queue's limits.
    pub queue: queue::Settings,
    /// The spool's backend. The server adds the listener for its notices.
    pub spool: SpoolSettings,
    /// The event log and the webhooks.
    pub events: events::Settings,
    /// Notifications to senders.
    pub bounce: bounce::Settings,
    /// The separate route of notifications, if one is configured.
    pub bounce_route: Option<Arc<Route>>,
    /// The checks of customers' domains.
    pub onboarding: onboarding::Settings,
    /// The listener for returned mail; `None` for none.
    pub returned_mail: Option<returns::mail::Settings>,
    /// The settings for DMARC reports.
    pub dmarc: returns::dmarc::Settings,
    /// The settings of DNS lookups.
    pub resolver: resolver::Settings,
    /// The status pages and metrics; `None` for none.
    pub web: Option<web::Settings>,
    /// The API; `None` for none.
    pub api: Option<web::Settings>,
    /// The customers' pages; `None` for none.
    pub customers_pages: Option<operate::pages::Settings>,
    /// The operators' pages; `None` for none.
    pub operators_pages: Option<operate::pages::operators::Settings>,
    /// The endpoint for Mailjet's events; `None` for none.
    pub mailjet_events: Option<returns::mailjet::Settings>,
    /// The passphrase of encrypted keys and passwords, for commands that write such files.
    pub passphrase: Option<Passphrase>,
    /// On a stop, running attempts have this much time to end.
    pub shutdown_grace: Duration,
}

/// The spool's backend and its settings.
#[derive(Clone)]
pub enum SpoolSettings {
    /// Mail waits in a folder of this machine.
    Embedded(embedded::Settings),
    /// Mail waits in a database.
    Postgres(Box<postgres::Settings>),
}

impl SpoolSettings {
    /// Returns the folder with the mail, if the spool is in a folder.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            SpoolSettings::Embedded(settings) => Some(&settings.dir),
            SpoolSettings::Postgres(_) => None,
        }
    }

    /// Returns where the small relational state is kept. A spool in a database keeps it there too, so that all nodes see the same state.
    pub fn state_home(&self, state_dir: &Path) -> Home {
        match self {
            SpoolSettings::Embedded(_) => Home::Folder(state_dir.to_owned()),
            SpoolSettings::Postgres(settings) => Home::Server(Box::new(settings.server.clone())),
        }
    }

    /// Returns the maximum number of nodes that share the spool.
    pub fn nodes(&self) -> u32 {
        match self {
            SpoolSettings::Embedded(_) => 1,
            SpoolSettings::Postgres(settings) => settings.nodes,
        }
    }

    /// Sets whether a journal reads the spool's outbox.
    #[must_use]
    pub fn with_journal(mut self, has_journal: bool) -> Self {
        match &mut self {
            SpoolSettings::Embedded(settings) => settings.has_journal = has_journal,
            SpoolSettings::Postgres(settings) => settings.has_journal = has_journal,
        }
        self
    }

    /// Sets the provider of the knowledge that moves with customers between nodes.
    #[must_use]
    pub fn with_carried(mut self, carried: Arc<dyn Carried>) -> Self {
        if let SpoolSettings::Postgres(settings) = &mut self {
            settings.carried = Some(carried);
        }
        self
    }

    /// Returns the spool's metrics.
    pub fn counters(&self) -> &Arc<Counters> {
        match self {
            SpoolSettings::Embedded(settings) => &settings.counters,
            SpoolSettings::Postgres(settings) => &settings.counters,
        }
    }
}

/// The settings that a running relay can replace without a restart, all at once.
pub struct Reload {
    /// Customers, keys, routes and tiers.
    pub directory: Directory,
    /// Reads a single customer's file in the same way as the whole configuration was read.
    pub customer_files: Arc<dyn CustomerReader>,
    /// The submitters who may log in, with their password hashes.
    pub submitters: Submitters,
    /// The settings of domain checks, and Mailjet's records. Folder, address and `bulk_requires` stay unchanged.
    pub onboarding: onboarding::Settings,
    /// The secret of each webhook, by its name.
    pub webhook_secrets: BTreeMap<String, events::Secret>,
}
