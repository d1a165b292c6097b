//! Finds out which route mail takes, and why it is stopped: not tried until a person acts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::customers::RoutingView;
use crate::message::Lane;
use crate::operate::Service;
use crate::route::RouteId;

/// The way of a lane's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The route that it takes now, if there is one.
    pub route: Option<RouteId>,
    /// Why none of it is tried until a person acts, if that is so.
    pub stopped: Option<String>,
}

/// Finds the ways of many lanes, at one moment.
pub(super) struct Ways<'a> {
    routing: RoutingView<'a>,
    suspended: BTreeMap<RouteId, Arc<str>>,
}

impl Ways<'_> {
    pub fn of(&self, lane: &Lane) -> Way {
        way(&self.routing, lane, |route| self.suspended.get(route).cloned())
    }
}

impl Service {
    /// Reads the state of all routes. For a few lanes, [`way_of`](Self::way_of) is cheaper.
    pub(super) fn ways(&self) -> Ways<'_> {
        Ways { routing: self.routing.view(), suspended: self.routes.suspended().into_iter().collect() }
    }

    /// Returns the route that mail of a lane takes now, if there is one.
    pub(super) fn route_of(&self, lane: &Lane) -> Option<RouteId> {
        self.routing.resolve(lane).ok().map(|route| route.id.clone())
    }

    /// Returns the way of a lane's mail.
    pub(super) fn way_of(&self, lane: &Lane) -> Way {
        way(&self.routing.view(), lane, |route| self.routes.suspension(route))
    }
}

fn way(routing: &RoutingView<'_>, lane: &Lane, suspension: impl FnOnce(&RouteId) -> Option<Arc<str>>) -> Way {
    match routing.resolve(lane) {
        Ok(route) => {
            let said = |reason: Arc<str>| format!("route {} is suspended: {reason}", route.id);
            Way { stopped: suspension(&route.id).map(said), route: Some(route.id.clone()) }
        }
        Err(no_route) => Way { route: None, stopped: Some(no_route.to_string()) },
    }
}
