//! A customer's file: `customers/<id>.toml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::reader::Table;
use super::route::{RouteDefaults, route};
use super::signing::{self, SigningDefaults};
use crate::customers::{BulkPolicy, Contact, ContactLanguage, Customer, Tier, Via, suppression};
use crate::dkim::KeyRecord;
use crate::message::CustomerId;
use crate::onboarding::settings::{MailjetAccount, MailjetRecords};
use crate::route::microsoft::Cloud;
use crate::route::{Caps, Preset, Route, RouteId, RouteKind};
use crate::smtp::{Domain, Mailbox};

/// More contacts than this would be a mailing list.
const MOST_CONTACTS: usize = 10;

/// The settings of the server file that concern every customer.
pub(super) struct Defaults {
    pub bulk: BulkPolicy,
    pub one_click: Option<BulkPolicy>,
    pub suppression: suppression::Policy,
    pub bounce_mail: bool,
    /// True if letters are sent to contacts.
    pub letters: bool,
    pub message_size: u64,
    /// True if the server file has a domain for return paths.
    pub has_return_paths: bool,
    pub signing: SigningDefaults,
    /// The tiers of Mailjet; `None` if the server file cannot be read well enough to tell.
    pub tiers: Option<BTreeMap<String, Tier>>,
}

/// What a customer's file says: the customer, the records that Mailjet's console shows for its domains, and its account at Mailjet.
pub(super) struct CustomerFile {
    pub customer: Customer,
    pub mailjet: BTreeMap<Domain, MailjetRecords>,
    /// The customer's own account at Mailjet.
    pub account: Option<MailjetAccount>,
}

/// Reads the customer's id from the name of its file: letters, digits, hyphens and underscores in lower case.
pub(super) fn id(path: &Path) -> Option<CustomerId> {
    CustomerId::parse(path.file_stem()?.to_str()?)
}

/// Knows which From domains are taken.
pub(super) trait TakenDomains {
    /// Returns where another customer lists the domain, if one does.
    fn by(&self, domain: &Domain) -> Option<String>;

    /// Notes that a customer lists the domain at `place`.
    fn take(&mut self, domain: &Domain, place: &str);
}

/// For the files of all customers, which are read one after another.
impl TakenDomains for BTreeMap<Domain, String> {
    fn by(&self, domain: &Domain) -> Option<String> {
        self.get(domain).cloned()
    }

    fn take(&mut self, domain: &Domain, place: &str) {
        self.insert(domain.clone(), place.to_owned());
    }
}

/// Reads one customer's file.
pub(super) fn customer(
    id: CustomerId,
    table: &Table<'_>,
    defaults: &Defaults,
    taken: &mut dyn TakenDomains,
) -> Option<CustomerFile> {
    let name = table.require("name", "\"Test A/S\"");
    let domains = domains(table, taken);
    let bounce_domains = table.or("bounce_domains", Vec::new());
    let suspended = table.get("suspended");
    let bulk = bulk(table).unwrap_or(defaults.bulk);
    let one_click = one_click(table).unwrap_or(defaults.one_click);
    let suppression = super::suppression::policy(&table.table("suppression"), defaults.suppression);
    let test = super::test_mode::test_mode(table);
    let bounce_mail = bounces(table).unwrap_or(defaults.bounce_mail);

    let signers = signing::signers(&table.table("dkim"), &domains, &defaults.signing);
    let records = mailjet_records(table, &domains);
    let route_table = table.table("route");
    let track_opens = route_table.get("track_opens");
    let track_clicks = route_table.get("track_clicks");
    let (own_mailjet, account) = own_mailjet(&id, &route_table).unzip();
    let account = account.flatten();
    let via = via(&id, &route_table, defaults);
    let limits = super::volume::limits(&table.table("limits"));
    let contacts = contacts(table, defaults.letters);
    // Everything is read by now: a key that is not asked for counts as unknown.
    Some(CustomerFile {
        customer: Customer {
            id,
            name: name?,
            domains: signers,
            bounce_domains,
            via: via?,
            own_mailjet,
            suspended,
            bulk,
            one_click,
            limits,
            suppression,
            test,
            contacts,
            bounce_mail,
            track_opens,
            track_clicks,
        },
        mailjet: records,
        account,
    })
}

