//! Turns one server file, and one file for each customer, into the checked settings of every stage.
//!
//! ```text
//! File ─► Document ─► Table ─► server / spool / listener / customer / route / signing ─► Settings
//!          spans      typed     one function a table, plain values out
//!                     reads, each mistake noted with its line
//! ```
//!
//! [`load`] finds every mistake in one go. A mistake stops a start, and a reload then keeps the old settings. The exception is a DKIM
//! key of a single customer that cannot be used: the relay starts, and that customer's mail is deferred
//! ([`SigningDomain::Broken`](crate::customers::SigningDomain)).

mod change;
mod customer;
mod customers;
mod files;
mod keys;
mod listener;
mod mailjet_events;
mod mistake;
mod reader;
mod returns;
mod route;
mod secret;
mod server;
mod signing;
mod spool;
mod suppression;
mod test_mode;
mod value;
mod volume;
mod web;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

pub use mistake::{Mistake, Remarks};

pub use change::Keys;
pub use customers::CustomerFiles;
pub use files::ServerFile;

use crate::customers::suppression::Policy;
use crate::customers::{BulkPolicy, Customer, Directory, Via};
use crate::route::Route;
use crate::server::Settings;
use crate::smtp::Domain;
use crate::submission::{ListenerAuth, Submitters};
use crate::{dkim, events, queue};
use mistake::Notes;
use reader::{File, Table};
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

/// Reads the server file and every customer's file. It only reads files: it uses no network and writes nothing.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    let notes = Notes::default();
    let settings = File::read(path, &notes).and_then(|file| {
        let document = file.parse(&notes);
        let settings = read(&document.root(), &notes)?;
        Some((settings, Keys::of(&document, &notes.contents_of(path))))
    });
    let remarks = notes.finish();
    match settings {
        Some((settings, keys)) if remarks.mistakes.is_empty() => Ok(Loaded { settings, remarks, keys }),
        _ => Err(Refused { remarks }),
    }
}

