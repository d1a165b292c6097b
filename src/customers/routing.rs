//! Route resolution: from a lane to the route that its mail takes.
//!
//! The answer follows from three things: the customers and tiers ([`Directory`]), what the From domain has verified
//! ([`VerificationStatus`]), and the route for notifications where one is configured. All three are here, so that the queue,
//! submission, notifications and operators' commands give the same answer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::{Customer, Directory, VerificationStatus, Via};
use crate::message::{CustomerId, Lane, MailKind};
use crate::route::Route;
use crate::smtp::Domain;

/// What each From domain has verified. A domain that is not named has verified nothing.
type Statuses = HashMap<Domain, VerificationStatus>;

/// The handle on where mail goes. Cheap to clone; all clones see a reload and a new verification status at once.
#[derive(Clone, Default)]
pub struct Routing(Arc<Inner>);

#[derive(Default)]
struct Inner {
    directory: ArcSwap<Directory>,
    statuses: ArcSwap<Statuses>,
    bounces: Option<Arc<Route>>,
}

/// Routing as it was at one moment: all answers of one view fit each other. Do not keep it across an `await`.
pub struct RoutingView<'a> {
    directory: Guard<Arc<Directory>>,
    statuses: Guard<Arc<Statuses>>,
    bounces: Option<&'a Arc<Route>>,
}

/// Why a lane's mail has no route. It is kept until that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The customer is not in the configuration any more.
    UnknownCustomer(CustomerId),
    /// The operator has taken the customer out of service.
    CustomerSuspended {
        /// The customer.
        customer: CustomerId,
        /// The reason in its file.
        reason: String,
    },
    /// No Mailjet tier takes mail of a domain with this verification status.
    NoTier {
        /// The customer.
        customer: CustomerId,
        /// Its From domain.
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
    /// Routing for these customers, with nothing verified yet. `bounces` is the route for notifications, where they have one of
    /// their own.
    pub fn new(directory: Directory, bounces: Option<Arc<Route>>) -> Self {
        let directory = ArcSwap::from_pointee(directory);
        Routing(Arc::new(Inner { directory, statuses: ArcSwap::default(), bounces }))
    }

    /// Routing as it is now.
    pub fn view(&self) -> RoutingView<'_> {
        RoutingView {
            directory: self.0.directory.load(),
            statuses: self.0.statuses.load(),
            bounces: self.0.bounces.as_ref(),
        }
    }

    /// The customers and tiers as they are now.
    pub fn directory(&self) -> Arc<Directory> {
        self.0.directory.load_full()
    }

    /// Replaces all customers and tiers.
    pub fn set_directory(&self, directory: Directory) {
        self.0.directory.store(Arc::new(directory));
    }

    /// What a domain has verified.
    pub fn status(&self, domain: &Domain) -> VerificationStatus {
        self.view().status(domain)
    }

    /// Replaces what all domains have verified.
    pub fn set_statuses(&self, statuses: HashMap<Domain, VerificationStatus>) {
        self.0.statuses.store(Arc::new(statuses));
    }

    /// The route that the mail of a lane takes now.
    pub fn resolve(&self, lane: &Lane) -> Result<Arc<Route>, NoRoute> {
        self.view().resolve(lane)
    }

    /// A customer by its id.
    pub fn customer(&self, id: &CustomerId) -> Option<Arc<Customer>> {
        self.0.directory.load().get(id).cloned()
    }

    /// Every route there is.
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
    /// The customers and tiers.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What a domain has verified.
    pub fn status(&self, domain: &Domain) -> VerificationStatus {
        self.statuses.get(domain).copied().unwrap_or_default()
    }

    /// The route that the mail of a lane takes.
    pub fn resolve(&self, lane: &Lane) -> Result<Arc<Route>, NoRoute> {
        let id = &lane.customer;
        let customer = self.directory.get(id).ok_or_else(|| NoRoute::UnknownCustomer(id.clone()))?;
        if let Some(reason) = &customer.suspended {
            return Err(NoRoute::CustomerSuspended { customer: id.clone(), reason: reason.clone() });
        }
        self.route_of(customer, &lane.domain, lane.kind).cloned()
    }

    /// Whether notifications about a customer's mail from a domain can leave: always on a route of their own; on the customer's,
    /// where its server takes the null sender.
    pub fn takes_notifications(&self, customer: &Customer, domain: &Domain) -> bool {
        let route = self.route_of(customer, domain, MailKind::Bounce);
        self.bounces.is_some() || route.is_ok_and(|route| route.takes_null_sender())
    }

    /// The route of a customer's mail from a domain, whether the customer is suspended or not: for notifications their own where
    /// there is one; else the customer's server, its fixed tier, or the most demanding tier whose requirements the domain meets.
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
