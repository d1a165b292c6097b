//! Finds out why mail is stopped: not tried until a person acts.

use std::collections::BTreeMap;

use crate::message::Lane;
use crate::operate::Service;
use crate::route::{RouteId, RouteState};

/// The reasons for the suspension of routes.
pub(super) type Suspended = BTreeMap<RouteId, String>;

impl Service {
    /// Returns the route that mail of a lane takes now, if there is one.
    pub(super) fn route_of(&self, lane: &Lane) -> Option<RouteId> {
        self.routing.resolve(lane).ok().map(|route| route.id.clone())
    }

    /// Returns why no mail of a lane is tried until a person acts, if that is so.
    pub(super) fn stopped(&self, lane: &Lane, suspended: &Suspended) -> Option<String> {
        match self.routing.resolve(lane) {
            Ok(route) => suspended.get(&route.id).map(|reason| format!("route {} is suspended: {reason}", route.id)),
            Err(no_route) => Some(no_route.to_string()),
        }
    }

    /// Returns the routes that are suspended now.
    pub(super) fn suspended(&self) -> Suspended {
        let suspended = self.routes.list().into_iter().filter_map(|route| match route.state {
            RouteState::Suspended { reason, .. } => Some((route.id, reason)),
            _ => None,
        });
        suspended.collect()
    }
}
