//! Route resolution: finds the route of a lane's mail.
//!
//! The route depends on the customers and tiers ([`Directory`]), on what the From domain has verified ([`VerificationStatus`]),
//! and on the route for notifications, if one is configured. This module is the only place that combines them, so the queue,
//! submission, notifications and operators' commands all get the same answer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::{Customer, Directory, VerificationStatus, Via};
use crate::message::{CustomerId, Lane, MailKind};
use crate::route::Route;
use crate::smtp::Domain;

/// What each From domain has verified. A domain that is not in the map has verified nothing.
type Statuses = HashMap<Domain, VerificationStatus>;

/// Resolves routes. Cheap to clone; all clones see a reload and a new verification status at once.
#[derive(Clone, Default)]
pub struct Routing(Arc<Inner>);

#[derive(Default)]
struct Inner {
    directory: ArcSwap<Directory>,
    statuses: ArcSwap<Statuses>,
    bounces: Option<Arc<Route>>,
}

/// The state of routing at one moment: all answers of one view agree. Do not keep it across an `await`.
pub struct RoutingView<'a> {
    directory: Guard<Arc<Directory>>,
    statuses: Guard<Arc<Statuses>>,
    bounces: Option<&'a Arc<Route>>,
}

/// Why a lane's mail has no route. The mail waits in the queue until it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The customer is no longer in the configuration.
    UnknownCustomer(CustomerId),
    /// The operator has suspended the customer.
    CustomerSuspended {
        /// The customer's id.
        customer: CustomerId,
        /// The reason given in the customer's file.
        reason: String,
    },
    /// The domain's verification status does not meet the requirements of any Mailjet tier.
    NoTier {
        /// The customer's id.
        customer: CustomerId,
        /// The From domain of the mail.
        domain: Domain,
    },
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoute::UnknownCustomer(customer) => write!(f, "customer {customer} is no longer configured"),
            NoRoute::CustomerSuspended { customer, reason } => {
                write!(f, "customer {customer} is suspended: {reason}")
            }
            NoRoute::NoTier { customer, domain } => write!(
                f,
                "no Mailjet tier takes mail from {domain} of customer {customer}; see `postbud domain check {customer}`"
            ),
        }
    }
}

impl Routing {
    /// Makes the routing for these customers, with nothing verified yet. `bounces` is the separate route for notifications, if one
    /// is configured.
    pub fn new(directory: Directory, bounces: Option<Arc<Route>>) -> Self {
        let directory = ArcSwap::from_pointee(directory);
        Routing(Arc::new(Inner { directory, statuses: ArcSwap::default(), bounces }))
    }

    /// Returns a view of the present state.
    pub fn view(&self) -> RoutingView<'_> {
        RoutingView {
            directory: self.0.directory.load(),
            statuses: self.0.statuses.load(),
            bounces: self.0.bounces.as_ref(),
        }
    }

    /// Returns the present customers and tiers.
    pub fn directory(&self) -> Arc<Directory> {
        self.0.directory.load_full()
    }

    /// Replaces all customers and tiers.
    pub fn set_directory(&self, directory: Directory) {
        self.0.directory.store(Arc::new(directory));
    }

    /// Returns what a domain has verified.
    pub fn status(&self, domain: &Domain) -> VerificationStatus {
        self.view().status(domain)
    }

    /// Replaces the verification status of all domains.
    pub fn set_statuses(&self, statuses: HashMap<Domain, VerificationStatus>) {
        self.0.statuses.store(Arc::new(statuses));
    }

    /// Returns the present route of a lane's mail.
    pub fn resolve(&self, lane: &Lane) -> Result<Arc<Route>, NoRoute> {
        self.view().resolve(lane)
    }

    /// Returns the customer with this id.
    pub fn customer(&self, id: &CustomerId) -> Option<Arc<Customer>> {
        self.0.directory.load().get(id).cloned()
    }

    /// Returns every configured route.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        let directory = self.0.directory.load();
        let own = directory.customers().filter_map(|customer| match &customer.via {
            Via::OwnServer(route) => Some(Arc::clone(route)),
            Via::Mailjet { .. } => None,
        });
        let tiers = directory.tiers().values().map(|tier| Arc::clone(&tier.route));
        own.chain(tiers).chain(self.0.bounces.clone()).collect()
    }
}

