//! Route resolution: finds the route of a lane's mail.
//!
//! The route depends on the customers and tiers ([`Directory`]), on what the From domain has verified ([`VerificationStatus`]),
//! and on the route for notifications, if one is configured. This module is the only place that combines them, so the queue,
//! submission, notifications and operators' commands all get the same answer.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock};

use arc_swap::{ArcSwap, Guard};

use super::domain_map::DomainMap;
use super::{Customer, Directory, Pause, PauseCause, Pauses, VerificationStatus, Via};
use crate::message::{CustomerId, Lane, MailKind, TEST_DOMAIN};
use crate::route::{Caps, Route, RouteId, RouteKind, TlsPolicy};
use crate::smtp::Domain;

/// The route of test mail that stays on this machine. No connection is made for it, and its host name resolves to nothing.
static TEST_ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| {
    Arc::new(Route {
        id: RouteId::new("test"),
        kind: RouteKind::OwnServer,
        host: TEST_DOMAIN.to_owned(),
        port: 25,
        tls: TlsPolicy::default(),
        login: None,
        caps: Caps { concurrency: 50, ..Caps::default() },
        message_size: u64::MAX,
        verp: false,
        public_only: false,
    })
});

/// The verified requirements of each From domain. A domain that is not in the map has verified nothing.
type Statuses = DomainMap<VerificationStatus>;

/// Returns the name of a customer's own Mailjet account in lists of tiers. The name has a dot, which no tier's name has.
pub fn own_account(customer: &CustomerId) -> String {
    format!("own.{customer}")
}

/// The Mailjet tiers that take a domain's mail only after their account has accepted the domain, and which accounts have.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// The tiers in whose accounts postbud registers domains. Every other tier takes mail of every domain.
    pub tiers: Arc<BTreeSet<String>>,
    /// The tiers that have accepted each domain.
    pub domains: DomainMap<Arc<BTreeSet<String>>>,
}

impl Acceptance {
    /// Returns true if the tier's account has accepted the domain.
    fn has(&self, tier: &str, domain: &Domain) -> bool {
        self.domains.get(domain).is_some_and(|tiers| tiers.contains(tier))
    }

    /// Returns true if the tier takes the domain's mail.
    fn takes(&self, tier: &str, domain: &Domain) -> bool {
        !self.tiers.contains(tier) || self.has(tier, domain)
    }
}

/// The known state of From domains.
#[derive(Clone, Default)]
struct DomainStates {
    statuses: Statuses,
    acceptance: Acceptance,
}

/// Resolves routes. Cheap to clone; all clones see a reload and a new verification status at once.
#[derive(Clone, Default)]
pub struct Routing(Arc<Inner>);

#[derive(Default)]
struct Inner {
    directory: ArcSwap<Directory>,
    known: ArcSwap<DomainStates>,
    pauses: ArcSwap<Pauses>,
    bounces: Option<Arc<Route>>,
}

/// The state of routing at one moment: all answers of one view agree. Do not keep it across an `await`.
pub struct RoutingView<'a> {
    directory: Guard<Arc<Directory>>,
    known: Guard<Arc<DomainStates>>,
    pauses: Guard<Arc<Pauses>>,
    bounces: Option<&'a Arc<Route>>,
}

/// Why a lane's mail has no route. The mail waits in the queue until it has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoRoute {
    /// The customer is no longer in the configuration.
    UnknownCustomer(CustomerId),
    /// The operator has suspended the customer.
    CustomerSuspended {
        /// The customer whose mail it is.
        customer: CustomerId,
        /// The reason given in the customer's file.
        reason: String,
    },
    /// The customer's mail is paused.
    CustomerPaused {
        /// The customer whose mail it is.
        customer: CustomerId,
        /// The reason of the pause.
        reason: String,
    },
    /// The domain's verification status does not meet the requirements of any Mailjet tier.
    NoTier {
        /// The customer whose mail it is.
        customer: CustomerId,
        /// The From domain of the mail.
        domain: Domain,
    },
    /// A Mailjet tier would take the mail, but its account has not accepted the domain yet.
    NotAccepted {
        /// The customer whose mail it is.
        customer: CustomerId,
        /// The From domain of the mail.
        domain: Domain,
        /// The tier whose Mailjet account has not accepted the domain.
        tier: String,
    },
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoute::UnknownCustomer(customer) => write!(f, "customer {customer} is no longer configured"),
            NoRoute::CustomerSuspended { customer, reason } => {
                write!(f, "customer {customer} is suspended: {reason}")
            }
            NoRoute::CustomerPaused { customer, reason } => {
                write!(f, "the mail of customer {customer} is paused: {reason}")
            }
            NoRoute::NoTier { customer, domain } => write!(
                f,
                "no Mailjet tier takes mail from {domain} of customer {customer}; see `postbud domain check {customer}`"
            ),
            NoRoute::NotAccepted { customer, domain, tier } => write!(
                f,
                "Mailjet's account of the tier {tier} has not accepted {domain} of customer {customer} yet; see `postbud domain check \
                 {customer}`"
            ),
        }
    }
}

