//! Makes the settings of every stage: reads the tables of the server file and the customers' files, and checks what they say about each
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::customer_files::CustomerFiles;
use super::mistake::Notes;
use super::reader::Table;
use super::{
    customer, customers_dir, listener, mailjet_events, returns, secret, server, signing, spool, suppression, web,
    webhook,
};
use crate::customers::suppression::Policy;
use crate::customers::{BulkPolicy, Customer, Directory};
use crate::operate::pages;
use crate::queue::{self, Patience};
use crate::route::Route;
use crate::server::{Settings, SpoolSettings};
use crate::smtp::Domain;
use crate::submission::{ListenerAuth, ListenerSettings, Submitters};
use crate::{dkim, events, onboarding};

/// Reads everything. All tables are read before anything is returned, because a table notes the keys that were not asked for when it is
/// dropped. The order matters only where one table needs another's values.
pub(super) fn read(root: &Table<'_>, notes: &Notes) -> Option<Settings> {
    // Other tables name encrypted files.
    let passphrase = secret::passphrase(&root.table("secrets"));
    if let Some(passphrase) = passphrase.clone() {
        notes.set_passphrase(passphrase);
    }
    let hostname: Option<Domain> = root.require("hostname", "\"out.webcrm.com\"");
    let our_name = hostname.as_ref().map_or("localhost", Domain::as_str);
    let state_dir = server::state_dir(root);
    let signer_threads = match root.number("signer_threads", 0..=1024, 0) {
        0 => dkim::one_a_core(),
        threads => threads,
    };
    let shutdown_grace = root.or("shutdown_grace", Duration::from_secs(30));
    let limits = server::limits(&root.table("limits"));
    let egress = server::egress(&root.table("egress"));
    let resolver = server::dns(&root.table("dns"));

    let patience = server::patience(&root.table("retry"));
    let (first_retry, give_up) = (patience.retry.backoff.first, patience.retry.give_up);
    let delivery = root.table("delivery");
    let timeouts = server::timeouts(&delivery);
    let queue = queue(&delivery, patience, &state_dir);
    let spool_table = root.table("spool");
    let spool = spool::spool(&spool_table, &state_dir, our_name);
    let nodes = Nodes::of(&spool, &spool_table);
    let bounce_table = root.table("bounce_mail");
    let bounce = server::bounce(&bounce_table, our_name, first_retry);
    let bounce_route = server::bounce_route(&bounce_table.table("route"), limits.message_size);
    let bounce_route = bounce_route.map(|route| nodes.part_of(route));

    let submission = SubmissionTables::read(root);
    let events = EventTables::read(root, &state_dir);
    let http = Http::read(root, &submission.listeners);
    let returns_table = root.table("returns");
    let returns = Returns::read(&returns_table, &submission.listeners, &events, &http);

    let (mut tiers, accounts) = server::tiers(root);
    tiers.values_mut().for_each(|tier| tier.route = nodes.part_of(Arc::clone(&tier.route)));
    let dkim_table = root.table("dkim");
    let onboarding_table = root.table("onboarding");
    let address = egress.as_ref().map(|egress| egress.address);
    let onboarding = server::onboarding(&onboarding_table, &state_dir, address, give_up);
    let mut onboarding = onboarding::Settings {
        mailjet_accounts: accounts,
        delegation: signing::delegation(&dkim_table),
        report_address: returns.dmarc.address.clone(),
        rua: onboarding.rua.or_else(|| returns.dmarc.address.clone()),
        ..onboarding
    };
    let defaults = customer::Defaults {
        bulk: customer::bulk(&onboarding_table).unwrap_or(BulkPolicy::Warn),
        one_click: customer::one_click(&onboarding_table).unwrap_or(Some(BulkPolicy::Warn)),
        suppression: suppression::policy(&root.table("suppression"), Policy::default()),
        bounce_mail: customer::bounces(root).unwrap_or(false),
        letters: onboarding.letters_from.is_some(),
        message_size: limits.message_size.saturating_add(crate::route::ADDED),
        has_return_paths: returns_table.has("domain"),
        signing: signing::defaults(&dkim_table, give_up),
        tiers: root.is_sound().then(|| tiers.clone()),
    };
    let customers_dir = root.get("customers_dir").unwrap_or_else(|| root.resolve("customers"));
    let customers = customers(root, &customers_dir, &defaults, &mut onboarding, notes);
    returns.check_domain(&returns_table, &customers);
    check_letters_from(&onboarding, &onboarding_table, &customers);
    let named_at = named_customers(&submission, &events, &customers);
    let customer_files = CustomerFiles::new(customers_dir, defaults, passphrase.clone(), named_at);

    Some(Settings {
        hostname: hostname?,
        listeners: submission.listeners,
        limits,
        // Each submitter has been checked, and no name occurs twice.
        submitters: Submitters::new(submission.submitters.into_iter().filter_map(|named| named.submitter).collect())
            .ok()?,
        directory: Directory::new(customers, tiers),
        customer_files: Arc::new(customer_files),
        bulk_requires: onboarding.bulk_requires.clone(),
        signer_threads,
        egress: egress?,
        timeouts,
        queue,
        spool,
        events: events.settings(),
        bounce,
        bounce_route,
        onboarding,
        dmarc: returns.dmarc,
        resolver,
        web: http.status,
        api: http.api,
        customers_pages: http.customers,
        operators_pages: http.operators,
        returned_mail: returns.mail,
        mailjet_events: returns.mailjet,
        shutdown_grace,
        state_dir,
        passphrase,
    })
}

