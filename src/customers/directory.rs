//! All customers and tiers as one value. Configuration builds it and a reload replaces it whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Customer, Requirement};
use crate::message::CustomerId;
use crate::route::Route;
use crate::smtp::Domain;

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
}