fn read(root: &Table<'_>, notes: &Notes) -> Option<Settings> {
    let passphrase = secret::passphrase(&root.table("secrets"));
    if let Some(passphrase) = passphrase.clone() {
        notes.set_passphrase(passphrase);
    }
    let hostname: Option<Domain> = root.require("hostname", "\"out.webcrm.com\"");
    let state_dir = server::state_dir(root);
    let signer_threads = match root.number("signer_threads", 0..=1024, 0) {
        0 => dkim::one_a_core(),
        threads => threads,
    };
    let shutdown_grace = root.or("shutdown_grace", Duration::from_secs(30));
    let bounce_mail = customer::bounces(root).unwrap_or(false);

    let listeners = listener::listeners(root);
    let submitter_tables = root.tables("submitter");
    let submitters = listener::submitters(&submitter_tables);
    if submitter_tables.is_empty() && listeners.iter().any(|l| l.auth == ListenerAuth::Required) {
        root.mistake(
            "submitter",
            "is missing: nobody could log in; write a [[submitter]] with username and password_hash",
        );
    }
    let egress = server::egress(&root.table("egress"));
    let delivery = root.table("delivery");
    let timeouts = server::timeouts(&delivery);
    let at_once = delivery.number("connections", 1..=60_000, queue::AT_ONCE);
    let route_alert_after = server::route_alert_after(&delivery);
    let limits = server::limits(&root.table("limits"));
    let patience = server::patience(&root.table("retry"));
    let events_table = root.table("events");
    let events = server::events(&events_table, &state_dir);
    let webhook_tables = events_table.tables("webhook");
    let webhooks = webhook::webhooks(&webhook_tables);
    let has_record = events.log.is_some() || !webhook_tables.is_empty();
    let returns_table = root.table("returns");
    let dmarc = returns::dmarc(&returns_table.table("dmarc"), returns_table.has("domain"));
    let mut returned_mail = returns::returned_mail(&returns_table, &listeners, has_record, events.retention.age);
    if let Some(returned_mail) = &mut returned_mail {
        returned_mail.dmarc.extend(dmarc.address.clone());
    }
    let resolver = server::dns(&root.table("dns"));
    let web = web::pages(&root.table("web"), &listeners);
    let api = web::api(&root.table("api"), &listeners, web.as_ref());
    let (customers_pages, operators_pages) =
        web::browsers(&root.table("pages"), &listeners, web.as_ref(), api.as_ref());
    let taken = [
        ("[web]", web.as_ref().map(|web| web.address)),
        ("[api]", api.as_ref().map(|api| api.address)),
        ("[pages.customers]", customers_pages.as_ref().map(|pages| pages.endpoint.address)),
        ("[pages.operators]", operators_pages.as_ref().map(|operators| operators.pages.endpoint.address)),
    ];
    let mailjet_events = mailjet_events::mailjet(&returns_table.table("mailjet"), &listeners, &taken, &events);
    let our_name = hostname.as_ref().map_or("localhost", Domain::as_str);
    let spool_table = root.table("spool");
    let spool = spool::spool(&spool_table, &state_dir, our_name);
    let bounce_table = root.table("bounce_mail");
    let bounce = server::bounce(&bounce_table, our_name, patience.retry.backoff.first);
    let shared = spool_table.table("postgres");
    // Its keys were read above. Only their places are used below.
    shared.forget_unknown();
    let nodes = Nodes { count: spool.nodes(), table: shared };
    let bounce_route = server::bounce_route(&bounce_table.table("route"), limits.message_size);
    let bounce_route = bounce_route.map(|route| nodes.part_of(route));
    let onboarding_table = root.table("onboarding");
    let bulk = customer::bulk(&onboarding_table).unwrap_or(BulkPolicy::Warn);
    let address = egress.as_ref().map(|egress| egress.address);
    let mut onboarding = server::onboarding(&onboarding_table, &state_dir, address, patience.retry.give_up);

    onboarding.report_address.clone_from(&dmarc.address);
    onboarding.rua = onboarding.rua.or_else(|| dmarc.address.clone());

    let (mut tiers, accounts) = server::tiers(root);
    tiers.values_mut().for_each(|tier| tier.route = nodes.part_of(Arc::clone(&tier.route)));
    onboarding.mailjet_accounts = accounts;
    let dkim_table = root.table("dkim");
    let signing = signing::defaults(&dkim_table, patience.retry.give_up);
    onboarding.delegation = signing::delegation(&dkim_table);
    let defaults = customer::Defaults {
        bulk,
        one_click: customer::one_click(&onboarding_table).unwrap_or(Some(BulkPolicy::Warn)),
        suppression: suppression::policy(&root.table("suppression"), Policy::default()),
        bounce_mail,
        letters: onboarding.letters_from.is_some(),
        message_size: limits.message_size.saturating_add(crate::route::ADDED),
        has_return_paths: returns_table.has("domain"),
        signing,
        tiers: root.is_sound().then(|| tiers.clone()),
    };
    let customers_dir = root.get("customers_dir").unwrap_or_else(|| root.resolve("customers"));
    let mut customers = Vec::new();
    for found in read_customers(root, &customers_dir, &defaults, notes) {
        onboarding.mailjet.extend(found.mailjet);
        let name = crate::customers::own_account(&found.customer.id);
        onboarding.mailjet_accounts.extend(found.account.map(|account| (name, account)));
        customers.push(found.customer);
    }
    if let Some(domain) = returned_mail.as_ref().map(|returned| &returned.domain)
        && let Some(customer) = customers.iter().find(|customer| customer.domains.contains_key(domain))
    {
        let what = format!("is a From domain of the customer {}; mail to it would come here", customer.id);
        returns_table.mistake("domain", what);
    }
    if let Some(from) = &onboarding.letters_from
        && !customers.iter().any(|it| from.domain().is_some_and(|domain| it.domains.contains_key(domain)))
    {
        let what = "is in no customer's From domain, whose key would sign letters; add a customer with that domain";
        onboarding_table.mistake("letters_from", what);
    }
    let ids: BTreeSet<&str> = customers.iter().map(|customer| customer.id.as_str()).collect();
    let mut named_at = BTreeMap::new();
    let of_submitters = submitter_tables.iter().zip(submitters.iter().map(|named| &named.listed));
    let of_webhooks = webhook_tables.iter().zip(webhooks.iter().map(|named| &named.listed));
    for (table, listed) in of_submitters.chain(of_webhooks) {
        for id in listed {
            named_at.insert(id.clone(), table.place("customers"));
            if !ids.contains(id.as_str()) {
                table.mistake("customers", format!("there is no customer \"{id}\""));
            }
        }
    }
    let customer_files = CustomerFiles::new(customers_dir, defaults, passphrase.clone(), named_at);

    let submitters = Submitters::new(submitters.into_iter().filter_map(|named| named.submitter).collect());
    Some(Settings {
        hostname: hostname?,
        listeners,
        limits,
        // Each submitter has been checked, and no name occurs twice.
        submitters: submitters.ok()?,
        directory: Directory::new(customers, tiers),
        customer_files: Arc::new(customer_files),
        bulk_requires: onboarding.bulk_requires.clone(),
        signer_threads,
        egress: egress?,
        timeouts,
        queue: queue::Settings {
            patience,
            throttle_states: state_dir.join("daily-counters.json"),
            suspensions: state_dir.join("suspensions.json"),
            volumes: state_dir.join("customer-volumes.json"),
            at_once,
            route_alert_after,
        },
        spool,
        events: events::Settings {
            webhooks: webhooks.into_iter().filter_map(|named| named.webhook).collect(),
            ..events
        },
        bounce,
        bounce_route,
        onboarding,
        dmarc,
        resolver,
        web,
        api,
        customers_pages,
        operators_pages,
        returned_mail,
        mailjet_events,
        shutdown_grace,
        state_dir,
        passphrase,
    })
}