impl Routing {
    /// Makes the routing for these customers, with nothing verified yet. `bounces` is the separate route for notifications, if one
    /// is configured.
    pub fn new(directory: Directory, bounces: Option<Arc<Route>>) -> Self {
        let directory = ArcSwap::from_pointee(directory);
        Routing(Arc::new(Inner { directory, known: ArcSwap::default(), pauses: ArcSwap::default(), bounces }))
    }

    /// Returns a view of the present state.
    pub fn view(&self) -> RoutingView<'_> {
        RoutingView {
            directory: self.0.directory.load(),
            known: self.0.known.load(),
            pauses: self.0.pauses.load(),
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
        let statuses: Statuses = statuses.into_iter().collect();
        self.0.known.rcu(|known| DomainStates { statuses: statuses.clone(), ..DomainStates::clone(known) });
    }

    /// Replaces the verification status of one domain.
    pub fn set_status(&self, domain: &Domain, status: Option<VerificationStatus>) {
        self.0
            .known
            .rcu(|known| DomainStates { statuses: known.statuses.with(domain, status), ..DomainStates::clone(known) });
    }

    /// Replaces the acceptance of domains by tiers.
    pub fn set_acceptance(&self, acceptance: Acceptance) {
        self.0.known.rcu(|known| DomainStates { acceptance: acceptance.clone(), ..DomainStates::clone(known) });
    }

    /// Replaces the tiers that have accepted one domain.
    pub fn set_accepted(&self, domain: &Domain, tiers: BTreeSet<String>) {
        let tiers = Arc::new(tiers);
        self.0.known.rcu(|known| {
            let domains = known.acceptance.domains.with(domain, Some(Arc::clone(&tiers)));
            let acceptance = Acceptance { domains, ..known.acceptance.clone() };
            DomainStates { acceptance, ..DomainStates::clone(known) }
        });
    }

    /// Returns the tiers that have accepted a domain.
    pub fn accepted(&self, domain: &Domain) -> Option<Arc<BTreeSet<String>>> {
        self.0.known.load().acceptance.domains.get(domain).cloned()
    }

    /// Returns the customers whose mail is paused.
    pub fn pauses(&self) -> Arc<Pauses> {
        self.0.pauses.load_full()
    }

    /// Replaces the pauses of all customers.
    pub fn set_pauses(&self, pauses: Pauses) {
        self.0.pauses.store(Arc::new(pauses));
    }

    /// Pauses a customer's mail. Returns false if a pause with the same or a later [`PauseCause`] is in force. An operator's pause always
    /// replaces an earlier one.
    pub fn pause(&self, customer: &CustomerId, pause: &Pause) -> bool {
        let mut has_begun = false;
        self.0.pauses.rcu(|all| {
            let says_more = |old: &Pause| old.cause < pause.cause || pause.cause == PauseCause::Operator;
            has_begun = all.get(customer).is_none_or(says_more);
            let mut all = Pauses::clone(all);
            if has_begun {
                all.insert(customer.clone(), pause.clone());
            }
            all
        });
        has_begun
    }

    /// Ends the pause of a customer's mail and returns it, if there was one.
    pub fn resume(&self, customer: &CustomerId) -> Option<Pause> {
        let mut ended = None;
        self.0.pauses.rcu(|all| {
            let mut all = Pauses::clone(all);
            ended = all.remove(customer);
            all
        });
        ended
    }

    /// Returns the present route of a lane's mail.
    pub fn resolve(&self, lane: &Lane) -> Result<Arc<Route>, NoRoute> {
        self.view().resolve(lane)
    }

    /// Returns the route that a lane's mail would have if its domain had this verification status.
    pub fn resolve_with(&self, lane: &Lane, status: VerificationStatus) -> Result<Arc<Route>, NoRoute> {
        let known = self.0.known.load();
        let statuses = known.statuses.with(&lane.domain, Some(status));
        let known = Arc::new(DomainStates { statuses, ..DomainStates::clone(&known) });
        RoutingView { known: Guard::from_inner(known), ..self.view() }.resolve(lane)
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
            Via::Mailjet { .. } => customer.own_mailjet.clone(),
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
        self.known.statuses.get(domain).copied().unwrap_or_default()
    }

    /// Returns the route of a lane's mail.
    pub fn resolve(&self, lane: &Lane) -> Result<Arc<Route>, NoRoute> {
        let customer = self.directory.get(&lane.customer);
        self.resolve_for(customer.map(|customer| &**customer), lane).cloned()
    }

