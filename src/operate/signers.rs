//! The keys with which the running relay signs. Key rotations need to know them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::{Actor, Error, Service};
use crate::customers::SigningDomain;
use crate::message::CustomerId;

/// The keys that sign for one From domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signer {
    /// The From domain.
    pub domain: String,
    /// The selectors of its signatures; empty if its key cannot be used.
    pub selectors: Vec<String>,
}

impl Service {
    /// Returns the keys that sign now for each domain of a customer. Returns nothing if there is no such customer.
    pub fn signers(&self, actor: &Actor, customer: &str) -> Result<Vec<Signer>, Error> {
        let id = CustomerId::new(customer);
        actor.may(Need::ReadOf(&id))?;
        let Some(customer) = self.routing.customer(&id) else { return Ok(Vec::new()) };
        let signers = customer.domains.iter().map(|(domain, signing)| {
            let selectors = match signing {
                SigningDomain::Ready(signer) => signer.profiles_of(domain).map(|it| it.selector.to_string()).collect(),
                SigningDomain::Broken(_) => Vec::new(),
            };
            Signer { domain: domain.to_string(), selectors }
        });
        Ok(signers.collect())
    }
}
