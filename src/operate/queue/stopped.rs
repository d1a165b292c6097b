//! Finds out which route mail takes, and why it is stopped: not held, and not tried either.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::customers::RoutingView;
use crate::message::Lane;
use crate::operate::Service;
use crate::route::RouteId;

/// The route of a lane's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LaneRoute {
    /// The route that it takes now, if there is one.
    pub route: Option<RouteId>,
    /// Why none of it is tried, if it is stopped.
    pub stopped: Option<String>,
}

/// Finds the routes of many lanes, at one moment.
pub(super) struct LaneRoutes<'a> {
    routing: RoutingView<'a>,
    suspended: BTreeMap<RouteId, Arc<str>>,
}

impl LaneRoutes<'_> {
    pub fn of(&self, lane: &Lane) -> LaneRoute {
        lane_route(&self.routing, lane, |route| self.suspended.get(route).cloned())
    }
}

impl Service {
    /// Reads the state of all routes. For a few lanes, [`lane_route`](Self::lane_route) is cheaper.
    pub(super) fn lane_routes(&self) -> LaneRoutes<'_> {
        LaneRoutes { routing: self.routing.view(), suspended: self.routes.suspended().into_iter().collect() }
    }

    /// Returns the route that mail of a lane takes now, if there is one.
    pub(super) fn route_of(&self, lane: &Lane) -> Option<RouteId> {
        self.routing.resolve(lane).ok().map(|route| route.id.clone())
    }

    /// Returns the route of a lane's mail, and why it is stopped.
    pub(super) fn lane_route(&self, lane: &Lane) -> LaneRoute {
        lane_route(&self.routing.view(), lane, |route| self.routes.suspension(route))
    }
}

fn lane_route(
    routing: &RoutingView<'_>,
    lane: &Lane,
    suspension: impl FnOnce(&RouteId) -> Option<Arc<str>>,
) -> LaneRoute {
    match routing.resolve(lane) {
        Ok(route) => {
            let said = |reason: Arc<str>| format!("route {} is suspended: {reason}", route.id);
            LaneRoute { stopped: suspension(&route.id).map(said), route: Some(route.id.clone()) }
        }
        Err(no_route) => LaneRoute { route: None, stopped: Some(no_route.to_string()) },
    }
}
