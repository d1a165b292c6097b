//! The running configuration. This is the only place that replaces parts of it: for a reload, and for a command that changed one customer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::customers::{Directory, Routing, SigningDomain};
use crate::database::Home;
use crate::delivery::{Egress, Timeouts};
use crate::events::{Events, Subject};
use crate::onboarding;
use crate::onboarding::settings::{MailjetAccount, MailjetRecords};
use crate::operate::{self, Configured, CustomerReader};
use crate::queue::Queue;
use crate::resolver;
use crate::returns;
use crate::route::microsoft::WHEN;
use crate::smtp::{Domain, Mailbox};

/// The running configuration.
pub(super) struct Live {
    pub hostname: Domain,
    pub state_dir: PathBuf,
    /// The place of small relational state.
    pub state_home: Home,
    /// The address that mail leaves from.
    pub egress: Egress,
    /// The time limits of delivery.
    pub timeouts: Timeouts,
    /// The settings of DNS lookups.
    pub resolver: resolver::Settings,
    /// The domain of the return paths.
    pub returns_domain: Option<Domain>,
    /// The settings for receiving Mailjet's events.
    pub mailjet_events: Option<returns::mailjet::Settings>,
    /// Customers and routes.
    pub routing: Routing,
    /// Notified when routes may have changed.
    pub queue: Queue,
    /// Raises and ends the alerts about the configuration.
    pub events: Events,
    /// The settings of the domain checks.
    pub onboarding: watch::Sender<Arc<onboarding::Settings>>,
    /// Receives the results of checks that somebody asked for.
    pub looks: mpsc::Sender<onboarding::Looked>,
    /// The settings for DMARC reports.
    pub dmarc: returns::dmarc::Settings,
    /// Reads a single customer's file.
    pub customer_files: Mutex<Arc<dyn CustomerReader>>,
    /// The routes that the alert about passwords at Microsoft 365 names.
    pub with_passwords: Mutex<Option<Vec<String>>>,
}

impl Live {
    /// Replaces all parts that a reload may replace here.
    pub fn replace(&self, directory: Directory, new: onboarding::Settings, files: Arc<dyn CustomerReader>) {
        *self.customer_files.lock().unwrap_or_else(PoisonError::into_inner) = files;
        let old = Arc::clone(&self.onboarding.borrow());
        self.put(
            directory,
            onboarding::Settings {
                state_dir: old.state_dir.clone(),
                shared: old.shared.clone(),
                egress: old.egress,
                bulk_requires: old.bulk_requires.clone(),
                ..new
            },
        );
    }

    fn put(&self, directory: Directory, onboarding: onboarding::Settings) {
        self.routing.set_directory(directory);
        self.queue.reload();
        self.onboarding.send_replace(Arc::new(onboarding));
        self.end_alerts_about_keys();
        self.tell_of_microsoft365();
    }

    /// Keeps one alert open while routes log in to Microsoft 365 with a password.
    pub fn tell_of_microsoft365(&self) {
        let routes = self.routing.routes().into_iter();
        let routes = routes.filter(|route| route.password_at_microsoft365().is_some());
        let routes: Vec<String> = routes.map(|route| route.id.to_string()).collect();
        let mut told = self.with_passwords.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref() == Some(&routes) {
            return;
        }
        let subject = Subject::PasswordsAtMicrosoft365;
        match routes.len() {
            0 => self.events.resolve(&subject, "no route logs in at Microsoft 365 with a password any more"),
            count => self.events.raise(
                subject,
                format!(
                    "{WHEN}, and {count} routes log in with one: {}; `postbud route list --microsoft365` says what each needs",
                    routes.join(", ")
                ),
            ),
        }
        *told = Some(routes);
    }

    /// Ends alerts about keys that can be read again, and about domains that are gone.
    fn end_alerts_about_keys(&self) {
        let directory = self.routing.directory();
        let is_broken = |name: &str| {
            let customer = Domain::parse(name).ok().and_then(|domain| Some((directory.by_domain(&domain)?, domain)));
            customer.is_some_and(|(customer, domain)| matches!(customer.domains[&domain], SigningDomain::Broken(_)))
        };
        self.events.resolve_where(|subject| match subject {
            Subject::SigningKey(domain) if !is_broken(domain) => Some("its key is read, or the domain is gone".into()),
            _ => None,
        });
    }
}

impl operate::Live for Live {
    fn configured(&self) -> Configured {
        let customer_files = Arc::clone(&self.customer_files.lock().unwrap_or_else(PoisonError::into_inner));
        Configured {
            hostname: self.hostname.clone(),
            state_dir: self.state_dir.clone(),
            state_home: self.state_home.clone(),
            directory: self.routing.directory(),
            passphrase: customer_files.passphrase().cloned(),
            customer_files,
            egress: self.egress.clone(),
            timeouts: self.timeouts,
            onboarding: Arc::clone(&self.onboarding.borrow()),
            dmarc: self.dmarc.clone(),
            resolver: self.resolver.clone(),
            returns_domain: self.returns_domain.clone(),
            mailjet_events: self.mailjet_events.clone(),
        }
    }

    fn letters_from(&self) -> Option<Mailbox> {
        self.onboarding.borrow().letters_from.clone()
    }

    fn egress(&self) -> IpAddr {
        self.egress.address
    }

    fn language(&self) -> onboarding::Lang {
        self.onboarding.borrow().lang
    }

    fn looks(&self) -> mpsc::Sender<onboarding::Looked> {
        self.looks.clone()
    }

    fn take(
        &self,
        directory: Directory,
        mailjet: BTreeMap<Domain, MailjetRecords>,
        mailjet_accounts: BTreeMap<String, MailjetAccount>,
    ) {
        let old = Arc::clone(&self.onboarding.borrow());
        self.put(directory, onboarding::Settings { mailjet, mailjet_accounts, ..onboarding::Settings::clone(&old) });
    }
}
