//! Finds the configured domain that a name in a report belongs to, and what identifies our mail for it.

use std::net::IpAddr;

use super::aggregate::Domains;
use super::sources::Marks;
use crate::customers::{Directory, SigningDomain, Via};
use crate::onboarding;
use crate::smtp::Domain;

pub(super) struct Owners<'a> {
    pub directory: &'a Directory,
    pub onboarding: &'a onboarding::Settings,
}

impl Domains for Owners<'_> {
    fn marks(&self, from: &Domain) -> Option<Marks> {
        let names = from.as_str().match_indices('.').map(|(at, _)| &from.as_str()[at + 1..]);
        let mut names = std::iter::once(from.as_str()).chain(names);
        let (domain, customer) = names.find_map(|name| {
            let domain = Domain::parse(name).ok()?;
            let customer = self.directory.by_domain(&domain)?;
            Some((domain, customer))
        })?;
        let mut selectors = Vec::new();
        if let Some(SigningDomain::Ready(signer)) = customer.domains.get(&domain) {
            selectors.extend(signer.profiles_of(&domain).map(|profile| profile.selector.as_str().to_ascii_lowercase()));
        }
        // A delegated key uses both selectors in turn.
        let delegated = self.onboarding.delegation.iter().flat_map(|delegation| &delegation.selectors);
        selectors.extend(delegated.map(|selector| selector.as_str().to_ascii_lowercase()));
        Some(Marks {
            domain,
            via_mailjet: matches!(customer.via, Via::Mailjet { .. }),
            selectors,
            return_path_label: self.onboarding.return_path_label.clone(),
            mailjet_selector: self.onboarding.mailjet_selector.clone(),
        })
    }

    fn egress(&self) -> IpAddr {
        self.onboarding.egress
    }
}