/// The number of nodes that share the spool. All nodes use a route that customers share, so each node gets its part of the route's caps. A
/// customer's own server is used by one node at a time.
struct Nodes<'a> {
    count: u32,
    table: Table<'a>,
}

impl Nodes<'_> {
    fn part_of(&self, route: Arc<Route>) -> Arc<Route> {
        match route.caps.part(self.count) {
            _ if self.count == 1 => route,
            Ok(caps) => Arc::new(Route { caps, ..Route::clone(&route) }),
            Err(cap) => {
                let (id, count) = (&route.id, self.count);
                let what = format!(
                    "{count} nodes share route {id}, and its cap {cap} is less than that: each must get a part; raise {cap} or have fewer nodes"
                );
                self.table.mistake("nodes", what);
                route
            }
        }
    }
}

/// Reads `customers_dir/*.toml` in the order of their names. Other files there are ignored.
fn read_customers(root: &Table<'_>, dir: &Path, defaults: &customer::Defaults, notes: &Notes) -> Vec<customer::Read> {
    let mut paths = match std::fs::read_dir(dir).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()) {
        Ok(entries) => entries.into_iter().map(|entry| entry.path()).collect::<Vec<_>>(),
        Err(error) => {
            root.mistake("customers_dir", format!("{} cannot be read: {error}", dir.display()));
            return Vec::new();
        }
    };
    for path in &paths {
        let end = path.extension().unwrap_or_default();
        if end != "toml" && end.eq_ignore_ascii_case("toml") {
            notes.warning(path, None, String::new(), "is left alone: a customer's file ends in .toml, in lower case");
        }
    }
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml") && !hidden(path));
    paths.sort();

    let _keys = keys::read_ahead(&paths, notes.passphrase());
    let mut taken = BTreeMap::new();
    let mut customers = Vec::new();
    for path in paths {
        let Some(id) = customer::id(&path) else {
            let what =
                "a customer's file is named after its id, in lower case letters, digits and hyphens, like test-as.toml";
            notes.mistake(&path, None, String::new(), what);
            continue;
        };
        let Some(file) = File::read(&path, notes) else { continue };
        let document = file.parse(notes);
        customers.extend(customer::customer(id, &document.root(), defaults, &mut taken));
    }
    customers
}
