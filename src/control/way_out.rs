//! Which way a lane's mail goes now, and why it goes none.

use std::collections::BTreeMap;

use super::Relay;
use crate::message::Lane;
use crate::queue;
use crate::route::{RouteId, RouteState};

/// Why routes are suspended, by route.
pub(super) type Suspended = BTreeMap<RouteId, String>;

impl Relay {
    /// Where mail of a lane goes now.
    pub(super) fn way_out(&self, lane: &Lane) -> Option<RouteId> {
        self.route_of(lane).ok()
    }

    /// Why nothing in a lane is tried until a person acts.
    pub(super) fn stopped(&self, lane: &Lane, suspended: &Suspended) -> Option<String> {
        match self.route_of(lane) {
            Ok(route) => suspended.get(&route).map(|reason| format!("route {route} is suspended: {reason}")),
            Err(no_way_out) => Some(no_way_out),
        }
    }

    /// The routes that are suspended now.
    pub(super) fn suspended(&self) -> Suspended {
        let suspended = self.routes.list().into_iter().filter_map(|route| match route.state {
            RouteState::Suspended { reason, .. } => Some((route.id, reason)),
            _ => None,
        });
        suspended.collect()
    }

    fn route_of(&self, lane: &Lane) -> Result<RouteId, String> {
        let bounces = self.bounces.as_ref();
        let route = queue::way_out(&self.directory.load(), &self.standings, bounces, lane);
        route.map(|route| route.id.clone())
    }
}