impl RoutingView<'_> {
    /// Returns the customers and tiers.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns what a domain has verified.
    pub fn status(&self, domain: &Domain) -> VerificationStatus {
        self.statuses.get(domain).copied().unwrap_or_default()
    }

    /// Returns the route of a lane's mail.
    pub fn resolve(&self, lane: &Lane) -> Result<Arc<Route>, NoRoute> {
        let id = &lane.customer;
        let customer = self.directory.get(id).ok_or_else(|| NoRoute::UnknownCustomer(id.clone()))?;
        if let Some(reason) = &customer.suspended {
            return Err(NoRoute::CustomerSuspended { customer: id.clone(), reason: reason.clone() });
        }
        self.route_of(customer, &lane.domain, lane.kind).cloned()
    }

    /// Returns true if notifications about a customer's mail from a domain can be sent. They can if notifications have a separate route;
    /// otherwise the customer's route must accept the null sender.
    pub fn takes_notifications(&self, customer: &Customer, domain: &Domain) -> bool {
        let route = self.route_of(customer, domain, MailKind::Bounce);
        self.bounces.is_some() || route.is_ok_and(|route| route.takes_null_sender())
    }

    /// Returns the route of a customer's mail from a domain, even if the customer is suspended. Notifications use their separate
    /// route, if one is configured. All other mail uses the customer's own server, the fixed tier, or the most demanding tier whose
    /// requirements the domain meets.
    pub fn route_of<'a>(
        &'a self,
        customer: &'a Customer,
        domain: &Domain,
        kind: MailKind,
    ) -> Result<&'a Arc<Route>, NoRoute> {
        if let (MailKind::Bounce, Some(route)) = (kind, self.bounces) {
            return Ok(route);
        }
        let tiers = self.directory.tiers();
        let route = match &customer.via {
            Via::OwnServer(route) => Some(route),
            Via::Mailjet { tier: Some(name) } => tiers.get(name).map(|tier| &tier.route),
            Via::Mailjet { tier: None } => {
                let status = self.status(domain);
                let met = tiers.values().filter(|tier| status.missing(&tier.requires).is_none());
                met.max_by_key(|tier| tier.requires.len()).map(|tier| &tier.route)
            }
        };
        route.ok_or_else(|| NoRoute::NoTier { customer: customer.id.clone(), domain: domain.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::customers::{Requirement, Tier};
    use crate::message::Urgency;
    use crate::test_customers::{self, customer, domain, ed25519, mailjet};

    fn route(id: &str) -> Arc<Route> {
        Arc::new(test_customers::route(id, "smarthost.test"))
    }

    fn routing(bounces: Option<Arc<Route>>) -> Routing {
        let of = |id: &str, via| customer(id, [ed25519(&format!("{id}.dk")), ed25519(&format!("{id}.se"))], via);
        let customers = vec![
            of("own", Via::OwnServer(route("own-server.own"))),
            of("fixed", Via::Mailjet { tier: Some("starter".into()) }),
            of("best", mailjet()),
            Customer { suspended: Some("unpaid".into()), ..of("stopped", mailjet()) },
        ];
        let tier = |name: &str, requires: &[Requirement]| {
            (name.to_owned(), Tier { route: route(&format!("mailjet.{name}")), requires: requires.to_vec() })
        };
        use Requirement::{Dkim, Spf};
        let tiers = BTreeMap::from([tier("starter", &[Spf]), tier("trusted", &[Spf, Dkim])]);
        let routing = Routing::new(Directory::new(customers, tiers), bounces);
        let status = |all: &[Requirement]| all.iter().fold(VerificationStatus::default(), |it, one| it.with(*one));
        routing.set_statuses(HashMap::from([
            (domain("best.dk"), status(&[Spf, Dkim])),
            (domain("best.se"), status(&[Spf])),
            (domain("stopped.dk"), status(&[Spf])),
        ]));
        routing
    }

    fn lane(customer: &str, from: &str, kind: MailKind) -> Lane {
        Lane { customer: CustomerId::new(customer), domain: domain(from), urgency: Urgency::Single, kind }
    }

    #[test]
    fn a_lane_has_the_route_that_its_customer_and_its_domains_verification_status_give_it() {
        let (routing, shared) = (routing(None), self::routing(Some(route("bounces"))));
        for (customer, from, of_mail, of_bounces) in [
            ("own", "own.dk", "own-server.own", "bounces"),
            ("fixed", "fixed.dk", "mailjet.starter", "bounces"),
            ("best", "best.dk", "mailjet.trusted", "bounces"),
            ("best", "best.se", "mailjet.starter", "bounces"),
            ("best", "never-seen.dk", "no Mailjet tier takes mail from never-seen.dk", "bounces"),
            ("stopped", "stopped.dk", "customer stopped is suspended: unpaid", "customer stopped is suspended"),
            ("gone", "gone.dk", "customer gone is no longer configured", "customer gone is no longer configured"),
        ] {
            let found = |routing: &Routing, kind| match routing.resolve(&lane(customer, from, kind)) {
                Ok(route) => route.id.to_string(),
                Err(none) => none.to_string(),
            };
            assert!(found(&routing, MailKind::Mail).starts_with(of_mail), "{from}");
            assert!(found(&routing, MailKind::Bounce).starts_with(of_mail), "{from}: no route of their own");
            assert!(found(&shared, MailKind::Mail).starts_with(of_mail), "{from}");
            assert!(found(&shared, MailKind::Bounce).starts_with(of_bounces), "{from}");
        }
    }

    #[test]
    fn notifications_leave_where_a_server_takes_the_null_sender_or_over_a_route_of_their_own() {
        let (routing, shared) = (routing(None), self::routing(Some(route("bounces"))));
        for (customer, from, leave) in
            [("own", "own.dk", true), ("best", "best.dk", false), ("best", "never-seen.dk", false)]
        {
            let customer = routing.customer(&CustomerId::new(customer)).unwrap();
            assert_eq!(routing.view().takes_notifications(&customer, &domain(from)), leave, "{from}");
            assert!(shared.view().takes_notifications(&customer, &domain(from)), "{from}");
        }
    }

    #[test]
    fn a_reload_and_a_new_verification_status_are_seen_by_every_clone() {
        let routing = routing(None);
        let clone = routing.clone();
        routing.set_statuses(HashMap::new());
        assert!(clone.resolve(&lane("best", "best.dk", MailKind::Mail)).is_err());
        routing.set_directory(Directory::default());
        assert!(matches!(clone.resolve(&lane("own", "own.dk", MailKind::Mail)), Err(NoRoute::UnknownCustomer(_))));
    }
}