/// Reads the customers' files. Adds to `onboarding` what they say about Mailjet.
fn customers(
    root: &Table<'_>,
    dir: &Path,
    defaults: &customer::Defaults,
    onboarding: &mut onboarding::Settings,
    notes: &Notes,
) -> Vec<Customer> {
    let mut customers = Vec::new();
    for file in customers_dir::read(root, dir, defaults, notes) {
        onboarding.mailjet.extend(file.mailjet);
        let name = crate::customers::own_account(&file.customer.id);
        onboarding.mailjet_accounts.extend(file.account.map(|account| (name, account)));
        customers.push(file.customer);
    }
    customers
}

/// Reads the part of `[delivery]` that is the queue's.
fn queue(delivery: &Table<'_>, patience: Patience, state_dir: &Path) -> queue::Settings {
    queue::Settings {
        patience,
        throttle_states: state_dir.join("daily-counters.json"),
        suspensions: state_dir.join("suspensions.json"),
        volumes: state_dir.join("customer-volumes.json"),
        at_once: delivery.number("connections", 1..=60_000, queue::AT_ONCE),
        route_alert_after: server::route_alert_after(delivery),
    }
}

/// `[[listener]]` and `[[submitter]]`: where mail comes in, and who may submit it.
struct SubmissionTables<'t> {
    listeners: Vec<ListenerSettings>,
    submitter_tables: Vec<Table<'t>>,
    /// One for each table.
    submitters: Vec<listener::SubmitterTable>,
}

impl<'t> SubmissionTables<'t> {
    fn read(root: &Table<'t>) -> Self {
        let listeners = listener::listeners(root);
        let submitter_tables = root.tables("submitter");
        let submitters = listener::submitters(&submitter_tables);
        if submitter_tables.is_empty() && listeners.iter().any(|l| l.auth == ListenerAuth::Required) {
            root.mistake(
                "submitter",
                "is missing: nobody could log in; write a [[submitter]] with username and password_hash",
            );
        }
        SubmissionTables { listeners, submitter_tables, submitters }
    }
}

/// `[events]`: the event log and the webhooks.
struct EventTables<'t> {
    events: events::Settings,
    webhook_tables: Vec<Table<'t>>,
    /// One for each table.
    webhooks: Vec<webhook::WebhookTable>,
}

impl<'t> EventTables<'t> {
    fn read(root: &Table<'t>, state_dir: &Path) -> Self {
        let table = root.table("events");
        let events = server::events(&table, state_dir);
        let webhook_tables = table.tables("webhook");
        let webhooks = webhook::webhooks(&webhook_tables);
        EventTables { events, webhook_tables, webhooks }
    }

    /// Returns true if a record of each mail is kept: an event log or a webhook.
    fn is_kept(&self) -> bool {
        self.events.log.is_some() || !self.webhook_tables.is_empty()
    }

    fn settings(self) -> events::Settings {
        events::Settings {
            webhooks: self.webhooks.into_iter().filter_map(|named| named.webhook).collect(),
            ..self.events
        }
    }
}

/// `[web]`, `[api]` and `[pages]`: the HTTP endpoints, except the one for Mailjet's events.
struct Http {
    status: Option<crate::web::Settings>,
    api: Option<crate::web::Settings>,
    customers: Option<pages::Settings>,
    operators: Option<pages::operators::Settings>,
}