/// Reads `bulk = "refuse" | "warn"`.
pub(super) fn bulk(table: &Table<'_>) -> Option<BulkPolicy> {
    table.choice("bulk", &[("refuse", BulkPolicy::Refuse), ("warn", BulkPolicy::Warn)])
}

/// Reads `one_click_unsubscribe = "refuse" | "warn" | "off"`.
pub(super) fn one_click(table: &Table<'_>) -> Option<Option<BulkPolicy>> {
    let choices = [("refuse", Some(BulkPolicy::Refuse)), ("warn", Some(BulkPolicy::Warn)), ("off", None)];
    table.choice("one_click_unsubscribe", &choices)
}

/// Reads `bounces = "event" | "mail"`. Returns true if the sender also gets failures as mail.
pub(super) fn bounces(table: &Table<'_>) -> Option<bool> {
    table.choice("bounces", &[("event", false), ("mail", true)])
}

fn contacts(root: &Table<'_>, are_written_to: bool) -> Vec<Contact> {
    let mut contacts: Vec<Contact> = Vec::new();
    for table in root.tables("contact") {
        let address: Option<Mailbox> = table.require("address", "\"ole@test.dk\"");
        let name: Option<String> = table.get("name");
        let languages = [("da", ContactLanguage::Danish), ("en", ContactLanguage::English)];
        let language = table.choice("language", &languages);
        let Some(address) = address else { continue };
        if address.domain().is_none() {
            table.mistake("address", "has no domain that mail can be sent to");
        } else if contacts.iter().any(|other| other.address == address) {
            table.mistake("address", format!("{address} is a contact already"));
        } else if contacts.len() == MOST_CONTACTS {
            table.mistake("address", format!("is one too many: a customer has at most {MOST_CONTACTS} contacts"));
        } else {
            contacts.push(Contact { address, name, language });
        }
    }
    if !contacts.is_empty() && !are_written_to {
        root.warning("contact", "is not written to: set letters_from in [onboarding] of the server file");
    }
    contacts
}

fn domains(table: &Table<'_>, taken: &mut dyn TakenDomains) -> Vec<Domain> {
    let found: Vec<Domain> = table.require("domains", "[\"test.dk\"]").unwrap_or_default();
    if table.has("domains") && found.is_empty() && table.is_empty_list("domains") {
        table.mistake("domains", "is empty; name the customer's From domains, like [\"test.dk\"]");
    }
    let place = table.place("domains");
    let mut own = Vec::new();
    for domain in found {
        if own.contains(&domain) {
            table.mistake("domains", format!("{domain} is named twice"));
        } else if let Some(other) = taken.by(&domain) {
            table.mistake(
                "domains",
                format!("{domain} belongs to the customer at {other} already; one domain, one customer"),
            );
        } else {
            taken.take(&domain, &place);
            own.push(domain);
        }
    }
    own
}

fn via(id: &CustomerId, table: &Table<'_>, defaults: &Defaults) -> Option<Via> {
    if table.is_absent() {
        table.mistake("", "is missing; write a table [route] with via = \"mailjet\" or via = \"own-server\"");
    }
    if !table.is_there() {
        return None;
    }
    let choices = [("mailjet", RouteKind::Mailjet), ("own-server", RouteKind::OwnServer)];
    if !table.has("via") {
        table.mistake("via", "is missing; write via = \"mailjet\" or via = \"own-server\"");
    }
    match table.choice("via", &choices) {
        Some(RouteKind::Mailjet) => {
            if table.has("return_path") {
                table.mistake("return_path", "is for via = \"own-server\" only: Mailjet has return paths of its own");
            }
            if table.has("addresses") {
                table.mistake("addresses", "is for via = \"own-server\" only");
            }
            mailjet(table, defaults)
        }
        Some(RouteKind::OwnServer) => {
            for key in ["tier", "track_opens", "track_clicks"] {
                if table.has(key) {
                    table.mistake(key, "is for via = \"mailjet\" only");
                }
            }
            let default = RouteDefaults {
                id: RouteId::new(&format!("own-server.{id}")),
                kind: RouteKind::OwnServer,
                host: None,
                caps: Caps::default(),
                message_size: defaults.message_size,
                login_required: false,
            };
            let verp = names_recipient(table, defaults);
            let public_only = table.choice("addresses", &[("any", false), ("public", true)]).unwrap_or(false);
            let route = route(table, default)?;
            if verp && Cloud::of(&route.host).is_some() {
                let what = "Microsoft 365 takes mail from the mailbox that logs in only; ask with `postbud probe` whether this server takes \
                            other senders";
                table.warning("return_path", what);
            }
            Some(Via::OwnServer(match verp || public_only {
                true => Arc::new(Route { verp, public_only, ..Route::clone(&route) }),
                false => route,
            }))
        }
        None => {
            table.allow_all_keys();
            None
        }
    }
}

