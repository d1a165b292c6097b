//! Customers: whose domains, whose key, which way out. Built by configuration, replaced as a whole by a reload.

pub mod public_mailboxes;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::dkim::Signer;
use crate::message::CustomerId;
use crate::route::Route;
use crate::smtp::Domain;

/// One customer.
#[derive(Clone)]
pub struct Customer {
    /// The name of its file.
    pub id: CustomerId,
    /// For people.
    pub name: String,
    /// From domains, each with what signs for it.
    pub domains: BTreeMap<Domain, SigningDomain>,
    /// Domains that MAIL FROM may be in besides the customer's own.
    pub bounce_domains: Vec<Domain>,
    /// Which way out.
    pub via: Via,
    /// Taken out of service, with the reason: its mail is refused at the door and held in the queue.
    pub suspended: Option<String>,
    /// What happens to bulk mail while the domain lacks what bulk needs.
    pub bulk: BulkPolicy,
    /// Whether failures also go to the sender as mail (RFC 3464).
    pub bounce_mail: bool,
    /// `X-Mailjet-TrackOpen`; `None` leaves it to Mailjet's account.
    pub track_opens: Option<bool>,
    /// `X-Mailjet-TrackClick`.
    pub track_clicks: Option<bool>,
}

/// What signs for one From domain.
#[derive(Clone)]
pub enum SigningDomain {
    /// Ready.
    Ready(Arc<Signer>),
    /// The key cannot be used: mail is deferred at the door (451 4.7.5) and an alert says why.
    Broken(String),
}

/// A place in a customer's file that names a key: its selector and the file with the private key. Each key signs for every
/// domain of the customer, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPlace {
    /// `selector` and `private_key`, which every customer has.
    Main,
    /// `ed25519_selector` and `ed25519_private_key`, a second signature.
    Ed25519,
}

impl KeyPlace {
    /// All, in the order of their signatures.
    pub const ALL: [KeyPlace; 2] = [KeyPlace::Main, KeyPlace::Ed25519];

    /// As commands and files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyPlace::Main => "main",
            KeyPlace::Ed25519 => "ed25519",
        }
    }

    /// The key of `[dkim]` that holds the selector.
    pub fn selector(self) -> &'static str {
        match self {
            KeyPlace::Main => "selector",
            KeyPlace::Ed25519 => "ed25519_selector",
        }
    }

    /// The key of `[dkim]` that names the private key's file.
    pub fn private_key(self) -> &'static str {
        match self {
            KeyPlace::Main => "private_key",
            KeyPlace::Ed25519 => "ed25519_private_key",
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way out.
#[derive(Clone, Debug, PartialEq)]
pub enum Via {
    /// Mailjet, in a fixed tier or in the best one the domain has earned.
    Mailjet {
        /// `tier = "trusted"` in the customer's file.
        tier: Option<String>,
    },
    /// The customer's own server.
    OwnServer(Arc<Route>),
}

/// What happens to bulk mail of a domain that lacks what bulk needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkPolicy {
    /// 550 with the missing step.
    Refuse,
    /// Accept, with an event that names the missing step.
    Warn,
}

/// Something a domain must have verified (webCRM's guide, steps 1–3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// The domain is the customer's.
    Ownership,
    /// SPF lets us send.
    Spf,
    /// Our key is published.
    Dkim,
    /// A DMARC policy is published.
    Dmarc,
}

impl Requirement {
    /// All, in the guide's order.
    pub const ALL: [Requirement; 4] = [Requirement::Ownership, Requirement::Spf, Requirement::Dkim, Requirement::Dmarc];

    /// As configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Requirement::Ownership => "ownership",
            Requirement::Spf => "spf",
            Requirement::Dkim => "dkim",
            Requirement::Dmarc => "dmarc",
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a domain has verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing(u8);

impl Standing {
    /// With `requirement` verified besides.
    #[must_use]
    pub fn with(self, requirement: Requirement) -> Self {
        Standing(self.0 | 1 << requirement as u8)
    }

    /// Whether it is verified.
    pub fn has(self, requirement: Requirement) -> bool {
        self.0 & (1 << requirement as u8) != 0
    }

    /// The first of `needed` that is not verified.
    pub fn missing(self, needed: &[Requirement]) -> Option<Requirement> {
        needed.iter().copied().find(|r| !self.has(*r))
    }
}

/// What each From domain has verified, as the onboarding checks last saw it. Cheap to clone and to read.
#[derive(Clone, Default)]
pub struct Standings(Arc<ArcSwap<HashMap<Domain, Standing>>>);

impl Standings {
    /// What `domain` has verified; nothing where it was never checked.
    pub fn get(&self, domain: &Domain) -> Standing {
        self.0.load().get(domain).copied().unwrap_or_default()
    }

    /// Replaces all.
    pub fn replace(&self, standings: HashMap<Domain, Standing>) {
        self.0.store(Arc::new(standings));
    }
}

/// A Mailjet tier: its route and what a domain must have verified to use it.
#[derive(Clone, Debug)]
pub struct Tier {
    /// Its route, `mailjet.<name>`.
    pub route: Arc<Route>,
    /// What it asks for.
    pub requires: Vec<Requirement>,
}

/// All customers and tiers as one value; a reload swaps it whole.
#[derive(Clone, Default)]
pub struct Directory {
    customers: BTreeMap<CustomerId, Arc<Customer>>,
    by_domain: HashMap<Domain, Arc<Customer>>,
    bounce_domains: HashSet<Domain>,
    tiers: BTreeMap<String, Tier>,
}

impl Directory {
    /// Takes checked customers; configuration has made sure that no domain is in two of them.
    pub fn new(customers: Vec<Customer>, tiers: BTreeMap<String, Tier>) -> Self {
        let mut directory = Directory { tiers, ..Directory::default() };
        for customer in customers.into_iter().map(Arc::new) {
            for domain in customer.domains.keys() {
                directory.by_domain.insert(domain.clone(), Arc::clone(&customer));
            }
            directory.bounce_domains.extend(customer.bounce_domains.iter().cloned());
            directory.customers.insert(customer.id.clone(), customer);
        }
        directory
    }

    /// The customer that owns a From domain (exact name).
    pub fn by_domain(&self, domain: &Domain) -> Option<&Arc<Customer>> {
        self.by_domain.get(domain)
    }

    /// Whether it is a bounce domain, of whichever customers: several may share one.
    pub fn is_bounce_domain(&self, domain: &Domain) -> bool {
        self.bounce_domains.contains(domain)
    }

    /// A customer by its id.
    pub fn get(&self, id: &CustomerId) -> Option<&Arc<Customer>> {
        self.customers.get(id)
    }

    /// All customers, by id.
    pub fn customers(&self) -> impl Iterator<Item = &Arc<Customer>> {
        self.customers.values()
    }

    /// Mailjet's tiers, by name.
    pub fn tiers(&self) -> &BTreeMap<String, Tier> {
        &self.tiers
    }

    /// The way out for a customer's mail, given what the From domain has verified: the own server, the fixed tier, or the most
    /// demanding tier whose requirements are met. `None` where no tier will have it.
    pub fn route<'a>(&'a self, customer: &'a Customer, standing: Standing) -> Option<&'a Arc<Route>> {
        match &customer.via {
            Via::OwnServer(route) => Some(route),
            Via::Mailjet { tier: Some(name) } => self.tiers.get(name).map(|tier| &tier.route),
            Via::Mailjet { tier: None } => self
                .tiers
                .values()
                .filter(|tier| standing.missing(&tier.requires).is_none())
                .max_by_key(|tier| tier.requires.len())
                .map(|tier| &tier.route),
        }
    }
}