impl Http {
    fn read(root: &Table<'_>, listeners: &[ListenerSettings]) -> Self {
        let status = web::pages(&root.table("web"), listeners);
        let api = web::api(&root.table("api"), listeners, status.as_ref());
        let (customers, operators) = web::browsers(&root.table("pages"), listeners, status.as_ref(), api.as_ref());
        Http { status, api, customers, operators }
    }

    /// Returns the addresses in use, with the names of their tables.
    fn taken(&self) -> [web::TakenAddress<'static>; 4] {
        let operators = self.operators.as_ref().map(|operators| &operators.pages);
        [
            ("[web]", self.status.as_ref().map(|web| web.address)),
            ("[api]", self.api.as_ref().map(|api| api.address)),
            ("[pages.customers]", self.customers.as_ref().map(|pages| pages.endpoint.address)),
            ("[pages.operators]", operators.map(|pages| pages.endpoint.address)),
        ]
    }
}

/// `[returns]`: what comes back about mail that was sent.
struct Returns {
    dmarc: crate::returns::dmarc::Settings,
    mail: Option<crate::returns::mail::Settings>,
    mailjet: Option<crate::returns::mailjet::Settings>,
}

impl Returns {
    fn read(table: &Table<'_>, listeners: &[ListenerSettings], tables: &EventTables<'_>, http: &Http) -> Self {
        let dmarc = returns::dmarc(&table.table("dmarc"), table.has("domain"));
        let mut mail = returns::returned_mail(table, listeners, tables.is_kept(), tables.events.retention.age);
        if let Some(mail) = &mut mail {
            mail.dmarc.extend(dmarc.address.clone());
        }
        let mailjet = mailjet_events::mailjet(&table.table("mailjet"), listeners, &http.taken(), &tables.events);
        Returns { dmarc, mail, mailjet }
    }

    /// The domain of return paths must be no customer's.
    fn check_domain(&self, table: &Table<'_>, customers: &[Customer]) {
        if let Some(domain) = self.mail.as_ref().map(|mail| &mail.domain)
            && let Some(customer) = customers.iter().find(|customer| customer.domains.contains_key(domain))
        {
            let what = format!("is a From domain of the customer {}; mail to it would come here", customer.id);
            table.mistake("domain", what);
        }
    }
}

/// The sender of letters must have a key.
fn check_letters_from(onboarding: &onboarding::Settings, table: &Table<'_>, customers: &[Customer]) {
    let Some(domain) = onboarding.letters_from.as_ref().map(|from| from.domain()) else { return };
    if !customers.iter().any(|it| domain.is_some_and(|domain| it.domains.contains_key(domain))) {
        let what = "is in no customer's From domain, whose key would sign letters; add a customer with that domain";
        table.mistake("letters_from", what);
    }
}

/// Checks that the customers exist that submitters and webhooks name. Returns where each is named.
fn named_customers(
    submission: &SubmissionTables<'_>,
    events: &EventTables<'_>,
    customers: &[Customer],
) -> BTreeMap<String, String> {
    let ids: BTreeSet<&str> = customers.iter().map(|customer| customer.id.as_str()).collect();
    let mut named_at = BTreeMap::new();
    let of_submitters = submission.submitter_tables.iter().zip(submission.submitters.iter().map(|named| &named.listed));
    let of_webhooks = events.webhook_tables.iter().zip(events.webhooks.iter().map(|named| &named.listed));
    for (table, listed) in of_submitters.chain(of_webhooks) {
        for id in listed {
            named_at.insert(id.clone(), table.place("customers"));
            if !ids.contains(id.as_str()) {
                table.mistake("customers", format!("there is no customer \"{id}\""));
            }
        }
    }
    named_at
}

/// The number of nodes that share the spool. All nodes use a route that customers share, so each node gets its part of the route's caps. A
/// customer's own server is used by one node at a time.
struct Nodes<'t> {
    count: u32,
    table: Table<'t>,
}

impl<'t> Nodes<'t> {
    fn of(spool: &SpoolSettings, spool_table: &Table<'t>) -> Self {
        let table = spool_table.table("postgres");
        // The spool's reader has read its keys. Only their places are used here.
        table.allow_all_keys();
        Nodes { count: spool.nodes(), table }
    }

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
