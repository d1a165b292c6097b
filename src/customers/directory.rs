//! All customers and tiers in one value. Configuration builds it, and a reload replaces the whole value.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::{Customer, Requirement, SigningDomain, Via};
use crate::hex::hex;
use crate::message::CustomerId;
use crate::route::Route;
use crate::smtp::Domain;

/// A Mailjet tier: its route and what a domain must have verified to use it.
#[derive(Clone, Debug)]
pub struct Tier {
    /// The route of the tier, whose id is `mailjet.<name>`.
    pub route: Arc<Route>,
    /// The requirements that a From domain must meet.
    pub requires: Vec<Requirement>,
}

/// All customers and tiers. A reload replaces the whole value.
#[derive(Clone, Default)]
pub struct Directory {
    customers: BTreeMap<CustomerId, Arc<Customer>>,
    by_domain: HashMap<Domain, Arc<Customer>>,
    bounce_domains: HashSet<Domain>,
    tiers: BTreeMap<String, Tier>,
}

impl Directory {
    /// Builds the directory. The caller must have checked that no domain belongs to two customers.
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

    /// Returns the same directory with this customer, in place of the one with its id if there is one. The caller must have checked that
    /// no domain belongs to two customers.
    #[must_use]
    pub fn with(&self, customer: Customer) -> Self {
        let mut directory = self.without(&customer.id);
        let customer = Arc::new(customer);
        directory.by_domain.extend(customer.domains.keys().map(|domain| (domain.clone(), Arc::clone(&customer))));
        directory.bounce_domains.extend(customer.bounce_domains.iter().cloned());
        directory.customers.insert(customer.id.clone(), customer);
        directory
    }

    /// Returns the same directory without this customer.
    #[must_use]
    pub fn without(&self, id: &CustomerId) -> Self {
        let mut directory = self.clone();
        let Some(old) = directory.customers.remove(id) else { return directory };
        for domain in old.domains.keys() {
            directory.by_domain.remove(domain);
        }
        // Several customers may share a bounce domain.
        let is_used = |domain: &Domain| directory.customers.values().any(|it| it.bounce_domains.contains(domain));
        for domain in old.bounce_domains.iter().filter(|domain| !is_used(domain)) {
            directory.bounce_domains.remove(domain);
        }
        directory
    }

    /// Returns the customer that has exactly this From domain.
    pub fn by_domain(&self, domain: &Domain) -> Option<&Arc<Customer>> {
        self.by_domain.get(domain)
    }

    /// Returns true if any customer has this bounce domain. Several customers may share one.
    pub fn is_bounce_domain(&self, domain: &Domain) -> bool {
        self.bounce_domains.contains(domain)
    }

    /// Returns the customer with this id.
    pub fn get(&self, id: &CustomerId) -> Option<&Arc<Customer>> {
        self.customers.get(id)
    }

    /// Returns all customers in the order of their ids.
    pub fn customers(&self) -> impl Iterator<Item = &Arc<Customer>> {
        self.customers.values()
    }

    /// Returns a hash of all customers, domains, keys and routes. Nodes that share customers compare it. It reveals nothing about them.
    pub fn digest(&self) -> String {
        let mut digest = digest::Context::new(&digest::SHA256);
        // Each field is preceded by its length, so that different lists of fields never give the same input.
        let mut field = |text: &str| {
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        };
        let route = |route: &Route, field: &mut dyn FnMut(&str)| {
            let login = route.login.as_ref().map_or("", |login| &login.username);
            for it in [&route.id.to_string(), &route.host, &route.port.to_string(), login] {
                field(it);
            }
            field(&format!("{:?}", route.caps));
        };
        for customer in self.customers.values() {
            field(customer.id.as_str());
            field(customer.suspended.as_deref().unwrap_or_default());
            for (domain, signing) in &customer.domains {
                field(&domain.to_string());
                match signing {
                    SigningDomain::Broken(_) => field("broken"),
                    SigningDomain::Ready(signer) => signer.profiles().for_each(|profile| {
                        field(profile.selector.as_str());
                        field(&profile.key.public_key_base64().unwrap_or_default());
                    }),
                }
            }
            match &customer.via {
                Via::OwnServer(own) => route(own, &mut field),
                Via::Mailjet { tier } => field(tier.as_deref().unwrap_or("by status")),
            }
            customer.own_mailjet.iter().for_each(|own| route(own, &mut field));
        }
        for tier in self.tiers.values() {
            route(&tier.route, &mut field);
        }
        hex(&digest.finish().as_ref()[..8])
    }

    /// Returns Mailjet's tiers by name.
    pub fn tiers(&self) -> &BTreeMap<String, Tier> {
        &self.tiers
    }
}