/// Reads `return_path = "sender" | "verp"`. Returns true if the return path names message and recipient.
fn names_recipient(table: &Table<'_>, defaults: &Defaults) -> bool {
    let verp = table.choice("return_path", &[("sender", false), ("verp", true)]).unwrap_or(false);
    if verp && !defaults.has_return_paths {
        table.mistake(
            "return_path",
            "needs [returns] with domain in the server file: nobody would take what comes back",
        );
    }
    verp
}

/// Reads `mailjet_account = "own"`: returns the route of the customer's own account, and the account itself unless domains are registered
/// by hand.
fn own_mailjet(id: &CustomerId, table: &Table<'_>) -> Option<(Arc<Route>, Option<MailjetAccount>)> {
    let is_own = table.choice("mailjet_account", &[("tier", false), ("own", true)])?;
    if !is_own {
        return None;
    }
    if table.choice("via", &[("mailjet", true), ("own-server", false)]) != Some(true) {
        table.mistake("mailjet_account", "is for via = \"mailjet\" only");
        return None;
    }
    let default = RouteDefaults {
        id: RouteId::new(&format!("mailjet-own.{id}")),
        kind: RouteKind::Mailjet,
        host: Some("in-v3.mailjet.com"),
        caps: Preset::Mailjet.caps(),
        message_size: super::server::MAILJET_MESSAGE_SIZE,
        login_required: true,
    };
    let api = super::server::api(table);
    let route = route(table, default)?;
    let account = super::server::account(api, &route);
    Some((route, account))
}

fn mailjet(table: &Table<'_>, defaults: &Defaults) -> Option<Via> {
    let tier: Option<String> = table.get("tier");
    let tiers = defaults.tiers.as_ref()?;
    if tiers.is_empty() {
        table.mistake("via", "the server file has no [mailjet.<tier>] to send through");
        return None;
    }
    if let Some(name) = tier.as_deref().filter(|name| !tiers.contains_key(*name)) {
        let names: Vec<_> = tiers.keys().map(String::as_str).collect();
        table.mistake("tier", super::reader::not_one_of(name, &names));
        return None;
    }
    Some(Via::Mailjet { tier })
}

fn mailjet_records(table: &Table<'_>, domains: &[Domain]) -> BTreeMap<Domain, MailjetRecords> {
    let mut records = BTreeMap::new();
    for (name, entry) in table.named_tables("mailjet") {
        let found = MailjetRecords { ownership: token(&entry), dkim: key_record(&entry) };
        match Domain::parse(&name) {
            Ok(domain) if records.contains_key(&domain) => {
                entry.mistake("", format!("{domain} has such a table already, written another way"));
            }
            Ok(domain) if domains.contains(&domain) => {
                records.insert(domain, found);
            }
            _ => entry.mistake("", format!("\"{name}\" is not one of this customer's domains")),
        }
    }
    records
}

/// Checks Mailjet's ownership token, which becomes a label of a host name and the name of a file.
fn token(table: &Table<'_>) -> Option<String> {
    let token: String = table.get("ownership")?;
    let legal = (8..=63).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric());
    if !legal {
        table.mistake(
            "ownership",
            format!("\"{token}\" is not a token: letters and digits, as Mailjet's console shows it"),
        );
    }
    legal.then_some(token)
}

/// Checks Mailjet's key record, which was copied from its console.
fn key_record(table: &Table<'_>) -> Option<String> {
    let value: String = table.get("dkim")?;
    let record = KeyRecord::parse(&value);
    if let Some(flaw) = record.flaws.iter().find(|flaw| flaw.is_fatal_to_others()) {
        table.warning("dkim", format!("receivers could not use this record: {flaw}"));
    }
    Some(value)
}
