//! Finds the customers whose mail would be stuck now, and says why. The [`overview`](super::overview) has the mail that is stuck.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::{Actor, Error, Service};
use crate::customers::{Customer, RoutingView};
use crate::message::{CustomerId, Lane, MailKind, Urgency};
use crate::route::{RouteId, RouteState, RouteStatus};
use crate::time::Timestamp;

/// A customer whose mail, or a part of it, would be stuck now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckCustomer {
    pub customer: String,
    pub why: String,
}

impl Service {
    /// Returns the customers whose mail would be stuck now, except those that are suspended, and the nodes whose part is missing.
    pub async fn stuck_customers(&self, actor: &Actor) -> Result<(Vec<StuckCustomer>, Vec<String>), Error> {
        actor.may(Need::Read)?;
        let all: Vec<CustomerId> = self.routing.directory().customers().map(|customer| customer.id.clone()).collect();
        let (stuck, missing) = self.stuck_among(actor, &all).await?;
        let named = all.into_iter().zip(stuck);
        let stuck = named.filter_map(|(id, why)| Some(StuckCustomer { customer: id.to_string(), why: why? }));
        Ok((stuck.collect(), missing))
    }

    /// Returns for each of these customers why its mail would be stuck now, and the nodes whose part is missing. Says nothing to an actor
    /// that may not read the state of routes.
    pub async fn stuck_among(
        &self,
        actor: &Actor,
        customers: &[CustomerId],
    ) -> Result<(Vec<Option<String>>, Vec<String>), Error> {
        if !actor.may_see_everything() {
            return Ok((vec![None; customers.len()], Vec::new()));
        }
        let taken: Vec<CustomerRoutes> = {
            let view = self.routing.view();
            let of = |id| {
                view.directory()
                    .get(id)
                    .map_or_else(CustomerRoutes::default, |customer| CustomerRoutes::of(&view, customer))
            };
            customers.iter().map(of).collect()
        };
        let (statuses, missing) = if self.nodes.name().is_empty() {
            let routes: BTreeSet<&RouteId> = taken.iter().flat_map(|taken| &taken.routes).collect();
            (routes.into_iter().filter_map(|route| self.routes.status(route)).collect(), Vec::new())
        } else {
            self.route_statuses(actor).await?
        };
        let at_rest = at_rest(statuses);
        Ok((taken.into_iter().map(|taken| taken.stuck(&at_rest)).collect(), missing))
    }

    /// Returns why mail of a customer would be stuck now, if it would. Returns `None` to an actor that may not read the state of routes.
    pub async fn stuck(&self, actor: &Actor, customer: &str) -> Result<Option<String>, Error> {
        let (mut stuck, _) = self.stuck_among(actor, &[CustomerId::new(customer)]).await?;
        Ok(stuck.pop().flatten())
    }
}

/// The routes that a customer's mail would take now.
#[derive(Default)]
struct CustomerRoutes {
    routes: BTreeSet<RouteId>,
    /// Why mail of a domain has no route, each reason once.
    none: Vec<String>,
}

impl CustomerRoutes {
    /// A suspended customer has none: it is reported as suspended.
    fn of(view: &RoutingView<'_>, customer: &Customer) -> Self {
        let mut taken = CustomerRoutes::default();
        for domain in customer.domains.keys().filter(|_| customer.suspended.is_none()) {
            // A pause always stops bulk mail.
            let (urgency, kind) = (Urgency::Bulk, MailKind::Mail);
            match view.resolve(&Lane { customer: customer.id.clone(), domain: domain.clone(), urgency, kind }) {
                Ok(route) => drop(taken.routes.insert(route.id.clone())),
                Err(why) => taken.none.push(why.to_string()),
            }
        }
        taken.none.dedup();
        taken
    }

    /// Returns why mail would be stuck on these routes: the first reason, and the number of the others.
    fn stuck(self, at_rest: &HashMap<RouteId, String>) -> Option<String> {
        let routes = self.routes.iter().filter_map(|route| at_rest.get(route).cloned());
        let mut reasons = routes.chain(self.none);
        let first = reasons.next()?;
        Some(match reasons.count() {
            0 => first,
            more => format!("{first}; and {more} more"),
        })
    }
}

/// Returns the routes that carry no mail: they are suspended, or their servers take part in no transaction.
fn at_rest(routes: Vec<RouteStatus>) -> HashMap<RouteId, String> {
    let why = |route: &RouteStatus| match &route.state {
        RouteState::Suspended { reason, .. } => Some(suspended(&route.id, reason)),
        state => Some(trouble(&route.id, route.in_trouble_since?, state)),
    };
    routes.into_iter().filter_map(|route| Some((route.id.clone(), why(&route)?))).collect()
}

/// Says why mail of a suspended route waits.
pub(super) fn suspended(route: &RouteId, reason: &str) -> String {
    format!("route {route} is suspended: {reason}")
}

/// Says why mail of a route waits whose server takes part in no transaction.
pub(super) fn trouble(route: &RouteId, since: Timestamp, state: &RouteState) -> String {
    let reason = state.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("route {route} has carried no mail since {}{reason}", since.in_words())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Cause;

    fn route(id: &str, in_trouble_since: Option<Timestamp>) -> RouteStatus {
        RouteStatus {
            id: RouteId::new(id),
            server: "a.dk:25".into(),
            state: RouteState::Throttled { until: Timestamp::now(), reason: "421".into() },
            in_trouble_since,
            in_flight: 0,
            sent_today: 0,
            per_day: None,
            password_hint: None,
        }
    }

    #[test]
    fn a_customer_is_stuck_if_a_route_of_its_mail_is_suspended_or_carries_nothing() {
        let suspended =
            RouteState::Suspended { cause: Cause::Operator, reason: "moves".into(), since: Timestamp::now() };
        let routes = vec![
            route("r.bad", Some(Timestamp::from_millis(0))),
            RouteStatus { state: suspended, ..route("r.suspended", None) },
            // It was refused once, and is tried again.
            route("r.throttled", None),
        ];
        let at_rest = at_rest(routes);
        let stuck = |routes: &[&str], none: &[&str]| {
            let routes = routes.iter().map(|route| RouteId::new(route)).collect();
            CustomerRoutes { routes, none: none.iter().map(ToString::to_string).collect() }.stuck(&at_rest)
        };
        assert_eq!(stuck(&["r.throttled", "r.unknown"], &[]), None);
        assert_eq!(stuck(&["r.suspended", "r.throttled"], &[]).unwrap(), "route r.suspended is suspended: moves");
        let trouble = stuck(&["r.bad"], &[]).unwrap();
        assert!(
            trouble.starts_with("route r.bad has carried no mail since") && trouble.ends_with(": 421"),
            "{trouble}"
        );
        assert_eq!(stuck(&["r.bad", "r.suspended"], &["no tier"]).unwrap(), format!("{trouble}; and 2 more"));
        assert_eq!(stuck(&["r.throttled"], &["no tier"]).unwrap(), "no tier");
    }
}
