//! What a running relay is made of: every stage's settings, built and checked by configuration.

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

/// Everything [`Relay::start`](super::Relay::start) needs.
pub struct Settings {
    /// Our name: EHLO, greeting, Received.
    pub hostname: Domain,
    /// Where spool, verdicts, counters and the control socket are. Made if absent.
    pub state_dir: PathBuf,
    /// Where mail is taken.
    pub listeners: Vec<ListenerSettings>,
    /// What submitters may use up.
    pub limits: Limits,
    /// Who may log in.
    pub submitters: Submitters,
    /// Customers, keys and routes.
    pub directory: Directory,
    /// What reads a single customer's file as the whole was read.
    pub customer_files: Arc<dyn CustomerReader>,
    /// What a From domain must have verified before bulk mail of it is taken.
    pub bulk_requires: Vec<Requirement>,
    /// Threads that sign.
    pub signer_threads: usize,
    /// The address that all mail leaves from.
    pub egress: delivery::Egress,
    /// How long the phases of a delivery may take.
    pub timeouts: delivery::Timeouts,
    /// Retries and maximum age.
    pub queue: queue::Settings,
    /// Where mail waits. The server adds what hears its notices.
    pub spool: SpoolSettings,
    /// The event log and the webhooks.
    pub events: events::Settings,
    /// Notifications by mail.
    pub bounce: bounce::Settings,
    /// The route that notifications take, where it is not their customer's.
    pub bounce_route: Option<Arc<Route>>,
    /// The checks of customers' domains.
    pub onboarding: onboarding::Settings,
    /// Mail that comes back; `None`: none is taken.
    pub returned_mail: Option<returns::mail::Settings>,
    /// DMARC reports.
    pub dmarc: returns::dmarc::Settings,
    /// Who answers questions to the DNS.
    pub resolver: resolver::Settings,
    /// Status pages and metrics; `None`: none.
    pub web: Option<web::Settings>,
    /// The API; `None`: none.
    pub api: Option<web::Settings>,
    /// Customers' pages; `None`: none.
    pub customers_pages: Option<operate::pages::Settings>,
    /// Operators' pages; `None`: none.
    pub operators_pages: Option<operate::pages::operators::Settings>,
    /// How Mailjet's events are taken; `None`: none are.
    pub mailjet_events: Option<returns::mailjet::Settings>,
    /// The passphrase of keys and passwords that are encrypted at rest, for commands that write such files.
    pub passphrase: Option<Passphrase>,
    /// On a stop, attempts under way have this long to end.
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
    /// The folder that holds the mail, if a folder does.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            SpoolSettings::Embedded(settings) => Some(&settings.dir),
            SpoolSettings::Postgres(_) => None,
        }
    }

    /// Where small relational state is kept: with the spool, if that is in a database, so that all nodes know the same.
    pub fn state_home(&self, state_dir: &Path) -> Home {
        match self {
            SpoolSettings::Embedded(_) => Home::Folder(state_dir.to_owned()),
            SpoolSettings::Postgres(settings) => Home::Server(Box::new(settings.server())),
        }
    }

    /// How many nodes share the spool at most.
    pub fn nodes(&self) -> u32 {
        match self {
            SpoolSettings::Embedded(_) => 1,
            SpoolSettings::Postgres(settings) => settings.nodes,
        }
    }

    /// The same, for a spool whose outbox a journal reads or not.
    #[must_use]
    pub fn with_journal(mut self, has_journal: bool) -> Self {
        match &mut self {
            SpoolSettings::Embedded(settings) => settings.has_journal = has_journal,
            SpoolSettings::Postgres(settings) => settings.has_journal = has_journal,
        }
        self
    }

    /// The same, for a spool whose customers may come from another node, with what that one knew of them.
    #[must_use]
    pub fn with_carried(mut self, carried: Arc<dyn Carried>) -> Self {
        if let SpoolSettings::Postgres(settings) = &mut self {
            settings.carried = Some(carried);
        }
        self
    }

    /// What the spool counts.
    pub fn counters(&self) -> &Arc<Counters> {
        match self {
            SpoolSettings::Embedded(settings) => &settings.counters,
            SpoolSettings::Postgres(settings) => &settings.counters,
        }
    }
}

/// The part of the settings that a running relay takes without a restart, all at once.
pub struct Reload {
    /// Customers, keys, routes and tiers.
    pub directory: Directory,
    /// What reads a single customer's file as the whole was read.
    pub customer_files: Arc<dyn CustomerReader>,
    /// Who may log in.
    pub submitters: Submitters,
    /// How domains are checked, and what Mailjet shows for them. Its folder, address and `bulk_requires` stay as they were.
    pub onboarding: onboarding::Settings,
    /// What signs each webhook's calls, by its name.
    pub webhook_secrets: BTreeMap<String, events::Secret>,
}
