//! Commands about routes: show, suspend and resume them.

use std::collections::{BTreeMap, HashMap};
use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Need;
use super::audit::{self, Act};
use super::nodes::Ask;
use super::queue::{check_reason, together};
use super::{Actor, Error, Service};
use crate::events::Action;
use crate::route::{Caps, RouteId, RouteState, RouteStatus};

/// The most routes that an error names.
const NAMED: usize = 50;

/// The state of a route at one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RoutePart {
    pub status: RouteStatus,
    /// For a route that one customer alone has: true if the node delivers that customer's mail. Absent for routes that all nodes use.
    owns: Option<bool>,
}

impl RoutePart {
    /// Joins the states of a route at two nodes. For a customer's own route the state of its owner counts. A former owner may still have running
    /// attempts.
    fn and(self, other: RoutePart) -> RoutePart {
        let (owner, former) = match (self.owns, other.owns) {
            (None, None) => return RoutePart { status: self.status.and(other.status), owns: None },
            (_, Some(true)) => (other, self),
            _ => (self, other),
        };
        let in_flight = owner.status.in_flight + former.status.in_flight;
        RoutePart { status: RouteStatus { in_flight, ..owner.status }, ..owner }
    }
}

/// A route and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// The name of the route.
    pub route: String,
    /// The server, as `host:port`.
    pub server: String,
    /// `ready`, `throttled` or `suspended`.
    pub state: String,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// When a throttled route is tried again, RFC 3339.
    pub until: Option<String>,
    /// When the suspension began, RFC 3339.
    #[serde(default)]
    pub since: Option<String>,
    /// Since when its server has taken part in no transaction, RFC 3339; absent if it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_trouble_since: Option<String>,
    /// What ends the suspension.
    #[serde(default)]
    pub lifted_by: Option<String>,
    /// The number of running attempts.
    pub in_flight: u32,
    /// The number of recipients since midnight UTC.
    pub sent_today: u32,
    /// The maximum number of recipients per day.
    pub per_day: Option<u32>,
    /// The server's reply, if its last refusal says that it accepts no passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hint: Option<String>,
}

impl From<RouteStatus> for Route {
    fn from(status: RouteStatus) -> Self {
        let (until, since, lifted_by) = match &status.state {
            RouteState::Ready => (None, None, None),
            RouteState::Throttled { until, .. } => (Some(until.to_string()), None, None),
            RouteState::Suspended { cause, since, .. } => {
                (None, Some(since.to_string()), Some(cause.lifted_by().to_owned()))
            }
        };
        Route {
            route: status.id.to_string(),
            server: status.server.to_string(),
            state: status.state.as_str().into(),
            reason: status.state.reason().map(str::to_owned),
            until,
            since,
            in_trouble_since: status.in_trouble_since.map(|since| since.to_string()),
            lifted_by,
            in_flight: status.in_flight,
            sent_today: status.sent_today,
            per_day: status.per_day,
            password_hint: status.password_hint,
        }
    }
}

impl Service {
    /// Returns every route in the configuration, by name, and the nodes whose part is missing, because they did not answer.
    pub async fn routes(&self, actor: &Actor) -> Result<(Vec<Route>, Vec<String>), Error> {
        let (statuses, missing) = self.route_statuses(actor).await?;
        Ok((statuses.into_iter().map(Route::from).collect(), missing))
    }

    /// Like [`routes`](Self::routes), with their complete states.
    pub async fn route_statuses(&self, actor: &Actor) -> Result<(Vec<RouteStatus>, Vec<String>), Error> {
        let own = self.routes_here(actor);
        let answers = self.ask_others::<Vec<RoutePart>>(actor, Ask::Routes, None).await;
        let (mut parts, missing) = together(own, answers)?;
        if parts.len() == 1 {
            let only = parts.remove(0).into_iter().map(|part| part.status);
            return Ok((only.collect(), missing));
        }
        let mut all = BTreeMap::<RouteId, RoutePart>::new();
        for part in parts.into_iter().flatten() {
            let both = match all.remove(&part.status.id) {
                Some(known) => known.and(part),
                None => part,
            };
            all.insert(both.status.id.clone(), both);
        }
        Ok((all.into_values().map(|part| part.status).collect(), missing))
    }