    /// Like [`resolve`](Self::resolve), for a caller that has looked up the lane's customer.
    pub fn resolve_for<'a>(&'a self, customer: Option<&'a Customer>, lane: &Lane) -> Result<&'a Arc<Route>, NoRoute> {
        let id = &lane.customer;
        let customer = customer.ok_or_else(|| NoRoute::UnknownCustomer(id.clone()))?;
        if let Some(reason) = &customer.suspended {
            return Err(NoRoute::CustomerSuspended { customer: id.clone(), reason: reason.clone() });
        }
        if let Some(pause) = self.pauses.get(id)
            && lane.kind.is_traffic()
            && pause.stops(lane.urgency)
        {
            return Err(NoRoute::CustomerPaused { customer: id.clone(), reason: pause.reason.clone() });
        }
        self.route_of(customer, &lane.domain, lane.kind)
    }

    /// Returns true if notifications about a customer's mail from a domain can be sent. They can if notifications have a separate route;
    /// otherwise the customer's route must accept the null sender.
    pub fn takes_notifications(&self, customer: &Customer, domain: &Domain) -> bool {
        let route = self.route_of(customer, domain, MailKind::Bounce);
        self.bounces.is_some() || route.is_ok_and(|route| route.takes_null_sender())
    }

    /// Returns the route of a customer's mail from a domain, even if the customer is suspended. Notifications use their separate route, if
    /// one is configured. Test mail that stays on this machine uses the test route. All other mail uses the customer's own server, the
    /// fixed tier, or the most demanding tier whose requirements the domain meets.
    pub fn route_of<'a>(
        &'a self,
        customer: &'a Customer,
        domain: &Domain,
        kind: MailKind,
    ) -> Result<&'a Arc<Route>, NoRoute> {
        match (kind, self.bounces) {
            // This comes first, so that test mail that must stay here never gets a route that leaves.
            (MailKind::Test, _) => return Ok(&TEST_ROUTE),
            (MailKind::Bounce, Some(route)) => return Ok(route),
            _ => {}
        }
        match &customer.via {
            Via::OwnServer(route) => Ok(route),
            Via::Mailjet { tier } => {
                let own = customer.own_mailjet.as_ref();
                let takes = || self.known.acceptance.takes(&own_account(&customer.id), domain);
                match own.filter(|_| takes()) {
                    Some(route) => Ok(route),
                    None => self.tier_of(customer, tier.as_deref(), domain),
                }
            }
        }
    }

    /// Returns the route of the tier for a domain's mail. If that tier's account has not accepted the domain yet, the mail uses another
    /// tier that has.
    fn tier_of<'a>(
        &'a self,
        customer: &Customer,
        fixed: Option<&str>,
        domain: &Domain,
    ) -> Result<&'a Arc<Route>, NoRoute> {
        let (tiers, acceptance) = (self.directory.tiers(), &self.known.acceptance);
        let status = self.status(domain);
        let met = || tiers.iter().filter(|(_, tier)| status.missing(&tier.requires).is_none());
        let no_tier = || NoRoute::NoTier { customer: customer.id.clone(), domain: domain.clone() };
        let not_accepted = |tier: &str| NoRoute::NotAccepted {
            customer: customer.id.clone(),
            domain: domain.clone(),
            tier: tier.to_owned(),
        };
        let best = |left: &dyn Fn(&str) -> bool| {
            met()
                .filter(|(name, _)| left(name))
                .max_by_key(|(_, tier)| tier.requires.len())
                .map(|(_, tier)| &tier.route)
        };
        match fixed {
            Some(name) => {
                let tier = tiers.get(name).ok_or_else(no_tier)?;
                match acceptance.takes(name, domain) {
                    true => Ok(&tier.route),
                    false => best(&|other| acceptance.has(other, domain)).ok_or_else(|| not_accepted(name)),
                }
            }
            None => best(&|name| acceptance.takes(name, domain)).ok_or_else(|| {
                let first = met().min_by_key(|(_, tier)| tier.requires.len());
                first.map_or_else(no_tier, |(name, _)| not_accepted(name))
            }),
        }
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

    #[test]
    fn test_mail_has_a_route_of_its_own_whatever_is_configured() {
        for routing in [routing(None), self::routing(Some(route("bounces")))] {
            for (customer, from) in [("own", "own.dk"), ("fixed", "fixed.dk"), ("best", "best.dk"), ("best", "best.se")]
            {
                let resolved = routing.resolve(&lane(customer, from, MailKind::Test)).unwrap();
                assert_eq!(resolved.id.as_str(), "test");
                assert!(routing.routes().iter().all(|route| route.id != resolved.id && route.host != resolved.host));
                let leaving = routing.resolve(&lane(customer, from, MailKind::TestLeaving));
                assert_eq!(leaving, routing.resolve(&lane(customer, from, MailKind::Mail)));
            }
            assert!(routing.resolve(&lane("stopped", "stopped.dk", MailKind::Test)).is_err());
        }
    }
}
