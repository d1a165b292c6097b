//! Configuration: one server file and one file a customer become the checked settings of every stage.
//!
//! ```text
//! File ─► Document ─► Table ─► server / listener / customer / route / signing ─► Settings
//!          spans      typed     one function a table, plain values out
//!                     reads, each mistake noted with its line
//! ```
//!
//! [`load`] finds every mistake in one go. Mistakes stop a start, and a reload keeps what ran. A single customer's unusable
//! DKIM key is the exception: the relay starts, and that customer's mail is deferred at the door
//! ([`SigningDomain::Broken`](crate::customer::SigningDomain)).

mod change;
mod customer;
mod listener;
mod mistake;
mod reader;
mod route;
mod secret;
mod server;
mod signing;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

pub use mistake::{Mistake, Remarks};

use crate::customer::{BulkPolicy, Directory, Requirement};
use crate::smtp::Domain;
use crate::{bounce, delivery, events, onboarding, queue, resolver, spool, submission, web};
use change::Keys;
use mistake::Notes;
use reader::{File, Table};

/// Everything the program needs to know, checked.
#[derive(Clone)]
pub struct Settings {
    /// Our name: greeting, EHLO, Received, Reporting-MTA.
    pub hostname: Domain,
    /// Spool, verdicts, control socket.
    pub state_dir: PathBuf,
    /// Where to listen for mail.
    pub listeners: Vec<submission::ListenerSettings>,
    /// Who may log in.
    pub submitters: Vec<submission::Submitter>,
    /// What a client may ask.
    pub limits: submission::Limits,
    /// What a From domain must have verified before bulk mail of it is taken.
    pub bulk_requires: Vec<Requirement>,
    /// Customers and Mailjet's tiers.
    pub directory: Directory,
    /// Retries and daily counters.
    pub queue: queue::Settings,
    /// Name, egress address and timeouts of deliveries.
    pub delivery: delivery::Settings,
    /// The embedded spool.
    pub spool: spool::Settings,
    /// The event log and the webhook.
    pub events: events::Settings,
    /// Notifications by mail.
    pub bounce: bounce::Settings,
    /// Checks of customers' domains.
    pub onboarding: onboarding::settings::Settings,
    /// Name servers.
    pub dns: resolver::Settings,
    /// Health, metrics and status; `None` where the file has no `[web]`.
    pub web: Option<web::Settings>,
    keys: Keys,
}

/// Settings, with what should be put right all the same.
pub struct Loaded {
    /// Ready to use.
    pub settings: Settings,
    /// `broken` and `warnings` only: there are no mistakes.
    pub remarks: Remarks,
}

/// The configuration has mistakes; nothing of it is used. Shows one line a mistake.
#[derive(Debug, Error)]
pub struct Refused {
    /// All of them, and what else was found.
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

/// Reads the server file and every customer's file. Touches files only: no network, and nothing is written.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    let notes = Notes::default();
    let settings = File::read(path, &notes).and_then(|file| {
        let document = file.parse(&notes);
        read(&document.root(), Keys::of(&document), &notes)
    });
    let remarks = notes.finish();
    match settings {
        Some(settings) if remarks.mistakes.is_empty() => Ok(Loaded { settings, remarks }),
        _ => Err(Refused { remarks }),
    }
}

impl Settings {
    /// The keys that differ in `new` and take effect only at a restart: a reload names them and goes on with the old values.
    /// Customers, submitters, tiers and certificates need none.
    pub fn needs_restart(&self, new: &Settings) -> Vec<String> {
        self.keys.changed_for_restart(&new.keys)
    }
}

fn read(root: &Table<'_>, keys: Keys, notes: &Notes) -> Option<Settings> {
    let hostname: Option<Domain> = root.require("hostname", "\"out.webcrm.com\"");
    let state_dir = server::state_dir(root);
    let bounce_mail = customer::bounces(root).unwrap_or(false);

    let listeners = listener::listeners(root);
    let submitter_tables = root.tables("submitter");
    let submitters = listener::submitters(&submitter_tables);
    if submitter_tables.is_empty() && listeners.iter().any(|l| l.auth == submission::ListenerAuth::Required) {
        root.mistake("submitter", "is missing: nobody could log in; write a [[submitter]] with username and password_hash");
    }
    let egress = server::egress(&root.table("egress"));
    let timeouts = server::timeouts(&root.table("delivery"));
    let limits = server::limits(&root.table("limits"));
    let patience = server::patience(&root.table("retry"));
    let spool = server::spool(&root.table("spool"), &state_dir);
    let events = server::events(&root.table("events"), &state_dir);
    let dns = server::dns(&root.table("dns"));
    let web = server::web(&root.table("web"));
    let our_name = hostname.as_ref().map_or("localhost", Domain::as_str);
    let bounce = server::bounce(&root.table("bounce_mail"), our_name, limits.message_size);
    let onboarding_table = root.table("onboarding");
    let bulk = customer::bulk(&onboarding_table).unwrap_or(BulkPolicy::Warn);
    let mut onboarding = server::onboarding(&onboarding_table, &state_dir, egress.as_ref().map(|egress| egress.address));

    let tiers = server::tiers(root);
    let signing = signing::defaults(&root.table("dkim"));
    let defaults =
        customer::Defaults { bulk, bounce_mail, message_size: limits.message_size, signing: &signing, tiers: &tiers };
    let mut customers = Vec::new();
    for found in read_customers(root, &defaults, notes) {
        onboarding.mailjet.extend(found.mailjet);
        customers.push(found.customer);
    }
    for (table, named) in submitter_tables.iter().zip(&submitters) {
        for id in &named.listed {
            if !customers.iter().any(|customer| customer.id.as_str() == id) {
                table.mistake("customers", format!("there is no customer \"{id}\""));
            }
        }
    }

    let hostname = hostname?;
    let mut delivery = delivery::Settings::new(hostname.as_str(), egress?);
    delivery.timeouts = timeouts;
    Some(Settings {
        listeners,
        submitters: submitters.into_iter().map(|named| named.submitter).collect(),
        limits,
        bulk_requires: onboarding.bulk_requires.clone(),
        directory: Directory::new(customers, tiers),
        queue: queue::Settings { patience, ledger: state_dir.join("daily-counters.json") },
        delivery,
        spool,
        events,
        bounce,
        onboarding,
        dns,
        web,
        hostname,
        state_dir,
        keys,
    })
}

/// Reads `customers_dir/*.toml`, in the order of their names. Other files there are left alone.
fn read_customers(root: &Table<'_>, defaults: &customer::Defaults<'_>, notes: &Notes) -> Vec<customer::Read> {
    let dir: PathBuf = root.get("customers_dir").unwrap_or_else(|| root.resolve("customers"));
    let mut paths = match std::fs::read_dir(&dir).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()) {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
        Err(error) => {
            root.mistake("customers_dir", format!("{} cannot be read: {error}", dir.display()));
            return Vec::new();
        }
    };
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml") && !hidden(path));
    paths.sort();

    let mut taken = BTreeMap::new();
    let mut customers = Vec::new();
    for path in paths {
        let Some(id) = customer::id(&path) else {
            let what = "a customer's file is named after its id, in lower case letters, digits and hyphens, like test-as.toml";
            notes.mistake(&path, 0, String::new(), what);
            continue;
        };
        let Some(file) = File::read(&path, notes) else { continue };
        let document = file.parse(notes);
        customers.extend(customer::customer(id, &document.root(), defaults, &mut taken));
    }
    customers
}