    /// Returns the routes as this node sees them: with its own attempts, and its part of the caps.
    pub(super) fn routes_here(&self, actor: &Actor) -> Result<Vec<RoutePart>, Error> {
        actor.may(Need::Read)?;
        let directory = self.routing.directory();
        let mut owners = HashMap::<&RouteId, bool>::new();
        // Without other nodes, nobody asks who owns what.
        if !self.nodes.name().is_empty() {
            owners.extend(directory.customers().flat_map(|customer| {
                let owns = self.spool.owns(&customer.id);
                customer.own_routes().map(move |route| (&route.id, owns))
            }));
        }
        let part = |status: RouteStatus| RoutePart { owns: owners.get(&status.id).copied(), status };
        Ok(self.routes.list().into_iter().map(part).collect())
    }

    /// Returns one route's state, its configured caps, and the nodes whose part is missing.
    pub async fn route(&self, actor: &Actor, route: &str) -> Result<(RouteStatus, Option<Caps>, Vec<String>), Error> {
        let id = RouteId::new(route);
        let (status, missing) = if self.nodes.name().is_empty() {
            actor.may(Need::Read)?;
            (self.routes.status(&id), Vec::new())
        } else {
            let (statuses, missing) = self.route_statuses(actor).await?;
            (statuses.into_iter().find(|status| status.id == id), missing)
        };
        let status = status.ok_or_else(|| self.no_such_route(route))?;
        let configured = self.routing.routes().into_iter().find(|configured| configured.id == status.id);
        Ok((status, configured.map(|configured| configured.caps), missing))
    }

    /// Suspends a route until it is resumed. Running attempts are finished.
    pub async fn suspend_route(&self, actor: &Actor, route: &str, reason: &str) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        check_reason(reason)?;
        let switched = self.routes.suspend(&RouteId::new(route), reason).await;
        let detail = format!("suspended by an operator ({actor}): {reason}");
        self.switched(actor, switched, route, Act::new(Action::RouteSuspend, detail))
    }

    /// Resumes a suspended or throttled route at once, at every node: the one that suspended it may not have told the others yet.
    pub async fn resume_route(&self, actor: &Actor, route: &str) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        let switched = self.routes.resume(&RouteId::new(route)).await;
        let detail = format!("resumed by an operator ({actor})");
        self.switched(actor, switched, route, Act::new(Action::RouteResume, detail))?;
        let answers = self.ask_others::<()>(actor, Ask::Resume { route: route.to_owned() }, None).await;
        answers.done()
    }

    /// Resumes a route at this node, for the node that was asked. That one made the audit event.
    pub(super) async fn resume_route_here(&self, actor: &Actor, route: &str) -> Result<(), Error> {
        actor.may(Need::Operate)?;
        match self.routes.resume(&RouteId::new(route)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.no_such_route(route)),
            Err(error) => Err(Error::not_saved(&format!("route {route} was switched"), &error)),
        }
    }

    fn switched(&self, actor: &Actor, switched: io::Result<bool>, route: &str, act: Act) -> Result<(), Error> {
        if switched.as_ref().is_ok_and(|known| !known) {
            return Err(self.no_such_route(route));
        }
        audit::tell(&self.events, actor, Act { route: Some(route.to_owned()), ..act });
        switched.map(drop).map_err(|error| Error::not_saved(&format!("route {route} was switched"), &error))
    }

    /// Makes the error of a command that names an unknown route.
    pub(super) fn no_such_route(&self, route: &str) -> Error {
        let routes: Vec<String> = self.routes.list().into_iter().map(|route| route.id.to_string()).collect();
        let remedy = match routes.len() {
            ..=NAMED => format!("the routes are: {}", routes.join(", ")),
            _ => "`postbud route list` names the routes".to_owned(),
        };
        Error::not_found(format!("there is no route \"{route}\""), remedy)
    }
}
